//! The writer thread: takes what is queued, runs each batch in a savepoint of one transaction, commits all
//! at once, and only then tells anybody.
//!
//! A batch that fails is rolled back alone. If an error makes the whole transaction vanish, or the commit
//! itself fails, nothing of the group was committed and its batches run again one by one. If writing to the
//! disk fails, the node goes out of service: what the disk holds then is unknown until it is read again.

use super::super::Engine;
use super::super::batch::{Batch, Expect, Outcome, Statement};
use super::super::error::DbError;
use super::super::migrate::{self, Migration, MigrationError};
use super::super::options::{FaultAction, Options, Point};
use super::super::value::Value;
use super::Health;
use super::code::{classify, is_fatal, is_uniqueness};
use super::known::{Known, KnownGuards};
use super::reader::{bind, query};
use rusqlite::Connection;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What the writer is asked to do.
pub(super) enum Job {
    /// Commit a batch.
    Commit {
        batch: Box<Batch>,
        reply: oneshot::Sender<Result<Outcome, DbError>>,
    },
    /// Bring the schema up to date.
    Migrate {
        migrations: &'static [Migration],
        reply: oneshot::Sender<Result<(), DbError>>,
    },
    /// Prepare these texts, to prove them valid.
    Prepare {
        texts: Vec<&'static str>,
        reply: oneshot::Sender<Result<(), DbError>>,
    },
    /// Finish what is queued, then stop.
    Close,
}

/// The one connection that writes, and its queue.
pub(super) struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    options: Arc<Options>,
    health: Arc<Health>,
    known: KnownGuards,
}

type Reply = oneshot::Sender<Result<Outcome, DbError>>;

