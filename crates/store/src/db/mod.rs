//! The engine layer: the only files that know whether SQLite or PostgreSQL runs.
//!
//! [`Db::query`] reads, [`Db::commit`] writes one [`Batch`] whole or not at all. The contract is the same on
//! both engines and is checked by one conformance suite. How each engine keeps it: `sqlite` (one writer
//! thread, many batches per commit), `postgres` (a batch is pipelined on one connection).

mod batch;
mod error;
mod migrate;
mod options;
mod postgres;
mod sql;
mod sqlite;
mod value;

pub use batch::{Batch, Expect, Outcome, Statement};
pub use error::DbError;
pub use migrate::{Migration, MigrationError};
pub use options::{DatabaseUrl, Fault, FaultAction, GroupCommitted, Observer, Options, Point};
pub use sql::Sql;
pub use value::{Row, Value};

use chancery_core::time::Timestamp;
use options::Address;

/// A database. Cheap to clone; all clones share one engine.
#[derive(Clone, Debug)]
pub enum Db {
    /// A file in this process.
    Sqlite(Sqlite),
    /// A server, shared by many nodes.
    Postgres(Postgres),
}

pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// Which engine a database runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL, or an engine that speaks its protocol.
    Postgres,
}

impl Db {
    /// Opens a database. An SQLite file is created (mode 0600) if there is none; PostgreSQL must be
    /// reachable. The schema is not touched: see [`Db::migrate`].
    ///
    /// # Errors
    /// [`DbError::Locked`] if the SQLite file is open elsewhere; [`DbError::Unavailable`] if the file
    /// cannot be opened or the server cannot be reached.
    pub async fn open(url: &DatabaseUrl, options: Options) -> Result<Self, DbError> {
        match &url.0 {
            Address::Sqlite(path) => Sqlite::open(path, options).map(Self::Sqlite),
            Address::Postgres(address) => Postgres::open(address, options).await.map(Self::Postgres),
        }
    }

    /// Runs a query that only reads.
    ///
    /// # Errors
    /// [`DbError::Overloaded`], [`DbError::Unavailable`], [`DbError::TextWithNul`], or [`DbError::Driver`] for a
    /// defect in the text (an attempt to write is one).
    pub async fn query(&self, sql: &Sql, params: Vec<Value>) -> Result<Vec<Row>, DbError> {
        check_text(params.iter())?;
        match self {
            Self::Sqlite(engine) => engine.query(sql.sqlite, params).await,
            Self::Postgres(engine) => engine.query(sql.postgres, &params).await,
        }
    }

