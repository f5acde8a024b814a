//! `chancery vault`: rotating what seals credentials and signing keys.

use crate::connection::{Connection, ConnectionArguments, as_json};
use crate::print::{self, Output, field};
use crate::root_key;
use anyhow::bail;
use chancery_server::kms::KeyService;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `vault`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VaultArguments {
    #[command(subcommand)]
    command: VaultCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum VaultCommand {
    /// Make a file with a new root key, for `rotate --root`. It changes nothing yet.
    RootKey {
        /// The file to make, which must not exist yet.
        file: PathBuf,
    },
    /// Give the tenant a new key and wrap everything sealed anew, while the server serves. Run it again to go on with a
    /// rotation that was interrupted.
    Rotate {
        /// Replace the root key by the one in this file, or by this key of a service
        /// (`transit:https://HOST/v1/MOUNT/KEY`), of every tenant. For a key of a service, and where several servers use
        /// the database, each must have been started with it: --next-root-key-file.
        #[arg(long)]
        root: Option<PathBuf>,
    },
}

/// `chancery vault`.
pub(crate) async fn run(
    arguments: VaultArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        VaultCommand::RootKey { file } => {
            let key = root_key::create(&file)?;
            print::line(&format!("root key {} is in `{}`", key.id(), file.display()));
            print::note("keep a copy of it apart from the backups, then: chancery vault rotate --root FILE");
            Ok(())
        }
        VaultCommand::Rotate { root: None } => rotate(&connection.open()?, output).await,
        VaultCommand::Rotate { root: Some(path) } => {
            rotate_root(&path, &connection.open()?.in_tenant("system"), output).await
        }
    }
}

async fn rotate(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut progress = step(connection, &json!({})).await?;
    let mut rewrapped = count(&progress, "rewrapped");
    while progress.get("done") != Some(&Value::Bool(true)) {
        print::note(&format!(
            "{rewrapped} wrapped anew, {} to go",
            count(&progress, "remaining")
        ));
        progress = step(connection, &json!({ "key": field(&progress, &["key"]) })).await?;
        rewrapped += count(&progress, "rewrapped");
    }
    if let Some(all) = progress.get_mut("rewrapped") {
        *all = rewrapped.into();
    }
    if !as_json(output, &progress) {
        print::line(&format!(
            "the tenant's key is {}; {rewrapped} records were wrapped anew, and the key before opens nothing any more",
            field(&progress, &["key"])
        ));
    }
    Ok(())
}

async fn rotate_root(path: &std::path::Path, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let name = path.to_str().unwrap_or_default();
    let text = if KeyService::is_named_by(name) {
        None
    } else {
        Some(root_key::load(path, false)?.to_file_text())
    };
    let body = match &text {
        Some(text) => json!({ "root_key": text.expose_secret() }),
        None => json!({ "root_key_service": name }),
    };
    let mut rewrapped = 0;
    let mut in_vain = 0;
    while in_vain < TRIES {
        let progress = step(connection, &body).await?;
        let now = count(&progress, "rewrapped");
        rewrapped += now;
        in_vain = if now == 0 { in_vain + 1 } else { 0 };
        if progress.get("done") == Some(&Value::Bool(true)) {
            if !as_json(output, &progress) {
                print::line(&format!("the root key is {}", field(&progress, &["key"])));
                print::note(&format!(
                    "from now on start every server with --root-key-file {} alone; backups made before need the old key",
                    path.display()
                ));
            }
            return Ok(());
        }
        print::note(&format!(
            "{rewrapped} tenants' keys wrapped anew, {} to go",
            count(&progress, "remaining")
        ));
    }
    bail!("tenants keep being made under the old root key; run it again")
}

async fn step(connection: &Connection, body: &Value) -> anyhow::Result<Value> {
    connection.send(Method::POST, "/vault/rotate", body).await
}

fn count(progress: &Value, name: &str) -> u64 {
    progress.get(name).and_then(Value::as_u64).unwrap_or_default()
}

const TRIES: u32 = 100;
