//! Adopting a client that made itself known: it belongs to an agent from then on, and is in use.

use super::document;
use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::directory::managed::Managed as _;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::client::{Client, ClientSpec};
use chancery_core::event::Change;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec as _};
use chancery_oauth::registration::document::is_url;
use chancery_policy::ManagementAction;
use chancery_store::record;

/// Gives a client to an agent. `client` is its name, its id, or the URL of its metadata document.
///
/// # Errors
/// A client that did not register itself, or belongs to an agent already; policy's refusal.
pub async fn adopt(
    app: &App,
    served: &Served,
    caller: &Caller,
    (client, agent): (&str, &str),
) -> Result<Client, Failure> {
    let tenant = served.tenant.id;
    let agent = change::load::<AgentSpec>(app, tenant, agent).await?;
    let owner = agent.spec.owner.clone();
    change::permit(
        served,
        caller,
        ManagementAction::AdoptClient,
        (Noun::Agent, agent.name.as_str(), owner.as_ref()),
    )?;
    let old = if is_url(client) {
        document::take_in(app, served, client, caller.now).await?
    } else {
        change::load::<ClientSpec>(app, tenant, client).await?
    };
    check(&old, &agent.name)?;

    let spec = ClientSpec {
        agent: Some(agent.name),
        ..old.spec.clone()
    };
    spec.check(&old.name).map_err(|error| Refusal::spec(&error))?;
    spec.check_activation()?;
    let client = Record {
        state: Lifecycle::Active,
        generation: old.generation + 1,
        version: old.version + 1,
        updated_at: caller.now,
        spec,
        ..old
    };
    let update = record::update(tenant, &client);
    let mut work = change::recorded(app, served, caller, &client, (Change::Activated, update))?;
    let settled = chancery_store::settle_registration(tenant, client.id);
    work.extend(Work::on((Noun::Client, &client.name), vec![settled], Vec::new()));
    change::commit(app, caller, work).await?;
    Ok(client)
}

fn check(client: &Client, agent: &chancery_core::name::Name) -> Result<(), Failure> {
    let refused = |text: String| Err(Failure::from(Refusal::Invalid(text)));
    if !client.spec.provenance.is_self_registered() {
        return refused(format!("client `{}` did not register itself", client.name));
    }
    match &client.spec.agent {
        Some(own) if own == agent && client.state == Lifecycle::Active => {
            refused(format!("client `{}` belongs to `{own}` already", client.name))
        }
        Some(own) if own != agent => refused(format!(
            "client `{}` belongs to `{own}`; retire it, and let the client register anew",
            client.name
        )),
        Some(_) | None if client.state == Lifecycle::Retired => {
            refused(format!("client `{}` is retired for good", client.name))
        }
        Some(_) | None => Ok(()),
    }
}
