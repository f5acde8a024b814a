//! SQLite inside this process: one writer thread that commits many batches at once, reader threads with a
//! connection each, and a checkpoint thread off the commit path.
//!
//! All queues are bounded: what does not fit is refused at once rather than delayed without end.

mod checkpoint;
mod code;
mod copy;
mod known;
mod open;
mod reader;
mod writer;

use super::batch::{Batch, Outcome};
use super::error::DbError;
use super::migrate::Migration;
use super::options::Options;
use super::value::{Row, Value};
use open::Owner;
use reader::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{mpsc, oneshot};
use writer::{Job, Writer};

/// An SQLite file and the threads that serve it.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writes: mpsc::Sender<Job>,
    reads: mpsc::Sender<Read>,
    /// Reads that wait for no other: see [`Sqlite::query_ahead`].
    ahead: mpsc::Sender<Read>,
    health: Arc<Health>,
    closed: AtomicBool,
    /// Ends when the last thread has let go of the file.
    threads: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, DbError> {
        let (alive, threads) = mpsc::channel(1);
        let owner = Arc::new(Owner::of(path, alive)?);
        let path = owner.path().to_owned();
        let options = Arc::new(options);
        let health = Arc::new(Health::default());

        let (writes, write_queue) = mpsc::channel(options.write_queue.max(1));
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let connection = open::writer(&path, &options, wake)?;
        let checkpointer = open::checkpointer(&path, &options)?;
        let worker = Writer::new(connection, write_queue, Arc::clone(&options), Arc::clone(&health));
        spawn("chancery-db-writer", &owner, move || worker.run())?;
        let pages = options.checkpoint_pages;
        let checkpoint_health = Arc::clone(&health);
        spawn("chancery-db-checkpoint", &owner, move || {
            checkpoint::run(&checkpointer, &woken, pages, &checkpoint_health);
        })?;

        let (reads, read_queue) = mpsc::channel(options.read_queue.max(1));
        let read_queue = Arc::new(Mutex::new(read_queue));
        for _ in 0..options.readers.max(1) {
            let connection = open::reader(&path, &options)?;
            let queue = Arc::clone(&read_queue);
            spawn("chancery-db-reader", &owner, move || {
                reader::run(&connection, &queue);
            })?;
        }
        let (ahead, ahead_queue) = mpsc::channel(AHEAD);
        let connection = open::reader(&path, &options)?;
        spawn("chancery-db-ahead", &owner, move || {
            reader::run(&connection, &Mutex::new(ahead_queue));
        })?;

        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writes,
                reads,
                ahead,
                health,
                closed: AtomicBool::new(false),
                threads: tokio::sync::Mutex::new(threads),
            }),
        })
    }

    pub(crate) async fn query(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, DbError> {
        self.read(&self.inner.reads, sql, params).await
    }

    /// On a connection of its own, so that no number of slow reads holds it up.
    pub(crate) async fn query_ahead(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, DbError> {
        self.read(&self.inner.ahead, sql, params).await
    }

    async fn read(
        &self,
        queue: &mpsc::Sender<Read>,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, DbError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        queue
            .try_send(Read::Query { sql, params, reply })
            .map_err(|error| refused(&error, "the read queue"))?;
        answer.await.map_err(|_| stopped())?
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Outcome, DbError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        let batch = Box::new(batch);
        self.inner
            .writes
            .try_send(Job::Commit { batch, reply })
            .map_err(|error| refused(&error, "the write queue"))?;
        answer.await.map_err(|_| DbError::unknown("the writer stopped"))?
    }

    pub(crate) async fn migrate(&self, migrations: &'static [Migration]) -> Result<(), DbError> {
        self.ask(|reply| Job::Migrate { migrations, reply }).await
    }

    pub(crate) async fn prepare_all(&self, texts: Vec<&'static str>) -> Result<(), DbError> {
        self.ask(|reply| Job::Prepare { texts, reply }).await
    }

    /// On a connection and thread of its own; the writer is not held up.
    pub(crate) async fn copy_to(&self, to: &Path) -> Result<(), DbError> {
        self.check()?;
        let (from, to) = (self.inner.path.clone(), to.to_owned());
        tokio::task::spawn_blocking(move || copy::copy(&from, &to))
            .await
            .map_err(|_| DbError::unavailable("the copy was interrupted"))?
    }

    pub(crate) fn waiting_batches(&self) -> usize {
        self.inner.writes.max_capacity() - self.inner.writes.capacity()
    }

    pub(crate) async fn close(&self) {
        if !self.inner.closed.swap(true, Ordering::SeqCst) {
            let writer_is_gone = self.inner.writes.send(Job::Close).await.is_err();
            let readers_are_gone = self.inner.reads.send(Read::Close).await.is_err();
            let ahead_is_gone = self.inner.ahead.send(Read::Close).await.is_err();
            tracing::debug!(
                writer_is_gone,
                readers_are_gone,
                ahead_is_gone,
                "closing the database"
            );
        }
        // The channel carries nothing: it ends when every thread has dropped its end.
        while self.inner.threads.lock().await.recv().await.is_some() {}
    }

    async fn ask(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), DbError>>) -> Job,
    ) -> Result<(), DbError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        self.inner.writes.send(job(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    fn check(&self) -> Result<(), DbError> {
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(DbError::unavailable("it was closed"));
        }
        self.inner.health.check()
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Whether this node may still use the file. Set once and for all: after a failed write to disk nobody can
/// say what the disk holds, so only a restart, which reads it again, helps.
#[derive(Debug, Default)]
struct Health(OnceLock<String>);

impl Health {
    fn check(&self) -> Result<(), DbError> {
        match self.0.get() {
            None => Ok(()),
            Some(reason) => Err(DbError::unavailable(reason.clone())),
        }
    }

    fn take_out_of_service(&self, reason: &str) {
        let text = format!("this node is out of service until it is restarted: {reason}");
        if self.0.set(text).is_ok() {
            tracing::error!(reason, "the database is out of service");
        }
    }
}

fn spawn(name: &str, owner: &Arc<Owner>, work: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    let owner = Arc::clone(owner);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            work();
            drop(owner);
        })
        .map(drop)
        .map_err(|error| DbError::unavailable(format!("no thread for `{name}`: {error}")))
}

fn refused<T>(error: &mpsc::error::TrySendError<T>, queue: &'static str) -> DbError {
    match error {
        mpsc::error::TrySendError::Full(_) => DbError::Overloaded { queue },
        mpsc::error::TrySendError::Closed(_) => stopped(),
    }
}

fn stopped() -> DbError {
    DbError::unavailable("it was closed")
}

/// Reads that may wait for the connection of their own.
const AHEAD: usize = 64;
