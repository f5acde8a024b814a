//! Schema migrations: forward only, numbered, embedded, checksummed.
//!
//! Here is what both engines share: the list, its checks and the texts. Each engine applies them under its
//! own lock: the writer thread of SQLite, an advisory lock of PostgreSQL.

use super::Engine;
use super::error::DbError;
use super::sql::{Sql, postgres_schema};
use super::value::Row;
use std::borrow::Cow;

/// One step of the schema. Its text may hold many statements and no parameters.
///
/// Write types as SQLite has them (`INTEGER`, `TEXT`, `BLOB`, `STRICT` tables); for PostgreSQL the words
/// `INTEGER`, `BLOB`, `INTEGER PRIMARY KEY AUTOINCREMENT`, `STRICT` and `WITHOUT ROWID` are rewritten or
/// dropped. Where that is not enough, give a pair of texts.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its place; numbers ascend.
    pub number: i64,
    /// What it does.
    pub name: &'static str,
    /// The statements.
    pub sql: Sql,
}

impl Migration {
    /// The text that this engine runs.
    pub(crate) fn text(&self, engine: Engine) -> Cow<'static, str> {
        match engine {
            Engine::Sqlite => Cow::Borrowed(self.sql.sqlite),
            Engine::Postgres => Cow::Owned(postgres_schema(self.sql.postgres)),
        }
    }

    /// SHA-256 of the source text for this engine.
    pub(crate) fn checksum(&self, engine: Engine) -> Vec<u8> {
        let source = match engine {
            Engine::Sqlite => self.sql.sqlite,
            Engine::Postgres => self.sql.postgres,
        };
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, source.as_bytes())
            .as_ref()
            .to_vec()
    }
}

/// Why the schema cannot be brought up to date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// The embedded list is not in ascending order.
    #[error("migration {number} is out of order in this program")]
    Unordered {
        /// The first that is out of order.
        number: i64,
    },
    /// The database has a migration that this program does not know: it belongs to a newer version.
    #[error("the database has migration {number} `{name}`, which this version does not know")]
    Newer {
        /// Its number.
        number: i64,
        /// Its name.
        name: String,
    },
    /// An applied migration was edited afterwards.
    #[error("migration {number} was changed after it was applied")]
    Changed {
        /// Its number.
        number: i64,
    },
    /// A migration that was never applied is older than one that was.
    #[error("migration {number} is missing although later ones were applied")]
    Skipped {
        /// Its number.
        number: i64,
    },
    /// The engine refused a migration; nothing of it remains.
    #[error("migration {number} `{name}` failed: {reason}")]
    Failed {
        /// Its number.
        number: i64,
        /// Its name.
        name: &'static str,
        /// The engine's words.
        reason: String,
    },
}

/// Compares the embedded list with what was applied; returns what is missing.
pub(crate) fn plan(
    migrations: &'static [Migration],
    applied: &[Row],
    engine: Engine,
) -> Result<Vec<&'static Migration>, DbError> {
    let mut previous = i64::MIN;
    for migration in migrations {
        if migration.number <= previous {
            let number = migration.number;
            return Err(MigrationError::Unordered { number }.into());
        }
        previous = migration.number;
    }

    let mut last = i64::MIN;
    for row in applied {
        let number = row.integer(0)?;
        let name = row.text(1)?;
        let known = migrations
            .iter()
            .find(|migration| migration.number == number)
            .ok_or(MigrationError::Newer { number, name })?;
        if known.checksum(engine) != row.blob(2)? {
            return Err(MigrationError::Changed { number }.into());
        }
        last = last.max(number);
    }

    let is_applied = |number| {
        applied
            .iter()
            .any(|row| row.integer(0).is_ok_and(|n| n == number))
    };
    let missing: Vec<_> = migrations
        .iter()
        .filter(|step| !is_applied(step.number))
        .collect();
    match missing.first() {
        Some(first) if first.number < last => Err(MigrationError::Skipped { number: first.number }.into()),
        Some(_) | None => Ok(missing),
    }
}

/// The tables that the engine layer itself needs, made before any migration.
pub(crate) const INFRASTRUCTURE: Sql = Sql::pair(
    "CREATE TABLE IF NOT EXISTS migrations (
       number INTEGER PRIMARY KEY,
       name TEXT NOT NULL,
       checksum BLOB NOT NULL,
       at INTEGER NOT NULL
     ) STRICT",
    "CREATE TABLE IF NOT EXISTS migrations (
       number BIGINT PRIMARY KEY,
       name TEXT NOT NULL,
       checksum BYTEA NOT NULL,
       at BIGINT NOT NULL
     );
     CREATE TABLE IF NOT EXISTS batches (
       id BYTEA PRIMARY KEY,
       at BIGINT NOT NULL
     );
     CREATE INDEX IF NOT EXISTS batches_at ON batches (at)",
);

pub(crate) const TABLE_EXISTS: Sql = Sql::pair(
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "SELECT CASE WHEN to_regclass('migrations') IS NULL THEN 0 ELSE 1 END",
);

pub(crate) const APPLIED: Sql = Sql::same("SELECT number, name, checksum FROM migrations ORDER BY number");

pub(crate) const RECORD: Sql = Sql::pair(
    "INSERT INTO migrations (number, name, checksum, at)
     VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER))",
    "INSERT INTO migrations (number, name, checksum, at)
     VALUES (?1, ?2, ?3, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT))",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::value::Value;

    static STEPS: [Migration; 2] = [
        Migration {
            number: 1,
            name: "first",
            sql: Sql::same("CREATE TABLE a (id BLOB)"),
        },
        Migration {
            number: 2,
            name: "second",
            sql: Sql::same("CREATE TABLE b (id BLOB)"),
        },
    ];

    fn row(number: i64, checksum: Vec<u8>) -> Row {
        Row::new(vec![number.into(), "x".into(), Value::Blob(checksum)])
    }

    fn plan_with(applied: &[Row]) -> Result<usize, DbError> {
        plan(&STEPS, applied, Engine::Sqlite).map(|missing| missing.len())
    }

    #[test]
    fn only_missing_steps_are_planned() {
        let first = row(1, STEPS[0].checksum(Engine::Sqlite));
        assert!(matches!(plan_with(&[]), Ok(2)));
        assert!(matches!(plan_with(&[first]), Ok(1)));
    }

    #[test]
    fn changed_newer_and_skipped_steps_are_refused() {
        let changed = plan_with(&[row(1, vec![0; 32])]);
        assert!(matches!(
            changed,
            Err(DbError::Migration(MigrationError::Changed { number: 1 }))
        ));
        let newer = plan_with(&[row(9, vec![])]);
        assert!(matches!(
            newer,
            Err(DbError::Migration(MigrationError::Newer { number: 9, .. }))
        ));
        let skipped = plan_with(&[row(2, STEPS[1].checksum(Engine::Sqlite))]);
        assert!(matches!(
            skipped,
            Err(DbError::Migration(MigrationError::Skipped { number: 1 }))
        ));
    }
}
