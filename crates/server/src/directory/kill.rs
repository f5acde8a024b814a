//! The switch that stops one thing and everything that hangs on it, at once: what stops, and what honestly
//! cannot be stopped before it ends by itself.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed;
use crate::error::{Failure, Refusal};
use crate::jobs::freshness::BOUND;
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connected_account::ConnectedAccountSpec;
use chancery_core::connection::{ConnectionSpec, Handling};
use chancery_core::event::Change;
use chancery_core::grant::GrantSpec;
use chancery_core::id::TenantId;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::resource::{Enforcement, ResourceSpec};
use chancery_core::session::SessionSpec;
use chancery_core::time::Ttl;
use chancery_core::user::UserSpec;
use chancery_store::{DelegationSpec, Page, record};
use serde::Serialize;

/// What a kill does, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KillReport {
    /// What was killed.
    pub noun: Noun,
    /// Its name.
    pub name: String,
    /// Whether it was only a rehearsal.
    pub dry_run: bool,
    /// Its state afterwards.
    pub state: Lifecycle,
    /// The generation that ends everything issued before.
    pub generation: u64,
    /// What stops, in words.
    pub stops: Vec<String>,
    /// What stays valid, and until when, in words.
    pub remains: Vec<String>,
    /// Seconds within which every node knows.
    pub reaches_every_node_within_seconds: u64,
}

/// Kills a noun.
///
/// # Errors
/// A noun that cannot be killed or does not exist; policy's refusal; the database's.
pub async fn kill(
    app: &App,
    served: &Served,
    caller: &Caller,
    (noun, name): (Noun, &str),
    dry_run: bool,
) -> Result<KillReport, Failure> {
    match noun {
        Noun::Agent => kill_one::<AgentSpec>(app, served, caller, name, dry_run).await,
        Noun::Client => kill_one::<ClientSpec>(app, served, caller, name, dry_run).await,
        Noun::User => kill_one::<UserSpec>(app, served, caller, name, dry_run).await,
        Noun::TrustedIssuer => kill_one::<TrustedIssuerSpec>(app, served, caller, name, dry_run).await,
        Noun::Grant => kill_one::<GrantSpec>(app, served, caller, name, dry_run).await,
        Noun::Blueprint => kill_one::<BlueprintSpec>(app, served, caller, name, dry_run).await,
        Noun::Connection => kill_one::<ConnectionSpec>(app, served, caller, name, dry_run).await,
        Noun::ConnectedAccount => kill_one::<ConnectedAccountSpec>(app, served, caller, name, dry_run).await,
        Noun::Session => kill_one::<SessionSpec>(app, served, caller, name, dry_run).await,
        Noun::Tenant
        | Noun::RuntimeBinding
        | Noun::Resource
        | Noun::Delegation
        | Noun::PolicySet
        | Noun::TokenFamily
        | Noun::RegistrationRule
        | Noun::RegistrationToken => Err(Refusal::Invalid(format!(
            "a {noun} cannot be killed; agent, client, user, trusted_issuer, grant, blueprint, connection, \
             connected_account or session can"
        ))
        .into()),
    }
}

async fn kill_one<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    name: &str,
    dry_run: bool,
) -> Result<KillReport, Failure> {
    let tenant = served.tenant.id;
    let old = change::load::<S>(app, tenant, name).await?;
    let (killed, work) = change::plan_step::<S>(app, served, caller, old, Change::Killed)?;
    let stops = stops(app, tenant, S::NOUN, killed.name.as_str()).await?;
    let remains = match S::NOUN {
        Noun::Connection | Noun::ConnectedAccount => vec![AT_THE_PROVIDER.to_owned()],
        Noun::Tenant
        | Noun::TrustedIssuer
        | Noun::User
        | Noun::Agent
        | Noun::Client
        | Noun::Blueprint
        | Noun::RuntimeBinding
        | Noun::Resource
        | Noun::Grant
        | Noun::Delegation
        | Noun::PolicySet
        | Noun::Session
        | Noun::TokenFamily
        | Noun::RegistrationRule
        | Noun::RegistrationToken => remains(app, tenant).await?,
    };
    if !dry_run {
        change::commit(app, caller, work).await?;
    }
    Ok(KillReport {
        noun: S::NOUN,
        name: killed.name.to_string(),
        dry_run,
        state: killed.state,
        generation: killed.generation,
        stops,
        remains,
        reaches_every_node_within_seconds: BOUND.as_seconds(),
    })
}

