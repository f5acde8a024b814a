//! What SQLite's result codes mean to us.

use super::super::error::DbError;
use rusqlite::ffi;

/// Turns an error of SQLite into ours. The label names the statement.
pub(super) fn classify(error: &rusqlite::Error, label: &'static str) -> DbError {
    let reason = error.to_string();
    let Some(code) = primary_code(error) else {
        return DbError::driver(label, reason);
    };
    match code {
        ffi::SQLITE_FULL => DbError::Full { reason },
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => DbError::Contended { reason },
        ffi::SQLITE_CONSTRAINT => DbError::Constraint { label, reason },
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => DbError::Corrupt { reason },
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_NOMEM | ffi::SQLITE_INTERRUPT => {
            DbError::Unavailable { reason }
        }
        _ => DbError::driver(label, reason),
    }
}

/// Whether a statement failed because of a unique index or a primary key.
pub(super) fn is_uniqueness(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code().is_some_and(|code| {
        [
            ffi::SQLITE_CONSTRAINT_UNIQUE,
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            ffi::SQLITE_CONSTRAINT_ROWID,
        ]
        .contains(&code)
    })
}

/// Whether nobody can say any more what the disk holds: the node must stop using it.
pub(super) fn is_fatal(error: &rusqlite::Error) -> bool {
    primary_code(error)
        .is_some_and(|code| [ffi::SQLITE_IOERR, ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB].contains(&code))
}

fn primary_code(error: &rusqlite::Error) -> Option<std::ffi::c_int> {
    error.sqlite_extended_error_code().map(|code| code & 0xff)
}
