//! A call that policy permits only with a person's yes: the yes to this very call is used, or one is asked for. The
//! call that is made again with the same canonical arguments is the same call.

use crate::app::App;
use crate::approve::request::{self, Unaskable};
use crate::approve::{call as approving, sealed};
use crate::error::Failure;
use crate::gateway::decision::{self, Decided};
use crate::tenants::Served;
use chancery_core::actor::ChainLink;
use chancery_core::agent::Agent;
use chancery_core::approval::AskedCall;
use chancery_core::call::{UsePlan, UseProposal};
use chancery_core::decision::Decision;
use chancery_core::id::{ApprovalId, Id as _, ResourceId};
use chancery_core::lineage::Guard;
use chancery_core::time::Timestamp;
use chancery_mcp::envelope::Object;
use chancery_mcp::fields::secret_fields;
use chancery_mcp::schema::InputSchema;
use chancery_oauth::error::AwaitedApproval;
use chancery_policy::{NeedsApproval, UsePermit, UseVerdict, decide_use};
use chancery_store::{Outcome, approval};
use serde_json::Value;
use std::sync::Arc;

/// What came of a call that needs a yes.
#[derive(Debug)]
pub enum Settled {
    /// There is a yes, and it is used. The decision is recorded.
    Permitted(Box<UsePermit>),
    /// It may not be done, and nobody is asked: with why, where a yes would have helped. The decision is recorded.
    Refused(Box<Decision>, Option<Unaskable>),
    /// People are asked. The decision is recorded, with what they are asked.
    Awaits(Box<Awaited>),
}

/// What waits for people.
#[derive(Debug)]
pub struct Awaited {
    /// The request.
    pub id: ApprovalId,
    /// Its page, and when to try again.
    pub approval: AwaitedApproval,
    /// The decision that needs it.
    pub decision: Box<Decision>,
}

/// Uses the yes to this call, or asks for one. About a call that cannot be shown whole nobody is asked.
///
/// # Errors
/// [`Failure::Stale`] if facts changed meanwhile; the database's. Then nothing may be done.
pub async fn settle(
    app: &App,
    served: &Served,
    chain: &[Arc<Agent>],
    (needed, call): (NeedsApproval<UsePlan>, Result<AskedCall, Unaskable>),
    now: Timestamp,
) -> Result<Settled, Failure> {
    let call = match call {
        Ok(call) => call,
        Err(why) => return refuse(app, served, needed, why).await,
    };
    let link = |agent: &Arc<Agent>| ChainLink {
        id: agent.id,
        name: agent.name.clone(),
    };
    let chain: Vec<ChainLink> = chain.iter().map(link).collect();
    if let Some(yes) = approving::find(app, served, &needed, (&chain, &call), now).await? {
        return with_yes(app, served, needed, yes, now).await;
    }
    let request = match approving::ask(app, served, &needed, (&chain, &call), now).await? {
        Ok(request) => request,
        Err(why) => return refuse(app, served, needed, why).await,
    };
    let outcome =
        decision::record_refusal(app, served, (&needed.plan, &needed.decision), request.statements).await?;
    match outcome {
        Outcome::Committed => Ok(Settled::Awaits(Box::new(Awaited {
            id: request.row.id,
            approval: request::awaited(served, &request.row, now),
            decision: Box::new(needed.decision),
        }))),
        Outcome::Refused {
            label: approval::CAP, ..
        } => refuse(app, served, needed, Unaskable::TooMany).await,
        Outcome::Refused { .. } => Err(Failure::Stale("somebody else asked for the same just now")),
    }
}

/// Decides again, with the people who said yes, and uses the yes with the decision.
async fn with_yes(
    app: &App,
    served: &Served,
    needed: NeedsApproval<UsePlan>,
    yes: approving::CallYes,
    now: Timestamp,
) -> Result<Settled, Failure> {
    let mut plan = needed.plan;
    for guard in yes.guards {
        push(&mut plan.guards, guard);
    }
    let mut facts = needed.decision.facts;
    facts.approval = yes.facts;
    let proposal = UseProposal {
        decision: needed.decision.id,
        facts,
        plan: plan.clone(),
    };
    match decide_use(&served.policy.set, proposal) {
        UseVerdict::Permit(permit) => {
            let by = (decision::actor(&plan), permit.decision().id);
            let statements = yes.redemption.statements(app, served, by, now)?;
            let decided = decision::record_permit(app, served, permit, statements.to_vec(), now).await?;
            match decided {
                Some(Decided::Permitted(permit)) => Ok(Settled::Permitted(permit)),
                Some(Decided::Refused(_) | Decided::NeedsYes(_)) | None => Err(Failure::Stale(
                    "the yes was used, or what it stands on changed, just now",
                )),
            }
        }
        UseVerdict::Deny(decision) => {
            let _ = decision::record_refusal(app, served, (&plan, &decision), Vec::new()).await?;
            Ok(Settled::Refused(decision, None))
        }
        UseVerdict::NeedsApproval(again) => {
            let _ = decision::record_refusal(app, served, (&plan, &again.decision), Vec::new()).await?;
            Ok(Settled::Refused(Box::new(again.decision), None))
        }
    }
}

async fn refuse(
    app: &App,
    served: &Served,
    needed: NeedsApproval<UsePlan>,
    why: Unaskable,
) -> Result<Settled, Failure> {
    tracing::info!(%why, "nobody can be asked");
    let outcome = decision::record_refusal(app, served, (&needed.plan, &needed.decision), Vec::new()).await?;
    if !outcome.is_committed() {
        return Err(Failure::Internal("a refusal could not be recorded".to_owned()));
    }
    Ok(Settled::Refused(Box::new(needed.decision), Some(why)))
}

fn push(guards: &mut Vec<Guard>, guard: Guard) {
    if !guards.contains(&guard) {
        guards.push(guard);
    }
}

/// The arguments as people see them: what the tool's schema marks as secret stands as a mark that only this value
/// has, and that says nothing of it.
pub fn shown(served: &Served, resource: ResourceId, schema: &InputSchema, arguments: Object) -> Value {
    let secrets = secret_fields(schema, &arguments);
    let mut shown = Value::Object(arguments);
    for place in secrets {
        if let Some(value) = shown.pointer_mut(&place) {
            let text = [b"secret argument ".as_slice(), value.to_string().as_bytes()].concat();
            let tag = served.keys.session_tag(&[*resource.as_bytes()], &text);
            let mark = sealed::hex(tag.get(..MARK).unwrap_or(&tag));
            *value = Value::from(format!("secret, not shown ({mark})"));
        }
    }
    shown
}

/// How many bytes of a mark: enough that no other value has it.
const MARK: usize = 16;
