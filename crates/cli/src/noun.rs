//! The commands that all nouns share: list, show, activate, suspend, retire.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of a noun's command.
#[derive(Clone, Debug, Args)]
pub(crate) struct NounArguments {
    #[command(subcommand)]
    pub(crate) command: NounCommand,
}

/// What can be done to any noun.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NounCommand {
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

/// Arguments of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this state: staged, active, suspended or retired.
    #[arg(long)]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Go on after this name.
    #[arg(long)]
    after: Option<String>,
}

/// Runs a command on a collection.
pub(crate) async fn run(
    collection: &str,
    arguments: NounArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        NounCommand::List(arguments) => list(collection, arguments, connection, output).await,
        NounCommand::Show { name } => {
            let record = connection
                .read(&format!("/{collection}/{}", encode(&name)))
                .await?;
            show(output, &record);
            Ok(())
        }
        NounCommand::Activate { name } => step(collection, &name, "activate", connection, output).await,
        NounCommand::Suspend { name } => step(collection, &name, "suspend", connection, output).await,
        NounCommand::Retire { name } => step(collection, &name, "retire", connection, output).await,
    }
}

async fn list(
    collection: &str,
    arguments: ListArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &arguments.limit.to_string());
    if let Some(state) = &arguments.state {
        query.append_pair("state", state);
    }
    if let Some(after) = &arguments.after {
        query.append_pair("cursor", after);
    }
    let page = connection
        .read(&format!("/{collection}?{}", query.finish()))
        .await?;
    if as_json(output, &page) {
        return Ok(());
    }
    let items = page
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let (mut columns, about) = about(collection);
    let has_status = items.iter().any(|item| item.get("status").is_some());
    if has_status {
        columns.insert(columns.len().saturating_sub(1), "status");
    }
    let rows = items.iter().map(|item| {
        let mut row = vec![field(item, &["name"]), field(item, &["state"])];
        row.extend(about.iter().map(|path| field(item, &["spec", path])));
        row.extend(has_status.then(|| field(item, &["status"])));
        row.push(field(item, &["id"]));
        row
    });
    print::table(&columns, rows.collect());
    if let Some(next) = page.get("next_cursor").and_then(Value::as_str) {
        print::note(&format!("more: --after {next}"));
    }
    Ok(())
}

/// The columns of a list, and the fields they show.
fn about(collection: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let fields = match collection {
        "agents" => vec!["owner", "blueprint"],
        "clients" => vec!["agent", "method"],
        "trusted_issuers" => vec!["issuer", "purposes"],
        "users" => vec!["issuer", "roles"],
        "runtime_bindings" => vec!["issuer", "agent"],
        "resources" => vec!["uri", "enforcement"],
        "grants" => vec!["agent", "resource", "connection", "scopes"],
        "connections" => vec!["base_url", "owner_level"],
        "connected_accounts" => vec!["connection", "owner"],
        _ => vec!["owner"],
    };
    let mut columns = vec!["name", "state"];
    columns.extend(&fields);
    columns.push("id");
    (columns, fields)
}

/// Takes a step of a noun's life.
pub(crate) async fn step(
    collection: &str,
    name: &str,
    step: &str,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("/{collection}/{}/{step}", encode(name));
    let record = connection.send(Method::POST, &path, &json!({})).await?;
    if as_json(output, &record) {
        return Ok(());
    }
    print::line(&format!(
        "{} is {}",
        field(&record, &["name"]),
        field(&record, &["state"])
    ));
    if let Some(secret) = record.get("secret").and_then(Value::as_str) {
        print::line(&format!("secret, shown once: {secret}"));
    }
    Ok(())
}

/// Prints a record.
pub(crate) fn show(output: Output, record: &Value) {
    if as_json(output, record) {
        return;
    }
    for name in ["name", "id", "state", "generation", "version"] {
        print::line(&format!("{name:<12} {}", field(record, &[name])));
    }
    let spec = record.get("spec").and_then(Value::as_object);
    for (name, value) in spec.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        };
        print::line(&format!("{name:<12} {text}"));
    }
}

/// A name as a path segment.
pub(crate) fn encode(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
