//! `chancery kill`.

use crate::connection::{Connection, as_json};
use crate::noun::encode;
use crate::print::{self, Output, field};
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `kill`.
#[derive(Clone, Debug, Args)]
pub(crate) struct KillArguments {
    /// agent, client, user, issuer, grant, blueprint, connection or account.
    noun: String,
    /// Its name or id.
    name: String,
    /// Only show what would stop and what would remain.
    #[arg(long)]
    dry_run: bool,
}

/// `chancery kill`.
pub(crate) async fn run(
    arguments: KillArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!(
        "/kill/{}/{}?dry_run={}",
        encode(&arguments.noun),
        encode(&arguments.name),
        arguments.dry_run
    );
    let report = connection.send(Method::POST, &path, &json!({})).await?;
    if !as_json(output, &report) {
        show(&report);
    }
    Ok(())
}

/// Prints what a kill did, or would do.
pub(crate) fn show(report: &Value) {
    let dry = report.get("dry_run").and_then(Value::as_bool) == Some(true);
    let verb = if dry { "would be killed" } else { "is killed" };
    print::line(&format!(
        "{} {} {verb}",
        field(report, &["noun"]),
        field(report, &["name"])
    ));
    for (title, key) in [("stops", "stops"), ("stays valid", "remains")] {
        for text in report.get(key).and_then(Value::as_array).into_iter().flatten() {
            print::line(&format!("  {title}: {}", text.as_str().unwrap_or_default()));
        }
    }
    let seconds = field(report, &["reaches_every_node_within_seconds"]);
    print::line(&format!("  every node knows within {seconds} seconds"));
}
