//! What a call proposes: the caller's limits as they are now, the scopes that the target needs, and the connection
//! that the call goes out through.

use crate::app::App;
use crate::connect::find::{self, Calling};
use crate::error::Failure;
use crate::gateway::caller::{Caller, push};
use crate::tenants::Served;
use chancery_core::assurance::UserAssurance;
use chancery_core::call::{Argument, CallAction, CallFacts, ConnectionFacts, Obstacle, UsePlan, UseProposal};
use chancery_core::grant::{Grant, Principal};
use chancery_core::id::{DecisionId, Id as _, TenantId};
use chancery_core::lineage::Lineage;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::proposal::{AgentFacts, Facts, Limits, ResourceFacts, UserFacts};
use chancery_core::resource::{Sensitivity, Upstream};
use chancery_core::scope::{Authority, Scope, ScopeSet};
use chancery_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is called.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What is done.
    pub action: CallAction,
    /// To what.
    pub target: String,
    /// The scopes that it needs; `None` if nothing says which.
    pub scopes: Option<ScopeSet>,
    /// The arguments that policies may read.
    pub arguments: BTreeMap<String, Argument>,
    /// What stands in the way whatever policy says.
    pub obstacle: Option<Obstacle>,
    /// The request that goes out, where it is one of HTTP.
    pub request: Option<WantedRequest>,
}

/// A request that goes out.
#[derive(Clone, Debug)]
pub struct WantedRequest {
    /// The host.
    pub host: String,
    /// The method.
    pub method: String,
    /// The normalised path.
    pub path: String,
}

/// Puts a proposal together.
///
/// # Errors
/// The database's.
pub async fn propose(
    app: &App,
    served: &Served,
    caller: &Caller,
    wanted: Wanted,
    now: Timestamp,
) -> Result<UseProposal, Failure> {
    let tenant = served.tenant.id;
    let grants = grants(app, tenant, caller, now).await?;
    let mut plan = plan(tenant, caller, &grants, now);
    let (connection, unusable) = connection(app, tenant, caller, &mut plan, now).await?;

    let mut obstacle = wanted.obstacle.or(unusable);
    if wanted.scopes.is_none() {
        obstacle = Some(Obstacle::NotMapped);
    }
    let scopes = wanted.scopes.unwrap_or_default();
    let request = wanted.request;
    let call = CallFacts {
        action: wanted.action,
        target: wanted.target,
        arguments: wanted.arguments,
        connection,
        host: request.as_ref().map(|request| request.host.clone()),
        method: request.as_ref().map(|request| request.method.clone()),
        path: request.map(|request| request.path),
        obstacle,
    };
    Ok(UseProposal {
        decision: DecisionId::generate(now, &*app.random),
        facts: facts(served, caller, &scopes, &grants, call, now),
        plan,
    })
}

/// Adds the arguments of what is called to a proposal that was made without them.
pub fn argue(proposal: &mut UseProposal, wanted: &Wanted) {
    if let Some(call) = &mut proposal.facts.call {
        call.arguments.clone_from(&wanted.arguments);
        // What stands in the way of any arguments still does.
        call.obstacle = call.obstacle.or(wanted.obstacle);
    }
}

/// The connection that the call goes out through, put into the plan; or what is wrong with it.
async fn connection(
    app: &App,
    tenant: TenantId,
    caller: &Caller,
    plan: &mut UsePlan,
    now: Timestamp,
) -> Result<(Option<ConnectionFacts>, Option<Obstacle>), Failure> {
    let upstream = caller.resource.spec.upstream.as_ref();
    let Some(name) = upstream.and_then(Upstream::connection) else {
        return Ok((None, None));
    };
    let calling = Calling {
        agent: &caller.agent,
        user: caller.user.as_deref(),
        now,
    };
    let Some(found) = find::connection(app, tenant, name, calling).await? else {
        return Ok((None, Some(Obstacle::ConnectionUnusable)));
    };
    // The connection may have been changed since the resource referred to it.
    let strays = match upstream {
        Some(Upstream::Mcp { url, .. }) => !found.connection.spec.reaches(url),
        Some(Upstream::Http { .. }) | None => false,
    };
    plan.lineage.extend(&found.lineage);
    for guard in found.guards {
        push(&mut plan.guards, guard);
    }
    plan.spends.extend(found.spends);
    plan.connection = Some(found.usage);
    Ok((Some(found.facts), strays.then_some(Obstacle::ConnectionUnusable)))
}

