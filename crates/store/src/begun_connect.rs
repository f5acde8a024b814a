//! Accounts that people have begun to connect at a provider, each to be finished once, in the session that began it.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use chancery_core::id::{ConnectionId, SessionId, TenantId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

/// One that has begun.
#[derive(Clone, Debug)]
pub struct BegunConnect {
    /// The connection.
    pub connection: ConnectionId,
    /// The session that began it.
    pub session: SessionId,
    /// What was agreed to, as JSON.
    pub content: String,
    /// Until when it may be finished.
    pub expires_at: Timestamp,
}

/// The label of one that cannot be finished: unknown, over, or finished before.
pub const OVER: &str = "connect";

/// Stores one by the digest of its state.
pub fn insert(tenant: TenantId, state: &TokenDigest, begun: &BegunConnect) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(state.as_bytes()),
        Value::id(begun.connection),
        Value::id(begun.session),
        Value::from(&begun.content),
        Value::from(begun.expires_at),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), OVER)
}

/// The one with this state that this session began and nobody has finished.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    (state, session): (&TokenDigest, SessionId),
    now: Timestamp,
) -> Result<Option<BegunConnect>, DbError> {
    let Some(row) = db
        .query_optional(&FIND, keys(tenant, (state, session), now))
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(BegunConnect {
        connection: row.id(0)?,
        session,
        content: row.text(1)?,
        expires_at: row.timestamp(2)?,
    }))
}

/// Finishes one. Fails with [`OVER`] unless it is the first to.
pub fn finish(tenant: TenantId, (state, session): (&TokenDigest, SessionId), now: Timestamp) -> Statement {
    Statement::new(
        &FINISH,
        keys(tenant, (state, session), now),
        Expect::Rows(1),
        OVER,
    )
}

/// Forgets those that are over.
pub fn prune(now: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(now)], Expect::Any, "prune")
}

fn keys(tenant: TenantId, (state, session): (&TokenDigest, SessionId), now: Timestamp) -> Vec<Value> {
    vec![
        Value::id(tenant),
        Value::from(state.as_bytes()),
        Value::id(session),
        Value::from(now),
    ]
}

const INSERT: Sql = Sql::same(
    "INSERT INTO begun_connects (tenant, state, connection, session, content, expires_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
);
const FIND: Sql = Sql::same(
    "SELECT connection, content, expires_at FROM begun_connects
     WHERE tenant = ?1 AND state = ?2 AND session = ?3 AND used_at IS NULL AND expires_at > ?4",
);
const FINISH: Sql = Sql::same(
    "UPDATE begun_connects SET used_at = ?4
     WHERE tenant = ?1 AND state = ?2 AND session = ?3 AND used_at IS NULL AND expires_at > ?4",
);
const PRUNE: Sql = Sql::same("DELETE FROM begun_connects WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &FIND, &FINISH, &PRUNE];
