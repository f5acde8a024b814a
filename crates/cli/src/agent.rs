//! `chancery agent`: what all nouns can, and making an agent with binding, ceiling and grant at once.

use crate::connection::{Connection, as_json};
use crate::credentials::client_of;
use crate::noun::{self, ListArguments, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use crate::shorthand::Trust;
use crate::{apply, me, shorthand};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
    /// Who answers for it: a user's name, `group:NAME`, or `me`.
    #[arg(long)]
    owner: String,
    /// Who asked for it: a user's name, `group:NAME`, or `me`.
    #[arg(long)]
    sponsor: Option<String>,
    /// What proves it: `k8s:ISSUER/NAMESPACE/SERVICEACCOUNT`, or `github:OWNER/REPO`, whose immutable id the
    /// server looks up and pins (`github:OWNER/REPO@ID` where it cannot), or `oidc:ISSUER,CLAIM=VALUE…`, exactly.
    #[arg(long)]
    trust: Vec<Trust>,
    /// What it may do for itself at most: `resource:scope`. The connection behind a resource is granted with it.
    #[arg(long)]
    allow: Vec<String>,
    /// The audience that the runtime's token is made for.
    #[arg(long, default_value = "chancery")]
    audience: String,
    /// One line for people.
    #[arg(long, default_value = "")]
    description: String,
    /// Also make a client with a secret, shown once, for agents without a runtime that signs tokens.
    #[arg(long, alias = "with-secret")]
    secret: bool,
    /// As --secret, but the secret goes to a new file (mode 0600), where `run` and `mcp connect` take it from.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Also make a client that people sign in with, and where they are sent back to: an https URL, http on loopback
    /// (any port), or a private scheme with a dot. Without --secret it is a public client.
    #[arg(long)]
    redirect_uri: Vec<String>,
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
    let document = document(&arguments, connection).await?;
    let planned = apply::send(connection, &document, true).await?;
    check_new(&arguments.name, &planned)?;
    if arguments.plan {
        if !as_json(output, &planned) {
            table(&planned);
            apply::show_count(&planned, true);
        }
        return Ok(());
    }
    // Opened before anything is made: a secret that cannot be written would be lost.
    let makes_client = steps(&planned).any(|step| is_made(step) && field(step, &["noun"]) == "client");
    let file = arguments.secret_file.as_ref().filter(|_| makes_client);
    let file = file.map(|path| secret_file(path)).transpose()?;
    let mut made = apply::send(connection, &document, false).await?;
    if let Some(mut file) = file {
        let secret = take_secret(&mut made).context("the server gave no secret")?;
        writeln!(file, "{secret}")?;
        file.sync_all()?;
    }
    if as_json(output, &made) {
        return Ok(());
    }
    table(&made);
    apply::show_count(&made, false);
    for step in steps(&made) {
        if let Some(secret) = step.get("secret").and_then(Value::as_str) {
            print::line(&format!(
                "client_id {}\nsecret, shown once: {secret}",
                field(step, &["id"])
            ));
        }
    }
    if let Some(path) = arguments.secret_file.as_ref().filter(|_| makes_client) {
        print::line(&format!("the secret is in {}", path.display()));
    }
    Ok(())
}

