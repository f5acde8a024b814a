//! What PostgreSQL's `SQLSTATE` codes mean to us.

use super::super::error::DbError;
pub(super) use super::super::options::describe;
use tokio_postgres::error::{Severity, SqlState};

/// Turns an error of the driver into ours. The label names the statement.
pub(super) fn classify(error: &tokio_postgres::Error, label: &'static str) -> DbError {
    let reason = describe(error);
    let Some(code) = error.code() else {
        return if is_lost(error) {
            DbError::unavailable(reason)
        } else {
            DbError::driver(label, reason)
        };
    };
    if is_stale_plan(error) || CONTENTION.contains(code) {
        return DbError::Contended { reason };
    }
    if *code == SqlState::QUERY_CANCELED {
        return DbError::timed_out(reason);
    }
    if is_lost(error) || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return DbError::unavailable(reason);
    }
    match code.code().get(..2) {
        Some("23") => DbError::Constraint { label, reason },
        Some("XX") if *code != SqlState::INTERNAL_ERROR => DbError::corrupt(reason),
        Some("08" | "57") => DbError::unavailable(reason),
        Some(_) | None if *code == SqlState::DISK_FULL => DbError::Full { reason },
        Some("53") => DbError::unavailable(reason),
        Some(_) | None => DbError::driver(label, reason),
    }
}

/// Whether the connection is gone, so that nothing is known about what was sent last.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    if let Some(refusal) = error.as_db_error() {
        return matches!(refusal.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    }
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// Whether a statement failed because of a unique index or a primary key.
pub(super) fn is_uniqueness(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Whether a prepared statement no longer fits a table that was changed meanwhile.
fn is_stale_plan(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        && error
            .as_db_error()
            .is_some_and(|refusal| refusal.message().contains("cached plan"))
}

const CONTENTION: [SqlState; 3] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
];
