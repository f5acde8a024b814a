//! Requests for a person's yes, and what people answered. Every change of state is one statement with its
//! precondition: a yes is counted, and used, once.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::{corrupt, counter, number};
use chancery_core::approval::{ApprovalMethod, ApprovalState};
use chancery_core::id::{AgentId, ApprovalId, ClientId, TenantId, UserId};
use chancery_core::name::Name;
use chancery_core::secret::TokenDigest;
use chancery_core::time::{Timestamp, Ttl};
use std::collections::BTreeSet;

/// A request as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// Where it stands.
    pub state: ApprovalState,
    /// The canonical record.
    pub record: String,
    /// SHA-256 of the record.
    pub hash: [u8; 32],
    /// The tenant's MAC over id and hash: nobody else wrote the record.
    pub mac: Vec<u8>,
    /// SHA-256 of what is asked.
    pub identity: [u8; 32],
    /// The digest of the handle that the client polls with.
    pub digest: Option<TokenDigest>,
    /// The agent that asks.
    pub agent: AgentId,
    /// Its client.
    pub client: ClientId,
    /// Whom it is put to first: a user's name, `group:NAME` or `*`.
    pub addressed: String,
    /// How many people must say yes.
    pub quorum: u32,
    /// How many have.
    pub votes: u32,
    /// The number that the asking side shows, where approvers must choose it.
    pub number: Option<u32>,
    /// How long the client waits between two polls.
    pub poll_interval: Ttl,
    /// When it polled last.
    pub polled_at: Option<Timestamp>,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Until when it can be answered, then used.
    pub deadline: Timestamp,
    /// When more people were told.
    pub escalated_at: Option<Timestamp>,
    /// When it was answered for good.
    pub decided_at: Option<Timestamp>,
}

/// What one person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// The person; the id of nobody for whoever was at the machine.
    pub person: UserId,
    /// Their name.
    pub name: Name,
    /// The generation of the person's row then.
    pub generation: u64,
    /// Whether it was a yes.
    pub is_yes: bool,
    /// How it was given.
    pub methods: BTreeSet<ApprovalMethod>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When.
    pub time: Timestamp,
}

/// The label of a request that exists already.
pub const PENDING: &str = "approval_pending";
/// The label of a request beyond what an agent or a person is bothered with at once.
pub const CAP: &str = "approval_cap";
/// The label of an answer that comes too late, or a second time.
pub const ANSWERED: &str = "approval_answered";
/// The label of a yes that cannot be used: used before, over, or another.
pub const SPENT: &str = "approval_spent";

/// Inserts a request. Fails with [`PENDING`] if the same thing is being asked.
pub fn insert(tenant: TenantId, row: &ApprovalRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(row.id),
        Value::from(row.state.as_str()),
        Value::from(row.record.as_str()),
        Value::from(&row.hash),
        Value::from(&row.identity),
        Value::from(row.digest.as_ref().map(|digest| digest.as_bytes().to_vec())),
        Value::id(row.agent),
        Value::id(row.client),
        Value::from(row.addressed.as_str()),
        Value::from(row.quorum),
        Value::from(row.number),
        Value::from(row.poll_interval.as_micros()),
        Value::from(row.requested_at),
        Value::from(row.deadline),
        Value::from(row.mac.as_slice()),
    ];
    Statement::new(&INSERT, params, Expect::Unique, PENDING)
}

/// Asserts that an agent, and the person whom it is put to, are asked about fewer things than this. Fails with
/// [`CAP`].
pub fn assert_below(
    tenant: TenantId,
    row: &ApprovalRow,
    (of_agent, of_addressed): (u32, u32),
) -> [Statement; 2] {
    let agent = vec![
        Value::id(tenant),
        Value::id(row.agent),
        Value::from(row.requested_at),
        Value::from(of_agent),
    ];
    let addressed = vec![
        Value::id(tenant),
        Value::from(row.addressed.as_str()),
        Value::from(row.requested_at),
        Value::from(of_addressed),
    ];
    [
        Statement::new(&BELOW_OF_AGENT, agent, Expect::Rows(1), CAP),
        Statement::new(&BELOW_OF_ADDRESSED, addressed, Expect::Rows(1), CAP),
    ]
}

/// The request with this id.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(db: &Db, tenant: TenantId, id: ApprovalId) -> Result<Option<ApprovalRow>, DbError> {
    let params = vec![Value::id(tenant), Value::id(id)];
    db.query_optional(&FIND, params)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The request that a client polls with this handle.
