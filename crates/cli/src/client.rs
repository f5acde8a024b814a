//! `chancery client`: what all nouns can, making one, and replacing a secret.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand};
use crate::print::{self, Output, field};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `client`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ClientCommand {
    /// Make a client for an agent. A secret, if it has one, is shown once.
    Create(CreateArguments),
    /// Give a client that made itself known to an agent, and put it into use.
    Adopt {
        /// Name, id, or the URL of its metadata document.
        name: String,
        /// The agent that it belongs to from then on.
        #[arg(long)]
        agent: String,
    },
    /// Replace the secret; the new one is shown once, and everything issued to the client ends.
    ResetSecret {
        /// Name or id.
        name: String,
    },
    /// List, in order of names.
    List(ListArguments),
    /// Show one by name or id.
    Show {
        /// Name or id.
        name: String,
    },
    /// Stop until activated again.
    Suspend {
        /// Name or id.
        name: String,
    },
    /// Put into use, or back into it.
    Activate {
        /// Name or id.
        name: String,
    },
    /// End for good.
    Retire {
        /// Name or id.
        name: String,
    },
}

/// Arguments of `client create`.
#[derive(Clone, Debug, Args)]
struct CreateArguments {
    /// The client's name; never free again.
    name: String,
    /// The agent that it is a way in for.
    #[arg(long)]
    agent: String,
    /// How it proves itself: `none` for software on people's own machines, which cannot keep a secret.
    #[arg(long, value_parser = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"], default_value = "none")]
    method: String,
    /// Where a person may be sent back to: an https URL, http on loopback (any port), or a private scheme with a dot.
    #[arg(long)]
    redirect_uri: Vec<String>,
    /// Its public keys, for `private_key_jwt`: a file with a JWK set.
    #[arg(long)]
    jwks: Option<PathBuf>,
    /// Where its public keys are, for `private_key_jwt`.
    #[arg(long, conflicts_with = "jwks")]
    jwks_uri: Option<String>,
    /// A grant that it may use, by its registered name; all that its method allows if none is named.
    #[arg(long)]
    grant_type: Vec<String>,
    /// What people see it called.
    #[arg(long)]
    display_name: Option<String>,
}

/// `chancery client`.
pub(crate) async fn run(
    arguments: ClientArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        ClientCommand::Adopt { name, agent } => return adopt(&name, &agent, connection, output).await,
        ClientCommand::ResetSecret { name } => {
            return noun::step("clients", &name, "reset-secret", connection, output).await;
        }
        ClientCommand::Create(arguments) => return create(arguments, connection, output).await,
        ClientCommand::List(arguments) => NounCommand::List(arguments),
        ClientCommand::Show { name } => NounCommand::Show { name },
        ClientCommand::Suspend { name } => NounCommand::Suspend { name },
        ClientCommand::Activate { name } => NounCommand::Activate { name },
        ClientCommand::Retire { name } => NounCommand::Retire { name },
    };
    noun::run("clients", NounArguments { command }, connection, output).await
}

async fn create(arguments: CreateArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let jwks = match &arguments.jwks {
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
            Some(serde_json::from_slice::<Value>(&text).context("the JWK set is not JSON")?)
        }
        None => None,
    };
    let given = [
        ("name", Some(json!(arguments.name))),
        ("agent", Some(json!(arguments.agent))),
        ("method", Some(json!(arguments.method))),
        ("redirect_uris", some(&arguments.redirect_uri)),
        ("grant_types", some(&arguments.grant_type)),
        ("jwks", jwks),
        ("jwks_uri", arguments.jwks_uri.map(Value::from)),
        ("display_name", arguments.display_name.map(Value::from)),
    ];
    let members = given
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let body = Value::Object(members.collect());
    let made = connection.send(Method::POST, "/clients", &body).await?;
    if as_json(output, &made) {
        return Ok(());
    }
    print::line(&format!("client_id {}", field(&made, &["id"])));
    if let Some(secret) = made.get("secret").and_then(Value::as_str) {
        print::line(&format!("secret, shown once: {secret}"));
    }
    Ok(())
}

fn some(list: &[String]) -> Option<Value> {
    (!list.is_empty()).then(|| json!(list))
}

async fn adopt(name: &str, agent: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let path = format!("/clients/{}/adopt", noun::encode(name));
    let body = json!({ "agent": agent });
    let client = connection.send(Method::POST, &path, &body).await?;
    if as_json(output, &client) {
        return Ok(());
    }
    let name = field(&client, &["name"]);
    print::line(&format!("client {name} belongs to agent {agent} and is active"));
    let text = |path: &[&str]| field(&client, path);
    print::line(&format!("it proves itself by {}", text(&["spec", "method"])));
    for uri in client
        .pointer("/spec/redirect_uris")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        print::line(&format!("it sends people back to {uri}"));
    }
    Ok(())
}
