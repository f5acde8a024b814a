//! Rotating what seals: a tenant's key with everything sealed under it, and the root key. Each change names what it
//! replaces, so that two that run at once, or one that runs again, change nothing twice.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::key::RootRow;
use crate::record::counter;
use chancery_core::id::{ConnectedAccountId, TenantId};
use chancery_core::time::Timestamp;

/// A tenant's sealed keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantKeyRow {
    /// The present key.
    pub sealed: Vec<u8>,
    /// The one before, while something is sealed under it.
    pub previous: Option<Vec<u8>>,
    /// The MAC key of the one before, sealed under the present one.
    pub former_mac: Option<Vec<u8>>,
    /// When the present key came, if it is not the first.
    pub rotated_at: Option<Timestamp>,
}

/// Something sealed under a tenant's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedRow {
    /// The credential of an account.
    Credential(ConnectedAccountId, Vec<u8>),
    /// A private signing key.
    SigningKey(String, Vec<u8>),
}

impl SealedRow {
    /// What is sealed.
    pub fn sealed(&self) -> &[u8] {
        let (Self::Credential(_, sealed) | Self::SigningKey(_, sealed)) = self;
        sealed
    }
}

/// A tenant's sealed keys, if it has any.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_tenant_keys(db: &Db, tenant: TenantId) -> Result<Option<TenantKeyRow>, DbError> {
    let row = db.query_optional(&FIND, vec![Value::id(tenant)]).await?;
    let read = |row: Row| {
        Ok(TenantKeyRow {
            sealed: row.blob(0)?,
            previous: row.optional_blob(1)?,
            former_mac: row.optional_blob(2)?,
            rotated_at: row.optional_timestamp(3)?,
        })
    };
    row.map(read).transpose()
}

/// Puts a new key in the place of the present one, which becomes the one before. Fails with label [`ROTATION`] if the
/// present one is another, or a rotation runs.
pub fn begin(tenant: TenantId, old: &[u8], (new, former_mac): (&[u8], &[u8]), now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(old),
        Value::from(new),
        Value::from(former_mac),
        Value::from(now),
    ];
    Statement::new(&BEGIN, params, Expect::Rows(1), ROTATION)
}

/// What is sealed under the tenant key with this id, at most so much.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn sealed_under(
    db: &Db,
    tenant: TenantId,
    key: &[u8; 8],
    limit: u32,
) -> Result<Vec<SealedRow>, DbError> {
    let params = || vec![Value::id(tenant), Value::from(key), Value::from(limit)];
    let mut found = Vec::new();
    for row in db.query(&SIGNING_UNDER, params()).await? {
        found.push(SealedRow::SigningKey(row.text(0)?, row.blob(1)?));
    }
    for row in db.query(&CREDENTIALS_UNDER, params()).await? {
        found.push(SealedRow::Credential(row.id(0)?, row.blob(1)?));
    }
    Ok(found)
}

/// How many records are sealed under the tenant key with this id.
///
/// # Errors
/// The database fails.
pub async fn count_under(db: &Db, tenant: TenantId, key: &[u8; 8]) -> Result<u64, DbError> {
    let params = || vec![Value::id(tenant), Value::from(key)];
    let credentials = counter(&db.query_one(&COUNT_CREDENTIALS, params()).await?, 0)?;
    let signing = counter(&db.query_one(&COUNT_SIGNING, params()).await?, 0)?;
    Ok(credentials + signing)
}

/// Puts a record wrapped anew in the place of exactly what it was. Nothing happens if it was replaced meanwhile: what
/// replaced it is found by the next look.
pub fn replace(tenant: TenantId, old: &SealedRow, new: &[u8]) -> Statement {
    let (sql, name, old) = match old {
        SealedRow::Credential(account, old) => (&REPLACE_CREDENTIAL, Value::id(*account), old),
        SealedRow::SigningKey(kid, old) => (&REPLACE_SIGNING, Value::from(kid.as_str()), old),
    };
    let params = vec![
        Value::id(tenant),
        name,
        Value::from(old.as_slice()),
        Value::from(new),
    ];
    Statement::new(sql, params, Expect::AtMost(1), "rewrap")
}

