//! Using a yes for a call, or asking for one: the call is made again just as it was, and that is how the yes to it is
//! found. A yes to other arguments, by another client or for another person, is a yes to something else.

use crate::app::App;
use crate::approve::redeem::{self, Redemption};
use crate::approve::request::{self, Request, Unaskable, Wanted};
use crate::approve::{draft, sealed};
use crate::directory::lineage;
use crate::error::Failure;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::{Actor, ChainLink};
use chancery_core::approval::{ApprovalFacts, ApprovalState, AskedCall, Basis};
use chancery_core::call::UsePlan;
use chancery_core::lineage::Guard;
use chancery_core::time::Timestamp;
use chancery_policy::NeedsApproval;
use chancery_store::approval;

/// A yes to exactly this call.
#[derive(Debug)]
pub struct CallYes {
    /// What policy sees of it.
    pub facts: Option<ApprovalFacts>,
    /// The rows of the people who gave it, and of what the request hung on.
    pub guards: Vec<Guard>,
    /// Its use.
    pub redemption: Redemption,
}

/// The yes to this very call, if people gave one and nobody has used it.
///
/// # Errors
/// The database's.
pub async fn find(
    app: &App,
    served: &Served,
    needed: &NeedsApproval<UsePlan>,
    (chain, call): (&[ChainLink], &AskedCall),
    now: Timestamp,
) -> Result<Option<CallYes>, Failure> {
    let tenant = served.tenant.id;
    let asked = draft::of_call(&needed.decision, &needed.plan, chain.to_vec(), call.clone());
    let Ok(identity) = asked.to_identity(tenant) else {
        return Ok(None);
    };
    let row = approval::find_open(&app.db, tenant, &sha256(&identity), now).await?;
    let Some(row) = row.filter(|row| row.state == ApprovalState::Approved && row.deadline > now) else {
        return Ok(None);
    };
    let Some(record) = sealed::open(app, served, &row, now).await? else {
        return Ok(None);
    };
    // SECURITY: the index is not believed: the record itself says what was approved.
    if record.subject.to_identity(tenant).as_ref() != Ok(&identity) {
        return Ok(None);
    }
    let Some(mut guards) = lineage::check(app, tenant, &record.lineage).await? else {
        return Ok(None);
    };
    let (facts, approvers) = redeem::yes(app, served, (&row, &record), now).await?;
    guards.extend(approvers);
    Ok(Some(CallYes {
        facts,
        guards,
        redemption: Redemption::new(row),
    }))
}

/// Asks for a yes to a call.
///
/// # Errors
/// The database's. The inner error is why nobody can be asked.
pub async fn ask(
    app: &App,
    served: &Served,
    needed: &NeedsApproval<UsePlan>,
    (chain, call): (&[ChainLink], &AskedCall),
    now: Timestamp,
) -> Result<Result<Request, Unaskable>, Failure> {
    let plan = &needed.plan;
    let wanted = Wanted {
        asked: draft::of_call(&needed.decision, plan, chain.to_vec(), call.clone()),
        basis: Basis::Call,
        lineage: plan.lineage.clone(),
        requirement: needed.requirement.clone(),
        policy_set: needed.decision.policy_set.clone(),
        decision: Some(needed.decision.id),
        until: None,
    };
    let actor = Actor::Agent {
        agent: plan.agent,
        client: plan.client,
        user: plan.user,
    };
    request::find_or_draft(app, served, wanted, actor, now).await
}
