//! `chancery account`: connected accounts. Keys are read from the terminal without echo, or from standard input; they
//! are never arguments, which other processes and the shell's history see.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, IsTerminal as _};

/// Arguments of `account`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccountArguments {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AccountCommand {
    /// Set the key of an owner at a connection: a new account, or a new key for the one that there is. Where tokens are
    /// fetched without a person there is no key, and naming the owner is all.
    Set(SetArguments),
    /// End an account for good and delete its credential.
    Disconnect {
        /// Name or id.
        name: String,
    },
    /// List, in order of names.
    List(ListArguments),
    /// Show one by name or id, and whether it can be used.
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
}

/// Arguments of `account set`.
#[derive(Clone, Debug, Args)]
struct SetArguments {
    /// The connection.
    connection: String,
    /// The person whose key it is.
    #[arg(long, group = "owner")]
    user: Option<String>,
    /// The agent whose key it is.
    #[arg(long, group = "owner")]
    agent: Option<String>,
    /// One key for the whole tenant.
    #[arg(long, group = "owner")]
    tenant_wide: bool,
    /// The order in which parts are given, if the key has several. Default: as the connection lists them.
    #[arg(long)]
    part: Vec<String>,
    /// Where the key comes from: `-`, standard input, one line for each part; a terminal does not show it.
    #[arg(long, default_value = "-")]
    key: String,
    /// The account's name; one is made if none is given.
    #[arg(long)]
    name: Option<String>,
    /// One line for people.
    #[arg(long)]
    label: Option<String>,
}

/// `chancery account`.
pub(crate) async fn run(
    arguments: AccountArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        AccountCommand::Set(arguments) => return set(arguments, connection, output).await,
        AccountCommand::Show { name } => return show(&name, connection, output).await,
        AccountCommand::Disconnect { name } => NounCommand::Retire { name },
        AccountCommand::List(arguments) => NounCommand::List(arguments),
        AccountCommand::Suspend { name } => NounCommand::Suspend { name },
        AccountCommand::Activate { name } => NounCommand::Activate { name },
    };
    noun::run(
        "connected_accounts",
        NounArguments { command },
        connection,
        output,
    )
    .await
}

async fn show(name: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let account = connection
        .read(&format!("/connected_accounts/{}", encode(name)))
        .await?;
    noun::show(output, &account);
    if !output.json {
        print::line(&format!("{:<12} {}", "status", field(&account, &["status"])));
    }
    Ok(())
}

async fn set(arguments: SetArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    if arguments.key != "-" {
        bail!(
            "a key is never an argument: others could read it\nhint: --key - and type it, or send it through a pipe"
        );
    }
    let owner = match (&arguments.user, &arguments.agent, arguments.tenant_wide) {
        (Some(user), None, false) => json!({ "user": user }),
        (None, Some(agent), false) => json!({ "agent": agent }),
        (None, None, true) => json!("tenant"),
        _ => bail!("say whose key it is: --user NAME, --agent NAME or --tenant-wide"),
    };
    let record = connection
        .read(&format!("/connections/{}", encode(&arguments.connection)))
        .await?;
    let values = if fetches_itself(&record) {
        Map::new()
    } else {
        read(&parts(&record, &arguments.part)?)?
    };
    let mut body = Map::new();
    body.insert("connection".to_owned(), json!(arguments.connection));
    body.insert("owner".to_owned(), owner);
    body.insert("values".to_owned(), Value::Object(values));
    body.extend(arguments.name.map(|name| ("name".to_owned(), json!(name))));
    body.extend(arguments.label.map(|label| ("label".to_owned(), json!(label))));
    let account = connection
        .send(Method::POST, "/connected_accounts", &Value::Object(body))
        .await?;
    if !as_json(output, &account) {
        print::line(&format!(
            "{} is {} ({})",
            field(&account, &["name"]),
            field(&account, &["status"]),
            field(&account, &["id"])
        ));
    }
    Ok(())
}

/// Whether tokens come to be there without a person or a key of the account's own.
fn fetches_itself(connection: &Value) -> bool {
    let credential = |at: &str| connection.pointer(&format!("/spec/credential/{at}"));
    credential("oauth2/flow").is_some_and(|flow| flow == "client_credentials")
        || ["signed_assertion", "app_installation", "workload_federation"]
            .iter()
            .any(|kind| credential(kind).is_some())
}

/// The parts of the connection's key, in the order in which they will be given.
fn parts(connection: &Value, order: &[String]) -> anyhow::Result<Vec<String>> {
    let known: Vec<String> = connection
        .pointer("/spec/credential/api_key/parts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|part| field(part, &["name"]))
        .collect();
    ensure!(!known.is_empty(), "the connection has no credential");
    if order.is_empty() {
        return Ok(known);
    }
    let (mut wanted, mut all) = (order.to_vec(), known.clone());
    wanted.sort();
    all.sort();
    ensure!(
        wanted == all,
        "the key has the parts {}\nhint: --part each of them, once",
        known.join(", ")
    );
    Ok(order.to_vec())
}

/// Reads one line for each part.
pub(crate) fn read(parts: &[String]) -> anyhow::Result<Map<String, Value>> {
    let input = std::io::stdin();
    let mut values = Map::new();
    if input.is_terminal() {
        for part in parts {
            let value =
                rpassword::prompt_password(format!("{part}: ")).context("the terminal cannot be read")?;
            values.insert(part.clone(), Value::from(value));
        }
        return Ok(values);
    }
    let mut lines = input.lock().lines();
    for part in parts {
        let line = lines
            .next()
            .transpose()
            .context("standard input cannot be read")?;
        let line = line.with_context(|| format!("standard input ended before `{part}`"))?;
        values.insert(part.clone(), Value::from(line));
    }
    ensure!(
        lines.next().is_none(),
        "standard input has more lines than the key has parts"
    );
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Value {
        json!({ "spec": { "credential": { "api_key": { "parts": [{ "name": "id" }, { "name": "secret" }] } } } })
    }

    #[test]
    fn parts_are_given_in_the_order_of_the_connection_or_of_the_arguments() {
        let order = |order: &[&str]| {
            let order: Vec<String> = order.iter().map(|part| (*part).to_owned()).collect();
            parts(&connection(), &order)
        };
        assert_eq!(order(&[]).unwrap(), ["id", "secret"]);
        assert_eq!(order(&["secret", "id"]).unwrap(), ["secret", "id"]);
        assert!(order(&["secret"]).is_err() && order(&["secret", "secret"]).is_err());
        assert!(parts(&json!({ "spec": { "credential": "none" } }), &[]).is_err());
        assert!(!fetches_itself(&connection()));
        let machine = json!({ "spec": { "credential": { "oauth2": { "flow": "client_credentials" } } } });
        assert!(fetches_itself(&machine));
    }
}
