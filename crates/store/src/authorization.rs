//! Authorization requests that wait for an answer, each answered once; and the codes that answers gave, each redeemed
//! once (RFC 6749 §4.1.2). What was asked and agreed to is JSON that the use cases read.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::{AuthorizationRequestId, SessionId, TenantId, TokenFamilyId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

/// The label of a request that was answered before, or is over.
pub const ANSWERED: &str = "answered";
/// The label of a code that was redeemed before, or is over.
pub const REDEEMED: &str = "redeemed";

/// Stores a request of a session.
pub fn insert_request(
    tenant: TenantId,
    (id, session): (AuthorizationRequestId, SessionId),
    request: &str,
    expires_at: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::id(session),
        Value::from(request),
        Value::from(expires_at),
    ];
    Statement::new(&INSERT_REQUEST, params, Expect::Rows(1), "request")
}

/// What a session was asked, if it waits for an answer.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_request(
    db: &Db,
    tenant: TenantId,
    (id, session): (AuthorizationRequestId, SessionId),
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::id(session),
        Value::from(now),
    ];
    let row = db.query_optional(&FIND_REQUEST, params).await?;
    row.map(|row| row.text(0)).transpose()
}

/// Answers a request. Fails with [`ANSWERED`] unless it is the first answer, in time and in its session.
pub fn answer_request(
    tenant: TenantId,
    (id, session): (AuthorizationRequestId, SessionId),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::id(session),
        Value::from(now),
    ];
    Statement::new(&ANSWER_REQUEST, params, Expect::Rows(1), ANSWERED)
}

/// A code.
#[derive(Clone, Debug)]
pub struct StoredCode {
    /// The id that everything issued on it gets.
    pub family: TokenFamilyId,
    /// What was agreed to.
    pub content: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was redeemed.
    pub is_redeemed: bool,
}

/// Stores a code by its digest.
pub fn insert_code(
    tenant: TenantId,
    digest: &TokenDigest,
    (family, content): (TokenFamilyId, &str),
    expires_at: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::id(family),
        Value::from(content),
        Value::from(expires_at),
    ];
    Statement::new(&INSERT_CODE, params, Expect::Rows(1), "code")
}

/// The code with this digest, redeemed or not.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_code(
    db: &Db,
    tenant: TenantId,
    digest: &TokenDigest,
) -> Result<Option<StoredCode>, DbError> {
    let params = vec![Value::id(tenant), Value::from(digest.as_bytes())];
    let Some(row) = db.query_optional(&FIND_CODE, params).await? else {
        return Ok(None);
    };
    Ok(Some(StoredCode {
        family: row.id(0)?,
        content: row.text(1)?,
        expires_at: row.timestamp(2)?,
        is_redeemed: row.optional_timestamp(3)?.is_some(),
    }))
}

/// Redeems a code. Fails with [`REDEEMED`] unless it is the first time, in time.
pub fn redeem_code(tenant: TenantId, digest: &TokenDigest, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::from(now),
    ];
    Statement::new(&REDEEM_CODE, params, Expect::Rows(1), REDEEMED)
}

/// Ends a family that is in use: its generation rises. Does nothing to one that has ended, or was never begun.
pub fn end_family(tenant: TenantId, family: TokenFamilyId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(family), Value::from(now)];
    Statement::new(&END_FAMILY, params, Expect::AtMost(1), "family")
}

/// Forgets what is over. A code is remembered for a day, so that a second use of it is known as one.
pub fn prune(now: Timestamp, codes_before: Timestamp) -> [Statement; 2] {
    let statement = |sql, at: Timestamp| Statement::new(sql, vec![Value::from(at)], Expect::Any, "prune");
    [
        statement(&PRUNE_REQUESTS, now),
        statement(&PRUNE_CODES, codes_before),
    ]
}

const INSERT_REQUEST: Sql = Sql::same(
    "INSERT INTO authorization_requests (tenant, id, session, request, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const FIND_REQUEST: Sql = Sql::same(
    "SELECT request FROM authorization_requests
     WHERE tenant = ?1 AND id = ?2 AND session = ?3 AND answered_at IS NULL AND expires_at > ?4",
);
const ANSWER_REQUEST: Sql = Sql::same(
    "UPDATE authorization_requests SET answered_at = ?4
     WHERE tenant = ?1 AND id = ?2 AND session = ?3 AND answered_at IS NULL AND expires_at > ?4",
);
const INSERT_CODE: Sql = Sql::same(
    "INSERT INTO authorization_codes (tenant, digest, family, content, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const FIND_CODE: Sql = Sql::same(
    "SELECT family, content, expires_at, used_at FROM authorization_codes WHERE tenant = ?1 AND digest = ?2",
);
const REDEEM_CODE: Sql = Sql::same(
    "UPDATE authorization_codes SET used_at = ?3 WHERE tenant = ?1 AND digest = ?2 AND used_at IS NULL AND expires_at > ?3",
);
const END_FAMILY: Sql = Sql::same(
    "UPDATE token_families SET state = 'retired', generation = generation + 1, version = version + 1, updated_at = ?3
     WHERE tenant = ?1 AND id = ?2 AND state <> 'retired'",
);
const PRUNE_REQUESTS: Sql = Sql::same("DELETE FROM authorization_requests WHERE expires_at < ?1");
const PRUNE_CODES: Sql = Sql::same("DELETE FROM authorization_codes WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[
    &INSERT_REQUEST,
    &FIND_REQUEST,
    &ANSWER_REQUEST,
    &INSERT_CODE,
    &FIND_CODE,
    &REDEEM_CODE,
    &END_FAMILY,
    &PRUNE_REQUESTS,
    &PRUNE_CODES,
];