    /// As [`Db::query`], but waits for no other query: for what keeps this node in service, the revocation feed
    /// above all. On PostgreSQL it takes a connection of the pool like any other.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn query_ahead(&self, sql: &Sql, params: Vec<Value>) -> Result<Vec<Row>, DbError> {
        check_text(params.iter())?;
        match self {
            Self::Sqlite(engine) => engine.query_ahead(sql.sqlite, params).await,
            Self::Postgres(engine) => engine.query(sql.postgres, &params).await,
        }
    }

    /// Runs a query that only reads and returns exactly one row.
    ///
    /// # Errors
    /// [`DbError::NotOneRow`] if it does not; otherwise as [`Db::query`].
    pub async fn query_one(&self, sql: &Sql, params: Vec<Value>) -> Result<Row, DbError> {
        self.query_optional(sql, params)
            .await?
            .ok_or(DbError::NotOneRow { found: 0 })
    }

    /// Runs a query that only reads and returns at most one row.
    ///
    /// # Errors
    /// [`DbError::NotOneRow`] if there are more; otherwise as [`Db::query`].
    pub async fn query_optional(&self, sql: &Sql, params: Vec<Value>) -> Result<Option<Row>, DbError> {
        let mut rows = self.query(sql, params).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            found => Err(DbError::NotOneRow { found }),
        }
    }

    /// Commits a batch whole, or nothing of it. The batch runs to its end even if the caller stops waiting.
    ///
    /// A batch id is used once. PostgreSQL keeps it and answers [`DbError::DuplicateBatch`] to a second use.
    ///
    /// # Errors
    /// With every error except [`DbError::UnknownOutcome`] and [`DbError::DuplicateBatch`] nothing was
    /// committed. A failed expectation is not an error but [`Outcome::Refused`].
    pub async fn commit(&self, batch: Batch) -> Result<Outcome, DbError> {
        check_text(batch.params())?;
        match self {
            Self::Sqlite(engine) => engine.commit(batch).await,
            Self::Postgres(engine) => engine.commit(batch).await,
        }
    }

    /// The database server's clock, to compare with this node's.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn now(&self) -> Result<Timestamp, DbError> {
        let mut rows = self.query_ahead(&NOW, Vec::new()).await?;
        let row = rows.pop().ok_or(DbError::NotOneRow { found: 0 })?;
        row.timestamp(0)
    }

    /// Writes a copy of an SQLite database as it is at one moment, while it is in use, to a file that does not exist
    /// yet (mode 0600). Commits go on meanwhile and are not in the copy.
    ///
    /// # Errors
    /// [`DbError::NotCopied`] on PostgreSQL, which has its own tools for this; [`DbError::Unavailable`] if the file
    /// exists or cannot be written.
    pub async fn copy_to(&self, path: &std::path::Path) -> Result<(), DbError> {
        match self {
            Self::Sqlite(engine) => engine.copy_to(path).await,
            Self::Postgres(_) => Err(DbError::NotCopied),
        }
    }

    /// How many batches wait for the writer. PostgreSQL has no queue here: always 0.
    pub fn waiting_batches(&self) -> usize {
        match self {
            Self::Sqlite(engine) => engine.waiting_batches(),
            Self::Postgres(_) => 0,
        }
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Applies the migrations that are missing, in order, each in a transaction of its own. Only one node
    /// does so at a time.
    ///
    /// # Errors
    /// [`DbError::Migration`] if an applied migration is unknown here, was changed, or fails.
    pub async fn migrate(&self, migrations: &'static [Migration]) -> Result<(), DbError> {
        match self {
            Self::Sqlite(engine) => engine.migrate(migrations).await,
            Self::Postgres(engine) => engine.migrate(migrations).await,
        }
    }

    /// The migrations that [`Db::migrate`] would apply.
    ///
    /// # Errors
    /// As [`Db::migrate`], but nothing is changed.
    pub async fn pending(
        &self,
        migrations: &'static [Migration],
    ) -> Result<Vec<&'static Migration>, DbError> {
        let tables = self.query_one(&migrate::TABLE_EXISTS, Vec::new()).await?;
        let applied = if tables.integer(0)? == 0 {
            Vec::new()
        } else {
            self.query(&migrate::APPLIED, Vec::new()).await?
        };
        migrate::plan(migrations, &applied, self.engine())
    }

    /// Prepares every query on the engine, to prove that its text is valid there. For the test that checks
    /// the registry of all queries.
    ///
    /// # Errors
    /// [`DbError::Driver`] with the text of the first query that the engine refuses.
    pub async fn prepare_all(&self, queries: &[&Sql]) -> Result<(), DbError> {
        match self {
            Self::Sqlite(engine) => {
                let texts = queries.iter().map(|sql| sql.sqlite).collect();
                engine.prepare_all(texts).await
            }
            Self::Postgres(engine) => {
                let texts: Vec<_> = queries.iter().map(|sql| sql.postgres).collect();
                engine.prepare_all(&texts).await
            }
        }
    }

    /// Forgets the ids of batches that were made before this moment; returns how many. Afterwards the
    /// outcome of those batches cannot be looked up any more. Does nothing on SQLite, which keeps none.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn prune_batches(&self, before: Timestamp) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(_) => Ok(0),
            Self::Postgres(engine) => engine.prune_batches(before).await,
        }
    }

    /// Finishes what was accepted, then closes files and connections. Later calls on any clone answer
    /// [`DbError::Unavailable`].
    pub async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close(),
        }
    }
}

/// One rule for both engines: PostgreSQL's text has no U+0000.
fn check_text<'a>(mut params: impl Iterator<Item = &'a Value>) -> Result<(), DbError> {
    let holds_nul = |value: &Value| matches!(value, Value::Text(text) if text.contains('\0'));
    if params.any(holds_nul) {
        return Err(DbError::TextWithNul);
    }
    Ok(())
}

const NOW: Sql = Sql::pair(
    "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
);
