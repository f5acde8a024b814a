//! Deciding on a call and recording the decision, before anything leaves.

use crate::app::App;
use crate::error::Failure;
use crate::gateway::caller::Caller;
use crate::gateway::ends::Ends;
use crate::gateway::proposal::{Wanted, propose};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::call::{UsePlan, UseProposal};
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{DecisionId, EventId, GrantId, Id as _, TenantId};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_policy::{NeedsApproval, UsePermit, UseVerdict, decide_use};
use chancery_store::{Outcome, Statement, guard};
use std::sync::Arc;

/// What came of a call.
#[derive(Debug)]
pub enum Decided {
    /// It may be done. The decision is recorded.
    Permitted(Box<UsePermit>),
    /// It may not. The decision is recorded, with its id.
    Refused(Box<Decision>),
    /// It may with a person's yes. Nothing is recorded yet.
    NeedsYes(Box<NeedsApproval<UsePlan>>),
}

/// Decides on a call and commits the decision. If a fact changed meanwhile, everything is loaded and decided
/// once more.
///
/// # Errors
/// [`Failure::Stale`] if facts keep changing; the database's. Then nothing may be done.
pub async fn decide(
    app: &App,
    served: &Served,
    caller: &Caller,
    wanted: Wanted,
    now: Timestamp,
) -> Result<Decided, Failure> {
    let proposal = propose(app, served, caller, wanted.clone(), now).await?;
    decide_proposed(app, served, caller, (wanted, proposal), now).await
}

/// As [`decide`], where the proposal was put together already.
///
/// # Errors
/// As [`decide`].
pub async fn decide_proposed(
    app: &App,
    served: &Served,
    caller: &Caller,
    (wanted, proposal): (Wanted, UseProposal),
    now: Timestamp,
) -> Result<Decided, Failure> {
    if let Some(decided) = attempt(app, served, proposal, now).await? {
        return Ok(decided);
    }
    let tenant = served.tenant.id;
    for guard in &caller.guards {
        app.directory.forget(tenant, guard.noun, guard.id);
    }
    app.tenants.reload_one(&app.db, tenant).await?;
    let served = app
        .tenants
        .find(tenant)
        .ok_or(Failure::Stale("the tenant is gone"))?;
    let proposal = propose(app, &served, caller, wanted, now).await?;
    attempt(app, &served, proposal, now)
        .await?
        .ok_or(Failure::Stale("what the decision relied on keeps changing"))
}

/// One attempt; `None` when a guard failed.
///
/// # Errors
/// The database's.
pub(crate) async fn attempt(
    app: &App,
    served: &Served,
    mut proposal: UseProposal,
    now: Timestamp,
) -> Result<Option<Decided>, Failure> {
    proposal.plan.guards.push(served.policy.guard);
    let plan = proposal.plan.clone();
    match decide_use(&served.policy.set, proposal) {
        UseVerdict::NeedsApproval(needed) => {
            seen(app, &needed.decision, false);
            Ok(Some(Decided::NeedsYes(needed)))
        }
        UseVerdict::Deny(decision) => {
            seen(app, &decision, false);
            let outcome = record_refusal(app, served, (&plan, &decision), Vec::new()).await?;
            if !outcome.is_committed() {
                return Err(Failure::Internal("a refusal could not be recorded".to_owned()));
            }
            Ok(Some(Decided::Refused(decision)))
        }
        UseVerdict::Permit(permit) => {
            seen(app, permit.decision(), true);
            record_permit(app, served, permit, Vec::new(), now).await
        }
    }
}

/// Commits a permit, and what is written with it; `None` when a guard failed, or anything else did.
///
/// # Errors
/// The database's.
pub(super) async fn record_permit(
    app: &App,
    served: &Served,
    permit: Box<UsePermit>,
    more: Vec<Statement>,
    now: Timestamp,
) -> Result<Option<Decided>, Failure> {
    let tenant = served.tenant.id;
    let event = event(permit.plan(), permit.decision(), EventOutcome::Ok)?;
    let mut batch = app.batch(now);
    for statement in guard::statements(tenant, &permit.plan().guards) {
        batch = batch.guard(statement);
    }
    for (grant, budget) in &permit.plan().spends {
        batch = batch.push(chancery_store::spend_budget(tenant, *grant, *budget));
    }
    batch = batch.extend(more);
    batch = batch.push(record::statement(served.keys.seal(), &event, &*app.random)?);
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(Some(Decided::Permitted(permit))),
        Outcome::Refused { label: BUDGET, .. } => {
            let plan = permit.plan().clone();
            let decision = Box::new(permit.withdraw(DenyReason::BudgetUsedUp));
            let _ = record_refusal(app, served, (&plan, &decision), Vec::new()).await?;
            Ok(Some(Decided::Refused(decision)))
        }
        Outcome::Refused { .. } => {
            forget(app, tenant, permit.plan());
            Ok(None)
        }
    }
}

