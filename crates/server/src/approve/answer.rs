//! Yes and no: load → may they → count it → record. A yes is given by a person who is known, and policy with its floor
//! says who; one person counts once.

use crate::app::App;
use crate::approve::step_up::{self, Kept, Signed};
use crate::approve::view::{self, ApprovalView};
use crate::approve::{request, sealed};
use crate::directory::change::Caller;
use crate::directory::lineage;
use crate::error::{Failure, Refusal};
use crate::issue::token::guard_of;
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{AgentText, ApprovalMethod, ApprovalState, USABLE_FOR};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{ApprovalId, EventId, Id as _, UserId};
use chancery_core::lineage::Guard;
use chancery_core::name::Name;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_policy::{ApprovalAnswer, Manager, approve as policy};
use chancery_store::approval::{self, AnswerRow, ApprovalRow};
use chancery_store::{Outcome, guard};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// To which request.
    pub id: ApprovalId,
    /// Yes or no.
    pub answer: ApprovalAnswer,
    /// Where it was given.
    pub method: ApprovalMethod,
    /// The number that was chosen, where one must be.
    pub number: Option<u32>,
    /// Why, in the person's words.
    pub reason: Option<&'a str>,
    /// What a passkey signed.
    pub signed: Option<Signed<'a>>,
}

/// Takes an answer.
///
/// # Errors
/// An unknown request; one that was answered or is over; policy's refusal; the database's.
pub async fn give(
    app: &App,
    served: &Served,
    caller: &Caller,
    given: Given<'_>,
) -> Result<ApprovalView, Failure> {
    // 1. What is asked, exactly as it was asked.
    let now = caller.now;
    let tenant = served.tenant.id;
    let row = approval::find(&app.db, tenant, given.id).await?;
    let row = row.ok_or_else(|| unknown(given.id))?;
    let record = sealed::open(app, served, &row, now).await?;
    let record = record.ok_or_else(|| unknown(given.id))?;

    // 2. May they, as they are now.
    let person = person(app, served, caller).await?;
    let manager = person
        .as_ref()
        .map_or_else(|| caller.manager.clone(), |user| as_principal(user));
    let set = &served.policy.set;
    let permit = policy::decide(set, &record, (&manager, given.method), given.answer, now)?;
    if row.state != ApprovalState::Pending || row.deadline <= now {
        return Err(over(&row));
    }
    let Some(mut guards) = lineage::check(app, tenant, &record.lineage).await? else {
        end(app, served, &row, caller).await?;
        return Err(
            Refusal::Invalid("what asked for this is gone: it was revoked meanwhile".to_owned()).into(),
        );
    };
    let (is_yes, mut methods) = chosen(&row, &given)?;
    let kept = match &person {
        Some(person) if is_yes => {
            step_up::check(app, served, (&row, &record, person), given.signed, now).await?
        }
        Some(_) | None => None,
    };
    methods.extend(kept.as_ref().map(|_| ApprovalMethod::Passkey));

    // 3. Count it, and record it, at once.
    let answer = answered(person.as_deref(), (is_yes, methods), &given, now)?;
    guards.extend(person.as_ref().map(|user| guard_of(user)));
    guards.push(served.policy.guard);
    match commit(
        app,
        served,
        caller,
        (&row, &answer, permit.policies()),
        (&unique(guards), kept),
    )
    .await?
    {
        Outcome::Committed => view::show(app, served, caller, row.id).await,
        Outcome::Refused {
            label: guard::STALE, ..
        } => Err(Failure::Stale(
            "something that the answer relies on changed just now",
        )),
        Outcome::Refused { .. } => Err(over(&row)),
    }
}

/// An answer as it is stored. Nobody is behind the local socket.
fn answered(
    person: Option<&User>,
    (is_yes, methods): (bool, BTreeSet<ApprovalMethod>),
    given: &Given<'_>,
    now: Timestamp,
) -> Result<AnswerRow, Failure> {
    let reason = given.reason.and_then(AgentText::clean);
    Ok(AnswerRow {
        person: person.map_or_else(|| UserId::from_bytes([0; 16]), |user| user.id),
        name: person.map_or_else(local, |user| Ok(user.name.clone()))?,
        generation: person.map_or(0, |user| user.generation),
        is_yes,
        methods,
        reason: reason.map(|text| text.as_str().to_owned()),
        time: now,
    })
}

