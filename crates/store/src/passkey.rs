//! Passkeys of people: public keys, each with the id that its authenticator gave it. Also what a passkey signed when its
//! owner said yes.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use chancery_core::id::{ApprovalId, PasskeyId, TenantId, UserId};
use chancery_core::time::Timestamp;

/// A passkey as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRow {
    /// Its id.
    pub id: PasskeyId,
    /// Whose it is.
    pub person: UserId,
    /// What its owner calls it.
    pub name: String,
    /// The id that the authenticator gave it.
    pub credential: Vec<u8>,
    /// What is kept of it, as JSON.
    pub content: String,
    /// Whether it signs its owner in.
    pub signs_in: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// The label of a passkey that is registered already.
pub const TAKEN: &str = "taken";
/// The label of a passkey that is gone.
pub const GONE: &str = "gone";

/// Stores one. Fails with [`TAKEN`].
pub fn insert(tenant: TenantId, row: &PasskeyRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(row.id),
        Value::id(row.person),
        Value::from(row.name.as_str()),
        Value::from(row.credential.as_slice()),
        Value::from(row.content.as_str()),
        Value::from(u32::from(row.signs_in)),
        Value::from(row.created_at),
    ];
    Statement::new(&INSERT, params, Expect::Unique, TAKEN)
}

/// Passkeys of a person, the oldest first.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn of_person(db: &Db, tenant: TenantId, person: UserId) -> Result<Vec<PasskeyRow>, DbError> {
    let rows = db
        .query(&OF_PERSON, vec![Value::id(tenant), Value::id(person)])
        .await?;
    rows.iter().map(read).collect()
}

/// The passkey that an authenticator calls so.
///
/// # Errors
/// As [`of_person`].
pub async fn find_by_credential(
    db: &Db,
    tenant: TenantId,
    credential: &[u8],
) -> Result<Option<PasskeyRow>, DbError> {
    let params = vec![Value::id(tenant), Value::from(credential)];
    let row = db.query_optional(&FIND, params).await?;
    row.as_ref().map(read).transpose()
}

/// Whether any passkey signs its owner in here.
///
/// # Errors
/// The database fails.
pub async fn is_any(db: &Db, tenant: TenantId) -> Result<bool, DbError> {
    Ok(db.query_optional(&ANY, vec![Value::id(tenant)]).await?.is_some())
}

/// Notes a use, and what the authenticator said of itself with it. Fails with [`GONE`].
pub fn note_use(tenant: TenantId, id: PasskeyId, content: &str, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(content),
        Value::from(now),
    ];
    Statement::new(&NOTE_USE, params, Expect::Rows(1), GONE)
}

/// Gives one another name. Fails with [`GONE`].
pub fn rename(tenant: TenantId, person: UserId, id: PasskeyId, name: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(person),
        Value::id(id),
        Value::from(name),
    ];
    Statement::new(&RENAME, params, Expect::Rows(1), GONE)
}

/// Removes one. Fails with [`GONE`].
pub fn remove(tenant: TenantId, person: UserId, id: PasskeyId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(person), Value::id(id)];
    Statement::new(&REMOVE, params, Expect::Rows(1), GONE)
}

/// Removes all of a person.
pub fn remove_all(tenant: TenantId, person: UserId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(person)];
    Statement::new(&REMOVE_ALL, params, Expect::Any, GONE)
}

/// Keeps what a passkey signed with somebody's yes.
pub fn insert_assertion(
    tenant: TenantId,
    approval: ApprovalId,
    person: UserId,
    assertion: &str,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(approval),
        Value::id(person),
        Value::from(assertion),
    ];
    Statement::new(&INSERT_ASSERTION, params, Expect::Unique, TAKEN)
}

/// Forgets what was signed with answers to requests that are no more.
pub fn prune_assertions() -> Statement {
    Statement::new(&PRUNE_ASSERTIONS, Vec::new(), Expect::Any, "prune")
}

fn read(row: &Row) -> Result<PasskeyRow, DbError> {
    Ok(PasskeyRow {
        id: row.id(0)?,
        person: row.id(1)?,
        name: row.text(2)?,
        credential: row.blob(3)?,
        content: row.text(4)?,
        signs_in: row.integer(5)? == 1,
        created_at: row.timestamp(6)?,
        used_at: row.optional_integer(7)?.map(Timestamp::from_micros),
    })
}

const INSERT: Sql = Sql::same(
    "INSERT INTO passkeys (tenant, id, person, name, credential, content, signs_in, created_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
);
const OF_PERSON: Sql = Sql::same(
    "SELECT id, person, name, credential, content, signs_in, created_at, used_at FROM passkeys
     WHERE tenant = ?1 AND person = ?2 ORDER BY created_at, id",
);
const FIND: Sql = Sql::same(
    "SELECT id, person, name, credential, content, signs_in, created_at, used_at FROM passkeys
     WHERE tenant = ?1 AND credential = ?2",
);
const ANY: Sql = Sql::same("SELECT 1 FROM passkeys WHERE tenant = ?1 AND signs_in = 1 LIMIT 1");
const NOTE_USE: Sql =
    Sql::same("UPDATE passkeys SET content = ?3, used_at = ?4 WHERE tenant = ?1 AND id = ?2");
const RENAME: Sql = Sql::same("UPDATE passkeys SET name = ?4 WHERE tenant = ?1 AND person = ?2 AND id = ?3");
const REMOVE: Sql = Sql::same("DELETE FROM passkeys WHERE tenant = ?1 AND person = ?2 AND id = ?3");
const REMOVE_ALL: Sql = Sql::same("DELETE FROM passkeys WHERE tenant = ?1 AND person = ?2");
const INSERT_ASSERTION: Sql = Sql::same(
    "INSERT INTO approval_assertions (tenant, approval, person, assertion) VALUES (?1, ?2, ?3, ?4)",
);
const PRUNE_ASSERTIONS: Sql = Sql::same(
    "DELETE FROM approval_assertions WHERE NOT EXISTS (SELECT 1 FROM approvals AS a
     WHERE a.tenant = approval_assertions.tenant AND a.id = approval_assertions.approval)",
);

pub(crate) const QUERIES: &[&Sql] = &[
    &INSERT,
    &OF_PERSON,
    &FIND,
    &ANY,
    &NOTE_USE,
    &RENAME,
    &REMOVE,
    &REMOVE_ALL,
    &INSERT_ASSERTION,
    &PRUNE_ASSERTIONS,
];