/// Commits a refusal, and what is written with it.
///
/// # Errors
/// The database's.
pub(crate) async fn record_refusal(
    app: &App,
    served: &Served,
    (plan, decision): (&UsePlan, &Decision),
    more: Vec<Statement>,
) -> Result<Outcome, Failure> {
    let event = event(plan, decision, EventOutcome::Denied)?;
    let batch =
        app.batch(plan.now)
            .extend(more)
            .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    app.commit(batch, &[]).await
}

/// Counts a decision, and names it on every line about the request.
fn seen(app: &App, decision: &Decision, is_permitted: bool) {
    app.metrics.decided("call", decision, is_permitted);
    tracing::Span::current().record("decision", tracing::field::display(decision.id));
}

/// How a call that was permitted ended. Recorded beside the answer, never in its way: the decision is already in
/// the log, and a decision without an end says that the end is not known.
pub fn ended(
    app: &Arc<App>,
    served: &Served,
    (plan, decision): (&UsePlan, DecisionId),
    outcome: EventOutcome,
    what: &Ended,
) {
    let now = app.clock.now();
    app.metrics.call_ended(outcome, what.fault);
    // The call may have lasted longer than the keys that it began with.
    let current = app.tenants.find(served.tenant.id);
    let served = current.as_deref().unwrap_or(served);
    let content = match serde_json::to_string(what) {
        Ok(content) => content,
        Err(error) => {
            tracing::error!(%error, %decision, "the end of a call could not be written down");
            return;
        }
    };
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: plan.tenant,
        time: now,
        kind: EventKind::CallEnded,
        outcome,
        actor: actor(plan),
        ids: plan
            .resource
            .iter()
            .map(|resource| ("resource", resource.to_string()))
            .collect(),
        decision: Some(decision),
        parts: vec![Part {
            name: "end",
            class: PartClass::Operational,
            content,
        }],
    };
    match record::statement(served.keys.seal(), &event, &*app.random) {
        Ok(statement) => Ends::add(app, statement),
        Err(error) => tracing::error!(%error, %decision, "the end of a call could not be recorded"),
    }
}

/// How a call ended.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Ended {
    /// The upstream's status, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// From the decision to the last byte, in milliseconds.
    pub milliseconds: u64,
    /// How many bytes of answer were handed on.
    pub bytes: u64,
}

fn forget(app: &App, tenant: TenantId, plan: &UsePlan) {
    for guard in &plan.guards {
        app.directory.forget(tenant, guard.noun, guard.id);
    }
}

/// The label of a grant's budget that is used up.
const BUDGET: &str = "budget";

fn event(plan: &UsePlan, decision: &Decision, outcome: EventOutcome) -> Result<Event, Failure> {
    let mut ids = vec![("token", plan.token.to_string())];
    ids.extend(plan.resource.map(|resource| ("resource", resource.to_string())));
    ids.extend(
        plan.lineage
            .first::<GrantId>(Noun::Grant)
            .map(|grant| ("grant", grant.to_string())),
    );
    if let Some(usage) = &plan.connection {
        ids.push(("connection", usage.connection.to_string()));
        ids.extend(usage.account.map(|account| ("account", account.id.to_string())));
    }
    Ok(Event {
        id: EventId::from(decision.id),
        tenant: plan.tenant,
        time: plan.now,
        kind: EventKind::CallDecided,
        outcome,
        actor: actor(plan),
        ids,
        decision: Some(decision.id),
        parts: vec![Part {
            name: "decision",
            class: PartClass::Decision,
            content: serde_json::to_string(decision).map_err(Failure::internal)?,
        }],
    })
}

pub(super) fn actor(plan: &UsePlan) -> Actor {
    Actor::Agent {
        agent: plan.agent,
        client: plan.client,
        user: plan.user,
    }
}
