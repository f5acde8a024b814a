//! One transaction of a batch up to its commit: everything is sent at once, then the answers are read in
//! order. The first that is not as expected decides.

use super::super::batch::{Expect, Statement};
use super::super::error::DbError;
use super::super::options::{FaultAction, Point};
use super::codec::{Bound, check_count, references};
use super::{Postgres, code};
use chancery_core::id::{BatchId, Id};
use chancery_core::time::Timestamp;
use deadpool_postgres::Object;
use futures_util::future::{MaybeDone, maybe_done, try_join_all};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// The first guard or statement whose expectation failed.
#[derive(Clone, Copy)]
pub(super) struct Failed {
    pub(super) label: &'static str,
    /// Its place among the statements that were sent.
    pub(super) position: usize,
}

/// How the statements of a transaction went.
pub(super) enum Stage {
    /// Everything was as expected: commit.
    Passed,
    /// An expectation failed: roll back.
    Failed(Failed),
}

impl Postgres {
    /// Opens a transaction, records the batch's id and runs the statements, in one round trip.
    pub(super) async fn pipeline(
        &self,
        client: &Object,
        id: BatchId,
        statements: &[&Statement],
    ) -> Result<Stage, DbError> {
        let prepared = try_join_all(statements.iter().map(|statement| async {
            let text = self.text(statement.sql.postgres);
            let prepared = client.prepare_cached(&text).await;
            let prepared = prepared.map_err(|error| code::classify(&error, statement.label))?;
            check_count(&prepared, &statement.params, statement.label)?;
            Ok::<_, DbError>(prepared)
        }));
        let (insert, prepared) = futures_util::future::try_join(
            async {
                client
                    .prepare_cached(RECORD)
                    .await
                    .map_err(|error| code::classify(&error, "batch id"))
            },
            prepared,
        )
        .await?;

        let begin = Box::pin(async {
            client
                .batch_execute(BEGIN)
                .await
                .map(|()| 0)
                .map_err(Answer::from)
        });
        let record = Box::pin(async {
            let (bytes, at) = (id.as_bytes().as_slice(), made_at(id));
            client
                .execute(&insert, &[&bytes, &at])
                .await
                .map_err(Answer::from)
        });
        let mut sent: Vec<Sent<'_>> = vec![begin, record];
        for (statement, prepared) in statements.iter().zip(&prepared) {
            sent.push(Box::pin(self.send(client, statement, prepared)));
        }

        let mut answers = in_order(sent).await.into_iter();
        answer(answers.next(), "begin")?;
        match answers.next() {
            Some(Err(Answer::Driver(error))) if code::is_uniqueness(&error) => {
                return Err(DbError::DuplicateBatch);
            }
            recorded => answer(recorded, "batch id")?,
        };
        judge(statements, answers)
    }

    async fn send(
        &self,
        client: &Object,
        statement: &Statement,
        prepared: &tokio_postgres::Statement,
    ) -> Result<u64, Answer> {
        if self.inner.options.fault_at(Point::Statement(statement.label)) == FaultAction::Fail {
            return Err(Answer::Injected);
        }
        let bound: Vec<Bound<'_>> = statement.params.iter().map(Bound).collect();
        Ok(client.execute(prepared, &references(&bound)).await?)
    }

    /// Whether a batch was committed.
    ///
    /// INVARIANT: inserting the id again waits for a transaction that still holds it, so the answer is final:
    /// a commit that is still under way is waited for, not overlooked.
    pub(super) async fn was_committed(&self, id: BatchId) -> Result<bool, DbError> {
        let client = self.client().await?;
        let found = self.pipeline(&client, id, &[]).await;
        if client.batch_execute("ROLLBACK").await.is_err() {
            drop(Object::take(client));
        }
        match found {
            Ok(_) => Ok(false),
            Err(DbError::DuplicateBatch) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// A statement on its way: how many rows it returned or affected.
type Sent<'a> = Pin<Box<dyn Future<Output = Result<u64, Answer>> + Send + 'a>>;

/// Why a statement has no count of rows.
enum Answer {
    Driver(tokio_postgres::Error),
    /// The test hook cut the connection.
    Injected,
}

impl From<tokio_postgres::Error> for Answer {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

/// Reads the answers in order; after the first failure the rest says nothing.
fn judge(
    statements: &[&Statement],
    answers: impl Iterator<Item = Result<u64, Answer>>,
) -> Result<Stage, DbError> {
    for (position, (statement, result)) in statements.iter().zip(answers).enumerate() {
        let is_met = match result {
            Ok(rows) => statement.expect.is_met_by(rows),
            Err(Answer::Driver(error))
                if statement.expect == Expect::Unique && code::is_uniqueness(&error) =>
            {
                false
            }
            Err(failure) => answer(Some(Err(failure)), statement.label).map(|_| false)?,
        };
        if !is_met {
            let label = statement.label;
            return Ok(Stage::Failed(Failed { label, position }));
        }
    }
    Ok(Stage::Passed)
}

fn answer(result: Option<Result<u64, Answer>>, label: &'static str) -> Result<u64, DbError> {
    match result {
        Some(Ok(rows)) => Ok(rows),
        Some(Err(Answer::Driver(error))) => Err(code::classify(&error, label)),
        Some(Err(Answer::Injected)) | None => Err(DbError::unavailable("the connection was lost")),
    }
}

/// Runs futures at once and returns their results in order.
///
/// INVARIANT: each is polled for the first time, and so sends its message, in the order of the list.
async fn in_order<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<MaybeDone<F>>>> = futures
        .into_iter()
        .map(|future| Box::pin(maybe_done(future)))
        .collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for future in &mut futures {
            is_ready &= future.as_mut().poll(context).is_ready();
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures
        .iter_mut()
        .filter_map(|future| future.as_mut().take_output())
        .collect()
}

/// When a batch was made: the first 48 bits of its id are milliseconds (RFC 9562 §5.7).
fn made_at(id: BatchId) -> i64 {
    let millis = u128::from_be_bytes(*id.as_bytes()) >> 80;
    i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// The smallest id that a batch made at this moment can have.
pub(super) fn oldest_id(at: Timestamp) -> [u8; 16] {
    let millis = u128::try_from(at.as_micros() / 1_000).unwrap_or(0);
    (millis << 80).to_be_bytes()
}

/// Sessions are read-only by default; this transaction is not.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

const RECORD: &str = "INSERT INTO batches (id, at) VALUES ($1, $2)";
