//! `chancery enrol` and `chancery recover`.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use crate::serve::{self, DatabaseArguments};
use anyhow::anyhow;
use chancery_server::error::Failure;
use chancery_server::node::World;
use chancery_server::roots::Roots;
use chancery_server::setup::{self, DEFAULT_TENANT};
use chancery_server::store::db::Options;
use chancery_server::store::{Db, all_tenants};
use clap::Args;
use hyper::Method;
use serde_json::json;

/// Arguments of `enrol`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EnrolArguments {
    /// The one-time code.
    #[arg(long)]
    code: String,
    /// Your name, as policies and the log will call you.
    #[arg(long)]
    name: String,
}

/// Arguments of `recover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoverArguments {
    #[command(flatten)]
    database: DatabaseArguments,
}

/// `chancery enrol`.
pub(crate) async fn run(
    arguments: EnrolArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let body = json!({ "code": arguments.code, "name": arguments.name });
    let user = connection.send(Method::POST, "/enrol", &body).await?;
    if !as_json(output, &user) {
        print::line(&format!(
            "{} is enrolled as administrator ({})",
            field(&user, &["name"]),
            field(&user, &["id"])
        ));
    }
    Ok(())
}

/// `chancery recover`: a new code, for whoever holds the root key and the database.
pub(crate) async fn recover(arguments: RecoverArguments) -> anyhow::Result<()> {
    let (database, root) = serve::open_keys(&arguments.database)?;
    let world = World::default();
    let db = Db::open(&database, Options::default()).await?;
    let roots = Roots::alone(root, arguments.database.outside()?, world.clock.clone())?;
    let prepared = setup::prepare(&db, roots, world.clock.now(), &*world.random).await;
    prepared.map_err(Failure::at_start)?;
    let tenants = all_tenants(&db).await?;
    let tenant = tenants
        .iter()
        .find(|tenant| tenant.name.as_str() == DEFAULT_TENANT);
    let tenant = tenant.ok_or_else(|| anyhow!("the database has no tenant yet; start the server once"))?;
    let code = setup::enrolment_code(&db, tenant.id, world.clock.now(), &*world.random).await?;
    print::line(&format!(
        "within 15 minutes: chancery enrol --name YOU --code {}",
        code.expose_secret()
    ));
    db.close().await;
    Ok(())
}
