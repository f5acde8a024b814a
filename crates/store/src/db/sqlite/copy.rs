//! A copy of the database as it is at one moment, by SQLite's online backup: one read transaction over all pages, so
//! that the copy is whole and the writer goes on. What is committed meanwhile is not in it.

use super::super::error::DbError;
use super::code::classify;
use super::open::private_file;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Copies a database to a file that does not exist yet, and sees that the copy is on the disk.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), DbError> {
    // SECURITY: the file is private from its first byte, and never somebody else's.
    let file = private_file()
        .create_new(true)
        .open(to)
        .map_err(|error| DbError::unavailable(format!("cannot make `{}`: {error}", to.display())))?;
    let copied = pages(from, to).map_err(|error| classify(&error, "copy"));
    if let Err(error) = copied {
        // What is left is no copy.
        std::fs::remove_file(to).ok();
        return Err(error);
    }
    file.sync_all()
        .map_err(|error| DbError::unavailable(format!("cannot write `{}`: {error}", to.display())))
}

fn pages(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let source = Connection::open_with_flags(
        from,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    source.busy_timeout(PATIENCE)?;
    let mut target = Connection::open_with_flags(
        to,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let backup = Backup::new(&source, &mut target)?;
    // All pages in one step: between steps a commit would make the copy start over.
    if backup.step(-1)? == StepResult::Done {
        Ok(())
    } else {
        Err(rusqlite::Error::InvalidQuery)
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
