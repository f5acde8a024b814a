//! The command line as a client of every tenant (`chancery login`). It is made when somebody first signs in with it: an agent
//! `chancery-cli` whose ceiling is the administration interface, and its one client, which proves nothing and works by
//! device authorization alone.
//!
//! What it is given at the administration interface is the person's own token, without an actor: nobody acts for them, they
//! act, as at the console. The interface of administration makes no other client of this kind, and whoever else is a client
//! of the same agent is an agent.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::setup::OWN_INTERFACE;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::agent::{Agent, AgentSpec};
use chancery_core::client::{Client, ClientAuthenticationMethod, ClientGrant, ClientSpec, Provenance};
use chancery_core::event::Change;
use chancery_core::id::{AgentId, ClientId, Id as _};
use chancery_core::noun::{Lifecycle, Record};
use chancery_core::scope::Authority;
use chancery_core::time::Timestamp;
use chancery_oauth::request::client::PresentedClient;
use chancery_policy::Manager;
use chancery_store::record;

/// Makes the command line's client, if it is what is asked for and was never there.
///
/// # Errors
/// The database's.
pub(super) async fn ensure(
    app: &App,
    served: &Served,
    presented: &PresentedClient,
    now: Timestamp,
) -> Result<(), Failure> {
    let is_asked_for =
        matches!(presented, PresentedClient::Public { client_id } if client_id == COMMAND_LINE);
    let tenant = served.tenant.id;
    if !is_asked_for
        || app
            .directory
            .clients
            .find_named(tenant, COMMAND_LINE)
            .await?
            .is_some()
    {
        return Ok(());
    }
    match make(app, served, now).await {
        // Somebody was first, or the name is another's, or was retired and does not come back: it stays as it is.
        Err(Failure::Refused(_)) => Ok(()),
        made => made,
    }
}

async fn make(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let ceiling = SCOPES.map(|scope| format!("{OWN_INTERFACE}:{scope}")).join(" ");
    let agent: Agent = Record {
        id: AgentId::generate(now, &*app.random),
        name: COMMAND_LINE.parse().map_err(Failure::internal)?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: AgentSpec {
            description: "The command line of this server, in a person's own hands.".to_owned(),
            ceiling: Authority::parse(&ceiling).map_err(Failure::internal)?,
            ..AgentSpec::default()
        },
    };
    let client: Client = Record {
        id: ClientId::generate(now, &*app.random),
        name: agent.name.clone(),
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: ClientSpec {
            grant_types: vec![ClientGrant::RefreshToken, ClientGrant::DeviceCode],
            provenance: Provenance::BuiltIn,
            ..ClientSpec::new(agent.name.clone(), ClientAuthenticationMethod::None)
        },
    };
    let caller = Caller {
        actor: Actor::System(SystemActor::Setup),
        manager: Manager::Local,
        now,
        once: None,
    };
    let insert = record::insert(tenant, &agent);
    let mut work = change::recorded(app, served, &caller, &agent, (Change::Created, insert))?;
    let insert = record::insert(tenant, &client);
    work.extend(change::recorded(
        app,
        served,
        &caller,
        &client,
        (Change::Created, insert),
    )?);
    change::commit(app, &caller, work).await
}

/// The name of the agent, and of its client.
pub const COMMAND_LINE: &str = "chancery-cli";
/// Every scope of the administration interface.
const SCOPES: [&str; 4] = ["read", "audit", "write", "kill"];
