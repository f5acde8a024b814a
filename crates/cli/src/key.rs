//! `chancery key`: the keys that sign access tokens and ID tokens.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `key`.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum KeyCommand {
    /// List keys with their state: next, active or retiring.
    List,
    /// Publish a new key. It signs ten minutes later, when every verifier can have learned of it.
    Rotate {
        /// ES256, EdDSA or RS256.
        #[arg(long, default_value = "ES256")]
        algorithm: String,
        /// What it signs: `access_token` or `id_token` (ID tokens are RS256).
        #[arg(long = "use", default_value = "access_token")]
        signs: String,
    },
}

/// `chancery key`.
pub(crate) async fn run(
    arguments: KeyArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        KeyCommand::List => {
            let keys = connection.read("/keys").await?;
            if as_json(output, &keys) {
                return Ok(());
            }
            let items = keys
                .get("items")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let row = |item: &Value| {
                ["kid", "use", "algorithm", "state"]
                    .map(|name| field(item, &[name]))
                    .to_vec()
            };
            print::table(
                &["kid", "use", "algorithm", "state"],
                items.iter().map(row).collect(),
            );
        }
        KeyCommand::Rotate { algorithm, signs } => {
            let body = json!({ "algorithm": algorithm, "use": signs });
            let made = connection.send(Method::POST, "/keys/rotate", &body).await?;
            if !as_json(output, &made) {
                print::line(&format!(
                    "{} is published and signs in ten minutes",
                    field(&made, &["kid"])
                ));
            }
        }
    }
    Ok(())
}
