//! `chancery demo`: the main job, played on this machine over real HTTP with real parties around it.

pub(crate) mod agent;
mod drive;
mod opening;
mod people;
mod story;
pub(crate) mod world;

use crate::{print, serve};
use clap::Args;

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArguments {
    /// `postgres://…` instead of a temporary SQLite file.
    #[arg(long)]
    database: Option<String>,
    /// Stay up afterwards and print URLs and commands to go on with.
    #[arg(long)]
    keep: bool,
}

/// `chancery demo`.
///
/// # Errors
/// The first step that does not come out as told.
pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    let world = world::DemoWorld::start(arguments.database.as_deref()).await?;
    let told = story::tell(&world).await;
    if told.is_ok() && arguments.keep {
        world.describe();
        opening::invite(&world).await?;
        print::line("\nCtrl-C stops.");
        serve::stopped().await;
    }
    world.stop().await;
    told
}
