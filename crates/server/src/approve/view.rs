//! What can be seen of requests: those that a person may answer, and any by somebody who may look at everything.

use crate::app::App;
use crate::approve::answer::{as_principal, unknown};
use crate::approve::{request, sealed};
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{ApprovalMethod, ApprovalRecord, ApprovalState};
use chancery_core::id::{ApprovalId, Id as _};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_policy::{ApprovalAnswer, ManagementAction, Manager, approve as policy};
use chancery_store::approval::{self, AnswerRow, ApprovalRow};
use chancery_store::outbox::{self, MessageRow};
use serde::Serialize;

/// A request as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct ApprovalView {
    /// Its id.
    pub id: ApprovalId,
    /// Where it stands.
    pub state: ApprovalState,
    /// Everything that is asked.
    pub record: ApprovalRecord,
    /// SHA-256 of the record, in hexadecimal.
    pub record_sha256: String,
    /// The same, as bytes.
    #[serde(skip)]
    pub record_hash: [u8; 32],
    /// The page.
    pub approval_uri: String,
    /// Until when it can be answered, then used.
    pub deadline: Timestamp,
    /// How many have said yes.
    pub votes: u32,
    /// The numbers to choose from, where the one that the asking side shows must be chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<u32>,
    /// Whether the caller may say yes.
    pub may_approve: bool,
    /// Whether the caller may say no.
    pub may_reject: bool,
    /// What people answered.
    pub answers: Vec<AnswerView>,
    /// Who was told, and whether the message went out.
    pub messages: Vec<MessageView>,
}

/// A message as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// How it goes out.
    pub channel: String,
    /// To whom.
    pub recipient: String,
    /// `waiting`, `sent` or `failed`.
    pub state: &'static str,
    /// How often it was tried.
    pub attempts: u64,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An answer as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerView {
    /// Who.
    pub name: String,
    /// `approved` or `denied`.
    pub answer: &'static str,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub time: Timestamp,
}

/// A page of requests.
#[derive(Clone, Debug)]
pub struct ApprovalPage {
    /// The requests.
    pub items: Vec<ApprovalView>,
    /// After which the next page begins, if there may be more.
    pub next: Option<ApprovalId>,
}

/// Requests in a state that the caller may answer or look at, the newest first.
///
/// # Errors
/// The database's.
pub async fn list(
    app: &App,
    served: &Served,
    caller: &Caller,
    state: ApprovalState,
    (before, limit): (Option<ApprovalId>, u32),
) -> Result<ApprovalPage, Failure> {
    let manager = current(app, served, caller).await?;
    let before = before.unwrap_or(ApprovalId::from_bytes([0xff; 16]));
    let rows = approval::list(&app.db, served.tenant.id, state, before, limit).await?;
    let is_full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|_| is_full).map(|row| row.id);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(view) = visible(app, served, (caller, &manager), row).await? {
            items.push(view);
        }
    }
    Ok(ApprovalPage { items, next })
}

/// One request. What the caller may neither answer nor look at is unknown.
///
/// # Errors
/// An unknown request; the database's.
pub async fn show(
    app: &App,
    served: &Served,
    caller: &Caller,
    id: ApprovalId,
) -> Result<ApprovalView, Failure> {
    let manager = current(app, served, caller).await?;
    let row = approval::find(&app.db, served.tenant.id, id).await?;
    let row = row.ok_or_else(|| unknown(id))?;
    let view = visible(app, served, (caller, &manager), row).await?;
    view.ok_or_else(|| unknown(id))
}

/// The caller as stored now.
async fn current(app: &App, served: &Served, caller: &Caller) -> Result<Manager, Failure> {
    let Actor::User(id) = caller.actor else {
        return Ok(caller.manager.clone());
    };
    let user = app.directory.users.find(served.tenant.id, id).await?;
    Ok(user.map_or_else(|| caller.manager.clone(), |user| as_principal(&user)))
}

async fn visible(
    app: &App,
    served: &Served,
    (caller, manager): (&Caller, &Manager),
    row: ApprovalRow,
) -> Result<Option<ApprovalView>, Failure> {
    let Some(record) = sealed::open(app, served, &row, caller.now).await? else {
        return Ok(None);
    };
    let may = |answer| {
        let who = (manager, ApprovalMethod::Page);
        policy::decide(&served.policy.set, &record, who, answer, caller.now).is_ok()
    };
    let (may_approve, may_reject) = (may(ApprovalAnswer::Approve), may(ApprovalAnswer::Reject));
    let id = row.id.to_string();
    let owner = record.subject.owner.as_ref();
    let may_look =
        || change::permit(served, caller, ManagementAction::View, (Noun::Agent, &id, owner)).is_ok();
    let is_theirs = matches!(manager, Manager::User { name, .. } if record.subject.user.as_ref().is_some_and(|user| user.name == *name));
    if !(may_approve || may_reject || is_theirs || may_look()) {
        return Ok(None);
    }
    let answers = approval::answers(&app.db, served.tenant.id, row.id).await?;
    let messages = outbox::about(&app.db, served.tenant.id, row.id).await?;
    let is_open = row.state == ApprovalState::Pending && row.deadline > caller.now;
    Ok(Some(ApprovalView {
        id: row.id,
        state: row.state,
        record_sha256: sealed::hex(&row.hash),
        record_hash: row.hash,
        approval_uri: request::uri(served, row.id),
        deadline: row.deadline,
        votes: row.votes,
        numbers: if is_open && may_approve {
            numbers(&row)
        } else {
            Vec::new()
        },
        may_approve: is_open && may_approve,
        may_reject: is_open && may_reject,
        answers: answers.into_iter().map(answer).collect(),
        messages: messages.into_iter().map(message).collect(),
        record,
    }))
}

fn answer(row: AnswerRow) -> AnswerView {
    AnswerView {
        name: row.name.to_string(),
        answer: if row.is_yes { "approved" } else { "denied" },
        reason: row.reason,
        time: row.time,
    }
}

fn message(row: MessageRow) -> MessageView {
    MessageView {
        channel: row.channel,
        recipient: row.recipient,
        state: row.state.as_str(),
        attempts: row.attempts,
        error: row.error,
    }
}

/// The number that the asking side shows among two others, which follow from the record, in order.
fn numbers(row: &ApprovalRow) -> Vec<u32> {
    let Some(shown) = row.number else {
        return Vec::new();
    };
    let mut all = vec![shown];
    for byte in &row.hash {
        let other = 10 + u32::from(*byte) % 90;
        if all.len() < CHOICES && !all.contains(&other) {
            all.push(other);
        }
    }
    all.sort_unstable();
    all
}

const CHOICES: usize = 3;
