//! Clients that make themselves known: by registering (RFC 7591, RFC 7592), or by a metadata document whose URL is
//! their `client_id`. The tenant's rules say which agent such a client comes to; where none speaks it is staged, and
//! somebody adopts it. The rules of the standards are in `oauth::registration`.

pub mod adopt;
pub mod document;
pub mod manage;
pub mod overdue;
pub mod register;
pub mod token;

use crate::app::App;
use crate::directory::change::Caller;
use crate::error::Failure;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::agent::AgentSpec;
use chancery_core::client::ClientSpec;
use chancery_core::name::Name;
use chancery_core::noun::Lifecycle;
use chancery_core::registration::{RegistrationRuleSpec, RegistrationWay};
use chancery_core::secret::TokenDigest;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::metadata::Registering;
use chancery_oauth::registration::rule::{self, Ruling};
use chancery_policy::Manager;
use chancery_store::record;

/// The rules of a tenant that are in force.
///
/// # Errors
/// The database's.
pub async fn rules(app: &App, served: &Served) -> Result<Vec<RegistrationRuleSpec>, Failure> {
    let rules = app
        .directory
        .registration_rules
        .by_parent(served.tenant.id, chancery_store::ALL_RULES.to_owned())
        .await?;
    let active = rules.iter().filter(|rule| rule.state.is_active());
    Ok(active.map(|rule| rule.spec.clone()).collect())
}

/// In which ways clients may make themselves known here: what the server's metadata says.
///
/// # Errors
/// The database's.
pub async fn open_ways(app: &App, served: &Served) -> Result<Registering, Failure> {
    let rules = rules(app, served).await?;
    Ok(Registering {
        dynamic: !rule::is_off(&rules, RegistrationWay::Registered),
        by_document: !rule::is_off(&rules, RegistrationWay::MetadataDocument),
    })
}

/// What the rules say of a client. An agent that is not in use adopts nobody.
async fn ruling(
    app: &App,
    served: &Served,
    way: RegistrationWay,
    client: &ClientSpec,
) -> Result<Ruling, Failure> {
    let ruling = rule::rule(&rules(app, served).await?, way, client);
    let Ruling::Adopt(agent) = &ruling else {
        return Ok(ruling);
    };
    if is_agent_active(app, served, agent).await? {
        return Ok(ruling);
    }
    Ok(Ruling::Stage)
}

async fn is_agent_active(app: &App, served: &Served, agent: &Name) -> Result<bool, Failure> {
    let agent = record::find_by_name::<AgentSpec>(&app.db, served.tenant.id, agent).await?;
    Ok(agent.is_some_and(|agent| agent.state == Lifecycle::Active))
}

/// Chancery itself, which takes in what a client says. No manager: rules decide, not a person's permissions.
fn taking_in(now: Timestamp) -> Caller {
    Caller {
        actor: Actor::System(SystemActor::Registration),
        manager: Manager::Local,
        now,
        once: None,
    }
}

fn digest_of(secret: &str) -> TokenDigest {
    TokenDigest::new(sha256(secret.as_bytes()))
}

/// How long a client waits for somebody to adopt it.
pub const WAITS: Ttl = Ttl::from_days(14);
/// How many clients of a tenant may wait at once.
pub const MOST_WAITING: i64 = 1_000;
