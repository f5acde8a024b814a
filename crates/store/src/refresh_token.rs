//! Refresh tokens: one line for each family. The present one by its digest, and the one before, which a client whose
//! reply was lost may send again for a moment.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{corrupt, counter, number};
use chancery_core::id::{TenantId, TokenFamilyId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

/// Where a family's line of refresh tokens stands.
#[derive(Clone, Debug)]
pub struct RefreshLine {
    /// Which one of the line is the present one.
    pub position: u64,
    /// Its digest.
    pub digest: TokenDigest,
    /// The digest of the one before.
    pub previous: Option<TokenDigest>,
    /// When the present one took its place.
    pub rotated_at: Timestamp,
    /// When the line ends.
    pub expires_at: Timestamp,
}

/// The label of a refresh token that is no longer the present one.
pub const ROTATED: &str = "rotated";

/// Begins a line.
pub fn insert(tenant: TenantId, family: TokenFamilyId, line: &RefreshLine) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(family),
        number(line.position),
        Value::from(line.digest.as_bytes()),
        Value::from(line.rotated_at),
        Value::from(line.expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "refresh_token")
}

/// The line of a family.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(db: &Db, tenant: TenantId, family: TokenFamilyId) -> Result<Option<RefreshLine>, DbError> {
    let params = vec![Value::id(tenant), Value::id(family)];
    let Some(row) = db.query_optional(&FIND, params).await? else {
        return Ok(None);
    };
    let digest = |bytes: Vec<u8>| {
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|_| corrupt("a digest is not 32 bytes"))?;
        Ok::<_, DbError>(TokenDigest::new(bytes))
    };
    Ok(Some(RefreshLine {
        position: counter(&row, 0)?,
        digest: digest(row.blob(1)?)?,
        previous: row.optional_blob(2)?.map(digest).transpose()?,
        rotated_at: row.timestamp(3)?,
        expires_at: row.timestamp(4)?,
    }))
}

/// Puts the successor in the place of exactly this token. Fails with [`ROTATED`] if it is not the present one.
pub fn rotate(
    tenant: TenantId,
    family: TokenFamilyId,
    (old, new): (&TokenDigest, &TokenDigest),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(family),
        Value::from(old.as_bytes()),
        Value::from(new.as_bytes()),
        Value::from(now),
    ];
    Statement::new(&ROTATE, params, Expect::Rows(1), ROTATED)
}

/// Forgets lines that are over.
pub fn prune(now: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(now)], Expect::Any, "prune")
}

const INSERT: Sql = Sql::same(
    "INSERT INTO refresh_tokens (tenant, family, position, digest, rotated_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
);
const FIND: Sql = Sql::same(
    "SELECT position, digest, previous, rotated_at, expires_at FROM refresh_tokens WHERE tenant = ?1 AND family = ?2",
);
const ROTATE: Sql = Sql::same(
    "UPDATE refresh_tokens SET position = position + 1, previous = digest, digest = ?4, rotated_at = ?5
     WHERE tenant = ?1 AND family = ?2 AND digest = ?3",
);
const PRUNE: Sql = Sql::same("DELETE FROM refresh_tokens WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &FIND, &ROTATE, &PRUNE];
