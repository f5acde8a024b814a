//! `chancery agent`: what all nouns can, and making an agent with binding, ceiling and grant at once.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand, encode};
use crate::print::{Output, field};
use crate::shorthand::Trust;
use crate::{apply, shorthand};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `agent`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AgentArguments {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AgentCommand {
    /// Make an agent, with its runtime binding, ceiling and grant.
    Create(CreateArguments),
    /// Raise an agent's ceiling, and grant it that for itself.
    Allow {
        /// The agent.
        name: String,
        /// `resource:scope`, one or more.
        #[arg(required = true)]
        scopes: Vec<String>,
    },
    /// List, in order of names.
    List(ListArguments),
    /// Show one by name or id.
    Show {
        /// Name or id.
        name: String,
    },
    /// Put into use, or back into it.
    Activate {
        /// Name or id.
        name: String,
    },
    /// Stop until activated again.
    Suspend {
        /// Name or id.
        name: String,
    },
    /// End for good.
    Retire {
        /// Name or id.
        name: String,
    },
}

/// Arguments of `agent create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArguments {
    /// The agent's name; never free again.
    name: String,
    /// Who answers for it: a user's name, or `group:NAME`.
    #[arg(long)]
    owner: String,
    /// What proves it: `k8s:ISSUER/NAMESPACE/SERVICEACCOUNT`, or `github:OWNER/REPO`, whose immutable id the
    /// server looks up and pins (`github:OWNER/REPO@ID` where it cannot).
    #[arg(long)]
    trust: Vec<Trust>,
    /// What it may do for itself at most: `resource:scope`.
    #[arg(long)]
    allow: Vec<String>,
    /// The audience that the runtime's token is made for.
    #[arg(long, default_value = "chancery")]
    audience: String,
    /// One line for people.
    #[arg(long, default_value = "")]
    description: String,
    /// Also make a client with a secret, for agents without a runtime that signs tokens.
    #[arg(long)]
    with_secret: bool,
    /// Only show what would be made.
    #[arg(long)]
    plan: bool,
}

/// `chancery agent`.
pub(crate) async fn run(
    arguments: AgentArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        AgentCommand::Create(arguments) => return create(arguments, connection, output).await,
        AgentCommand::Allow { name, scopes } => return allow(&name, &scopes, connection, output).await,
        AgentCommand::List(arguments) => NounCommand::List(arguments),
        AgentCommand::Show { name } => NounCommand::Show { name },
        AgentCommand::Activate { name } => NounCommand::Activate { name },
        AgentCommand::Suspend { name } => NounCommand::Suspend { name },
        AgentCommand::Retire { name } => NounCommand::Retire { name },
    };
    noun::run("agents", NounArguments { command }, connection, output).await
}

async fn create(arguments: CreateArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let CreateArguments {
        name,
        owner,
        trust,
        allow,
        audience,
        description,
        with_secret,
        plan,
    } = arguments;
    let ceiling = shorthand::ceiling(&allow)?;
    let mut bindings = Vec::with_capacity(trust.len());
    for trust in &trust {
        bindings.push(binding(&name, trust, &audience, connection).await?);
    }
    let clients = if with_secret {
        vec![json!({ "name": format!("{name}-secret"), "agent": name, "method": "client_secret_basic" })]
    } else {
        Vec::new()
    };
    let document = json!({
        "agents": [{ "name": name, "owner": owner, "ceiling": ceiling, "description": description }],
        "runtime_bindings": bindings,
        "clients": clients,
        "grants": shorthand::grants(&name, &ceiling),
    });
    let steps = apply::send(connection, &document, plan).await?;
    if !as_json(output, &steps) {
        apply::show(&steps, plan);
    }
    Ok(())
}

async fn binding(
    agent: &str,
    trust: &Trust,
    audience: &str,
    connection: &Connection,
) -> anyhow::Result<Value> {
    match trust {
        Trust::Kubernetes {
            issuer,
            namespace,
            account,
        } => Ok(shorthand::kubernetes(
            agent,
            (issuer, namespace, account),
            audience,
        )),
        Trust::RepositoryId(id) => Ok(shorthand::github(agent, (id, None), audience)),
        Trust::Repository(repository) => {
            let body = json!({ "repository": repository });
            let ids = connection.send(Method::POST, "/bindings/github", &body).await?;
            let (id, owner) = (
                field(&ids, &["repository_id"]),
                field(&ids, &["repository_owner_id"]),
            );
            Ok(shorthand::github(agent, (&id, Some(&owner)), audience))
        }
    }
}

async fn allow(name: &str, scopes: &[String], connection: &Connection, output: Output) -> anyhow::Result<()> {
    let record = connection.read(&format!("/agents/{}", encode(name))).await?;
    let mut agent = record
        .get("spec")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let wanted = shorthand::ceiling(scopes)?;
    let mut ceiling: std::collections::BTreeMap<String, Vec<String>> = agent
        .get("ceiling")
        .cloned()
        .map(serde_json::from_value)
        .transpose()?
        .unwrap_or_default();
    let mut granted = std::collections::BTreeMap::new();
    for (resource, scopes) in wanted {
        let known = ceiling.entry(resource.clone()).or_default();
        for scope in scopes {
            if !known.contains(&scope) {
                known.push(scope);
            }
        }
        granted.insert(resource, known.clone());
    }
    agent.insert("name".to_owned(), record.get("name").cloned().unwrap_or_default());
    agent.insert("ceiling".to_owned(), json!(ceiling));
    let document = json!({ "agents": [agent], "grants": shorthand::grants(name, &granted) });
    let steps = apply::send(connection, &document, false).await?;
    if !as_json(output, &steps) {
        apply::show(&steps, false);
    }
    Ok(())
}
