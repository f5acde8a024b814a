//! What can go wrong between the product and its database.

use super::migrate::MigrationError;

/// Why the database did not answer, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached, does not answer in time, or this node was taken out of service
    /// after a failed write to disk. Nothing of the call was committed.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What is known about it.
        reason: String,
    },
    /// A statement ran, or its answer took, longer than allowed. Nothing of the call was committed.
    #[error("the database took too long: {reason}")]
    TimedOut {
        /// What took too long.
        reason: String,
    },
    /// The queue in front of the database, or its connection pool, is full. Nothing was done.
    #[error("the database is overloaded: {queue} is full")]
    Overloaded {
        /// Which queue.
        queue: &'static str,
    },
    /// It cannot be known whether the batch was committed.
    #[error("the outcome of a commit is unknown: {reason}")]
    UnknownOutcome {
        /// What interrupted it.
        reason: String,
    },
    /// A batch with this id was committed before.
    #[error("a batch with this id was already committed")]
    DuplicateBatch,
    /// Concurrent work got in the way more often than the bounded retries allow.
    #[error("too much contention: {reason}")]
    Contended {
        /// The engine's last words.
        reason: String,
    },
    /// A statement broke a constraint that its batch did not expect to be broken.
    #[error("constraint broken by `{label}`: {reason}")]
    Constraint {
        /// The label of the statement; `commit` for a constraint that is checked at the end.
        label: &'static str,
        /// The engine's words.
        reason: String,
    },
    /// A row holds what cannot be, or the engine reports a damaged database.
    #[error("the database is corrupt: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// The disk (or the configured largest size) is full. Nothing of the call was committed.
    #[error("the database is full: {reason}")]
    Full {
        /// The engine's words.
        reason: String,
    },
    /// The SQLite file is in use by another opener.
    #[error("the database `{path}` is in use by another process")]
    Locked {
        /// The file.
        path: String,
    },
    /// The database address cannot be used.
    #[error("invalid database address: {reason}")]
    InvalidUrl {
        /// What is wrong with it. Never contains the address, which may hold a password.
        reason: String,
    },
    /// PostgreSQL is copied by its own tools.
    #[error("PostgreSQL is backed up with its own tools: pg_dump, or a base backup with its write-ahead log")]
    NotCopied,
    /// More rows than one, or none, where exactly one was asked for.
    #[error("expected one row, found {found}")]
    NotOneRow {
        /// How many there were.
        found: usize,
    },
    /// Bringing the schema up to date failed.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// A text holds U+0000, which PostgreSQL cannot store. Refused on either engine, before anything is done.
    #[error("text with U+0000 cannot be stored")]
    TextWithNul,
    /// The engine refused a statement: a defect in its text or its parameters.
    #[error("the database refused `{label}`: {reason}")]
    Driver {
        /// The label of the statement, or its text where it has none.
        label: String,
        /// The engine's words.
        reason: String,
    },
}

impl DbError {
    /// Whether the same call may succeed a moment later. [`DbError::UnknownOutcome`] is not retryable:
    /// the batch may have been committed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::TimedOut { .. }
                | Self::Overloaded { .. }
                | Self::Contended { .. }
        )
    }

    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt {
            reason: reason.into(),
        }
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    pub(crate) fn timed_out(reason: impl Into<String>) -> Self {
        Self::TimedOut {
            reason: reason.into(),
        }
    }

    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self::UnknownOutcome {
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid_url(reason: impl Into<String>) -> Self {
        Self::InvalidUrl {
            reason: reason.into(),
        }
    }

    pub(crate) fn driver(label: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Driver {
            label: label.into(),
            reason: reason.into(),
        }
    }
}
