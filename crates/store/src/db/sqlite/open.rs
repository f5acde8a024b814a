//! Opening an SQLite file: exclusive ownership, file mode, and the settings of each connection.

use super::super::error::DbError;
use super::super::options::Options;
use super::code::classify;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use tokio::sync::mpsc;

/// The right to use the file, held by every thread that has it open; given up when the last is gone.
pub(super) struct Owner {
    path: PathBuf,
    // INVARIANT: the lock is released before `_alive` ends, for whoever waits for that may open the file again.
    lock: File,
    _alive: mpsc::Sender<()>,
}

impl Owner {
    /// Takes the file, creating it with mode 0600 if there is none.
    ///
    /// SECURITY: the operating system's lock is taken on a file beside the database, before the database is
    /// opened: closing any descriptor of the database would drop the locks that SQLite holds on it in this
    /// process.
    pub(super) fn of(path: &Path, alive: mpsc::Sender<()>) -> Result<Self, DbError> {
        let path = resolve(path).map_err(|error| cannot_open(path, &error))?;
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock = private_file()
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| cannot_open(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.display().to_string();
                return Err(DbError::Locked { path });
            }
            Err(TryLockError::Error(error)) => return Err(cannot_open(&path, &error)),
        }
        match private_file().create_new(true).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_open(&path, &error)),
        }
        Ok(Self {
            path,
            lock,
            _alive: alive,
        })
    }

    /// The file, with links resolved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Owner {
    /// A program that is being started meanwhile holds a copy of every descriptor until it runs: closing ours alone
    /// would leave the file locked for that moment.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the database could not be given up");
        }
    }
}

/// The connection that writes. `wake` is told after a commit that left a long write-ahead log.
pub(super) fn writer(path: &Path, options: &Options, wake: SyncSender<()>) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = open(path, flags, options)?;
    write_settings(&connection, options).map_err(|error| settings(&error))?;
    let threshold = options.checkpoint_pages;
    connection
        .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            if u32::try_from(pages).is_ok_and(|pages| pages >= threshold) {
                // Full means that a checkpoint is already asked for; disconnected means shutdown.
                wake.try_send(()).ok();
            }
            Ok(())
        }))
        .map_err(|error| settings(&error))?;
    Ok(connection)
}

/// A connection that can only read.
pub(super) fn reader(path: &Path, options: &Options) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, options)
}

/// The connection that moves the write-ahead log into the file.
pub(super) fn checkpointer(path: &Path, options: &Options) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags, options)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(|error| settings(&error))?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags, options: &Options) -> Result<Connection, DbError> {
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| DbError::unavailable(format!("cannot open `{}`: {error}", path.display())))?;
    shared_settings(&connection, options).map_err(|error| settings(&error))?;
    Ok(connection)
}

fn shared_settings(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout.as_std())?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // One plan for a text, whatever is bound to it: otherwise some are planned anew each time they run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn write_settings(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode.eq_ignore_ascii_case("wal") {
            Ok(())
        } else {
            Err(rusqlite::Error::InvalidQuery)
        }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT, |_| Ok(()))?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    Ok(())
}

fn settings(error: &rusqlite::Error) -> DbError {
    classify(error, "open")
}

/// The path with its links resolved, whether the file exists or not.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    Ok(folder.canonicalize()?.join(name))
}

pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn cannot_open(path: &Path, error: &io::Error) -> DbError {
    DbError::unavailable(format!("cannot open `{}`: {error}", path.display()))
}

/// More than all queries of the product, so that each is parsed once per connection.
const STATEMENT_CACHE: usize = 1024;

/// The log's file shrinks to this many bytes when the log starts over.
const LOG_KEPT: i64 = 16 * 1024 * 1024;
/// Pages of the writer in memory: what its guards look up among a million agents.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