///
/// # Errors
/// As [`find`].
pub async fn find_by_digest(
    db: &Db,
    tenant: TenantId,
    digest: &TokenDigest,
) -> Result<Option<ApprovalRow>, DbError> {
    let params = vec![Value::id(tenant), Value::from(digest.as_bytes())];
    let row = db.query_optional(&FIND_BY_DIGEST, params).await?;
    row.as_ref().map(read).transpose()
}

/// The request for this very thing that was not ended: first one whose time is not over, first one that can be used.
///
/// # Errors
/// As [`find`].
pub async fn find_open(
    db: &Db,
    tenant: TenantId,
    identity: &[u8; 32],
    now: Timestamp,
) -> Result<Option<ApprovalRow>, DbError> {
    let params = vec![Value::id(tenant), Value::from(identity), Value::from(now)];
    let row = db.query_optional(&FIND_OPEN, params).await?;
    row.as_ref().map(read).transpose()
}

/// Requests in a state, the newest first; those before this id.
///
/// # Errors
/// As [`find`].
pub async fn list(
    db: &Db,
    tenant: TenantId,
    state: ApprovalState,
    before: ApprovalId,
    limit: u32,
) -> Result<Vec<ApprovalRow>, DbError> {
    let params = vec![
        Value::id(tenant),
        Value::from(state.as_str()),
        Value::id(before),
        Value::from(limit),
    ];
    db.query(&LIST, params).await?.iter().map(read).collect()
}

/// What people answered, the first first.
///
/// # Errors
/// As [`find`].
pub async fn answers(db: &Db, tenant: TenantId, id: ApprovalId) -> Result<Vec<AnswerRow>, DbError> {
    let rows = db.query(&ANSWERS, vec![Value::id(tenant), Value::id(id)]).await?;
    rows.iter().map(read_answer).collect()
}

/// Keeps what somebody answered. Fails with [`ANSWERED`] if they have before.
pub fn insert_answer(tenant: TenantId, id: ApprovalId, answer: &AnswerRow) -> Statement {
    let methods: Vec<&str> = answer.methods.iter().map(|method| method.as_str()).collect();
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::id(answer.person),
        Value::from(answer.name.as_str()),
        number(answer.generation),
        Value::from(if answer.is_yes { YES } else { NO }),
        Value::from(methods.join(" ")),
        Value::from(answer.reason.as_deref()),
        Value::from(answer.time),
    ];
    Statement::new(&INSERT_ANSWER, params, Expect::Unique, ANSWERED)
}

/// Counts a yes; the one that makes them enough ends the asking, and from then the yes can be used until `until`.
/// Fails with [`ANSWERED`].
pub fn count_yes(tenant: TenantId, row: &ApprovalRow, now: Timestamp, until: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(row.id),
        Value::from(&row.hash),
        Value::from(now),
        Value::from(until),
    ];
    Statement::new(&COUNT_YES, params, Expect::Rows(1), ANSWERED)
}

/// Ends a request by a no. Fails with [`ANSWERED`].
pub fn deny(tenant: TenantId, id: ApprovalId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(id), Value::from(now)];
    Statement::new(&DENY, params, Expect::Rows(1), ANSWERED)
}

/// Uses a yes, in the batch of what it permits. Fails with [`SPENT`].
pub fn spend(tenant: TenantId, id: ApprovalId, hash: &[u8; 32], now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(hash),
        Value::from(now),
    ];
    Statement::new(&SPEND, params, Expect::Rows(1), SPENT)
}

/// Ends a request that nobody can answer or use any more. Fails with [`ANSWERED`] if it has ended otherwise.
pub fn expire(tenant: TenantId, id: ApprovalId, state: ApprovalState, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(state.as_str()),
        Value::from(now),
    ];
    Statement::new(&EXPIRE, params, Expect::Rows(1), ANSWERED)
}

/// Notes that the client polled; whoever polls too soon waits longer from then on.
pub fn note_poll(tenant: TenantId, id: ApprovalId, now: Timestamp, interval: Ttl) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(id),
        Value::from(now),
        Value::from(interval.as_micros()),
    ];
    Statement::new(&NOTE_POLL, params, Expect::Any, "poll")
}

/// Notes that more people were told. Fails with [`ANSWERED`] if that was done, or the request has ended.
pub fn escalate(tenant: TenantId, id: ApprovalId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(id), Value::from(now)];
    Statement::new(&ESCALATE, params, Expect::Rows(1), ANSWERED)
}