/// Open grants at the resource to the agent that the chain began with, for the person behind it or for itself.
async fn grants(
    app: &App,
    tenant: TenantId,
    caller: &Caller,
    now: Timestamp,
) -> Result<Vec<Arc<Grant>>, Failure> {
    let Some(root) = caller.chain.last() else {
        return Ok(Vec::new());
    };
    let directory = &app.directory;
    let mut grants = match &caller.user {
        None => {
            directory
                .grants_of(tenant, &root.name, &Principal::Itself)
                .await?
        }
        Some(user) => {
            let own = Principal::User(user.name.clone());
            let mut grants = directory.grants_of(tenant, &root.name, &own).await?;
            grants.extend(
                directory
                    .grants_of(tenant, &root.name, &Principal::Tenant)
                    .await?,
            );
            grants
        }
    };
    grants.retain(|grant| {
        grant.state.is_active()
            && grant.spec.is_open(now)
            && grant
                .spec
                .at_resource()
                .is_some_and(|(resource, _)| *resource == caller.resource.name)
    });
    Ok(grants)
}

fn plan(tenant: TenantId, caller: &Caller, grants: &[Arc<Grant>], now: Timestamp) -> UsePlan {
    let mut guards = caller.guards.clone();
    for grant in grants {
        push(
            &mut guards,
            chancery_oauth::authentication::guard(Noun::Grant, &**grant),
        );
    }
    UsePlan {
        tenant,
        agent: caller.agent.id,
        client: caller.client.id,
        user: caller.user.as_ref().map(|user| user.id),
        token: caller.token.id,
        resource: Some(caller.resource.id),
        connection: None,
        issued_at: caller.token.issued_at,
        now,
        lineage: caller.token.lineage.iter().copied().collect::<Lineage>(),
        guards,
        // A budget at a resource counts tokens; it was spent when the token was issued.
        spends: Vec::new(),
    }
}

fn facts(
    served: &Served,
    caller: &Caller,
    scopes: &ScopeSet,
    grants: &[Arc<Grant>],
    call: CallFacts,
    now: Timestamp,
) -> Facts {
    let resource = &caller.resource;
    let agent = &caller.agent;
    let mut granted = ScopeSet::default();
    for grant in grants {
        granted = granted.union(&grant.spec.scopes);
    }
    let at = |scopes: ScopeSet| Authority::at(resource.name.clone(), scopes);
    Facts {
        tenant: served.tenant.name.clone(),
        now,
        grant_type: None,
        call: Some(call),
        agent: AgentFacts {
            name: agent.name.clone(),
            owner: agent.spec.owner.clone(),
            blueprint: agent.spec.blueprint.clone(),
            tags: agent.spec.tags.clone(),
        },
        delegated_by: None,
        client: caller.client.name.clone(),
        assurance: caller.token.assurance,
        instance: BTreeMap::new(),
        user: caller.user.as_ref().map(|user| UserFacts {
            name: user.name.clone(),
            issuer: user.spec.issuer.clone(),
            roles: user.spec.roles.clone(),
            groups: user.spec.groups.clone(),
            attributes: user.spec.attributes.clone(),
            as_of: user.spec.known_at(now),
            assurance: UserAssurance::Verified,
        }),
        approval: None,
        chain: caller.chain.iter().map(|agent| agent.name.clone()).collect(),
        resource: Some(ResourceFacts {
            name: resource.name.clone(),
            owner: resource.spec.owner.clone(),
        }),
        scopes: sensitivities(caller, scopes),
        asked: Some(at(scopes.clone())),
        authorization_details: Vec::new(),
        limits: Limits {
            parent: Some(at(caller.token.scopes())),
            ceiling: caller.ceiling(),
            grant: Some(at(granted)),
            holders: caller
                .user
                .as_ref()
                .map(|user| at(resource.spec.held_by(&user.spec))),
        },
    }
}

fn sensitivities(caller: &Caller, scopes: &ScopeSet) -> BTreeMap<Name, BTreeMap<Scope, Sensitivity>> {
    let spec = &caller.resource.spec;
    let known = scopes
        .iter()
        .map(|scope| {
            let sensitivity = spec
                .scopes
                .get(scope)
                .map_or(Sensitivity::Sensitive, |spec| spec.sensitivity);
            (scope.clone(), sensitivity)
        })
        .collect();
    BTreeMap::from([(caller.resource.name.clone(), known)])
}
