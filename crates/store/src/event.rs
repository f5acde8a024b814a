//! Events as rows: written in the caller's batch, read by people and by the integrator.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::{counter, number};
use chancery_core::id::{EventId, TenantId};
use chancery_core::time::Timestamp;

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The order of insertion, which is not the order in the log.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// When.
    pub time: Timestamp,
    /// The kind as text.
    pub kind: String,
    /// The outcome as text.
    pub outcome: String,
    /// The log generation.
    pub log_generation: u64,
    /// Its index in the tree, once it is in it.
    pub position: Option<u64>,
    /// The canonical leaf.
    pub leaf: String,
    /// The MAC over leaf and id, checked before integration.
    pub mac: Vec<u8>,
    /// The parts beside the leaf, as JSON.
    pub parts: String,
}

/// An event that is not in the tree yet: what folding it in needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// The order of insertion.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// The canonical leaf.
    pub leaf: String,
    /// The MAC over leaf and id.
    pub mac: Vec<u8>,
    /// The index that it will have, if it has it already: on SQLite it is given when the row is written.
    pub position: Option<u64>,
}

/// Which events to list, newest first.
#[derive(Clone, Debug)]
pub struct EventFilter<'a> {
    /// Only those with a smaller `seq`; `i64::MAX` for the newest.
    pub before: i64,
    /// Only those with no smaller `seq`; 0 for all. Bounds how many are looked through.
    pub since: i64,
    /// Only this kind, or kinds that start with it if it ends with a dot; empty for all.
    pub kind: &'a str,
    /// Only those whose leaf names this id; empty for all.
    pub id: &'a str,
    /// At most so many.
    pub limit: u32,
}

/// Inserts an event.
pub fn insert(tenant: TenantId, event: &EventRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(event.id),
        Value::from(event.time),
        Value::from(event.kind.as_str()),
        Value::from(event.outcome.as_str()),
        number(event.log_generation),
        Value::from(event.leaf.as_str()),
        Value::from(event.mac.as_slice()),
        Value::from(event.parts.as_str()),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "event").append()
}

/// The event with this id.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(db: &Db, tenant: TenantId, id: EventId) -> Result<Option<EventRow>, DbError> {
    let row = db
        .query_optional(&FIND, vec![Value::id(tenant), Value::id(id)])
        .await?;
    row.as_ref().map(read).transpose()
}

/// Events that match, newest first.
///
/// # Errors
/// As [`find`].
pub async fn list(db: &Db, tenant: TenantId, filter: &EventFilter<'_>) -> Result<Vec<EventRow>, DbError> {
    let kind = if filter.kind.is_empty() {
        "%".to_owned()
    } else {
        like(filter.kind)
    };
    // SECURITY: nothing covers the column, so whoever rewrites it must not hide an event from the list.
    let in_leaf = format!("%\"kind\":\"{kind}");
    let in_leaf = if kind.ends_with('%') {
        in_leaf
    } else {
        format!("{in_leaf}\"%")
    };
    let id = if filter.id.is_empty() {
        "%".to_owned()
    } else {
        format!("%\"{}\"%", like_exact(filter.id))
    };
    let params = vec![
        Value::id(tenant),
        Value::from(filter.before),
        Value::from(kind),
        Value::from(id),
        Value::from(filter.limit),
        Value::from(in_leaf),
        Value::from(filter.since),
    ];
    db.query(&LIST, params).await?.iter().map(read).collect()
}

/// The newest `seq` of all tenants before another; 0 if there is none.
///
/// # Errors
/// The database fails.
pub async fn newest_before(db: &Db, before: i64) -> Result<i64, DbError> {
    db.query_one(&NEWEST, vec![Value::from(before)]).await?.integer(0)
}

