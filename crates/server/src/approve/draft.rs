//! What is asked, drafted from the decision that needs a yes: everything that the page shows, and nothing else.

use chancery_core::actor::ChainLink;
use chancery_core::approval::{AgentText, ApprovalKind, Asked, AskedCall, Party};
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::call::UsePlan;
use chancery_core::decision::Decision;
use chancery_core::id::{ConnectionId, UserId};
use chancery_core::lineage::Lineage;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::proposal::{Audience, Facts, Subject, TokenPlan};
use chancery_core::resource::Sensitivity;
use chancery_core::scope::Authority;
use chancery_core::time::Ttl;
use chancery_oauth::grant::{self, Target};
use chancery_policy::NeedsApproval;

/// A token that needs a yes.
pub fn of_token(needed: &NeedsApproval<TokenPlan>, target: &Target) -> Asked {
    let (plan, facts) = (&needed.plan, &needed.decision.facts);
    let user = match plan.subject {
        Subject::User(id) => Some(id),
        Subject::Agent(_) => None,
    };
    let resource = match &plan.audience {
        Audience::Chancery => None,
        Audience::Resource { id, name, .. } => Some(party(*id, name)),
    };
    Asked {
        chain: plan.chain.clone(),
        action: "issue_token".to_owned(),
        grant_type: facts.grant_type,
        resource,
        hand_over_to: match target {
            Target::Handover(agent) => Some(agent.name.clone()),
            Target::Chancery | Target::Resource(_) => None,
        },
        scopes: needed.given.clone(),
        authorization_details: plan.authorization_details.clone(),
        sensitivity: sensitivity(facts, &needed.given),
        lifetime: grant::lifetime(target),
        ..of_facts(ApprovalKind::Token, facts, (plan.agent, plan.client, user))
    }
}

/// What a token that is asked for hangs on. The hop that it would be is not there yet.
pub fn lineage_of_token(plan: &TokenPlan) -> Lineage {
    let hop = plan.delegation.as_ref().map(|hop| hop.id);
    let links = plan.lineage.iter().copied();
    let is_hop = |id: [u8; 16]| hop.is_some_and(|hop| *chancery_core::id::Id::as_bytes(&hop) == id);
    links
        .filter(|link| link.noun != Noun::Delegation || !is_hop(link.id))
        .collect()
}

/// A call that needs a yes, with every argument as it is sent.
pub fn of_call(decision: &Decision, plan: &UsePlan, chain: Vec<ChainLink>, call: AskedCall) -> Asked {
    let facts = &decision.facts;
    let scopes = facts.asked.clone().unwrap_or_default();
    let connection = facts.call.as_ref().and_then(|call| call.connection.as_ref());
    let connection = connection.zip(plan.connection.as_ref());
    Asked {
        chain,
        action: facts
            .call
            .as_ref()
            .map_or("call_tool", |call| call.action.as_str())
            .to_owned(),
        resource: facts
            .resource
            .as_ref()
            .zip(plan.resource)
            .map(|(resource, id)| party(id, &resource.name)),
        connection: connection.map(|(facts, used)| party::<ConnectionId>(used.connection, &facts.name)),
        call: Some(call),
        sensitivity: sensitivity(facts, &scopes),
        scopes,
        // One call, at once.
        lifetime: Ttl::ZERO,
        ..of_facts(ApprovalKind::Call, facts, (plan.agent, plan.client, plan.user))
    }
}

fn of_facts(
    kind: ApprovalKind,
    facts: &Facts,
    (agent, client, user): (
        chancery_core::id::AgentId,
        chancery_core::id::ClientId,
        Option<UserId>,
    ),
) -> Asked {
    let person = user.zip(facts.user.as_ref());
    Asked {
        kind,
        agent: party(agent, &facts.agent.name),
        owner: facts.agent.owner.clone(),
        client: party(client, &facts.client),
        user: person.map(|(id, facts)| party(id, &facts.name)),
        chain: Vec::new(),
        action: String::new(),
        grant_type: None,
        resource: None,
        resource_owner: facts
            .resource
            .as_ref()
            .and_then(|resource| resource.owner.clone()),
        hand_over_to: None,
        connection: None,
        call: None,
        scopes: Authority::default(),
        authorization_details: AuthorizationDetails::default(),
        sensitivity: Sensitivity::Read,
        lifetime: Ttl::ZERO,
        says: None,
    }
}

/// The same, for the person who is asked for access to what is theirs.
#[must_use]
pub fn as_access(asked: Asked, says: Option<AgentText>) -> Asked {
    Asked {
        kind: ApprovalKind::Access,
        says,
        ..asked
    }
}

fn party<I: Copy>(id: I, name: &Name) -> Party<I> {
    Party {
        id,
        name: name.clone(),
    }
}

fn sensitivity(facts: &Facts, scopes: &Authority) -> Sensitivity {
    let of = |resource: &Name, scope: &chancery_core::scope::Scope| {
        let known = facts.scopes.get(resource).and_then(|known| known.get(scope));
        known.copied().unwrap_or(Sensitivity::Sensitive)
    };
    let all = scopes.pairs().map(|(resource, scope)| of(resource, scope));
    all.max().unwrap_or(Sensitivity::Read)
}

/// Whether a proposal is for the very thing that was asked.
pub fn is_of(proposal: &chancery_core::proposal::Proposal, asked: &Asked) -> bool {
    let (plan, facts) = (&proposal.plan, &proposal.facts);
    let user = match plan.subject {
        Subject::User(id) => Some(id),
        Subject::Agent(_) => None,
    };
    let resource = match &plan.audience {
        Audience::Chancery => None,
        Audience::Resource { id, .. } => Some(*id),
    };
    let asks_for = facts
        .asked
        .as_ref()
        .map_or_else(|| asked.scopes.is_empty(), |scopes| *scopes == asked.scopes);
    (plan.agent, plan.client, user)
        == (
            asked.agent.id,
            asked.client.id,
            asked.user.as_ref().map(|user| user.id),
        )
        && resource == asked.resource.as_ref().map(|resource| resource.id)
        && plan.may_act.is_some() == asked.hand_over_to.is_some()
        && plan.chain == asked.chain
        && plan.authorization_details.is_same(&asked.authorization_details)
        && asks_for
}
