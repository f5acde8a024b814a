//! What agents may do for a person: the person's grants in plain words, and taking them back.

use super::session::SignedIn;
use crate::app::App;
use crate::directory::change;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::agent::{Agent, AgentSpec};
use chancery_core::event::Change;
use chancery_core::grant::{Grant, GrantSource, GrantSpec, Principal};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::resource::Resource;
use chancery_core::time::Timestamp;
use chancery_core::token_family::TokenFamilySpec;
use chancery_store::{Page, record};
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
    let mut agents = Vec::new();
    for agent in candidates(app, served, &signed_in.user.name).await?.into_values() {
        let grants = app.directory.grants_of(tenant, &agent.name, &principal).await?;
        let mut of_agent = Vec::with_capacity(grants.len());
        for grant in grants
            .into_iter()
            .filter(|grant| grant.state != Lifecycle::Retired)
        {
            let resource = match &grant.spec.resource {
                Some(name) => app.directory.resources.find_by_name(tenant, name).await?,
                None => None,
            };
            of_agent.push(GrantOfPerson {
                resource,
                is_own: grant.spec.source == GrantSource::Consent,
                is_open: grant.state.is_active() && grant.spec.is_open(now),
                grant,
            });
        }
        if !of_agent.is_empty() {
            agents.push(AgentOfPerson {
                agent,
                grants: of_agent,
            });
        }
    }
    Ok(agents)
}

/// Agents that the person let in by a code, and the first of all the others. There is no index of grants by person: in
/// a tenant of more agents than are looked through, what an administrator granted for a person may not be listed.
async fn candidates(app: &App, served: &Served, user: &Name) -> Result<BTreeMap<Name, Arc<Agent>>, Failure> {
    let tenant = served.tenant.id;
    let mut found = BTreeMap::new();
    let page = Page {
        after: "",
        state: None,
        limit: LOOKED_THROUGH,
    };
    for agent in record::list::<AgentSpec>(&app.db, tenant, &page).await? {
        found.insert(agent.name.clone(), Arc::new(agent));
    }
    for family in record::list_by_parent::<TokenFamilySpec>(&app.db, tenant, user.as_str()).await? {
        if !found.contains_key(&family.spec.agent)
            && let Some(agent) = app
                .directory
                .agents
                .find_by_name(tenant, &family.spec.agent)
                .await?
        {
            found.insert(agent.name.clone(), agent);
        }
    }
    Ok(found)
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

const LOOKED_THROUGH: u32 = 500;
