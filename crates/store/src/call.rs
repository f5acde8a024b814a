//! Calls in the log: decisions newest first, and the event that ended each. Read by indexes of their own, so that a
//! page costs the same however long the log is. Writes nothing; `event` does.

use crate::db::{Db, DbError, Sql, Value};
use crate::event::{EventRow, like_exact, read};
use chancery_core::id::{DecisionId, TenantId};
use chancery_core::time::Timestamp;

/// A place between calls: the moment of one and the order of its insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the call was decided.
    pub time: Timestamp,
    /// The order of insertion, where moments are equal.
    pub seq: i64,
}

/// Which calls to read, newest first.
#[derive(Clone, Debug)]
pub struct CallFilter<'a> {
    /// Only those before this place.
    pub before: Place,
    /// Only those decided at this moment or later.
    pub since: Timestamp,
    /// Only those whose leaf names each of these ids; empty for any.
    pub ids: [&'a str; 3],
    /// Only those whose stored parts hold this text; empty for any.
    pub text: &'a str,
    /// Only those that were not permitted.
    pub refused_only: bool,
    /// At most so many.
    pub limit: u32,
    /// At most so many are looked at.
    pub scan: u32,
}

/// Calls, and where the next page starts.
#[derive(Clone, Debug)]
pub struct CallRows {
    /// The events that record the decisions.
    pub rows: Vec<EventRow>,
    /// Where to go on, if there may be more.
    pub next: Option<Place>,
}

/// Decisions on calls that match, newest first.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn decided(db: &Db, tenant: TenantId, filter: &CallFilter<'_>) -> Result<CallRows, DbError> {
    let start = [
        Value::id(tenant),
        filter.before.time.into(),
        filter.before.seq.into(),
    ];
    let last = i64::from(filter.scan.max(1)) - 1;
    let mut params = start.to_vec();
    params.extend([filter.since.into(), Value::from(last)]);
    let reached = db.query_optional(&REACH, params).await?;
    let reached = reached
        .map(|row| {
            Ok::<_, DbError>(Place {
                time: row.timestamp(0)?,
                seq: row.integer(1)?,
            })
        })
        .transpose()?;

    let floor = reached.unwrap_or(Place {
        time: filter.since,
        seq: i64::MIN,
    });
    let mut params = start.to_vec();
    params.extend([floor.time.into(), floor.seq.into()]);
    params.extend(filter.ids.map(|id| Value::from(within(id, "\""))));
    params.push(Value::from(within(filter.text, "")));
    params.push(Value::from(if filter.refused_only { "ok" } else { "" }));
    params.push(Value::from(filter.limit));
    let rows = db.query(&DECIDED, params).await?;
    let rows: Vec<EventRow> = rows.iter().map(read).collect::<Result<_, _>>()?;

    let is_full = rows.len() == usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| Place {
        time: row.time,
        seq: row.seq,
    });
    Ok(CallRows {
        next: next.or(reached),
        rows,
    })
}

/// The events that ended these calls, as far as they have ended.
///
/// # Errors
/// As [`decided`].
pub async fn ended(db: &Db, tenant: TenantId, decisions: &[DecisionId]) -> Result<Vec<EventRow>, DbError> {
    if decisions.is_empty() {
        return Ok(Vec::new());
    }
    let list = serde_json::to_string(decisions).unwrap_or_default();
    let rows = db
        .query(&ENDED, vec![Value::id(tenant), Value::from(list)])
        .await?;
    rows.iter().map(read).collect()
}

/// A pattern for `LIKE`: the text anywhere, in quotes of a kind; anything if there is none.
fn within(text: &str, quote: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    format!("%{quote}{}{quote}%", like_exact(text))
}

/// The last call that this page looks at, if there are so many.
const REACH: Sql = Sql::same(
    "SELECT time, seq FROM events
     WHERE tenant = ?1 AND kind = 'call.decided' AND (time, seq) < (?2, ?3) AND time >= ?4
     ORDER BY time DESC, seq DESC LIMIT 1 OFFSET ?5",
);
const DECIDED: Sql = Sql::same(
    "SELECT seq, id, time, kind, outcome, log_generation, CAST(NULL AS BIGINT), leaf, mac, parts FROM events
     WHERE tenant = ?1 AND kind = 'call.decided' AND (time, seq) < (?2, ?3) AND (time, seq) >= (?4, ?5)
       AND leaf LIKE ?6 ESCAPE '\\' AND leaf LIKE ?7 ESCAPE '\\' AND leaf LIKE ?8 ESCAPE '\\'
       AND parts LIKE ?9 ESCAPE '\\' AND outcome <> ?10
     ORDER BY time DESC, seq DESC LIMIT ?11",
);
const ENDED: Sql = Sql::pair(
    "SELECT seq, id, time, kind, outcome, log_generation, CAST(NULL AS BIGINT), leaf, mac, parts FROM events
     WHERE tenant = ?1 AND kind = 'call.ended' AND substr(leaf, instr(leaf, 'dec_'), 30) IN (SELECT value FROM json_each(?2))",
    "SELECT seq, id, time, kind, outcome, log_generation, CAST(NULL AS BIGINT), leaf, mac, parts FROM events
     WHERE tenant = ?1 AND kind = 'call.ended'
       AND substr(leaf, strpos(leaf, 'dec_'), 30) IN (SELECT json_array_elements_text(CAST(?2 AS JSON)))",
);

pub(crate) const QUERIES: &[&Sql] = &[&REACH, &DECIDED, &ENDED];
