//! `chancery apply` and `chancery export`: configuration as code, in TOML or JSON.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use anyhow::Context as _;
use clap::Args;
use hyper::Method;
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `apply`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApplyArguments {
    /// The file, TOML or JSON; `-` for standard input.
    #[arg(short, long)]
    file: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    plan: bool,
}

/// Arguments of `export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArguments {
    /// Print JSON instead of TOML.
    #[arg(long)]
    as_json: bool,
}

/// `chancery apply`.
pub(crate) async fn run(
    arguments: ApplyArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let text = if arguments.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(&arguments.file)
            .with_context(|| format!("`{}` cannot be read", arguments.file.display()))?
    };
    let document = parse(&text)?;
    let steps = send(connection, &document, arguments.plan).await?;
    if !as_json(output, &steps) {
        show(&steps, arguments.plan);
    }
    Ok(())
}

/// `chancery export`.
pub(crate) async fn export(arguments: ExportArguments, connection: &Connection) -> anyhow::Result<()> {
    let document = connection.read("/export").await?;
    if arguments.as_json {
        print::json(&document);
    } else {
        print::line(&toml::to_string_pretty(&document)?);
    }
    Ok(())
}

/// Sends a document to be applied.
pub(crate) async fn send(connection: &Connection, document: &Value, plan: bool) -> anyhow::Result<Value> {
    connection
        .send(Method::POST, &format!("/apply?plan={plan}"), document)
        .await
}

/// Reads a document: JSON if it starts with `{`, else TOML.
pub(crate) fn parse(text: &str) -> anyhow::Result<Value> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).context("the file is not JSON");
    }
    toml::from_str::<Value>(text).context("the file is not TOML")
}

/// Prints what was done, or would be.
pub(crate) fn show(steps: &Value, plan: bool) {
    let steps = steps
        .get("steps")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut changed = 0;
    for step in &steps {
        let action = field(step, &["action"]);
        if action != "unchanged" {
            changed += 1;
        }
        let sign = match action.as_str() {
            "create" => "+",
            "update" => "~",
            _ => " ",
        };
        print::line(&format!(
            "{sign} {} {}",
            field(step, &["noun"]),
            field(step, &["name"])
        ));
        if let Some(secret) = step.get("secret").and_then(Value::as_str) {
            print::line(&format!("    client_id {}", field(step, &["id"])));
            print::line(&format!("    secret, shown once: {secret}"));
        }
    }
    count(changed, steps.len(), plan);
}

/// Prints how much was done, or would be.
pub(crate) fn show_count(steps: &Value, plan: bool) {
    let steps = steps.get("steps").and_then(Value::as_array).map(Vec::as_slice);
    let steps = steps.unwrap_or_default();
    let changed = steps
        .iter()
        .filter(|step| field(step, &["action"]) != "unchanged");
    count(changed.count(), steps.len(), plan);
}

fn count(changed: usize, all: usize, plan: bool) {
    let verb = if plan { "would change" } else { "changed" };
    print::line(&format!("{changed} of {all} {verb}"));
}
