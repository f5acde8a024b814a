//! Who calls: the holder of a token of ours for exactly this resource, in force, and everything it refers to.

use crate::app::App;
use crate::error::Failure;
use crate::issue::own;
use crate::tenants::Served;
use chancery_core::agent::Agent;
use chancery_core::blueprint::Blueprint;
use chancery_core::client::Client;
use chancery_core::id::{Id as _, TenantId};
use chancery_core::lineage::Guard;
use chancery_core::noun::Noun;
use chancery_core::proposal::Subject;
use chancery_core::resource::Resource;
use chancery_core::scope::Authority;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_oauth::claims::OwnToken;
use std::sync::Arc;

/// A verified caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token that was presented.
    pub token: Arc<OwnToken>,
    /// What it hangs on, at the versions at which it was found current.
    pub guards: Vec<Guard>,
    /// Where it calls: the token's audience.
    pub resource: Arc<Resource>,
    /// The agent that holds the token.
    pub agent: Arc<Agent>,
    /// The live parent of that agent.
    pub blueprint: Option<Arc<Blueprint>>,
    /// The client that the token was issued to.
    pub client: Arc<Client>,
    /// The person behind it.
    pub user: Option<Arc<User>>,
    /// The agents behind it, the calling one first.
    pub chain: Vec<Arc<Agent>>,
}

/// Why a caller is not known (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// No token was sent.
    #[error("no token was sent")]
    Missing,
    /// The token is not one of ours for this resource, or no longer in force.
    #[error("the token is not in force at this resource")]
    Invalid,
}

impl Caller {
    /// The most that the agent may ever be given: its ceiling within its blueprint's.
    pub fn ceiling(&self) -> Authority {
        let own = &self.agent.spec.ceiling;
        match &self.blueprint {
            Some(blueprint) => own.intersection(&blueprint.spec.ceiling),
            None => own.clone(),
        }
    }

    /// Who it is, as what a session is bound to: agent, client and person by id.
    pub fn identity(&self) -> Vec<[u8; 16]> {
        let mut ids = vec![
            *self.resource.id.as_bytes(),
            *self.agent.id.as_bytes(),
            *self.client.id.as_bytes(),
        ];
        ids.extend(self.user.as_ref().map(|user| *user.id.as_bytes()));
        ids
    }
}

/// Verifies the caller.
///
/// # Errors
/// The inner error is the caller's fault; the outer one is not.
pub async fn verify(
    app: &App,
    served: &Served,
    resource: Arc<Resource>,
    bearer: Option<&str>,
    now: Timestamp,
) -> Result<Result<Caller, Unauthenticated>, Failure> {
    let Some(bearer) = bearer else {
        return Ok(Err(Unauthenticated::Missing));
    };
    let Some(own) = own::in_force(app, served, bearer, now).await? else {
        return Ok(Err(Unauthenticated::Invalid));
    };
    // SECURITY: a token for anything else, Chancery itself included, is worth nothing here.
    if own.token.audience != resource.spec.uri.as_str() {
        return Ok(Err(Unauthenticated::Invalid));
    }
    let found = behind(app, served.tenant.id, own, resource).await?;
    Ok(found.ok_or(Unauthenticated::Invalid))
}

/// The holder of a token: everything that it refers to, but for where it calls.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The token that was presented.
    pub token: Arc<OwnToken>,
    /// What it hangs on, at the versions at which it was found current.
    pub guards: Vec<Guard>,
    /// The agent that holds the token.
    pub agent: Arc<Agent>,
    /// The live parent of that agent.
    pub blueprint: Option<Arc<Blueprint>>,
    /// The client that the token was issued to.
    pub client: Arc<Client>,
    /// The person behind it.
    pub user: Option<Arc<User>>,
    /// The agents behind it, the calling one first.
    pub chain: Vec<Arc<Agent>>,
}

/// Loads what the token refers to. `None` if any of it is gone.
async fn behind(
    app: &App,
    tenant: TenantId,
    own: own::OwnInForce,
    resource: Arc<Resource>,
) -> Result<Option<Caller>, Failure> {
    let Some(holder) = holder(app, tenant, own).await? else {
        return Ok(None);
    };
    let mut guards = holder.guards;
    push(
        &mut guards,
        chancery_oauth::authentication::guard(Noun::Resource, &*resource),
    );
    Ok(Some(Caller {
        token: holder.token,
        guards,
        resource,
        agent: holder.agent,
        blueprint: holder.blueprint,
        client: holder.client,
        user: holder.user,
        chain: holder.chain,
    }))
}

/// The holder of a token of ours in force. `None` if anything that it refers to is gone.
///
/// # Errors
/// The database's.
pub async fn holder(app: &App, tenant: TenantId, own: own::OwnInForce) -> Result<Option<Holder>, Failure> {
    let directory = &app.directory;
    let own::OwnInForce { token, guards } = own;
    let mut chain = Vec::with_capacity(token.actors.len() + 1);
    for id in &token.actors {
        chain.extend(directory.agents.find(tenant, *id).await?);
    }
    let user = match token.subject {
        Subject::User(id) => match directory.users.find(tenant, id).await? {
            Some(user) => Some(user),
            None => return Ok(None),
        },
        Subject::Agent(id) => {
            chain.extend(directory.agents.find(tenant, id).await?);
            None
        }
    };
    let expected = token.actors.len() + usize::from(user.is_none());
    let client = directory.clients.find(tenant, token.client).await?;
    let (Some(client), Some(agent), true) = (client, chain.first().cloned(), chain.len() == expected) else {
        return Ok(None);
    };
    let blueprint = match &agent.spec.blueprint {
        None => None,
        Some(name) => match directory.blueprints.find_by_name(tenant, name).await? {
            Some(blueprint) => Some(blueprint),
            None => return Ok(None),
        },
    };
    Ok(Some(Holder {
        token,
        guards,
        agent,
        blueprint,
        client,
        user,
        chain,
    }))
}

/// Adds a guard unless the row is guarded already.
pub(crate) fn push(guards: &mut Vec<Guard>, guard: Guard) {
    if !guards
        .iter()
        .any(|known| (known.noun, known.id) == (guard.noun, guard.id))
    {
        guards.push(guard);
    }
}
