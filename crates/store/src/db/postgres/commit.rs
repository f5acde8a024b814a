//! Committing a batch on PostgreSQL: run it, run it again after contention, and find out what became of a
//! commit whose answer was lost.

use super::super::batch::{Batch, Outcome, Statement};
use super::super::error::DbError;
use super::super::options::{FaultAction, Point};
use super::pipeline::{Failed, Stage};
use super::{LOST_RETRIES, NETWORK, Postgres, code};
use chancery_core::id::{BatchId, Id};
use deadpool_postgres::Object;
use std::time::Duration;

/// What to do after one try.
enum Try {
    /// It is decided.
    Done(Result<Outcome, DbError>),
    /// Nothing was committed, and the same batch may run again.
    Again(DbError),
}

impl Postgres {
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Outcome, DbError> {
        // A task of its own: a caller that stops waiting must not leave a transaction open on a connection.
        let engine = self.clone();
        tokio::spawn(async move { engine.commit_with_retries(&batch).await })
            .await
            .map_err(|_| DbError::unknown("the commit was interrupted"))?
    }

    async fn commit_with_retries(&self, batch: &Batch) -> Result<Outcome, DbError> {
        let mut attempt = 0;
        loop {
            let error = match self.run(batch).await {
                Try::Done(result) => return result,
                Try::Again(error) => error,
            };
            let mut limit = self.inner.options.retries;
            if matches!(error, DbError::Unavailable { .. }) {
                limit = limit.min(LOST_RETRIES);
            }
            if attempt >= limit {
                return Err(error);
            }
            tracing::debug!(%error, attempt, batch = %batch.id, "a batch runs again");
            tokio::time::sleep(pause(batch.id, attempt)).await;
            attempt += 1;
        }
    }

    async fn run(&self, batch: &Batch) -> Try {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return Try::Done(Err(error)),
        };
        self.inner.options.fault_at(Point::Group(1));

        let statements: Vec<&Statement> = batch.guards.iter().chain(&batch.statements).collect();
        let failed = match self.stage(&client, batch.id, &statements).await {
            Ok(Stage::Passed) => return self.finish(client, batch.id, Outcome::Committed).await,
            Ok(Stage::Failed(failed)) => failed,
            Err(error) => return give_up(client, error).await,
        };
        self.refuse(client, batch, failed).await
    }

    /// Takes a refused batch back and commits what it named for this failure instead.
    async fn refuse(&self, client: Object, batch: &Batch, failed: Failed) -> Try {
        let (guards, position) = (batch.guards.len(), failed.position);
        let refused = |recorded| Outcome::Refused {
            label: failed.label,
            guard: position < guards,
            position: position.checked_sub(guards).unwrap_or(position),
            recorded,
        };
        let Some(client) = roll_back(client).await else {
            // The connection broke after the answers: the server rolls back by itself.
            return match batch.branch(failed.label) {
                None => Try::Done(Ok(refused(false))),
                Some(_) => Try::Again(DbError::unavailable("the connection was lost")),
            };
        };
        let Some(statements) = batch.branch(failed.label) else {
            return Try::Done(Ok(refused(false)));
        };

        let statements: Vec<&Statement> = statements.iter().collect();
        match self.stage(&client, batch.id, &statements).await {
            Ok(Stage::Passed) => self.finish(client, batch.id, refused(true)).await,
            Ok(Stage::Failed(_)) => {
                roll_back(client).await;
                Try::Done(Ok(refused(false)))
            }
            Err(error) => give_up(client, error).await,
        }
    }

    /// Runs statements up to the commit, within the time that any answer may take.
    async fn stage(&self, client: &Object, id: BatchId, statements: &[&Statement]) -> Result<Stage, DbError> {
        tokio::time::timeout(self.patience(), self.pipeline(client, id, statements))
            .await
            .unwrap_or_else(|_| Err(DbError::timed_out("a batch was not answered")))
    }

    /// Asks for the commit. If the answer is lost, finds out what became of it.
    async fn finish(&self, client: Object, id: BatchId, outcome: Outcome) -> Try {
        let options = &self.inner.options;
        let mut reason = "the connection was lost".to_owned();
        if options.fault_at(Point::BeforeCommit) == FaultAction::Continue {
            let began = options.stopwatch();
            let answer = tokio::time::timeout(self.patience(), client.batch_execute("COMMIT")).await;
            options.committed(1, began);
            match answer {
                Ok(Ok(())) if options.fault_at(Point::AfterCommit) == FaultAction::Continue => {
                    return Try::Done(Ok(outcome));
                }
                Ok(Err(error)) if error.code().is_some() && !code::is_lost(&error) => {
                    return give_up(client, code::classify(&error, "commit")).await;
                }
                Ok(Err(error)) => reason = code::describe(&error),
                Ok(Ok(())) | Err(_) => {}
            }
        }
        drop(Object::take(client));
        self.resolve(id, outcome, reason).await
    }

    /// Looks the batch up before anything else is tried.
    async fn resolve(&self, id: BatchId, outcome: Outcome, reason: String) -> Try {
        tracing::warn!(batch = %id, reason, "the outcome of a commit is unknown; looking it up");
        for attempt in 0..LOOKUPS {
            match self.was_committed(id).await {
                Ok(true) => return Try::Done(Ok(outcome)),
                Ok(false) => return Try::Again(DbError::unavailable(reason)),
                Err(error) => tracing::warn!(batch = %id, %error, "a lookup failed"),
            }
            tokio::time::sleep(pause(id, attempt)).await;
        }
        Try::Done(Err(DbError::unknown(reason)))
    }
}

/// Ends a transaction that failed before its commit. Nothing of it was committed.
async fn give_up(client: Object, error: DbError) -> Try {
    if matches!(error, DbError::Contended { .. } | DbError::Unavailable { .. }) {
        // A new connection also has no plans that a changed table made stale.
        drop(Object::take(client));
        return Try::Again(error);
    }
    if matches!(error, DbError::TimedOut { .. }) {
        // Perhaps still busy with what was sent: not to be used again.
        drop(Object::take(client));
    } else {
        roll_back(client).await;
    }
    Try::Done(Err(error))
}

/// Rolls back; returns the connection if it is still good.
async fn roll_back(client: Object) -> Option<Object> {
    let answer = tokio::time::timeout(NETWORK.as_std(), client.batch_execute("ROLLBACK")).await;
    if matches!(answer, Ok(Ok(()))) {
        return Some(client);
    }
    drop(Object::take(client));
    None
}

/// Doubles with each attempt, spread by the random part of the id so that rivals do not meet again.
fn pause(id: BatchId, attempt: u32) -> Duration {
    let spread = id.as_bytes().last().copied().unwrap_or_default();
    let millis = (u64::from(spread) / 8 + 4) << attempt.min(7);
    Duration::from_millis(millis)
}

/// How often an unknown outcome is looked up.
const LOOKUPS: u32 = 8;
