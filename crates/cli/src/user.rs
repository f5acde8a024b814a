//! `chancery user`: what all nouns can, making a local person, and a new start for somebody who cannot sign in.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `user`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UserArguments {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum UserCommand {
    /// Make a local person, and a one-time code with which they choose how they sign in. The code is shown once.
    Create(CreateArguments),
    /// End whatever somebody signs in with, and everything that hangs on it. A local person gets a new one-time code.
    Reset {
        /// Name or id.
        name: String,
    },
    /// What somebody has passkeys for, and an end to one that was lost.
    Passkeys(PasskeysArguments),
    /// List, in order of names.
    List(ListArguments),
    /// Show one by name or id.
    Show {
        /// Name or id.
        name: String,
    },
    /// Put into use, or back into it. Nothing that was issued before comes back to life.
    Activate {
        /// Name or id.
        name: String,
    },
    /// Stop until activated again.
    Suspend {
        /// Name or id.
        name: String,
    },
    /// End for good. The name is never free again.
    Retire {
        /// Name or id.
        name: String,
    },
}

/// Arguments of `user passkeys`.
#[derive(Clone, Debug, Args)]
struct PasskeysArguments {
    /// Name or id.
    name: String,
    /// Remove the passkey with this id. Everything that hangs on the person ends; their other passkeys and password stay.
    #[arg(long, value_name = "ID")]
    remove: Option<String>,
}

/// Arguments of `user create`.
#[derive(Clone, Debug, Args)]
struct CreateArguments {
    /// The name: what the person signs in with, and what policies and the log call them.
    name: String,
    /// A role that the person holds.
    #[arg(long)]
    role: Vec<String>,
    /// A group that the person is in.
    #[arg(long)]
    group: Vec<String>,
    /// What agents are told of the person, as in `email=ada@example.com`.
    #[arg(long, value_parser = attribute)]
    attribute: Vec<(String, String)>,
}

/// `chancery user`.
pub(crate) async fn run(
    arguments: UserArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        UserCommand::Create(arguments) => return create(arguments, connection, output).await,
        UserCommand::Reset { name } => return reset(&name, connection, output).await,
        UserCommand::Passkeys(arguments) => return passkeys(&arguments, connection, output).await,
        UserCommand::List(arguments) => NounCommand::List(arguments),
        UserCommand::Show { name } => NounCommand::Show { name },
        UserCommand::Activate { name } => NounCommand::Activate { name },
        UserCommand::Suspend { name } => NounCommand::Suspend { name },
        UserCommand::Retire { name } => NounCommand::Retire { name },
    };
    noun::run("users", NounArguments { command }, connection, output).await
}

async fn create(arguments: CreateArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let attributes: serde_json::Map<String, Value> = arguments
        .attribute
        .into_iter()
        .map(|(name, value)| (name, Value::from(value)))
        .collect();
    let body = json!({
        "name": arguments.name, "issuer": "local",
        "roles": arguments.role, "groups": arguments.group, "attributes": attributes,
    });
    connection.send(Method::POST, "/users", &body).await?;
    reset(&arguments.name, connection, output).await
}

async fn reset(name: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let path = format!("/users/{}/reset-secret", encode(name));
    let record = connection.send(Method::POST, &path, &json!({})).await?;
    if as_json(output, &record) {
        return Ok(());
    }
    let name = field(&record, &["name"]);
    let Some(code) = record.get("secret").and_then(Value::as_str) else {
        print::line(&format!("{name} is signed out, and has no passkeys"));
        return Ok(());
    };
    print::line(&format!(
        "{name} chooses how to sign in at {}",
        field(&record, &["enrolment_uri"])
    ));
    print::line(&format!(
        "with this code, shown once, until {}: {code}",
        field(&record, &["expires_at"])
    ));
    Ok(())
}

async fn passkeys(
    arguments: &PasskeysArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("/users/{}/passkeys", encode(&arguments.name));
    if let Some(id) = &arguments.remove {
        let path = format!("{path}/{}/remove", encode(id));
        connection.send(Method::POST, &path, &Value::Null).await?;
        if !output.json {
            let name = &arguments.name;
            print::line(&format!("{id} is removed, and {name} is signed out everywhere"));
        }
        return Ok(());
    }
    let page = connection.read(&path).await?;
    if as_json(output, &page) {
        return Ok(());
    }
    let row = |passkey: &Value| {
        let purpose = match passkey.get("signs_in").and_then(Value::as_bool) {
            Some(true) => "signs in, says yes",
            Some(false) | None => "says yes",
        };
        vec![
            field(passkey, &["id"]),
            field(passkey, &["name"]),
            purpose.to_owned(),
            field(passkey, &["created_at"]),
            field(passkey, &["used_at"]),
        ]
    };
    let items = page.get("items").and_then(Value::as_array);
    let rows = items.into_iter().flatten().map(row).collect();
    print::table(&["ID", "NAME", "FOR", "SINCE", "LAST USED"], rows);
    Ok(())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))
}
