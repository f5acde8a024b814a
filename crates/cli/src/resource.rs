//! `chancery resource`: resources, and what the MCP servers behind them show.

use crate::connection::Connection;
use crate::noun::{self, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `resource`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResourceArguments {
    #[command(subcommand)]
    command: ResourceCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ResourceCommand {
    /// What the MCP server behind a resource shows: what is accepted, and what changed and stands in quarantine.
    Manifest {
        /// Name or id of the resource.
        name: String,
    },
    /// Accept the new form of a tool, prompt or resource that stands in quarantine. It is shown first.
    Accept {
        /// Name or id of the resource.
        name: String,
        /// The tool, or with `--listing` something else.
        item: String,
        /// `tools`, `prompts`, `resources` or `resourceTemplates`.
        #[arg(long, default_value = "tools")]
        listing: String,
        /// The digest that `manifest` showed; without it what is seen now is accepted.
        #[arg(long)]
        digest: Option<String>,
    },
    #[command(flatten)]
    Noun(NounCommand),
}

/// `chancery resource`.
pub(crate) async fn run(
    arguments: ResourceArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        ResourceCommand::Manifest { name } => manifest(&name, connection, output).await,
        ResourceCommand::Accept {
            name,
            item,
            listing,
            digest,
        } => accept(&name, (&listing, &item, digest), connection, output).await,
        ResourceCommand::Noun(command) => {
            noun::run("resources", NounArguments { command }, connection, output).await
        }
    }
}

async fn manifest(name: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let shown = connection.read(&path(name)).await?;
    if output.json {
        print::json(&shown);
        return Ok(());
    }
    let items = items(&shown);
    if items.is_empty() {
        print::line("nothing was seen yet: the first list that a client asks for is kept");
        return Ok(());
    }
    let row = |item: &Value| {
        ["listing", "name", "standing", "seen"]
            .map(|column| field(item, &[column]))
            .to_vec()
    };
    let rows = items.iter().map(row).collect();
    print::table(&["listing", "name", "standing", "seen"], rows);
    Ok(())
}

async fn accept(
    name: &str,
    (listing, item, digest): (&str, &str, Option<String>),
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let shown = connection.read(&path(name)).await?;
    let is_it = |found: &&Value| field(found, &["listing"]) == listing && field(found, &["name"]) == item;
    let found = items(&shown).iter().find(is_it).with_context(|| {
        format!("the server behind `{name}` never showed `{item}` among its {listing}\nhint: chancery resource manifest {name}")
    })?;
    if field(found, &["standing"]) == "accepted" {
        bail!("`{item}` is accepted already");
    }
    let digest = digest.unwrap_or_else(|| field(found, &["seen"]));
    if !output.json {
        print::json(found.get("definition").unwrap_or(&Value::Null));
    }
    let body = json!({ "listing": listing, "name": item, "digest": digest });
    connection.send(Method::POST, &path(name), &body).await?;
    if output.json {
        print::json(&body);
    } else {
        print::line(&format!("accepted {listing} {item} in this form ({digest})"));
    }
    Ok(())
}

fn path(name: &str) -> String {
    format!("/resources/{}/manifest", encode(name))
}

fn items(shown: &Value) -> &[Value] {
    let items = shown.get("items").and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default()
}