/// Forgets the key before, if nothing is sealed under it. Fails with label [`ROTATION`] otherwise.
pub fn finish(tenant: TenantId, previous: &[u8], key: &[u8; 8]) -> Statement {
    let params = vec![Value::id(tenant), Value::from(previous), Value::from(key)];
    Statement::new(&FINISH, params, Expect::Rows(1), ROTATION)
}

/// Forgets the MAC key of the one before. Does nothing while a rotation runs.
pub fn forget_former_mac(tenant: TenantId, rotated_before: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::from(rotated_before)];
    Statement::new(&FORGET_MAC, params, Expect::AtMost(1), "former_mac")
}

/// Puts a tenant's keys, wrapped under another root key, in the place of exactly what they were. Fails with label
/// [`ROTATION`] if they changed.
pub fn replace_tenant_keys(tenant: TenantId, old: &TenantKeyRow, new: &TenantKeyRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(old.sealed.as_slice()),
        Value::from(new.sealed.as_slice()),
        Value::from(new.previous.clone()),
        Value::from(old.previous.clone()),
    ];
    Statement::new(&REPLACE_TENANT, params, Expect::Rows(1), ROTATION)
}

/// The tenants whose keys are wrapped under another root key than this.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn tenants_not_under(db: &Db, root: &[u8; 8]) -> Result<Vec<TenantId>, DbError> {
    let rows = db.query(&NOT_UNDER, vec![Value::from(root)]).await?;
    rows.iter().map(|row| row.id(0)).collect()
}

/// Writes the record of a new root key over that of the old, if every tenant's key is wrapped under the
/// new one. Fails with label [`ROTATION`] otherwise.
pub fn replace_root(old: &str, new: &RootRow, key: &[u8; 8]) -> Statement {
    let mut params = new.params();
    params.extend([Value::from(old), Value::from(key)]);
    Statement::new(&REPLACE_ROOT, params, Expect::Rows(1), ROTATION)
}

/// Asserts that a root key is the recorded one: a tenant is not made under a key that was just replaced.
pub fn assert_root(id: &str) -> Statement {
    Statement::new(&ASSERT_ROOT, vec![Value::from(id)], Expect::Rows(1), "root")
}

/// Asserts that a tenant's key is the present one: nothing is sealed under a key that is being replaced.
pub fn assert_tenant_key(tenant: TenantId, sealed: &[u8]) -> Statement {
    Statement::new(
        &ASSERT_TENANT,
        vec![Value::id(tenant), Value::from(sealed)],
        Expect::Rows(1),
        ROTATION,
    )
}

/// The label of a rotation that somebody else has moved on.
pub const ROTATION: &str = "rotation";

const FIND: Sql =
    Sql::same("SELECT sealed, previous, former_mac, rotated_at FROM tenant_keys WHERE tenant = ?1");
const BEGIN: Sql = Sql::same(
    "UPDATE tenant_keys SET sealed = ?3, previous = ?2, former_mac = ?4, rotated_at = ?5
     WHERE tenant = ?1 AND sealed = ?2 AND previous IS NULL",
);
// The id of the key stands in the bytes 2 to 9 of what is sealed.
const CREDENTIALS_UNDER: Sql = Sql::pair(
    "SELECT account, sealed FROM credentials WHERE tenant = ?1 AND substr(sealed, 2, 8) = ?2 LIMIT ?3",
    "SELECT account, sealed FROM credentials WHERE tenant = ?1 AND substring(sealed FROM 2 FOR 8) = ?2 LIMIT ?3",
);
const SIGNING_UNDER: Sql = Sql::pair(
    "SELECT kid, sealed FROM signing_keys WHERE tenant = ?1 AND substr(sealed, 2, 8) = ?2 LIMIT ?3",
    "SELECT kid, sealed FROM signing_keys WHERE tenant = ?1 AND substring(sealed FROM 2 FOR 8) = ?2 LIMIT ?3",
);
const COUNT_CREDENTIALS: Sql = Sql::pair(
    "SELECT COUNT(*) FROM credentials WHERE tenant = ?1 AND substr(sealed, 2, 8) = ?2",
    "SELECT COUNT(*) FROM credentials WHERE tenant = ?1 AND substring(sealed FROM 2 FOR 8) = ?2",
);
const COUNT_SIGNING: Sql = Sql::pair(
    "SELECT COUNT(*) FROM signing_keys WHERE tenant = ?1 AND substr(sealed, 2, 8) = ?2",
    "SELECT COUNT(*) FROM signing_keys WHERE tenant = ?1 AND substring(sealed FROM 2 FOR 8) = ?2",
);
const REPLACE_CREDENTIAL: Sql =
    Sql::same("UPDATE credentials SET sealed = ?4 WHERE tenant = ?1 AND account = ?2 AND sealed = ?3");
