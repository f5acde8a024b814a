//! Messages that are to go out: written in the batch of what they are about, and tried until they are taken. Where
//! each stands can be seen.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::{corrupt, number};
use chancery_core::id::{ApprovalId, MessageId, TenantId};
use chancery_core::time::Timestamp;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// What it is about.
    pub approval: ApprovalId,
    /// How it goes out.
    pub channel: String,
    /// To whom, as far as that may be shown.
    pub recipient: String,
    /// What it says.
    pub body: String,
    /// Where it stands.
    pub state: MessageState,
    /// How often it was tried.
    pub attempts: u64,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// What went wrong last.
    pub error: Option<String>,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// It is to be tried.
    Waiting,
    /// It was taken.
    Sent,
    /// It was given up.
    Failed,
}

impl MessageState {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Self::Waiting, Self::Sent, Self::Failed];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// Puts a message into the outbox.
pub fn insert(tenant: TenantId, row: &MessageRow, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(row.id),
        Value::id(row.approval),
        Value::from(row.channel.as_str()),
        Value::from(row.recipient.as_str()),
        Value::from(row.body.as_str()),
        Value::from(now),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "message")
}

/// Messages of every tenant that are to be tried now.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn due(db: &Db, now: Timestamp, limit: u32) -> Result<Vec<(TenantId, MessageRow)>, DbError> {
    let rows = db.query(&DUE, vec![Value::from(now), Value::from(limit)]).await?;
    rows.iter().map(|row| Ok((row.id(9)?, read(row)?))).collect()
}

/// Messages about one request.
///
/// # Errors
/// As [`due`].
pub async fn about(db: &Db, tenant: TenantId, approval: ApprovalId) -> Result<Vec<MessageRow>, DbError> {
    let rows = db
        .query(&ABOUT, vec![Value::id(tenant), Value::id(approval)])
        .await?;
    rows.iter().map(read).collect()
}

/// Notes how a try ended, unless another node noted one meanwhile: then label `message` fails.
pub fn settle(
    tenant: TenantId,
    row: &MessageRow,
    (state, error): (MessageState, Option<&str>),
    (now, next_at): (Timestamp, Timestamp),
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(row.id),
        number(row.attempts),
        Value::from(state.as_str()),
        Value::from(next_at),
        Value::from(error),
        Value::from((state == MessageState::Sent).then_some(now)),
    ];
    Statement::new(&SETTLE, params, Expect::Rows(1), "message")
}

/// Forgets messages that ended before this moment.
pub fn prune(before: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(before)], Expect::Any, "prune")
}

fn read(row: &Row) -> Result<MessageRow, DbError> {
    Ok(MessageRow {
        id: row.id(0)?,
        approval: row.id(1)?,
        channel: row.text(2)?,
        recipient: row.text(3)?,
        body: row.text(4)?,
        state: MessageState::parse(&row.text(5)?).ok_or_else(|| corrupt("a state cannot be read"))?,
        attempts: crate::record::counter(row, 6)?,
        next_at: row.timestamp(7)?,
        error: row.optional_text(8)?,
    })
}

const INSERT: Sql = Sql::same(
    "INSERT INTO outbox (tenant, id, approval, channel, recipient, body, state, attempts, next_at, created_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', 0, ?7, ?7)",
);
const DUE: Sql = Sql::same(
    "SELECT id, approval, channel, recipient, body, state, attempts, next_at, error, tenant FROM outbox
     WHERE state = 'waiting' AND next_at <= ?1 ORDER BY next_at LIMIT ?2",
);
const ABOUT: Sql = Sql::same(
    "SELECT id, approval, channel, recipient, body, state, attempts, next_at, error FROM outbox
     WHERE tenant = ?1 AND approval = ?2 ORDER BY id",
);
const SETTLE: Sql = Sql::same(
    "UPDATE outbox SET state = ?4, attempts = attempts + 1, next_at = ?5, error = ?6, sent_at = ?7
     WHERE tenant = ?1 AND id = ?2 AND attempts = ?3 AND state = 'waiting'",
);
const PRUNE: Sql = Sql::same("DELETE FROM outbox WHERE state <> 'waiting' AND created_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &DUE, &ABOUT, &SETTLE, &PRUNE];
