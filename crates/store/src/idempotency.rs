//! Idempotency keys: the answer to a request that may be sent again.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::TenantId;
use chancery_core::time::Timestamp;

/// A stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of method, path and body of the request that it answers.
    pub request: Vec<u8>,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub response: String,
}

/// The answer that was given to this actor's request with this key.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    actor: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<Answer>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::from(actor),
        Value::from(key),
        Value::from(now),
    ];
    let Some(row) = db.query_optional(&FIND, params).await? else {
        return Ok(None);
    };
    let status = u16::try_from(row.integer(1)?).map_err(|_| crate::record::corrupt("a status is not one"))?;
    Ok(Some(Answer {
        request: row.blob(0)?,
        status,
        response: row.text(2)?,
    }))
}

/// Stores an answer in the batch that does the work. Fails with label `repeated` if the key was used
/// meanwhile.
pub fn insert(tenant: TenantId, actor: &str, key: &str, answer: &Answer, expires_at: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(actor),
        Value::from(key),
        Value::from(answer.request.as_slice()),
        Value::from(u32::from(answer.status)),
        Value::from(answer.response.as_str()),
        Value::from(expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Unique, "repeated")
}

/// Stores the answer to a request that was carried out.
pub fn complete(tenant: TenantId, actor: &str, key: &str, status: u16, response: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(actor),
        Value::from(key),
        Value::from(u32::from(status)),
        Value::from(response),
    ];
    Statement::new(&COMPLETE, params, Expect::Any, "complete")
}

/// Forgets answers that are over.
pub fn prune(now: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(now)], Expect::Any, "prune")
}

const FIND: Sql = Sql::same(
    "SELECT request, status, response FROM idempotency WHERE tenant = ?1 AND actor = ?2 AND key = ?3 AND expires_at > ?4",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO idempotency (tenant, actor, key, request, status, response, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
);
const COMPLETE: Sql = Sql::same(
    "UPDATE idempotency SET status = ?4, response = ?5 WHERE tenant = ?1 AND actor = ?2 AND key = ?3",
);
const PRUNE: Sql = Sql::same("DELETE FROM idempotency WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&FIND, &INSERT, &COMPLETE, &PRUNE];
