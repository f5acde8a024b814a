//! `chancery dev`: a server with the sample parties around it, for trying things out.

use crate::demo::world::DemoWorld;
use crate::{print, serve};
use clap::Args;

/// Arguments of `dev`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArguments {
    /// `postgres://…` instead of a temporary SQLite file.
    #[arg(long)]
    database: Option<String>,
}

/// `chancery dev`.
pub(crate) async fn run(arguments: DevArguments) -> anyhow::Result<()> {
    let world = DemoWorld::start(arguments.database.as_deref()).await?;
    world.apply().await?;
    world.describe();
    print::line("\nCtrl-C stops.");
    serve::stopped().await;
    world.stop().await;
    Ok(())
}