/// Events not yet in the tree, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn pending(db: &Db, tenant: TenantId, limit: u32) -> Result<Vec<PendingRow>, DbError> {
    let rows = db
        .query(&PENDING, vec![Value::id(tenant), Value::from(limit)])
        .await?;
    let read = |row: &Row| {
        Ok(PendingRow {
            seq: row.integer(0)?,
            id: row.id(1)?,
            leaf: row.text(2)?,
            mac: row.blob(3)?,
            position: index(row.optional_integer(4)?)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Events not yet in the tree with everything that is stored of them, oldest first.
///
/// # Errors
/// As [`find`].
pub async fn pending_rows(db: &Db, tenant: TenantId) -> Result<Vec<EventRow>, DbError> {
    let rows = db.query(&PENDING_ROWS, vec![Value::id(tenant)]).await?;
    rows.iter().map(read).collect()
}

/// How many events of all tenants are not in their trees yet, counted up to a bound.
///
/// # Errors
/// The database fails.
pub async fn count_pending(db: &Db, at_most: u32) -> Result<u64, DbError> {
    counter(
        &db.query_one(&COUNT_PENDING, vec![Value::from(at_most)]).await?,
        0,
    )
}

/// Takes out an event that is not in the tree yet, to be written anew in another log generation. Fails with label
/// `pending` if it is in the tree.
pub fn take_pending(tenant: TenantId, id: EventId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(id)];
    Statement::new(&TAKE_PENDING, params, Expect::Rows(1), "pending")
}

/// Events in the tree from an index on, in order.
///
/// # Errors
/// As [`find`].
pub async fn integrated(
    db: &Db,
    tenant: TenantId,
    log_generation: u64,
    from: u64,
    limit: u32,
) -> Result<Vec<EventRow>, DbError> {
    let params = vec![
        Value::id(tenant),
        number(log_generation),
        number(from),
        Value::from(limit),
    ];
    db.query(&INTEGRATED, params).await?.iter().map(read).collect()
}

/// Gives pending events their indexes. `assignments` are pairs of `seq` and index. Fails with label
/// `integrate` if any of them is not pending any more.
pub fn assign(tenant: TenantId, assignments: &[(i64, u64)]) -> Statement {
    let count = u64::try_from(assignments.len()).unwrap_or(u64::MAX);
    let json = serde_json::to_string(assignments).unwrap_or_default();
    Statement::new(
        &ASSIGN,
        vec![Value::id(tenant), Value::from(json)],
        Expect::Rows(count),
        "integrate",
    )
}

/// Replaces the parts of an event, to erase one. Fails with label `changed` if they are not as they were.
pub fn replace_parts(tenant: TenantId, id: EventId, old: &str, new: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(old),
        Value::from(new),
    ];
    Statement::new(&REPLACE_PARTS, params, Expect::Rows(1), "changed")
}

fn like(kind: &str) -> String {
    if kind.ends_with('.') {
        format!("{}%", like_exact(kind))
    } else {
        like_exact(kind)
    }
}

pub(crate) fn like_exact(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(crate) fn read(row: &Row) -> Result<EventRow, DbError> {
    Ok(EventRow {
        seq: row.integer(0)?,
        id: row.id(1)?,
        time: row.timestamp(2)?,
        kind: row.text(3)?,
        outcome: row.text(4)?,
        log_generation: counter(row, 5)?,
        position: index(row.optional_integer(6)?)?,
        leaf: row.text(7)?,
        mac: row.blob(8)?,
        parts: row.text(9)?,
    })
}

fn index(position: Option<i64>) -> Result<Option<u64>, DbError> {
    let index = position.map(u64::try_from).transpose();
    index.map_err(|_| crate::record::corrupt("an index is negative"))
}

const INSERT: Sql = Sql::pair(
    // One writer: the next index of the log is this row's.
    "INSERT INTO events (tenant, id, time, kind, outcome, log_generation, leaf, mac, parts, position)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, COALESCE(
       (SELECT position + 1 FROM events WHERE tenant = ?1 AND log_generation = ?6 AND position IS NOT NULL
        ORDER BY position DESC LIMIT 1), 0))",
    "INSERT INTO events (tenant, id, time, kind, outcome, log_generation, leaf, mac, parts)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
const FIND: Sql = Sql::same(
    "SELECT seq, id, time, kind, outcome, log_generation,
       CASE WHEN position >= (SELECT size FROM log_heads AS head
       WHERE head.tenant = events.tenant AND head.log_generation = events.log_generation) THEN NULL ELSE position END,
       leaf, mac, parts FROM events
     WHERE tenant = ?1 AND id = ?2",
);
const LIST: Sql = Sql::pair(
    // The plus keeps SQLite from the tenant's index: it would read the tenant's whole log and sort it for one page.
    "SELECT seq, id, time, kind, outcome, log_generation,
       CASE WHEN position >= (SELECT size FROM log_heads AS head
       WHERE head.tenant = events.tenant AND head.log_generation = events.log_generation) THEN NULL ELSE position END,
       leaf, mac, parts FROM events
     WHERE +tenant = ?1 AND seq < ?2 AND seq >= ?7 AND (kind LIKE ?3 ESCAPE '\\' OR leaf LIKE ?6 ESCAPE '\\') AND leaf LIKE ?4 ESCAPE '\\'
     ORDER BY seq DESC LIMIT ?5",
    "SELECT seq, id, time, kind, outcome, log_generation,
       CASE WHEN position >= (SELECT size FROM log_heads AS head
       WHERE head.tenant = events.tenant AND head.log_generation = events.log_generation) THEN NULL ELSE position END,
       leaf, mac, parts FROM events
     WHERE tenant = ?1 AND seq < ?2 AND seq >= ?7 AND (kind LIKE ?3 ESCAPE '\\' OR leaf LIKE ?6 ESCAPE '\\') AND leaf LIKE ?4 ESCAPE '\\'
     ORDER BY seq DESC LIMIT ?5",
);
const NEWEST: Sql = Sql::same("SELECT COALESCE(MAX(seq), 0) FROM events WHERE seq < ?1");
const PENDING: Sql = Sql::pair(
    "SELECT seq, id, leaf, mac, position FROM events
     WHERE tenant = ?1 AND position IS NOT NULL AND log_generation = (SELECT log_generation FROM log_heads WHERE tenant = ?1)
       AND position >= (SELECT size FROM log_heads WHERE tenant = ?1)
     ORDER BY position LIMIT ?2",
    "SELECT seq, id, leaf, mac, position FROM events WHERE tenant = ?1 AND position IS NULL ORDER BY seq LIMIT ?2",
);
const PENDING_ROWS: Sql = Sql::pair(
    "SELECT seq, id, time, kind, outcome, log_generation, NULL, leaf, mac, parts FROM events
     WHERE tenant = ?1 AND position IS NOT NULL AND log_generation = (SELECT log_generation FROM log_heads WHERE tenant = ?1)
       AND position >= (SELECT size FROM log_heads WHERE tenant = ?1)
     ORDER BY position",
    "SELECT seq, id, time, kind, outcome, log_generation, position, leaf, mac, parts FROM events
     WHERE tenant = ?1 AND position IS NULL ORDER BY seq",
);
const COUNT_PENDING: Sql = Sql::pair(
    "SELECT COUNT(*) FROM (
       SELECT 1 FROM log_heads AS head CROSS JOIN events AS event
       WHERE event.tenant = head.tenant AND event.log_generation = head.log_generation
         AND event.position >= head.size AND event.position IS NOT NULL
       LIMIT ?1)",
    "SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE position IS NULL LIMIT ?1) AS waiting",
);
const TAKE_PENDING: Sql = Sql::same(
    "DELETE FROM events WHERE tenant = ?1 AND id = ?2 AND (position IS NULL OR position >= (
       SELECT size FROM log_heads AS head WHERE head.tenant = ?1 AND head.log_generation = events.log_generation))",
);
const INTEGRATED: Sql = Sql::same(
    "SELECT seq, id, time, kind, outcome, log_generation, position, leaf, mac, parts FROM events
     WHERE tenant = ?1 AND log_generation = ?2 AND position >= ?3 AND position IS NOT NULL
       AND position < COALESCE((SELECT size FROM log_heads WHERE tenant = ?1 AND log_generation = ?2), 9223372036854775807)
     ORDER BY position LIMIT ?4",
);
const ASSIGN: Sql = Sql::pair(
    // Never needed here, where each row is written with its index.
    "UPDATE events SET position = pair.position
     FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS position FROM json_each(?2)) AS pair
     WHERE events.tenant = ?1 AND events.position IS NULL AND events.seq = pair.seq",
    "UPDATE events SET position = CAST(pair.value->>1 AS BIGINT)
     FROM json_array_elements(CAST(?2 AS JSON)) AS pair
     WHERE tenant = ?1 AND position IS NULL AND seq = CAST(pair.value->>0 AS BIGINT)",
);
const REPLACE_PARTS: Sql =
    Sql::same("UPDATE events SET parts = ?4 WHERE tenant = ?1 AND id = ?2 AND parts = ?3");

pub(crate) const QUERIES: &[&Sql] = &[
    &INSERT,
    &FIND,
    &LIST,
    &NEWEST,
    &PENDING,
    &PENDING_ROWS,
    &COUNT_PENDING,
    &TAKE_PENDING,
    &INTEGRATED,
    &ASSIGN,
    &REPLACE_PARTS,
];