/// The first guard or statement whose expectation failed.
struct Failed {
    label: &'static str,
    guard: bool,
    position: usize,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        queue: mpsc::Receiver<Job>,
        options: Arc<Options>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            connection,
            queue,
            options,
            health,
            known: KnownGuards::default(),
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            // Whoever shares this core may have more to send; one sync then serves them all.
            std::thread::yield_now();
            self.handle(job);
        }
    }

    fn handle(&mut self, job: Job) {
        match job {
            Job::Commit { batch, reply } => {
                let (batches, replies, next) = self.drain(*batch, reply);
                let results = self.commit_group(&batches);
                for (reply, result) in replies.into_iter().zip(results) {
                    // Whoever stopped waiting cannot be told.
                    reply.send(result).ok();
                }
                if let Some(job) = next {
                    self.handle_other(job);
                }
            }
            Job::Migrate { .. } | Job::Prepare { .. } | Job::Close => self.handle_other(job),
        }
    }

    fn handle_other(&mut self, job: Job) {
        match job {
            Job::Commit { .. } => {}
            Job::Migrate { migrations, reply } => {
                reply.send(self.migrate(migrations)).ok();
            }
            Job::Prepare { texts, reply } => {
                reply.send(self.prepare(&texts)).ok();
            }
            Job::Close => self.queue.close(),
        }
    }

    /// Takes what is queued by now, up to the size of a group, or up to a job of another kind.
    fn drain(&mut self, batch: Batch, reply: Reply) -> (Vec<Batch>, Vec<Reply>, Option<Job>) {
        let mut batches = vec![batch];
        let mut replies = vec![reply];
        while batches.len() < self.options.group {
            match self.queue.try_recv() {
                Ok(Job::Commit { batch, reply }) => {
                    batches.push(*batch);
                    replies.push(reply);
                }
                Ok(other) => return (batches, replies, Some(other)),
                Err(_) => break,
            }
        }
        (batches, replies, None)
    }

    fn commit_group(&self, batches: &[Batch]) -> Vec<Result<Outcome, DbError>> {
        self.options.fault_at(Point::Group(batches.len()));
        match self.transaction(batches) {
            Ok(results) => results,
            Err(error) if batches.len() == 1 => vec![Err(error)],
            Err(error) => {
                tracing::warn!(%error, members = batches.len(), "a group was not committed");
                self.commit_singly(batches, &error)
            }
        }
    }

    /// After a group failed: runs each batch in a transaction of its own, unless that cannot help.
    fn commit_singly(&self, batches: &[Batch], error: &DbError) -> Vec<Result<Outcome, DbError>> {
        let alone = |batch| {
            if let DbError::UnknownOutcome { reason } = error {
                return Err(DbError::unknown(reason.clone()));
            }
            if let DbError::Contended { reason } = error {
                let reason = reason.clone();
                return Err(DbError::Contended { reason });
            }
            let results = self.transaction(std::slice::from_ref(batch))?;
            results.into_iter().next().unwrap_or_else(|| Err(lost()))
        };
        batches.iter().map(alone).collect()
    }

    /// Runs batches in one transaction. An error means that nothing was committed, except
    /// [`DbError::UnknownOutcome`].
    fn transaction(&self, batches: &[Batch]) -> Result<Vec<Result<Outcome, DbError>>, DbError> {
        let results = self.try_transaction(batches);
        if results.is_err() {
            self.known.forget_all();
        }
        results
    }

    fn try_transaction(&self, batches: &[Batch]) -> Result<Vec<Result<Outcome, DbError>>, DbError> {
        self.health.check()?;
        self.begin()?;
        let mut results = Vec::with_capacity(batches.len());
        for batch in batches {
            let result = self.member(batch);
            if let Err(error) = self.health.check() {
                self.roll_back();
                return Err(error);
            }
            // INVARIANT: a member's result counts only while the transaction that holds its changes exists.
            if self.connection.is_autocommit() {
                return match result {
                    // Refused and alone: there was nothing to commit.
                    Ok(outcome @ Outcome::Refused { recorded: false, .. }) if batches.len() == 1 => {
                        Ok(vec![Ok(outcome)])
                    }
                    Ok(_) => Err(lost()),
                    Err(error) => Err(error),
                };
            }
            results.push(result);
        }
        let began = self.options.stopwatch();
        self.commit()?;
        self.options.committed(batches.len(), began);
        Ok(results)
    }

    /// `BEGIN IMMEDIATE`, once more if another tool holds the file for longer than the busy timeout.
    fn begin(&self) -> Result<(), DbError> {
        match self.control("BEGIN IMMEDIATE") {
            Err(DbError::Contended { .. }) if self.options.retries > 0 => self.control("BEGIN IMMEDIATE"),
            result => result,
        }
    }

    fn commit(&self) -> Result<(), DbError> {
        if self.options.fault_at(Point::BeforeCommit) == FaultAction::Fail {
            self.roll_back();
            return Err(self.disk_failed("injected"));
        }
        if let Err(error) = self
            .connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
        {
            self.roll_back();
            if is_fatal(&error) {
                return Err(self.disk_failed(&error.to_string()));
            }
            return Err(classify(&error, "commit"));
        }
        match self.options.fault_at(Point::AfterCommit) {
            FaultAction::Continue => Ok(()),
            FaultAction::Fail => Err(self.disk_failed("injected")),
        }
    }

    fn disk_failed(&self, reason: &str) -> DbError {
        self.health
            .take_out_of_service(&format!("a commit could not be written: {reason}"));
        DbError::unknown(format!("writing to the disk failed: {reason}"))
    }

    /// Runs one batch. Whatever happens, its changes are either all in the transaction or none are, or the
    /// transaction is gone.
    fn member(&self, batch: &Batch) -> Result<Outcome, DbError> {
        if let [only] = batch.statements.as_slice()
            && batch.on_failure.is_empty()
        {
            return self.single(batch, only);
        }
        self.control("SAVEPOINT member")?;
        let outcome = self.attempt(batch).and_then(|failed| match failed {
            None => Ok(Outcome::Committed),
            Some(failed) => self.refuse(batch, &failed),
        });
        match outcome.and_then(|outcome| self.control("RELEASE member").map(|()| outcome)) {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    /// Runs a batch of one statement, which needs no savepoint: guards only read, and a statement that fails has
    /// changed nothing. One that did something else than was expected takes the transaction with it.
    fn single(&self, batch: &Batch, only: &Statement) -> Result<Outcome, DbError> {
        let refused = |label, guard, position| Outcome::Refused {
            label,
            guard,
            position,
            recorded: false,
        };
        if let Some((position, label)) = self.first_failed_guard(&batch.guards)? {
            return Ok(refused(label, true, position));
        }
        if !only.is_append {
            self.known.forget_all();
        }
        let before = self.connection.total_changes();
        if self.execute(only)? {
            return Ok(Outcome::Committed);
        }
        if self.connection.total_changes() == before {
            return Ok(refused(only.label, false, 0));
        }
        self.roll_back();
        Ok(refused(only.label, false, 0))
    }

    /// Runs guards and statements up to the first whose expectation fails.
    fn attempt(&self, batch: &Batch) -> Result<Option<Failed>, DbError> {
        if let Some((position, label)) = self.first_failed_guard(&batch.guards)? {
            return Ok(Some(Failed {
                label,
                guard: true,
                position,
            }));
        }
        let failed = self.first_failure(&batch.statements)?;
        Ok(failed.map(|(position, label)| Failed {
            label,
            guard: false,
            position,
        }))
    }

    fn first_failed_guard(&self, guards: &[Statement]) -> Result<Option<(usize, &'static str)>, DbError> {
        for (position, guard) in guards.iter().enumerate() {
            let known = Known::of(guard);
            if self.known.holds(&known) {
                continue;
            }
            if !self.execute(guard)? {
                return Ok(Some((position, guard.label)));
            }
            self.known.keep(known);
        }
        Ok(None)
    }

    fn first_failure(&self, statements: &[Statement]) -> Result<Option<(usize, &'static str)>, DbError> {
        for (position, statement) in statements.iter().enumerate() {
            if !statement.is_append {
                self.known.forget_all();
            }
            if !self.execute(statement)? {
                return Ok(Some((position, statement.label)));
            }
        }
        Ok(None)
    }

    /// Takes a refused batch back and runs what it named for this failure instead.
    fn refuse(&self, batch: &Batch, failed: &Failed) -> Result<Outcome, DbError> {
        let Failed {
            label,
            guard,
            position,
        } = *failed;
        self.known.forget_all();
        self.control("ROLLBACK TO member")?;
        let recorded = match batch.branch(label) {
            None => false,
            Some(statements) => self.first_failure(statements)?.is_none(),
        };
        if !recorded {
            self.known.forget_all();
            self.control("ROLLBACK TO member")?;
        }
        Ok(Outcome::Refused {
            label,
            guard,
            position,
            recorded,
        })
    }

    /// Runs one statement; returns whether its expectation was met.
    fn execute(&self, statement: &Statement) -> Result<bool, DbError> {
        if self.options.fault_at(Point::Statement(statement.label)) == FaultAction::Fail {
            self.roll_back();
            return Err(DbError::unavailable("injected"));
        }
        match self.rows(statement.sql.sqlite, &statement.params) {
            Ok(rows) => Ok(statement.expect.is_met_by(rows)),
            Err(error) => {
                let is_expected = statement.expect == Expect::Unique && is_uniqueness(&error);
                if is_expected && !self.connection.is_autocommit() {
                    return Ok(false);
                }
                self.note_fatal(&error);
                Err(classify(&error, statement.label))
            }
        }
    }

    /// How many rows a statement returned or, if it returns none by nature, affected.
    fn rows(&self, sql: &'static str, params: &[Value]) -> rusqlite::Result<u64> {
        let mut prepared = self.connection.prepare_cached(sql)?;
        bind(&mut prepared, params)?;
        if prepared.column_count() == 0 {
            return prepared
                .raw_execute()
                .map(|rows| u64::try_from(rows).unwrap_or(u64::MAX));
        }
        let mut count = 0;
        let mut rows = prepared.raw_query();
        while rows.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Takes the member's changes back. If even that fails, gives the whole transaction up.
    fn undo(&self) {
        self.known.forget_all();
        if self.connection.is_autocommit() {
            return;
        }
        let undone = self
            .control("ROLLBACK TO member")
            .and_then(|()| self.control("RELEASE member"));
        if undone.is_err() {
            self.roll_back();
        }
    }

    fn roll_back(&self) {
        self.known.forget_all();
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.control("ROLLBACK") {
            self.health
                .take_out_of_service(&format!("a transaction could not be rolled back: {error}"));
        }
    }

    fn control(&self, sql: &'static str) -> Result<(), DbError> {
        let done = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]));
        match done {
            Ok(_) => Ok(()),
            Err(error) => {
                self.note_fatal(&error);
                Err(classify(&error, sql))
            }
        }
    }

    fn note_fatal(&self, error: &rusqlite::Error) {
        if is_fatal(error) {
            self.health.take_out_of_service(&error.to_string());
        }
    }

    fn migrate(&self, migrations: &'static [Migration]) -> Result<(), DbError> {
        self.known.forget_all();
        self.health.check()?;
        self.rows(migrate::INFRASTRUCTURE.sqlite, &[])
            .map_err(|error| classify(&error, "migrate"))?;
        let applied = query(&self.connection, migrate::APPLIED.sqlite, &[])?;
        for migration in migrate::plan(migrations, &applied, Engine::Sqlite)? {
            self.begin()?;
            if let Err(error) = self.apply(migration) {
                self.roll_back();
                return Err(MigrationError::Failed {
                    number: migration.number,
                    name: migration.name,
                    reason: error.to_string(),
                }
                .into());
            }
            self.commit()?;
        }
        Ok(())
    }

    fn apply(&self, migration: &Migration) -> rusqlite::Result<()> {
        self.connection.execute_batch(&migration.text(Engine::Sqlite))?;
        let checksum = Value::Blob(migration.checksum(Engine::Sqlite));
        let record = [migration.number.into(), migration.name.into(), checksum];
        self.rows(migrate::RECORD.sqlite, &record).map(drop)
    }

    fn prepare(&self, texts: &[&'static str]) -> Result<(), DbError> {
        for text in texts {
            self.connection
                .prepare(text)
                .map_err(|error| classify(&error, text))?;
        }
        Ok(())
    }
}

fn lost() -> DbError {
    DbError::unavailable("the transaction was rolled back by the engine")
}
