//! Connected accounts, one in use for each connection and owner, and the sealed credential of each.
//!
//! A credential is a row of its own, so that reading an account never reads what is sealed.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{self, Stored, Table, number, table};
use chancery_core::connected_account::{AccountOwner, ConnectedAccount, ConnectedAccountSpec};
use chancery_core::id::{ConnectedAccountId, ConnectionId, IssuerId, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::Lifecycle;
use chancery_core::time::Timestamp;

impl Stored for ConnectedAccountSpec {
    const TABLE: &'static Table = &table!("connected_accounts");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(Self::key(&self.connection, &self.owner))
    }

    fn parent(&self) -> Option<String> {
        Some(self.connection.to_string())
    }
}

/// The account and connection that a credential is opened for, each at the version that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The account.
    pub account: ConnectedAccountId,
    /// Its version.
    pub account_version: u64,
    /// The connection.
    pub connection: ConnectionId,
    /// Its version.
    pub connection_version: u64,
}

/// Accounts of an owner that have not ended, in order of connections.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn of_owner(
    db: &Db,
    tenant: TenantId,
    owner: &AccountOwner,
) -> Result<Vec<ConnectedAccount>, DbError> {
    let params = vec![Value::id(tenant), Value::from(owner.as_key())];
    let rows = db.query(&OF_OWNER, params).await?;
    rows.iter().map(record::read).collect()
}

/// Accounts at a connection that have not ended, in order of names, those after one.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn of_connection(
    db: &Db,
    tenant: TenantId,
    connection: &Name,
    (after, limit): (&str, u32),
) -> Result<Vec<ConnectedAccount>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::from(connection.as_str()),
        Value::from(after),
        Value::from(limit),
    ];
    let rows = db.query(&OF_CONNECTION, params).await?;
    rows.iter().map(record::read).collect()
}

/// The sealed credential of an account, if account and connection are active and exactly as they were decided on.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_sealed(db: &Db, tenant: TenantId, opening: Opening) -> Result<Option<Vec<u8>>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::id(opening.account),
        number(opening.account_version),
        Value::id(opening.connection),
        number(opening.connection_version),
    ];
    let row = db.query_optional(&FIND, params).await?;
    row.map(|row| row.blob(0)).transpose()
}

/// Stores the sealed credential of an account, over the one before.
pub fn put_sealed(tenant: TenantId, account: ConnectedAccountId, sealed: &[u8], now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(account),
        Value::from(sealed),
        Value::from(now),
    ];
    Statement::new(&PUT, params, Expect::Rows(1), "credential")
}

/// Deletes the sealed credential of an account, if there is one.
pub fn delete_sealed(tenant: TenantId, account: ConnectedAccountId) -> Statement {
    Statement::new(
        &DELETE,
        vec![Value::id(tenant), Value::id(account)],
        Expect::AtMost(1),
        "credential",
    )
}

/// The sealed secret with which we prove ourselves to a trusted issuer. It stands beside the credentials, so that it is
/// wrapped anew with them.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_issuer_secret(
    db: &Db,
    tenant: TenantId,
    issuer: IssuerId,
) -> Result<Option<Vec<u8>>, DbError> {
    let params = vec![Value::id(tenant), Value::id(issuer)];
    let row = db.query_optional(&FIND_ISSUER, params).await?;
    row.map(|row| row.blob(0)).transpose()
}

/// Stores the sealed secret for a trusted issuer, over the one before.
pub fn put_issuer_secret(tenant: TenantId, issuer: IssuerId, sealed: &[u8], now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(issuer),
        Value::from(sealed),
        Value::from(now),
    ];
    Statement::new(&PUT, params, Expect::Rows(1), "credential")
}

/// The sealed secret with which we prove ourselves to the provider of a connection. It stands where an issuer's does.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_connection_secret(
    db: &Db,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Option<Vec<u8>>, DbError> {
    let params = vec![Value::id(tenant), Value::id(connection)];
    let row = db.query_optional(&FIND_ISSUER, params).await?;
    row.map(|row| row.blob(0)).transpose()
}

/// Stores the sealed secret for the provider of a connection, over the one before.
pub fn put_connection_secret(
    tenant: TenantId,
    connection: ConnectionId,
    sealed: &[u8],
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(connection),
        Value::from(sealed),
        Value::from(now),
    ];
    Statement::new(&PUT, params, Expect::Rows(1), "credential")
}

const OF_OWNER: Sql = Sql::pair(
    "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM connected_accounts
     WHERE tenant = ?1 AND substr(natural_key, instr(natural_key, ' ') + 1) = ?2 AND state <> 'retired'
     ORDER BY natural_key LIMIT 1000",
    "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM connected_accounts
     WHERE tenant = ?1 AND substr(natural_key, strpos(natural_key, ' ') + 1) = ?2 AND state <> 'retired'
     ORDER BY natural_key LIMIT 1000",
);
const OF_CONNECTION: Sql = Sql::same(
    "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM connected_accounts
     WHERE tenant = ?1 AND parent = ?2 AND name > ?3 AND state <> 'retired' ORDER BY name LIMIT ?4",
);
const FIND_ISSUER: Sql = Sql::same("SELECT sealed FROM credentials WHERE tenant = ?1 AND account = ?2");
const FIND: Sql = Sql::same(
    "SELECT s.sealed FROM credentials AS s
     JOIN connected_accounts AS a ON a.tenant = s.tenant AND a.id = s.account
     JOIN connections AS n ON n.tenant = s.tenant AND n.id = ?4
     WHERE s.tenant = ?1 AND s.account = ?2
       AND a.state = 'active' AND a.version = ?3 AND n.state = 'active' AND n.version = ?5",
);
const PUT: Sql = Sql::same(
    "INSERT INTO credentials (tenant, account, sealed, created_at) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT (tenant, account) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at",
);
const DELETE: Sql = Sql::same("DELETE FROM credentials WHERE tenant = ?1 AND account = ?2");

pub(crate) const QUERIES: &[&Sql] = &[&OF_OWNER, &OF_CONNECTION, &FIND, &FIND_ISSUER, &PUT, &DELETE];