/// Counts an answer and records it, if everything that it relies on is as it was.
async fn commit(
    app: &App,
    served: &Served,
    caller: &Caller,
    (row, answer, policies): (&ApprovalRow, &AnswerRow, &[String]),
    (guards, kept): (&[Guard], Option<Kept>),
) -> Result<Outcome, Failure> {
    let (tenant, now) = (served.tenant.id, caller.now);
    let count = if answer.is_yes {
        approval::count_yes(tenant, row, now, now.plus(USABLE_FOR))
    } else {
        approval::deny(tenant, row.id, now)
    };
    let mut event = event(app, served, caller, (row, answer), policies);
    let mut signed = Vec::new();
    if let Some(kept) = kept {
        event.parts.push(kept.part);
        signed = kept.statements;
    }
    let mut batch = app.batch(now);
    for statement in guard::statements(tenant, guards) {
        batch = batch.guard(statement);
    }
    let batch = batch
        .push(count)
        .push(approval::insert_answer(tenant, row.id, answer))
        .extend(signed)
        .extend(caller.spend_once())
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    app.commit(batch, &[]).await
}

/// Whether it is a yes, and what the person did. Whoever chooses another number than the asking side shows has another
/// request before them than they think: that is a no.
fn chosen(row: &ApprovalRow, given: &Given<'_>) -> Result<(bool, BTreeSet<ApprovalMethod>), Failure> {
    let mut methods = BTreeSet::from([given.method]);
    let is_yes = match given.answer {
        ApprovalAnswer::Reject => return Ok((false, methods)),
        ApprovalAnswer::Approve => true,
    };
    match (row.number, given.number) {
        (None, _) => Ok((is_yes, methods)),
        (Some(shown), Some(chosen)) if shown == chosen => {
            methods.insert(ApprovalMethod::Number);
            Ok((is_yes, methods))
        }
        (Some(_), Some(_)) => Ok((false, methods)),
        (Some(_), None) => {
            Err(Refusal::Invalid("choose the number that is shown where this was asked".to_owned()).into())
        }
    }
}

/// The person who answers, as stored. Nobody is behind the local socket, nor an agent.
async fn person(app: &App, served: &Served, caller: &Caller) -> Result<Option<Arc<User>>, Failure> {
    let Actor::User(id) = caller.actor else {
        return Ok(None);
    };
    let user = app.directory.users.find(served.tenant.id, id).await?;
    let user = user.filter(|user| user.state.is_active());
    user.map(Some)
        .ok_or_else(|| Refusal::Invalid("whoever answers is not active here".to_owned()).into())
}

/// A person as policy sees them, by what is stored and not by what a session remembers.
pub(super) fn as_principal(user: &User) -> Manager {
    Manager::User {
        name: user.name.clone(),
        roles: user.spec.roles.clone(),
        groups: user.spec.groups.clone(),
    }
}

fn event(
    app: &App,
    served: &Served,
    caller: &Caller,
    (row, answer): (&ApprovalRow, &AnswerRow),
    policies: &[String],
) -> Event {
    let hash = sealed::hex(&row.hash);
    let content = serde_json::json!({
        "record_sha256": hash, "methods": answer.methods, "reason": answer.reason, "policies": policies,
    });
    Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant: served.tenant.id,
        time: caller.now,
        kind: if answer.is_yes {
            EventKind::ApprovalGiven
        } else {
            EventKind::ApprovalDenied
        },
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![("approval", row.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "answer",
            class: PartClass::Personal,
            content: content.to_string(),
        }],
    }
}

/// Ends a request that can come to nothing any more.
async fn end(app: &App, served: &Served, row: &ApprovalRow, caller: &Caller) -> Result<(), Failure> {
    let batch = app
        .batch(caller.now)
        .push(approval::expire(served.tenant.id, row.id, row.state, caller.now))
        .push(request::expired(app, served, row.id, caller.now)?);
    let _ = app.commit(batch, &[]).await?;
    Ok(())
}

fn unique(guards: Vec<Guard>) -> Vec<Guard> {
    let mut kept: Vec<Guard> = Vec::with_capacity(guards.len());
    for guard in guards {
        if !kept.contains(&guard) {
            kept.push(guard);
        }
    }
    kept
}

fn local() -> Result<Name, Failure> {
    "local".parse().map_err(Failure::internal)
}

pub(super) fn unknown(id: ApprovalId) -> Failure {
    Refusal::Unknown {
        what: "approval",
        name: id.to_string(),
    }
    .into()
}

fn over(row: &ApprovalRow) -> Failure {
    Refusal::Conflict(row.id.to_string()).into()
}
