//! Passwords of local people, as hashes; and how often somebody tried, so that all nodes know when the next try may be.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::{TenantId, UserId};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::LOCAL_ISSUER;

/// A local person and the hash of the password, if one is set.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword {
    /// The person.
    pub person: UserId,
    /// The hash, a PHC string.
    pub hash: Option<String>,
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredPassword")
            .field("person", &self.person)
            .finish_non_exhaustive()
    }
}

/// The label of a try that comes too soon after the last.
pub const TOO_SOON: &str = "too_soon";

/// The local person of this subject. One query, whether there is such a person or not.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(db: &Db, tenant: TenantId, subject: &str) -> Result<Option<StoredPassword>, DbError> {
    let key = format!("{LOCAL_ISSUER} {subject}");
    let row = db
        .query_optional(&FIND, vec![Value::id(tenant), Value::from(key)])
        .await?;
    let read = |row: crate::db::Row| {
        Ok(StoredPassword {
            person: row.id(0)?,
            hash: row.optional_text(1)?,
        })
    };
    row.map(read).transpose()
}

/// Whether anybody has a password here.
///
/// # Errors
/// The database fails.
pub async fn is_any(db: &Db, tenant: TenantId) -> Result<bool, DbError> {
    Ok(db.query_optional(&ANY, vec![Value::id(tenant)]).await?.is_some())
}

/// Sets a person's password.
pub fn put(tenant: TenantId, person: UserId, hash: &str, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(person),
        Value::from(hash),
        Value::from(now),
    ];
    Statement::new(&PUT, params, Expect::Rows(1), "password")
}

/// Takes a person's password away.
pub fn remove(tenant: TenantId, person: UserId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(person)];
    Statement::new(&REMOVE, params, Expect::Any, "password")
}

/// How fast tries of one subject may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many tries without a delay.
    pub free: u32,
    /// The first delay; each try after it doubles it.
    pub first: Ttl,
    /// The longest delay.
    pub longest: Ttl,
    /// After so long without a try everything is forgotten.
    pub forgotten_after: Ttl,
}

/// Counts a try before it is made, so that tries at once are counted one after the other. Fails with [`TOO_SOON`].
pub fn count_try(tenant: TenantId, subject: &[u8; 32], pace: &Pace, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(subject),
        Value::from(now),
        Value::from(now.minus(pace.forgotten_after)),
        Value::from(pace.free),
        Value::from(pace.first.as_micros()),
        Value::from(pace.longest.as_micros()),
    ];
    Statement::new(&COUNT_TRY, params, Expect::Rows(1), TOO_SOON)
}

/// The moment before which none of these is tried again.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn find_until(
    db: &Db,
    tenant: TenantId,
    subjects: [&[u8; 32]; 2],
) -> Result<Option<Timestamp>, DbError> {
    let [one, other] = subjects;
    let params = vec![Value::id(tenant), Value::from(one), Value::from(other)];
    let row = db.query_optional(&UNTIL, params).await?;
    let until = row.map(|row| row.optional_integer(0)).transpose()?.flatten();
    Ok(until.map(Timestamp::from_micros))
}

/// Forgets the tries of an account whose password was right.
pub fn forget_tries(tenant: TenantId, subject: &[u8; 32]) -> Statement {
    let params = vec![Value::id(tenant), Value::from(subject)];
    Statement::new(&FORGET_TRIES, params, Expect::Any, "tries")
}

/// Takes back the try that was counted for a source, since it was none: the next one may be now.
pub fn take_back_try(tenant: TenantId, subject: &[u8; 32], now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::from(subject), Value::from(now)];
    Statement::new(&TAKE_BACK, params, Expect::Any, "tries")
}

/// Forgets tries that were long ago.
pub fn prune(before: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(before)], Expect::Any, "prune")
}

const FIND: Sql = Sql::same(
    "SELECT u.id, p.hash FROM users AS u LEFT JOIN passwords AS p ON p.tenant = u.tenant AND p.person = u.id
     WHERE u.tenant = ?1 AND u.natural_key = ?2 AND u.state <> 'retired'",
);
const ANY: Sql = Sql::same("SELECT 1 FROM passwords WHERE tenant = ?1 LIMIT 1");
const PUT: Sql = Sql::same(
    "INSERT INTO passwords (tenant, person, hash, changed_at) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT (tenant, person) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
);
const REMOVE: Sql = Sql::same("DELETE FROM passwords WHERE tenant = ?1 AND person = ?2");
// The delay of this try: none for the first few, then twice the one before.
const COUNT_TRY: Sql = Sql::same(
    "INSERT INTO password_tries (tenant, subject, tries, delay, until, tried_at) VALUES (?1, ?2, 1, 0, ?3, ?3)
     ON CONFLICT (tenant, subject) DO UPDATE SET
       tries = CASE WHEN password_tries.tried_at < ?4 THEN 1 ELSE password_tries.tries + 1 END,
       delay = CASE WHEN password_tries.tried_at < ?4 OR password_tries.tries + 1 < ?5 THEN 0
                    WHEN password_tries.delay = 0 THEN ?6
                    WHEN password_tries.delay * 2 > ?7 THEN ?7 ELSE password_tries.delay * 2 END,
       until = CASE WHEN password_tries.tried_at < ?4 OR password_tries.tries + 1 < ?5 THEN ?3
                    WHEN password_tries.delay = 0 THEN ?3 + ?6
                    WHEN password_tries.delay * 2 > ?7 THEN ?3 + ?7 ELSE ?3 + password_tries.delay * 2 END,
       tried_at = ?3
     WHERE password_tries.until <= ?3",
);
const UNTIL: Sql =
    Sql::same("SELECT MAX(until) FROM password_tries WHERE tenant = ?1 AND (subject = ?2 OR subject = ?3)");
const FORGET_TRIES: Sql = Sql::same("DELETE FROM password_tries WHERE tenant = ?1 AND subject = ?2");
const TAKE_BACK: Sql = Sql::same(
    "UPDATE password_tries SET tries = CASE WHEN tries > 0 THEN tries - 1 ELSE 0 END, delay = delay / 2, until = ?3
     WHERE tenant = ?1 AND subject = ?2",
);
const PRUNE: Sql = Sql::same("DELETE FROM password_tries WHERE tried_at < ?1 AND until < ?1");

pub(crate) const QUERIES: &[&Sql] = &[
    &FIND,
    &ANY,
    &PUT,
    &REMOVE,
    &COUNT_TRY,
    &UNTIL,
    &FORGET_TRIES,
    &TAKE_BACK,
    &PRUNE,
];
