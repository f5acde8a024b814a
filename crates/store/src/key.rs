//! Keys at rest: the root key's check value, tenant keys sealed under it, signing keys sealed under those.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::TenantId;
use chancery_core::time::Timestamp;

/// A signing key as stored.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    /// Its `kid`.
    pub kid: String,
    /// What it signs: `access_token`, `id_token` or `checkpoint`.
    pub purpose: String,
    /// The JOSE name of its algorithm.
    pub algorithm: String,
    /// `next`, `active` or `retiring`.
    pub state: String,
    /// The public JWK, or the verifier key of a checkpoint.
    pub public: String,
    /// The sealed private key.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a retiring key is no longer published.
    pub retires_at: Option<Timestamp>,
}

/// What is recorded of the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// Its id.
    pub id: String,
    /// What recognises it without telling it.
    pub check_value: Vec<u8>,
    /// Where it was found, if a service holds it.
    pub source: Option<String>,
    /// A key that the service wrapped, whose check value is the recorded one.
    pub wrapped: Option<Vec<u8>>,
}

/// The record of the root key, if one was ever written.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_root(db: &Db) -> Result<Option<RootRow>, DbError> {
    let row = db.query_optional(&FIND_ROOT, Vec::new()).await?;
    let read = |row: crate::Row| {
        Ok(RootRow {
            id: row.text(0)?,
            check_value: row.blob(1)?,
            source: row.optional_text(2)?,
            wrapped: row.optional_blob(3)?,
        })
    };
    row.map(read).transpose()
}

/// Writes the record of the root key, once. Fails with label `root` if one is there.
pub fn insert_root(row: &RootRow) -> Statement {
    Statement::new(&INSERT_ROOT, row.params(), Expect::Unique, "root")
}

/// Writes anew what a root key is recognised by, if it is still the recorded one.
pub fn renew_root(row: &RootRow) -> Statement {
    Statement::new(&RENEW_ROOT, row.params(), Expect::AtMost(1), "root")
}

impl RootRow {
    /// Its columns as parameters, in their order.
    pub(crate) fn params(&self) -> Vec<Value> {
        vec![
            Value::from(self.id.as_str()),
            Value::from(self.check_value.as_slice()),
            Value::from(self.source.clone()),
            Value::from(self.wrapped.clone()),
        ]
    }
}

/// A tenant's sealed key.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_tenant_key(db: &Db, tenant: TenantId) -> Result<Option<Vec<u8>>, DbError> {
    let row = db.query_optional(&FIND_TENANT, vec![Value::id(tenant)]).await?;
    row.map(|row| row.blob(0)).transpose()
}

/// Stores a tenant's sealed key.
pub fn insert_tenant_key(tenant: TenantId, sealed: &[u8]) -> Statement {
    Statement::new(
        &INSERT_TENANT,
        vec![Value::id(tenant), Value::from(sealed)],
        Expect::Rows(1),
        "tenant_key",
    )
}

/// A tenant's signing keys that are in use or still published.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn load_signing_keys(db: &Db, tenant: TenantId) -> Result<Vec<SigningKeyRow>, DbError> {
    let rows = db.query(&SIGNING, vec![Value::id(tenant)]).await?;
    let read = |row: &crate::Row| {
        Ok(SigningKeyRow {
            kid: row.text(0)?,
            purpose: row.text(1)?,
            algorithm: row.text(2)?,
            state: row.text(3)?,
            public: row.text(4)?,
            sealed: row.blob(5)?,
            created_at: row.timestamp(6)?,
            retires_at: row.optional_timestamp(7)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Destroys the keys of a tenant: the one that everything of it is sealed under, and what it signs with. Fails with label
/// `tenant_key` if they are gone.
pub fn destroy_keys(tenant: TenantId) -> [Statement; 2] {
    let params = || vec![Value::id(tenant)];
    [
        Statement::new(&DESTROY_TENANT, params(), Expect::Rows(1), "tenant_key"),
        Statement::new(&DESTROY_SIGNING, params(), Expect::Any, "signing_key"),
    ]
}

/// Stores a signing key.
pub fn insert_signing_key(tenant: TenantId, key: &SigningKeyRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(key.kid.as_str()),
        Value::from(key.purpose.as_str()),
        Value::from(key.algorithm.as_str()),
        Value::from(key.state.as_str()),
        Value::from(key.public.as_str()),
        Value::from(key.sealed.as_slice()),
        Value::from(key.created_at),
        Value::from(key.retires_at),
    ];
    Statement::new(&INSERT_SIGNING, params, Expect::Rows(1), "signing_key")
}

/// Moves a signing key from one state to the next. Fails with label `signing_key` if it is not in that state.
pub fn move_signing_key(
    tenant: TenantId,
    kid: &str,
    from: &str,
    to: &str,
    retires_at: Option<Timestamp>,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(kid),
        Value::from(from),
        Value::from(to),
        Value::from(retires_at),
    ];
    Statement::new(&MOVE_SIGNING, params, Expect::Rows(1), "signing_key")
}

/// Removes signing keys whose time is over.
pub fn prune_signing_keys(tenant: TenantId, now: Timestamp) -> Statement {
    Statement::new(
        &PRUNE_SIGNING,
        vec![Value::id(tenant), Value::from(now)],
        Expect::Any,
        "prune",
    )
}

const FIND_ROOT: Sql = Sql::same("SELECT id, check_value, source, wrapped FROM root_key WHERE singleton = 1");
const INSERT_ROOT: Sql = Sql::same(
    "INSERT INTO root_key (singleton, id, check_value, source, wrapped) VALUES (1, ?1, ?2, ?3, ?4)",
);
const RENEW_ROOT: Sql =
    Sql::same("UPDATE root_key SET check_value = ?2, source = ?3, wrapped = ?4 WHERE id = ?1");
const FIND_TENANT: Sql = Sql::same("SELECT sealed FROM tenant_keys WHERE tenant = ?1");
const INSERT_TENANT: Sql = Sql::same("INSERT INTO tenant_keys (tenant, sealed) VALUES (?1, ?2)");
const DESTROY_TENANT: Sql = Sql::same("DELETE FROM tenant_keys WHERE tenant = ?1");
const DESTROY_SIGNING: Sql = Sql::same("DELETE FROM signing_keys WHERE tenant = ?1");
const SIGNING: Sql = Sql::same(
    "SELECT kid, purpose, algorithm, state, public, sealed, created_at, retires_at FROM signing_keys
     WHERE tenant = ?1 ORDER BY created_at, kid",
);
const INSERT_SIGNING: Sql = Sql::same(
    "INSERT INTO signing_keys (tenant, kid, purpose, algorithm, state, public, sealed, created_at, retires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
const MOVE_SIGNING: Sql = Sql::same(
    "UPDATE signing_keys SET state = ?4, retires_at = ?5 WHERE tenant = ?1 AND kid = ?2 AND state = ?3",
);
const PRUNE_SIGNING: Sql =
    Sql::same("DELETE FROM signing_keys WHERE tenant = ?1 AND state = 'retiring' AND retires_at < ?2");

pub(crate) const QUERIES: &[&Sql] = &[
    &FIND_ROOT,
    &INSERT_ROOT,
    &RENEW_ROOT,
    &FIND_TENANT,
    &INSERT_TENANT,
    &DESTROY_TENANT,
    &DESTROY_SIGNING,
    &SIGNING,
    &INSERT_SIGNING,
    &MOVE_SIGNING,
    &PRUNE_SIGNING,
];
