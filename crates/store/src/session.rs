//! Sessions, found by the digest of the browser's secret; and when each was last used, written at most once a minute.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{Stored, Table, table};
use chancery_core::id::{SessionId, TenantId};
use chancery_core::noun::Lifecycle;
use chancery_core::session::SessionSpec;
use chancery_core::time::{Timestamp, Ttl};

impl Stored for SessionSpec {
    const TABLE: &'static Table = &table!("sessions");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(self.digest.clone())
    }

    fn parent(&self) -> Option<String> {
        Some(self.user.to_string())
    }
}

/// When a session was last used.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_last_seen(
    db: &Db,
    tenant: TenantId,
    session: SessionId,
) -> Result<Option<Timestamp>, DbError> {
    let params = vec![Value::id(tenant), Value::id(session)];
    let row = db.query_optional(&LAST_SEEN, params).await?;
    row.map(|row| row.timestamp(0)).transpose()
}

/// Notes that a session is used. Does nothing within a minute of the last note.
pub fn see_session(tenant: TenantId, session: SessionId, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(session),
        Value::from(now),
        Value::from(now.minus(PRECISION)),
    ];
    Statement::new(&SEE, params, Expect::Any, "seen")
}

/// Whether a session that was seen then is to be noted again.
pub fn is_worth_noting(last_seen: Timestamp, now: Timestamp) -> bool {
    last_seen <= now.minus(PRECISION)
}

/// Forgets sessions that began before this moment, when none of them can be open any more.
pub fn prune_sessions(before: Timestamp) -> [Statement; 2] {
    [&PRUNE, &PRUNE_USES].map(|sql| Statement::new(sql, vec![Value::from(before)], Expect::Any, "prune"))
}

/// How precisely the last use is known.
const PRECISION: Ttl = Ttl::from_minutes(1);

const LAST_SEEN: Sql = Sql::same("SELECT last_seen FROM session_uses WHERE tenant = ?1 AND id = ?2");
const SEE: Sql = Sql::same(
    "INSERT INTO session_uses (tenant, id, last_seen) VALUES (?1, ?2, ?3)
     ON CONFLICT (tenant, id) DO UPDATE SET last_seen = excluded.last_seen WHERE session_uses.last_seen <= ?4",
);

const PRUNE: Sql = Sql::same("DELETE FROM sessions WHERE created_at < ?1");
// A session is seen when it begins, and never after its end.
const PRUNE_USES: Sql = Sql::same("DELETE FROM session_uses WHERE last_seen < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&LAST_SEEN, &SEE, &PRUNE, &PRUNE_USES];
