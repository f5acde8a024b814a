//! PostgreSQL over a bounded pool of connections. The statements of a batch are pipelined in one round
//! trip; they are committed or rolled back by what they did.
//!
//! Sessions are read-only by default, so that a query cannot write; only a batch opens a transaction that can.

mod code;
mod codec;
mod commit;
mod connect;
mod migrate;
mod pipeline;

use super::error::DbError;
use super::options::{Options, PostgresAddress};
use super::sql::number_placeholders;
use super::value::{Row, Value};
use chancery_core::time::{Timestamp, Ttl};
use codec::{Bound, Column};
use deadpool_postgres::{Object, Pool, PoolError, TimeoutType};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A PostgreSQL server and the connections to it.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    options: Options,
    /// Query texts with their placeholders rewritten.
    texts: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl Postgres {
    pub(crate) async fn open(address: &PostgresAddress, options: Options) -> Result<Self, DbError> {
        let pool = connect::pool(address, &options)?;
        let engine = Self {
            inner: Arc::new(Inner {
                pool,
                options,
                texts: RwLock::default(),
            }),
        };
        drop(engine.client().await?);
        Ok(engine)
    }

    pub(crate) async fn query(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let mut attempt = 0;
        loop {
            let client = self.client().await?;
            let answer = tokio::time::timeout(self.patience(), self.rows(&client, sql, params)).await;
            let error = match answer {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => error,
                Err(_) => DbError::timed_out("a query was not answered"),
            };
            if !matches!(
                error,
                DbError::Unavailable { .. } | DbError::Contended { .. } | DbError::TimedOut { .. }
            ) {
                return Err(error);
            }
            // A connection in doubt is thrown away. A query only reads, so it may run again.
            drop(Object::take(client));
            attempt += 1;
            if attempt > QUERY_RETRIES || matches!(error, DbError::TimedOut { .. }) {
                return Err(error);
            }
        }
    }

    pub(crate) async fn prepare_all(&self, texts: &[&'static str]) -> Result<(), DbError> {
        let client = self.client().await?;
        for text in texts {
            let prepared = client.prepare(&self.text(text)).await;
            prepared.map_err(|error| code::classify(&error, text))?;
        }
        Ok(())
    }

    pub(crate) async fn prune_batches(&self, before: Timestamp) -> Result<u64, DbError> {
        let client = self.client().await?;
        let begin = client.batch_execute(pipeline::BEGIN);
        begin.await.map_err(|error| code::classify(&error, "begin"))?;
        let oldest = pipeline::oldest_id(before);
        let deleted = client.execute(PRUNE, &[&oldest.as_slice()]).await;
        let end = if deleted.is_ok() { "COMMIT" } else { "ROLLBACK" };
        if let Err(error) = client.batch_execute(end).await {
            drop(Object::take(client));
            return Err(code::classify(&error, "prune batches"));
        }
        deleted.map_err(|error| code::classify(&error, "prune batches"))
    }

    pub(crate) fn close(&self) {
        self.inner.pool.close();
    }

    async fn rows(&self, client: &Object, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        let failed = |error: tokio_postgres::Error| code::classify(&error, sql);
        let statement = client.prepare_cached(&self.text(sql)).await.map_err(failed)?;
        codec::check_count(&statement, params, sql)?;
        let bound: Vec<Bound<'_>> = params.iter().map(Bound).collect();
        let rows = client
            .query(&statement, &codec::references(&bound))
            .await
            .map_err(failed)?;
        rows.iter().map(decode).collect()
    }

    /// A connection, if one is free in time.
    async fn client(&self) -> Result<Object, DbError> {
        self.inner.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => DbError::Overloaded {
                queue: "the connection pool",
            },
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                DbError::unavailable("the server does not answer")
            }
            PoolError::Closed => DbError::unavailable("it was closed"),
            PoolError::Backend(error) => DbError::unavailable(code::describe(&error)),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                DbError::unavailable(error.to_string())
            }
        })
    }

    /// The text with placeholders as PostgreSQL writes them; rewritten once.
    fn text(&self, sql: &'static str) -> Arc<str> {
        let texts = self.inner.texts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(sql) {
            return Arc::clone(text);
        }
        drop(texts);
        let text: Arc<str> = number_placeholders(sql).into();
        let mut texts = self.inner.texts.write().unwrap_or_else(PoisonError::into_inner);
        texts.insert(sql, Arc::clone(&text));
        text
    }

    /// How long to wait for any answer: longer than the server lets a statement run.
    fn patience(&self) -> Duration {
        self.inner
            .options
            .statement_timeout
            .as_std()
            .saturating_add(NETWORK.as_std())
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

fn decode(row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let values = (0..row.len()).map(|column| {
        row.try_get::<_, Column>(column)
            .map(|Column(value)| value)
            .map_err(|error| DbError::corrupt(format!("column {column}: {}", code::describe(&error))))
    });
    Ok(Row::new(values.collect::<Result<_, _>>()?))
}

const PRUNE: &str = "DELETE FROM batches WHERE id < $1";

/// How often a query is sent again when its connection turns out to be dead.
const QUERY_RETRIES: u32 = 2;

/// How often a batch runs again because its connection was lost before the commit.
const LOST_RETRIES: u32 = 2;

/// How much longer than the server's own limit an answer may take on the network.
const NETWORK: Ttl = Ttl::from_seconds(5);