/// What the kill of a noun itself means.
fn stops_itself(noun: Noun, name: &str) -> String {
    match noun {
        Noun::Connection | Noun::ConnectedAccount => {
            format!("{noun} {name}: no credential is opened any more")
        }
        Noun::Tenant
        | Noun::TrustedIssuer
        | Noun::User
        | Noun::Agent
        | Noun::Client
        | Noun::Blueprint
        | Noun::RuntimeBinding
        | Noun::Resource
        | Noun::Grant
        | Noun::Delegation
        | Noun::PolicySet
        | Noun::Session
        | Noun::TokenFamily
        | Noun::RegistrationRule
        | Noun::RegistrationToken => {
            format!("{noun} {name}: no new token, exchange or introspection succeeds")
        }
    }
}

async fn stops(app: &App, tenant: TenantId, noun: Noun, name: &str) -> Result<Vec<String>, Failure> {
    let mut stops = vec![stops_itself(noun, name)];
    match noun {
        Noun::Connection => {
            let accounts = record::list_by_parent::<ConnectedAccountSpec>(&app.db, tenant, name).await?;
            stops.push(format!("{} connected account(s)", accounts.len()));
        }
        Noun::Agent => {
            let clients = record::list_by_parent::<ClientSpec>(&app.db, tenant, name).await?;
            let hops = record::list_by_parent::<DelegationSpec>(&app.db, tenant, name).await?;
            let open = hops
                .iter()
                .filter(|hop| hop.spec.expires_at > app.clock.now())
                .count();
            stops.push(format!("{} client(s) of the agent", clients.len()));
            stops.push(format!(
                "{open} delegation(s) from it that have not ended, with every descendant"
            ));
        }
        Noun::Blueprint => {
            let agents = record::list_by_parent::<AgentSpec>(&app.db, tenant, name).await?;
            stops.push(format!("{} agent(s) of the blueprint", agents.len()));
        }
        Noun::TrustedIssuer => {
            let users = record::list_by_parent::<UserSpec>(&app.db, tenant, name).await?;
            stops.push(format!(
                "{} user(s) it vouches for, and every runtime binding on it",
                users.len()
            ));
        }
        Noun::Client | Noun::User | Noun::Grant | Noun::Session => {
            stops.push(format!("every token that names this {noun}"));
        }
        Noun::Tenant
        | Noun::RuntimeBinding
        | Noun::Resource
        | Noun::Delegation
        | Noun::PolicySet
        | Noun::ConnectedAccount
        | Noun::TokenFamily
        | Noun::RegistrationRule
        | Noun::RegistrationToken => {}
    }
    Ok(stops)
}

/// What a kill does not reach: the longest that a resource which verifies offline may still accept a token, and what was
/// handed out.
async fn remains(app: &App, tenant: TenantId) -> Result<Vec<String>, Failure> {
    let mut longest = Ttl::ZERO;
    let mut after = String::new();
    loop {
        let page = Page {
            after: &after,
            state: Some(Lifecycle::Active),
            limit: 500,
        };
        let resources = record::list::<ResourceSpec>(&app.db, tenant, &page).await?;
        let Some(last) = resources.last() else { break };
        after = last.name.to_string();
        for resource in &resources {
            if resource.spec.enforcement == Enforcement::Itself {
                longest = longest.max(resource.spec.token_lifetime());
            }
        }
    }
    let mut remains = Vec::new();
    if longest > Ttl::ZERO {
        let end = app.clock.now().plus(longest);
        remains.push(format!(
            "resources that verify tokens offline accept those already issued until they end: {} seconds at most, until {end}",
            longest.as_seconds()
        ));
    }
    let releasing = releasing(app, tenant).await?;
    if !releasing.is_empty() {
        remains.push(format!(
            "credentials that were handed out stay good at the provider until they are revoked there: {}; `chancery calls` \
             says which left",
            releasing.join(", ")
        ));
    }
    Ok(remains)
}

/// Connections that hand credentials out.
async fn releasing(app: &App, tenant: TenantId) -> Result<Vec<String>, Failure> {
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = Page {
            after: &after,
            state: None,
            limit: 500,
        };
        let connections = record::list::<ConnectionSpec>(&app.db, tenant, &page).await?;
        let Some(last) = connections.last() else { break };
        after = last.name.to_string();
        let releasing = connections
            .iter()
            .filter(|connection| connection.spec.handling == Handling::Release);
        names.extend(releasing.map(|connection| connection.name.to_string()));
    }
    Ok(names)
}

const AT_THE_PROVIDER: &str = "the credential itself stays good at the provider until it is revoked there; requests \
                               already sent go on";
