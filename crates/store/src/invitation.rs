//! One-time codes with which a local person sets a password or registers a passkey.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{counter, number};
use chancery_core::id::{TenantId, UserId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

/// A code that can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInvitation {
    /// Whose it is.
    pub person: UserId,
    /// The person's generation when it was made.
    pub generation: u64,
}

/// The label of a code that cannot be used.
pub const SPENT: &str = "invitation";

/// Stores the digest of one.
pub fn insert(
    tenant: TenantId,
    digest: &TokenDigest,
    open: &OpenInvitation,
    expires_at: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::id(open.person),
        number(open.generation),
        Value::from(expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "invitation")
}

/// The one with this digest, if it can be used.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    digest: &TokenDigest,
    now: Timestamp,
) -> Result<Option<OpenInvitation>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::from(now),
    ];
    let Some(row) = db.query_optional(&FIND, params).await? else {
        return Ok(None);
    };
    Ok(Some(OpenInvitation {
        person: row.id(0)?,
        generation: counter(&row, 1)?,
    }))
}

/// Uses one. Fails with [`SPENT`] unless it is the first to.
pub fn spend(tenant: TenantId, digest: &TokenDigest, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(digest.as_bytes()),
        Value::from(now),
    ];
    Statement::new(&SPEND, params, Expect::Rows(1), SPENT)
}

/// Ends those of a person.
pub fn remove(tenant: TenantId, person: UserId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(person)];
    Statement::new(&REMOVE, params, Expect::Any, "invitation")
}

/// Forgets those that are over.
pub fn prune(now: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(now)], Expect::Any, "prune")
}

const INSERT: Sql = Sql::same(
    "INSERT INTO invitations (tenant, digest, person, generation, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const FIND: Sql = Sql::same(
    "SELECT person, generation FROM invitations
     WHERE tenant = ?1 AND digest = ?2 AND used_at IS NULL AND expires_at > ?3",
);
const SPEND: Sql = Sql::same(
    "UPDATE invitations SET used_at = ?3 WHERE tenant = ?1 AND digest = ?2 AND used_at IS NULL AND expires_at > ?3",
);
const REMOVE: Sql = Sql::same("DELETE FROM invitations WHERE tenant = ?1 AND person = ?2");
const PRUNE: Sql = Sql::same("DELETE FROM invitations WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &FIND, &SPEND, &REMOVE, &PRUNE];
