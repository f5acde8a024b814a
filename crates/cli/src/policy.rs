//! `chancery policy`.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `policy`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PolicyArguments {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum PolicyCommand {
    /// Check a file of policies without putting it in force.
    Validate {
        /// The file, in Cedar.
        file: PathBuf,
    },
    /// Put a file of policies in force.
    Set {
        /// The file, in Cedar.
        file: PathBuf,
        /// One line for the history.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Print the policies in force.
    Show,
    /// List the versions.
    Versions,
    /// Permit everything within ceilings and grants at one resource for a while.
    Observe {
        /// The resource.
        resource: String,
        /// How long, as in `30m`, `12h` or `7d`.
        #[arg(long = "for", default_value = "7d")]
        lasting: String,
    },
    /// Run test cases against the policies in force, or a candidate file.
    Test {
        /// The cases: TOML with `[[case]]` of `name`, `decision` (a stored decision's id) and `expect`.
        cases: PathBuf,
        /// A candidate instead of the set in force.
        #[arg(long)]
        candidate: Option<PathBuf>,
    },
}

/// `chancery policy`.
pub(crate) async fn run(
    arguments: PolicyArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let answer = match arguments.command {
        PolicyCommand::Validate { file } => {
            connection
                .send(Method::POST, "/policy/validate", &json!({ "text": read(&file)? }))
                .await?
        }
        PolicyCommand::Set { file, comment } => {
            connection
                .send(
                    Method::PUT,
                    "/policy",
                    &json!({ "text": read(&file)?, "comment": comment }),
                )
                .await?
        }
        PolicyCommand::Show => {
            let active = connection.read("/policy").await?;
            if !as_json(output, &active) {
                print::note(&format!(
                    "// {} {}",
                    field(&active, &["name"]),
                    field(&active, &["hash"])
                ));
                print::line(&field(&active, &["text"]));
            }
            return Ok(());
        }
        PolicyCommand::Versions => return versions(connection, output).await,
        PolicyCommand::Observe { resource, lasting } => {
            let body = json!({ "resource": resource, "seconds": seconds(&lasting)? });
            connection.send(Method::POST, "/policy/observe", &body).await?
        }
        PolicyCommand::Test { cases, candidate } => return test(&cases, candidate, connection, output).await,
    };
    if !as_json(output, &answer) {
        match answer.get("valid") {
            Some(_) => print::line(&format!("valid, hash {}", field(&answer, &["hash"]))),
            None => print::line(&format!(
                "{} is in force, hash {}",
                field(&answer, &["name"]),
                field(&answer, &["hash"])
            )),
        }
    }
    Ok(())
}

async fn versions(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let answer = connection.read("/policy/versions").await?;
    if as_json(output, &answer) {
        return Ok(());
    }
    let items = answer
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let row = |item: &Value| {
        ["name", "state", "hash", "created_at", "comment"]
            .map(|name| field(item, &[name]))
            .to_vec()
    };
    print::table(
        &["name", "state", "hash", "created", "comment"],
        items.iter().map(row).collect(),
    );
    Ok(())
}

/// Evaluates stored decisions again and compares what comes out with what each case expects.
async fn test(
    cases: &PathBuf,
    candidate: Option<PathBuf>,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let cases: Value = toml::from_str(&read(cases)?).context("the cases are not TOML")?;
    let mut body = json!({ "cases": cases.get("case").cloned().unwrap_or_default() });
    if let (Some(file), Some(members)) = (candidate, body.as_object_mut()) {
        members.insert("text".to_owned(), Value::from(read(&file)?));
    }
    let report = connection.send(Method::POST, "/policy/test", &body).await?;
    if !as_json(output, &report) {
        let results = report
            .get("results")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let row = |item: &Value| {
            ["name", "expect", "outcome", "passed"]
                .map(|name| field(item, &[name]))
                .to_vec()
        };
        print::table(
            &["case", "expected", "outcome", "passed"],
            results.iter().map(row).collect(),
        );
    }
    if report.get("failed").and_then(Value::as_u64) != Some(0) {
        bail!("{} case(s) failed", field(&report, &["failed"]));
    }
    Ok(())
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))
}

/// Seconds of `90s`, `30m`, `12h` or `7d`.
fn seconds(text: &str) -> anyhow::Result<u64> {
    let Some((number, unit)) = text.len().checked_sub(1).and_then(|at| text.split_at_checked(at)) else {
        bail!("`{text}` is not a duration such as 30m, 12h or 7d");
    };
    let number: u64 = number
        .parse()
        .with_context(|| format!("`{text}` is not a duration such as 30m, 12h or 7d"))?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!("`{text}` is not a duration such as 30m, 12h or 7d"),
    };
    Ok(number.saturating_mul(factor))
}