const REPLACE_SIGNING: Sql =
    Sql::same("UPDATE signing_keys SET sealed = ?4 WHERE tenant = ?1 AND kid = ?2 AND sealed = ?3");
const FINISH: Sql = Sql::pair(
    "UPDATE tenant_keys SET previous = NULL WHERE tenant = ?1 AND previous = ?2
       AND NOT EXISTS (SELECT 1 FROM credentials AS c WHERE c.tenant = ?1 AND substr(c.sealed, 2, 8) = ?3)
       AND NOT EXISTS (SELECT 1 FROM signing_keys AS s WHERE s.tenant = ?1 AND substr(s.sealed, 2, 8) = ?3)",
    "UPDATE tenant_keys SET previous = NULL WHERE tenant = ?1 AND previous = ?2
       AND NOT EXISTS (SELECT 1 FROM credentials AS c WHERE c.tenant = ?1 AND substring(c.sealed FROM 2 FOR 8) = ?3)
       AND NOT EXISTS (SELECT 1 FROM signing_keys AS s WHERE s.tenant = ?1 AND substring(s.sealed FROM 2 FOR 8) = ?3)",
);
const FORGET_MAC: Sql = Sql::same(
    "UPDATE tenant_keys SET former_mac = NULL
     WHERE tenant = ?1 AND previous IS NULL AND former_mac IS NOT NULL AND rotated_at < ?2",
);
const REPLACE_TENANT: Sql = Sql::same(
    "UPDATE tenant_keys SET sealed = ?3, previous = ?4
     WHERE tenant = ?1 AND sealed = ?2 AND previous IS NOT DISTINCT FROM ?5",
);
const NOT_UNDER: Sql = Sql::pair(
    "SELECT tenant FROM tenant_keys
     WHERE substr(sealed, 2, 8) <> ?1 OR (previous IS NOT NULL AND substr(previous, 2, 8) <> ?1)",
    "SELECT tenant FROM tenant_keys
     WHERE substring(sealed FROM 2 FOR 8) <> ?1 OR (previous IS NOT NULL AND substring(previous FROM 2 FOR 8) <> ?1)",
);
const REPLACE_ROOT: Sql = Sql::pair(
    "UPDATE root_key SET id = ?1, check_value = ?2, source = ?3, wrapped = ?4 WHERE id = ?5
       AND NOT EXISTS (SELECT 1 FROM tenant_keys WHERE substr(sealed, 2, 8) <> ?6
                       OR (previous IS NOT NULL AND substr(previous, 2, 8) <> ?6))",
    "UPDATE root_key SET id = ?1, check_value = ?2, source = ?3, wrapped = ?4 WHERE id = ?5
       AND NOT EXISTS (SELECT 1 FROM tenant_keys WHERE substring(sealed FROM 2 FOR 8) <> ?6
                       OR (previous IS NOT NULL AND substring(previous FROM 2 FOR 8) <> ?6))",
);
const ASSERT_ROOT: Sql = Sql::pair(
    "SELECT 1 FROM root_key WHERE id = ?1",
    "SELECT 1 FROM root_key WHERE id = ?1 FOR SHARE",
);
const ASSERT_TENANT: Sql = Sql::pair(
    "SELECT 1 FROM tenant_keys WHERE tenant = ?1 AND sealed = ?2",
    "SELECT 1 FROM tenant_keys WHERE tenant = ?1 AND sealed = ?2 FOR SHARE",
);

pub(crate) const QUERIES: &[&Sql] = &[
    &FIND,
    &BEGIN,
    &CREDENTIALS_UNDER,
    &SIGNING_UNDER,
    &COUNT_CREDENTIALS,
    &COUNT_SIGNING,
    &REPLACE_CREDENTIAL,
    &REPLACE_SIGNING,
    &FINISH,
    &FORGET_MAC,
    &REPLACE_TENANT,
    &NOT_UNDER,
    &REPLACE_ROOT,
    &ASSERT_ROOT,
    &ASSERT_TENANT,
];
