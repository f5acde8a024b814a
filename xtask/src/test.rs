//! `cargo xtask test`: every test, on both engines, and the rules.

use crate::steps::{cargo, must, say};
use crate::{postgres, rules};
use anyhow::{Context as _, Result, ensure};

/// Starts a throw-away PostgreSQL and runs `cargo test` beside it. With arguments, which go to `cargo test`,
/// it runs what they select; without, everything and the rules.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let cluster = postgres::Cluster::start().context("the tests need a PostgreSQL server")?;
    let selects_package = arguments
        .iter()
        .any(|argument| argument == "-p" || argument.starts_with("--package"));

    let mut command = cargo(&["test", "--locked"]);
    if !selects_package {
        command.arg("--workspace");
    }
    if arguments.is_empty() {
        // One look shows every fault.
        command.arg("--no-fail-fast");
    }
    command
        .args(arguments)
        .env("TEST_POSTGRES_URL", &cluster.url)
        // Whoever left PostgreSQL out for a quick run does not leave it out here.
        .env_remove("CHANCERY_TEST_ENGINES");
    let outcome = must(&mut command);
    drop(cluster);
    ensure!(outcome.is_ok(), "the tests failed");

    if arguments.is_empty() {
        rules::run(&[])?;
        say("test: every test passed, on SQLite and on PostgreSQL");
    } else {
        say("test: the selected tests passed");
    }
    Ok(())
}