/// Agent, bindings, client, ceiling and grants, as one document: all are made, or none.
async fn document(arguments: &CreateArguments, connection: &Connection) -> anyhow::Result<Value> {
    let name = &arguments.name;
    let ceiling = shorthand::ceiling(&arguments.allow)?;
    let mut bindings = Vec::with_capacity(arguments.trust.len());
    for trust in &arguments.trust {
        bindings.push(binding(name, trust, &arguments.audience, connection).await?);
    }
    let mut agent = json!({
        "name": name,
        "owner": me::owner(&arguments.owner, connection).await?,
        "ceiling": ceiling,
    });
    if let Some(members) = agent.as_object_mut() {
        if let Some(sponsor) = &arguments.sponsor {
            let sponsor = me::owner(sponsor, connection).await?;
            members.insert("sponsor".to_owned(), json!(sponsor));
        }
        if !arguments.description.is_empty() {
            members.insert("description".to_owned(), json!(arguments.description));
        }
    }
    let has_secret = arguments.secret || arguments.secret_file.is_some();
    let clients = if has_secret || !arguments.redirect_uri.is_empty() {
        let method = if has_secret { "client_secret_basic" } else { "none" };
        let uris = &arguments.redirect_uri;
        vec![json!({ "name": client_of(name), "agent": name, "method": method, "redirect_uris": uris })]
    } else {
        Vec::new()
    };
    let resources: Vec<&String> = ceiling.keys().collect();
    let mut grants = shorthand::grants(name, &ceiling);
    grants.extend(connections(name, &resources, connection).await?);
    Ok(json!({
        "agents": [agent],
        "runtime_bindings": bindings,
        "clients": clients,
        "grants": grants,
    }))
}

/// Grants at the connections behind resources: without one the credential does not open for the agent.
async fn connections(
    agent: &str,
    resources: &[&String],
    connection: &Connection,
) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut names = BTreeSet::new();
    for resource in resources {
        let record = connection
            .read(&format!("/resources/{}", encode(resource)))
            .await?;
        let upstream = record.pointer("/spec/upstream").and_then(Value::as_object);
        let behind = upstream.into_iter().flat_map(Map::values);
        names.extend(behind.filter_map(|place| place.get("connection")?.as_str().map(str::to_owned)));
    }
    let grant = |name: String| {
        let members = [
            ("agent", json!(agent)),
            ("principal", json!("itself")),
            ("connection", json!(name)),
        ];
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    Ok(names.into_iter().map(grant).collect())
}

/// Saying it again changes nothing; saying something else is not `create`, which would overwrite what it does not name.
fn check_new(name: &str, planned: &Value) -> anyhow::Result<()> {
    let changed = steps(planned).find(|step| field(step, &["action"]) == "update");
    let Some(step) = changed else {
        return Ok(());
    };
    bail!(
        "{} `{}` exists and is not what these arguments say\n\
         hint: chancery agent allow {name} RESOURCE:SCOPE raises its ceiling; `chancery apply` changes the rest",
        field(step, &["noun"]),
        field(step, &["name"])
    );
}

fn steps(answer: &Value) -> impl Iterator<Item = &Value> {
    answer
        .get("steps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn is_made(step: &Value) -> bool {
    field(step, &["action"]) == "create"
}

fn table(answer: &Value) {
    let row = |step: &Value| {
        ["action", "noun", "name", "id"]
            .map(|column| field(step, &[column]))
            .to_vec()
    };
    print::table(&["", "noun", "name", "id"], steps(answer).map(row).collect());
}

fn secret_file(path: &Path) -> anyhow::Result<std::fs::File> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.with_context(|| format!("`{}` cannot be made; nothing was changed", path.display()))
}

/// Takes the secret out of the answer, so that it is not printed too.
fn take_secret(answer: &mut Value) -> Option<String> {
    let steps = answer.get_mut("steps")?.as_array_mut()?;
    let mut secrets = steps
        .iter_mut()
        .filter_map(|step| step.as_object_mut()?.remove("secret"));
    secrets.next()?.as_str().map(str::to_owned)
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
        Trust::Claims { issuer, claims } => Ok(shorthand::exactly(agent, (issuer, claims), audience)),
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
    let resources: Vec<&String> = granted.keys().collect();
    let mut grants = shorthand::grants(name, &granted);
    grants.extend(connections(name, &resources, connection).await?);
    let document = json!({ "agents": [agent], "grants": grants });
    let steps = apply::send(connection, &document, false).await?;
    if !as_json(output, &steps) {
        apply::show(&steps, false);
    }
    Ok(())
}
