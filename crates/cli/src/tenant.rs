//! `chancery tenant`: isolated tenants of one server. Works in the system tenant, through the local socket.

use crate::connection::{Connection, as_json};
use crate::noun::encode;
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `tenant`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TenantArguments {
    #[command(subcommand)]
    command: TenantCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum TenantCommand {
    /// List tenants.
    List,
    /// Make a tenant with keys, policies and a log of its own.
    Create {
        /// Its name.
        name: String,
        /// Its base URL; `/t/NAME` below the default tenant's if none.
        #[arg(long)]
        base_url: Option<String>,
    },
    /// Stop a tenant: nothing of it answers, nothing it issued is in force.
    Suspend {
        /// Its name.
        name: String,
    },
    /// Put it back into use. What was issued before stays dead.
    Activate {
        /// Its name.
        name: String,
    },
    /// End it for good.
    Retire {
        /// Its name.
        name: String,
    },
}

/// `chancery tenant`.
pub(crate) async fn run(
    arguments: TenantArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let connection = &connection.in_tenant("system");
    match arguments.command {
        TenantCommand::List => list(connection, output).await,
        TenantCommand::Create { name, base_url } => {
            let body = json!({ "name": name, "base_url": base_url });
            let made = connection.send(Method::POST, "/tenants", &body).await?;
            if !as_json(output, &made) {
                print::line(&format!(
                    "tenant {} is served at {}",
                    field(&made, &["name"]),
                    field(&made, &["spec", "base_url"])
                ));
                print::line(&format!(
                    "work in it with: chancery --tenant {} …",
                    field(&made, &["name"])
                ));
            }
            Ok(())
        }
        TenantCommand::Suspend { name } => step(&name, "suspend", connection, output).await,
        TenantCommand::Activate { name } => step(&name, "activate", connection, output).await,
        TenantCommand::Retire { name } => step(&name, "retire", connection, output).await,
    }
}

async fn list(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let tenants = connection.read("/tenants").await?;
    if as_json(output, &tenants) {
        return Ok(());
    }
    let items = tenants
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let row = |item: &Value| {
        vec![
            field(item, &["name"]),
            field(item, &["state"]),
            field(item, &["spec", "base_url"]),
            field(item, &["id"]),
        ]
    };
    print::table(
        &["name", "state", "base URL", "id"],
        items.iter().map(row).collect(),
    );
    Ok(())
}

async fn step(name: &str, step: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let path = format!("/tenants/{}/{step}", encode(name));
    let tenant = connection.send(Method::POST, &path, &json!({})).await?;
    if !as_json(output, &tenant) {
        print::line(&format!(
            "tenant {} is {}",
            field(&tenant, &["name"]),
            field(&tenant, &["state"])
        ));
    }
    Ok(())
}
