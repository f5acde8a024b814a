//! `chancery session`: where people are signed in, and ending it. `chancery sign-in`: the secret with which this server
//! proves itself where people sign in, read from the terminal without echo or from a pipe, and never an argument.

use crate::account;
use crate::connection::{Connection, as_json};
use crate::noun::encode;
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

/// Arguments of `session`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SessionArguments {
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum SessionCommand {
    /// List sessions in order of names; those that are over too, unless a state is given.
    List {
        /// Only in this state: `active` or `retired`.
        #[arg(long)]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Go on after this name.
        #[arg(long)]
        after: Option<String>,
    },
    /// Sign somebody out: end a session and everything that hangs on it.
    Revoke {
        /// Name or id.
        name: String,
    },
}

/// Arguments of `sign-in`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SignInArguments {
    #[command(subcommand)]
    command: SignInCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum SignInCommand {
    /// Set the secret with which this server proves itself to a trusted issuer. It is not shown again.
    Secret {
        /// The issuer's name or id.
        issuer: String,
    },
}

/// `chancery session`.
pub(crate) async fn run(
    arguments: SessionArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        SessionCommand::List { state, limit, after } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            if let Some(state) = &state {
                query.append_pair("state", state);
            }
            if let Some(after) = &after {
                query.append_pair("cursor", after);
            }
            let page = connection.read(&format!("/sessions?{}", query.finish())).await?;
            if !as_json(output, &page) {
                list(&page);
            }
            Ok(())
        }
        SessionCommand::Revoke { name } => {
            let path = format!("/sessions/{}/retire", encode(&name));
            connection.send(Method::POST, &path, &Value::Null).await?;
            if !output.json {
                print::line(&format!("{name} is over"));
            }
            Ok(())
        }
    }
}

fn list(page: &Value) {
    let items = page.get("items").and_then(Value::as_array);
    let row = |item: &Value| {
        ["name", "state", "user", "issuer", "last_seen"]
            .iter()
            .map(|column| field(item, &[column]))
            .collect()
    };
    let rows = items.into_iter().flatten().map(row).collect();
    print::table(&["NAME", "STATE", "USER", "ISSUER", "LAST SEEN"], rows);
}

/// `chancery sign-in`.
pub(crate) async fn sign_in(
    arguments: SignInArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let SignInCommand::Secret { issuer } = arguments.command;
    let secret = account::read(&["secret".to_owned()])?;
    let path = format!("/trusted_issuers/{}/secret", encode(&issuer));
    connection
        .send(Method::PUT, &path, &Value::Object(secret))
        .await?;
    if !output.json {
        print::line(&format!("the secret for {issuer} is set"));
    }
    Ok(())
}
