//! What agents may do for a person: the person's grants in plain words, and taking them back.

use super::session::SignedIn;
use crate::app::App;
use crate::directory::change;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::agent::Agent;
use chancery_core::event::Change;
use chancery_core::grant::{Grant, GrantSource, GrantSpec, Principal};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::resource::Resource;
use chancery_core::time::Timestamp;
use chancery_store::record;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One agent that may act for the person.
#[derive(Debug)]
pub struct AgentOfPerson {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What it may do, by resource or connection.
    pub grants: Vec<GrantOfPerson>,
}

/// A grant for the person, with the resource that it holds at.
#[derive(Debug)]
pub struct GrantOfPerson {
    /// The grant.
    pub grant: Arc<Grant>,
    /// The resource; none for a connection's grant.
    pub resource: Option<Arc<Resource>>,
    /// Whether the person gave it.
    pub is_own: bool,
    /// Whether it may be used now.
    pub is_open: bool,
}

/// Agents that may act for the person, in order of names.
///
/// # Errors
/// The database's.
pub async fn list(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    now: Timestamp,
) -> Result<Vec<AgentOfPerson>, Failure> {
    let tenant = served.tenant.id;
    let principal = Principal::User(signed_in.user.name.clone());
    let mut agents: BTreeMap<Name, AgentOfPerson> = BTreeMap::new();
    for grant in chancery_store::grants_for(&app.db, tenant, &principal).await? {
        let Some(agent) = app
            .directory
            .agents
            .find_by_name(tenant, &grant.spec.agent)
            .await?
        else {
            continue;
        };
        let resource = match &grant.spec.resource {
            Some(name) => app.directory.resources.find_by_name(tenant, name).await?,
            None => None,
        };
        let of_agent = agents.entry(agent.name.clone()).or_insert_with(|| AgentOfPerson {
            agent,
            grants: Vec::new(),
        });
        of_agent.grants.push(GrantOfPerson {
            resource,
            is_own: grant.spec.source == GrantSource::Consent,
            is_open: grant.state.is_active() && grant.spec.is_open(now),
            grant: Arc::new(grant),
        });
    }
    Ok(agents.into_values().collect())
}

/// Takes a grant back. What an administrator granted for the person, the person may refuse as well.
///
/// # Errors
/// A grant for somebody else is as unknown as one that does not exist; the database's.
pub async fn take_back(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    named: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let grant = change::load::<GrantSpec>(app, tenant, named).await?;
    let is_theirs = grant.spec.principal == Principal::User(signed_in.user.name.clone());
    if !is_theirs {
        return Err(Refusal::NotFound {
            noun: Noun::Grant,
            name: named.to_owned(),
        }
        .into());
    }
    if grant.state == Lifecycle::Retired {
        return Ok(());
    }
    let over = Grant {
        state: Lifecycle::Retired,
        generation: grant.generation + 1,
        version: grant.version + 1,
        updated_at: now,
        ..grant
    };
    let caller = signed_in.caller(now);
    let statement = record::update(tenant, &over);
    let work = change::recorded(app, served, &caller, &over, (Change::Retired, statement))?;
    change::commit(app, &caller, work).await
}