/// Requests of every tenant whose deadline has passed.
///
/// # Errors
/// As [`find`].
pub async fn overdue(db: &Db, now: Timestamp, limit: u32) -> Result<Vec<(TenantId, ApprovalRow)>, DbError> {
    let rows = db
        .query(&OVERDUE, vec![Value::from(now), Value::from(limit)])
        .await?;
    rows.iter().map(of_tenant).collect()
}

/// Requests of every tenant that were asked before this moment, are not answered, and were told nobody else of.
///
/// # Errors
/// As [`find`].
pub async fn unanswered(
    db: &Db,
    (before, now): (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<(TenantId, ApprovalRow)>, DbError> {
    let params = vec![Value::from(before), Value::from(now), Value::from(limit)];
    let rows = db.query(&UNANSWERED, params).await?;
    rows.iter().map(of_tenant).collect()
}

/// Forgets requests that ended before this moment: the log has them.
pub fn prune(before: Timestamp) -> [Statement; 2] {
    let statement = |sql| Statement::new(sql, vec![Value::from(before)], Expect::Any, "prune");
    [statement(&PRUNE_ANSWERS), statement(&PRUNE)]
}

fn of_tenant(row: &Row) -> Result<(TenantId, ApprovalRow), DbError> {
    Ok((row.id(COLUMNS)?, read(row)?))
}

fn read(row: &Row) -> Result<ApprovalRow, DbError> {
    let digest = row.optional_blob(5)?;
    Ok(ApprovalRow {
        id: row.id(0)?,
        state: ApprovalState::parse(&row.text(1)?).ok_or_else(|| corrupt("a state cannot be read"))?,
        record: row.text(2)?,
        hash: hash(row.blob(3)?)?,
        identity: hash(row.blob(4)?)?,
        digest: digest.map(hash).transpose()?.map(TokenDigest::new),
        agent: row.id(6)?,
        client: row.id(7)?,
        addressed: row.text(8)?,
        quorum: small(row.integer(9)?)?,
        votes: small(row.integer(10)?)?,
        number: row.optional_integer(11)?.map(small).transpose()?,
        poll_interval: Timestamp::from_micros(row.integer(12)?).since(Timestamp::default()),
        polled_at: row.optional_integer(13)?.map(Timestamp::from_micros),
        requested_at: row.timestamp(14)?,
        deadline: row.timestamp(15)?,
        escalated_at: row.optional_integer(16)?.map(Timestamp::from_micros),
        decided_at: row.optional_integer(17)?.map(Timestamp::from_micros),
        mac: row.blob(18)?,
    })
}

fn read_answer(row: &Row) -> Result<AnswerRow, DbError> {
    let methods = row.text(4)?;
    let method = |word: &str| {
        let all = ApprovalMethod::ALL.into_iter();
        let mut found = all.filter(|method| method.as_str() == word);
        found.next().ok_or_else(|| corrupt("a method cannot be read"))
    };
    Ok(AnswerRow {
        person: row.id(0)?,
        name: row
            .text(1)?
            .parse()
            .map_err(|_| corrupt("a name cannot be read"))?,
        generation: counter(row, 2)?,
        is_yes: match row.text(3)?.as_str() {
            YES => true,
            NO => false,
            _ => return Err(corrupt("an answer cannot be read")),
        },
        methods: methods
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(method)
            .collect::<Result<_, _>>()?,
        reason: row.optional_text(5)?,
        time: row.timestamp(6)?,
    })
}

fn hash(bytes: Vec<u8>) -> Result<[u8; 32], DbError> {
    bytes.try_into().map_err(|_| corrupt("a hash is not 32 bytes"))
}

fn small(number: i64) -> Result<u32, DbError> {
    u32::try_from(number).map_err(|_| corrupt("a small number is not small"))
}

const YES: &str = "yes";
const NO: &str = "no";
/// How many columns a request has; the tenant comes after them where it is not known.
const COLUMNS: usize = 19;

const INSERT: Sql = Sql::same(
    "INSERT INTO approvals (tenant, id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes,
     number, poll_interval, polled_at, requested_at, deadline, mac)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12, ?13, NULL, ?14, ?15, ?16)",
);
const BELOW_OF_AGENT: Sql = Sql::same(
    "SELECT 1 WHERE (SELECT COUNT(*) FROM approvals
     WHERE tenant = ?1 AND agent = ?2 AND state = 'pending' AND deadline > ?3) < ?4",
);
const BELOW_OF_ADDRESSED: Sql = Sql::same(
    "SELECT 1 WHERE (SELECT COUNT(*) FROM approvals
     WHERE tenant = ?1 AND addressed = ?2 AND state = 'pending' AND deadline > ?3) < ?4",
);
const FIND: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac FROM approvals WHERE tenant = ?1 AND id = ?2",
);
const FIND_BY_DIGEST: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac FROM approvals
     WHERE tenant = ?1 AND digest = ?2 AND digest IS NOT NULL",
);
const FIND_OPEN: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac FROM approvals
     WHERE tenant = ?1 AND identity = ?2 AND state IN ('pending', 'approved')
     ORDER BY CASE WHEN deadline > ?3 THEN 0 ELSE 1 END, state, id DESC LIMIT 1",
);
const LIST: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac FROM approvals
     WHERE tenant = ?1 AND state = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
);
const OVERDUE: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac, tenant FROM approvals
     WHERE state IN ('pending', 'approved') AND deadline <= ?1 ORDER BY deadline LIMIT ?2",
);
const UNANSWERED: Sql = Sql::same(
    "SELECT id, state, record, hash, identity, digest, agent, client, addressed, quorum, votes, number, poll_interval,
     polled_at, requested_at, deadline, escalated_at, decided_at, mac, tenant FROM approvals
     WHERE state = 'pending' AND escalated_at IS NULL AND requested_at <= ?1 AND deadline > ?2
     ORDER BY requested_at LIMIT ?3",
);
const ANSWERS: Sql = Sql::same(
    "SELECT person, name, generation, answer, methods, reason, time FROM approval_answers
     WHERE tenant = ?1 AND approval = ?2 ORDER BY time, person",
);
const INSERT_ANSWER: Sql = Sql::same(
    "INSERT INTO approval_answers (tenant, approval, person, name, generation, answer, methods, reason, time)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
// One statement counts and decides: two people who say yes at once are counted one after the other.
const COUNT_YES: Sql = Sql::same(
    "UPDATE approvals SET votes = votes + 1,
       state = CASE WHEN votes + 1 >= quorum THEN 'approved' ELSE state END,
       decided_at = CASE WHEN votes + 1 >= quorum THEN ?4 ELSE decided_at END,
       deadline = CASE WHEN votes + 1 >= quorum THEN ?5 ELSE deadline END
     WHERE tenant = ?1 AND id = ?2 AND hash = ?3 AND state = 'pending' AND deadline > ?4",
);
const DENY: Sql = Sql::same(
    "UPDATE approvals SET state = 'denied', decided_at = ?3
     WHERE tenant = ?1 AND id = ?2 AND state = 'pending' AND deadline > ?3",
);
const SPEND: Sql = Sql::same(
    "UPDATE approvals SET state = 'used'
     WHERE tenant = ?1 AND id = ?2 AND hash = ?3 AND state = 'approved' AND deadline > ?4",
);
const EXPIRE: Sql = Sql::same(
    "UPDATE approvals SET state = 'expired', decided_at = ?4 WHERE tenant = ?1 AND id = ?2 AND state = ?3",
);
const NOTE_POLL: Sql =
    Sql::same("UPDATE approvals SET polled_at = ?3, poll_interval = ?4 WHERE tenant = ?1 AND id = ?2");
const ESCALATE: Sql = Sql::same(
    "UPDATE approvals SET escalated_at = ?3
     WHERE tenant = ?1 AND id = ?2 AND state = 'pending' AND escalated_at IS NULL",
);
const PRUNE_ANSWERS: Sql = Sql::same(
    "DELETE FROM approval_answers WHERE EXISTS (SELECT 1 FROM approvals AS a
     WHERE a.tenant = approval_answers.tenant AND a.id = approval_answers.approval
       AND a.state IN ('denied', 'expired', 'used') AND a.deadline < ?1)",
);
const PRUNE: Sql =
    Sql::same("DELETE FROM approvals WHERE state IN ('denied', 'expired', 'used') AND deadline < ?1");

pub(crate) const QUERIES: &[&Sql] = &[
    &INSERT,
    &BELOW_OF_AGENT,
    &BELOW_OF_ADDRESSED,
    &FIND,
    &FIND_BY_DIGEST,
    &FIND_OPEN,
    &LIST,
    &OVERDUE,
    &UNANSWERED,
    &ANSWERS,
    &INSERT_ANSWER,
    &COUNT_YES,
    &DENY,
    &SPEND,
    &EXPIRE,
    &NOTE_POLL,
    &ESCALATE,
    &PRUNE_ANSWERS,
    &PRUNE,
];
