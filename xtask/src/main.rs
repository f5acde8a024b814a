//! Project tasks: test, lint, bench, interop.

mod postgres;

use anyhow::{Context, Result, ensure};

/// `cargo xtask test …`: `cargo test …` with a throw-away PostgreSQL beside it.
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments
        .next()
        .context("usage: cargo xtask test [ARGUMENTS OF CARGO TEST]")?;
    ensure!(task == "test", "unknown task `{task}`; there is `test`");
    let cluster = postgres::Cluster::start()?;
    let status = std::process::Command::new("cargo")
        .arg("test")
        .args(arguments)
        .env("TEST_POSTGRES_URL", &cluster.url)
        .status()?;
    drop(cluster);
    ensure!(status.success(), "the tests failed");
    Ok(())
}
