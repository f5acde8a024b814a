//! One-time codes that enrol an administrator.

use crate::db::{Expect, Sql, Statement, Value};
use chancery_core::id::TenantId;
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

/// Stores a code's digest.
pub fn insert(tenant: TenantId, digest: &TokenDigest, expires_at: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::from(expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "enrolment")
}

/// Uses a code. Fails with label `code` if it is unknown, used or over.
pub fn consume(tenant: TenantId, digest: &TokenDigest, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::from(now),
    ];
    Statement::new(&CONSUME, params, Expect::Rows(1), "code")
}

const INSERT: Sql = Sql::same("INSERT INTO enrolments (tenant, digest, expires_at) VALUES (?1, ?2, ?3)");
const CONSUME: Sql = Sql::same(
    "UPDATE enrolments SET used_at = ?3 WHERE tenant = ?1 AND digest = ?2 AND used_at IS NULL AND expires_at > ?3",
);

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &CONSUME];
