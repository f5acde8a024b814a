//! Sign-ins that have begun at an outside issuer, each to be finished once.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::{IssuerId, TenantId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::{Timestamp, Ttl};

/// A sign-in that has begun.
#[derive(Clone, Debug)]
pub struct BegunSignIn {
    /// The digest of its `state`.
    pub state: TokenDigest,
    /// Where.
    pub issuer: IssuerId,
    /// The digest of the secret of the browser that began it.
    pub browser: TokenDigest,
    /// The path of ours that it leads back to.
    pub return_to: String,
    /// How long ago the person may have proved who they are.
    pub max_age: Option<Ttl>,
    /// Until when it may be finished.
    pub expires_at: Timestamp,
}

/// The label of a sign-in that cannot be finished: unknown, over, or finished before.
pub const OVER: &str = "sign_in";

/// Stores one.
pub fn insert(tenant: TenantId, begun: &BegunSignIn) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(begun.state.as_bytes()),
        Value::id(begun.issuer),
        Value::from(begun.browser.as_bytes()),
        Value::from(begun.return_to.as_str()),
        Value::from(begun.max_age.map(Ttl::as_micros)),
        Value::from(begun.expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), OVER)
}

/// The one with this state that has not been finished.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    state: &TokenDigest,
    now: Timestamp,
) -> Result<Option<BegunSignIn>, DbError> {
    let params = vec![Value::id(tenant), Value::from(state.as_bytes()), Value::from(now)];
    let Some(row) = db.query_optional(&FIND, params).await? else {
        return Ok(None);
    };
    let browser: [u8; 32] = row
        .blob(1)?
        .try_into()
        .map_err(|_| crate::record::corrupt("a digest is not 32 bytes"))?;
    let max_age = row
        .optional_integer(3)?
        .and_then(|micros| u64::try_from(micros).ok());
    Ok(Some(BegunSignIn {
        state: *state,
        issuer: row.id(0)?,
        browser: TokenDigest::new(browser),
        return_to: row.text(2)?,
        max_age: max_age.map(|micros| Ttl::from_seconds(micros / 1_000_000)),
        expires_at: row.timestamp(4)?,
    }))
}

/// Finishes one. Fails with [`OVER`] unless it is the first to.
pub fn finish(tenant: TenantId, state: &TokenDigest, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::from(state.as_bytes()), Value::from(now)];
    Statement::new(&FINISH, params, Expect::Rows(1), OVER)
}

/// Forgets those that are over.
pub fn prune(now: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(now)], Expect::Any, "prune")
}

const INSERT: Sql = Sql::same(
    "INSERT INTO sign_ins (tenant, state, issuer, browser, return_to, max_age, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
);
const FIND: Sql = Sql::same(
    "SELECT issuer, browser, return_to, max_age, expires_at FROM sign_ins
     WHERE tenant = ?1 AND state = ?2 AND used_at IS NULL AND expires_at > ?3",
);
const FINISH: Sql = Sql::same(
    "UPDATE sign_ins SET used_at = ?3 WHERE tenant = ?1 AND state = ?2 AND used_at IS NULL AND expires_at > ?3",
);
const PRUNE: Sql = Sql::same("DELETE FROM sign_ins WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &FIND, &FINISH, &PRUNE];
