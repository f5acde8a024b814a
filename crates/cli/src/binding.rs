//! `chancery binding`: what all nouns can, and testing a runtime's token claim by claim.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand};
use crate::print::{self, Output, field};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `binding`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BindingArguments {
    #[command(subcommand)]
    command: BindingCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum BindingCommand {
    /// Show which binding a runtime's token matches, and claim by claim what differs.
    Test {
        /// The file with the token; `-` for standard input.
        #[arg(long)]
        token: PathBuf,
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

/// `chancery binding`.
pub(crate) async fn run(
    arguments: BindingArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        BindingCommand::Test { token } => return test(&token, connection, output).await,
        BindingCommand::List(arguments) => NounCommand::List(arguments),
        BindingCommand::Show { name } => NounCommand::Show { name },
        BindingCommand::Suspend { name } => NounCommand::Suspend { name },
        BindingCommand::Activate { name } => NounCommand::Activate { name },
        BindingCommand::Retire { name } => NounCommand::Retire { name },
    };
    noun::run("runtime_bindings", NounArguments { command }, connection, output).await
}

async fn test(file: &PathBuf, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let token = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?
    };
    let report = connection
        .send(Method::POST, "/bindings/test", &json!({ "token": token.trim() }))
        .await?;
    if as_json(output, &report) {
        return Ok(());
    }
    print::line(&format!("issuer {}", field(&report, &["issuer"])));
    for binding in report
        .get("bindings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        print::line(&format!(
            "\nbinding {} → agent {}",
            field(binding, &["binding"]),
            field(binding, &["agent"])
        ));
        let checks = binding
            .get("checks")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let rows = checks.iter().map(|check| {
            let matches = check.get("matches").and_then(Value::as_bool) == Some(true);
            vec![
                field(check, &["claim"]),
                field(check, &["expected"]),
                field(check, &["found"]),
                if matches { "matches" } else { "DIFFERS" }.to_owned(),
            ]
        });
        print::table(&["claim", "expected", "found", ""], rows.collect());
    }
    match report.get("agent").and_then(Value::as_str) {
        Some(agent) => print::line(&format!("\nthe token proves agent {agent}")),
        None => print::line(&format!(
            "\nthe token proves no agent: {}",
            field(&report, &["token"])
        )),
    }
    Ok(())
}
