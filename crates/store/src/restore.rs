//! Restores of the database from a backup: what each began, and whether somebody has confirmed it.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::{counter, number};
use chancery_core::id::TenantId;
use chancery_core::time::Timestamp;

/// One restore of one tenant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The log generation that it began.
    pub log_generation: u64,
    /// The generation before, whose last known checkpoint its first leaf names.
    pub previous_generation: u64,
    /// When.
    pub time: Timestamp,
    /// When somebody confirmed that what was lost has been looked at.
    pub confirmed_at: Option<Timestamp>,
}

/// Every restore of a tenant's data, the oldest first.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn all(db: &Db, tenant: TenantId) -> Result<Vec<Restore>, DbError> {
    let rows = db.query(&ALL, vec![Value::id(tenant)]).await?;
    let read = |row: &Row| {
        Ok(Restore {
            log_generation: counter(row, 0)?,
            previous_generation: counter(row, 1)?,
            time: row.timestamp(2)?,
            confirmed_at: row.optional_timestamp(3)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Notes a restore.
pub fn insert(tenant: TenantId, restore: &Restore) -> Statement {
    let params = vec![
        Value::id(tenant),
        number(restore.log_generation),
        number(restore.previous_generation),
        Value::from(restore.time),
        Value::from(restore.confirmed_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "restore")
}

/// Confirms a restore. Fails with label `restore` if it was confirmed before.
pub fn confirm(tenant: TenantId, log_generation: u64, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), number(log_generation), Value::from(now)];
    Statement::new(&CONFIRM, params, Expect::Rows(1), "restore")
}

/// Forgets what belonged to nodes and moments before the restore: the feed, leases, and codes of enrolment.
pub fn forget() -> [Statement; 3] {
    let statement = |sql| Statement::new(sql, Vec::new(), Expect::Any, "forget");
    [
        statement(&FORGET_CHANGES),
        statement(&FORGET_LEASES),
        statement(&FORGET_ENROLMENTS),
    ]
}

const ALL: Sql = Sql::same(
    "SELECT log_generation, previous_generation, time, confirmed_at FROM restores WHERE tenant = ?1 ORDER BY log_generation",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO restores (tenant, log_generation, previous_generation, time, confirmed_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const CONFIRM: Sql = Sql::same(
    "UPDATE restores SET confirmed_at = ?3 WHERE tenant = ?1 AND log_generation = ?2 AND confirmed_at IS NULL",
);
const FORGET_CHANGES: Sql = Sql::same("DELETE FROM changes");
const FORGET_LEASES: Sql = Sql::same("DELETE FROM leases");
const FORGET_ENROLMENTS: Sql = Sql::same("DELETE FROM enrolments");

pub(crate) const QUERIES: &[&Sql] = &[
    &ALL,
    &INSERT,
    &CONFIRM,
    &FORGET_CHANGES,
    &FORGET_LEASES,
    &FORGET_ENROLMENTS,
];
