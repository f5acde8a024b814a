//! Leases: work that one node at a time does. Each new holder has a higher epoch; statements that carry an
//! epoch fail once another holder has taken over.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{counter, number};
use chancery_core::id::NodeId;
use chancery_core::time::Timestamp;

/// A lease as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: NodeId,
    /// Its epoch.
    pub epoch: u64,
    /// Until when.
    pub expires_at: Timestamp,
}

/// The lease of this name, if anybody ever held it.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(db: &Db, name: &str) -> Result<Option<Lease>, DbError> {
    let Some(row) = db.query_optional(&FIND, vec![Value::from(name)]).await? else {
        return Ok(None);
    };
    Ok(Some(Lease {
        holder: row.id(0)?,
        epoch: counter(&row, 1)?,
        expires_at: row.timestamp(2)?,
    }))
}

/// Takes a lease that nobody ever held.
pub fn create(name: &str, holder: NodeId, expires_at: Timestamp) -> Statement {
    let params = vec![Value::from(name), Value::id(holder), Value::from(expires_at)];
    Statement::new(&CREATE, params, Expect::Unique, LOST)
}

/// Takes or renews a lease that stands as `seen`: renewing keeps the epoch, taking over raises it. Fails with
/// [`LOST`] if it has changed since.
pub fn take(name: &str, seen: &Lease, holder: NodeId, expires_at: Timestamp) -> Statement {
    let epoch = if seen.holder == holder {
        seen.epoch
    } else {
        seen.epoch + 1
    };
    let params = vec![
        Value::from(name),
        Value::id(seen.holder),
        number(seen.epoch),
        Value::id(holder),
        number(epoch),
        Value::from(expires_at),
    ];
    Statement::new(&TAKE, params, Expect::Rows(1), LOST)
}

/// Asserts in a batch that the lease is still held at this epoch.
pub fn fence(name: &str, epoch: u64) -> Statement {
    Statement::new(
        &FENCE,
        vec![Value::from(name), number(epoch)],
        Expect::Rows(1),
        LOST,
    )
}

/// The label of a lease that another node holds.
pub const LOST: &str = "lease";

const FIND: Sql = Sql::same("SELECT holder, epoch, expires_at FROM leases WHERE name = ?1");
const CREATE: Sql = Sql::same("INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?3)");
const TAKE: Sql = Sql::same(
    "UPDATE leases SET holder = ?4, epoch = ?5, expires_at = ?6 WHERE name = ?1 AND holder = ?2 AND epoch = ?3",
);
const FENCE: Sql = Sql::pair(
    "SELECT 1 FROM leases WHERE name = ?1 AND epoch = ?2",
    "SELECT 1 FROM leases WHERE name = ?1 AND epoch = ?2 FOR SHARE",
);

pub(crate) const QUERIES: &[&Sql] = &[&FIND, &CREATE, &TAKE, &FENCE];
