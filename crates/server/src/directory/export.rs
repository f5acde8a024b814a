//! Configuration as code, the way back: what is stored as a document that applies to itself without change.

use crate::app::App;
use crate::directory::apply::Document;
use crate::directory::change;
use crate::error::Failure;
use crate::people::built_in::COMMAND_LINE;
use crate::setup::OWN_INTERFACE;
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::GrantSpec;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::noun::Lifecycle;
use chancery_core::registration::RegistrationRuleSpec;
use chancery_core::resource::ResourceSpec;
use chancery_core::user::UserSpec;
use chancery_store::{Page, Stored, record};
use serde_json::{Map, Value};

/// Everything stored in a tenant, as a document for `apply`. Secrets are not part of it, nor are connected accounts,
/// which mean nothing without the credential that was sealed for them, nor what every tenant is made with.
///
/// # Errors
/// The database's.
pub async fn export(app: &App, served: &Served) -> Result<Document, Failure> {
    let mut document = Document {
        trusted_issuers: exported::<TrustedIssuerSpec>(app, served).await?,
        connections: exported::<ConnectionSpec>(app, served).await?,
        resources: exported::<ResourceSpec>(app, served).await?,
        blueprints: exported::<BlueprintSpec>(app, served).await?,
        users: exported::<UserSpec>(app, served).await?,
        agents: exported::<AgentSpec>(app, served).await?,
        clients: exported::<ClientSpec>(app, served).await?,
        runtime_bindings: exported::<RuntimeBindingSpec>(app, served).await?,
        grants: exported::<GrantSpec>(app, served).await?,
        registration_rules: exported::<RegistrationRuleSpec>(app, served).await?,
        policy: Some(served.policy.set.text().to_owned()),
    };
    // Every tenant is made with it; only what somebody changed about it is a matter of configuration.
    let built_in = change::load::<ResourceSpec>(app, served.tenant.id, OWN_INTERFACE).await?;
    if built_in.version == 1 {
        let is_other =
            |resource: &Map<String, Value>| resource.get("name") != Some(&Value::from(OWN_INTERFACE));
        document.resources.retain(is_other);
    }
    // A runtime binding makes its own client; one that registered itself has its id and secret here only; and one
    // without an agent is nobody's configuration yet.
    document.clients.retain(|client| {
        let text = |field: &str| client.get(field).and_then(Value::as_str);
        text("method") != Some("runtime")
            && text("provenance") != Some("registered")
            && text("agent").is_some()
            && text("agent") != Some(COMMAND_LINE)
    });
    // The command line's own agent is made where somebody signs in with it.
    let is_of_command_line =
        |record: &Map<String, Value>, field: &str| record.get(field) == Some(&Value::from(COMMAND_LINE));
    document.agents.retain(|agent| !is_of_command_line(agent, "name"));
    document
        .grants
        .retain(|grant| !is_of_command_line(grant, "agent"));
    // What follows from the base URL is left out, so that a document moves between environments.
    for resource in &mut document.resources {
        if resource.contains_key("upstream") {
            resource.remove("uri");
        }
    }
    Ok(document)
}

async fn exported<S: Stored>(app: &App, served: &Served) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let page = Page {
            after: &after,
            state: None,
            limit: 500,
        };
        let records = record::list::<S>(&app.db, served.tenant.id, &page).await?;
        let Some(last) = records.last() else {
            return Ok(items);
        };
        after = last.name.to_string();
        for record in records.iter().filter(|record| record.state != Lifecycle::Retired) {
            let mut item = Map::new();
            item.insert("name".to_owned(), Value::from(record.name.as_str()));
            item.insert("state".to_owned(), Value::from(record.state.as_str()));
            if let Value::Object(spec) = serde_json::to_value(&record.spec).map_err(Failure::internal)? {
                item.extend(spec);
            }
            items.push(item);
        }
    }
}
