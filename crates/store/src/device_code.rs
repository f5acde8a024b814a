//! Device codes (RFC 8628): what devices asked for, each answered once by a person and redeemed once by its client. What
//! was asked and agreed to is JSON that the use cases read.

use crate::authorization::{ANSWERED, REDEEMED};
use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::corrupt;
use chancery_core::id::{AuthorizationRequestId, ClientId, TenantId, TokenFamilyId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::{Timestamp, Ttl};

/// A request of a device that is about to be stored.
#[derive(Clone, Debug)]
pub struct NewDeviceCode<'a> {
    /// Its id.
    pub id: AuthorizationRequestId,
    /// The digest of the device code.
    pub digest: TokenDigest,
    /// The MAC of the user code.
    pub user_code: &'a [u8],
    /// The client that asks.
    pub client: ClientId,
    /// What it asks for.
    pub request: &'a str,
    /// How long it waits between two polls.
    pub poll_interval: Ttl,
    /// When both codes end.
    pub expires_at: Timestamp,
}

/// A request of a device.
#[derive(Clone, Debug)]
pub struct StoredDeviceCode {
    /// Its id.
    pub id: AuthorizationRequestId,
    /// The client that asked.
    pub client: ClientId,
    /// What it asked for.
    pub request: String,
    /// What a person answered.
    pub answer: DeviceAnswer,
    /// How long the client waits between two polls.
    pub poll_interval: Ttl,
    /// When it last polled.
    pub polled_at: Option<Timestamp>,
    /// When both codes end.
    pub expires_at: Timestamp,
    /// Whether its token was issued.
    pub is_redeemed: bool,
}

/// What a person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// Nothing yet.
    None,
    /// No.
    Denied,
    /// Yes.
    Agreed {
        /// The id that everything issued on it gets.
        family: TokenFamilyId,
        /// What was agreed to.
        content: String,
    },
}

/// The label of a user code that another request of the tenant has.
pub const USER_CODE: &str = "user_code";

/// Stores one. Fails with [`USER_CODE`] if another that waits has the same user code.
pub fn insert(tenant: TenantId, new: &NewDeviceCode<'_>) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(new.id),
        Value::from(new.digest.as_bytes()),
        Value::from(new.user_code),
        Value::id(new.client),
        Value::from(new.request),
        Value::from(new.poll_interval.as_micros()),
        Value::from(new.expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Unique, USER_CODE)
}

/// The request of a device code, answered or not.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    digest: &TokenDigest,
) -> Result<Option<StoredDeviceCode>, DbError> {
    let params = vec![Value::id(tenant), Value::from(digest.as_bytes())];
    let row = db.query_optional(&FIND, params).await?;
    row.map(|row| read(&row)).transpose()
}

/// The request of a user code, if it waits for an answer.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_waiting(
    db: &Db,
    tenant: TenantId,
    user_code: &[u8],
    now: Timestamp,
) -> Result<Option<StoredDeviceCode>, DbError> {
    let params = vec![Value::id(tenant), Value::from(user_code), Value::from(now)];
    let row = db.query_optional(&FIND_WAITING, params).await?;
    row.map(|row| read(&row)).transpose()
}

/// Says yes. Fails with [`ANSWERED`] unless it is the first answer, in time.
pub fn agree(
    tenant: TenantId,
    id: AuthorizationRequestId,
    (family, content): (TokenFamilyId, &str),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::id(family),
        Value::from(content),
        Value::from(now),
    ];
    Statement::new(&AGREE, params, Expect::Rows(1), ANSWERED)
}

/// Says no. Fails with [`ANSWERED`] unless it is the first answer, in time.
pub fn deny(tenant: TenantId, id: AuthorizationRequestId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(id), Value::from(now)];
    Statement::new(&DENY, params, Expect::Rows(1), ANSWERED)
}

/// Notes that a client polled, and how long it waits from now on.
pub fn note_poll(tenant: TenantId, id: AuthorizationRequestId, now: Timestamp, interval: Ttl) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(now),
        Value::from(interval.as_micros()),
    ];
    Statement::new(&NOTE_POLL, params, Expect::AtMost(1), "poll")
}

/// Redeems a device code. Fails with [`REDEEMED`] unless it is the first time, in time.
pub fn redeem(tenant: TenantId, id: AuthorizationRequestId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(id), Value::from(now)];
    Statement::new(&REDEEM, params, Expect::Rows(1), REDEEMED)
}

/// Forgets what is over. What was agreed to is remembered for longer, so that a second use of it is known as one.
pub fn prune(now: Timestamp, agreed_before: Timestamp) -> Statement {
    let params = vec![Value::from(now), Value::from(agreed_before)];
    Statement::new(&PRUNE, params, Expect::Any, "prune")
}

fn read(row: &Row) -> Result<StoredDeviceCode, DbError> {
    let answer = match row.text(3)?.as_str() {
        "pending" => DeviceAnswer::None,
        "denied" => DeviceAnswer::Denied,
        "agreed" => DeviceAnswer::Agreed {
            family: row.id(4)?,
            content: row.text(5)?,
        },
        _ => return Err(corrupt("the state of a device code cannot be read")),
    };
    Ok(StoredDeviceCode {
        id: row.id(0)?,
        client: row.id(1)?,
        request: row.text(2)?,
        answer,
        poll_interval: Timestamp::from_micros(row.integer(6)?).since(Timestamp::default()),
        polled_at: row.optional_timestamp(7)?,
        expires_at: row.timestamp(8)?,
        is_redeemed: row.optional_timestamp(9)?.is_some(),
    })
}

const INSERT: Sql = Sql::same(
    "INSERT INTO device_codes (tenant, id, digest, user_code, client, state, request, poll_interval, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6, ?7, ?8)",
);
const FIND: Sql = Sql::same(
    "SELECT id, client, request, state, family, content, poll_interval, polled_at, expires_at, used_at
     FROM device_codes WHERE tenant = ?1 AND digest = ?2",
);
const FIND_WAITING: Sql = Sql::same(
    "SELECT id, client, request, state, family, content, poll_interval, polled_at, expires_at, used_at
     FROM device_codes WHERE tenant = ?1 AND user_code = ?2 AND state = 'pending' AND expires_at > ?3",
);
const AGREE: Sql = Sql::same(
    "UPDATE device_codes SET state = 'agreed', family = ?3, content = ?4
     WHERE tenant = ?1 AND id = ?2 AND state = 'pending' AND expires_at > ?5",
);
const DENY: Sql = Sql::same(
    "UPDATE device_codes SET state = 'denied'
     WHERE tenant = ?1 AND id = ?2 AND state = 'pending' AND expires_at > ?3",
);
const NOTE_POLL: Sql =
    Sql::same("UPDATE device_codes SET polled_at = ?3, poll_interval = ?4 WHERE tenant = ?1 AND id = ?2");
const REDEEM: Sql = Sql::same(
    "UPDATE device_codes SET used_at = ?3
     WHERE tenant = ?1 AND id = ?2 AND state = 'agreed' AND used_at IS NULL AND expires_at > ?3",
);
const PRUNE: Sql =
    Sql::same("DELETE FROM device_codes WHERE expires_at < ?1 AND (state <> 'agreed' OR expires_at < ?2)");

pub(crate) const QUERIES: &[&Sql] = &[
    &INSERT,
    &FIND,
    &FIND_WAITING,
    &AGREE,
    &DENY,
    &NOTE_POLL,
    &REDEEM,
    &PRUNE,
];
