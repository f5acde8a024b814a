//! `cargo xtask deny`: the dependency graph against `deny.toml`, with cargo-deny.
//!
//! Bans, licences and sources need nothing but the lockfile. Advisories need the advisory database, which is
//! not reachable everywhere: then this says so, in words that cannot be taken for a pass, and goes on.

use crate::root;
use crate::steps::{must, output, program, say, timed, which};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// The release of cargo-deny that is installed where there is none.
const VERSION: &str = "0.20.2";

/// Checks the dependency graph.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`deny` takes no arguments");
    let deny = find_or_install()?;
    let graph = deny_command(&deny, &["check", "bans", "licenses", "sources"]).status()?;
    let advisories = advisories(&deny);
    ensure!(
        graph.success(),
        "bans, licences or sources are violated (see above)"
    );
    advisories
}

fn advisories(deny: &Path) -> Result<()> {
    // A network that swallows packets must not hold up the checks that need none.
    let mut fetch = if which("timeout").is_some() {
        let mut command = program("timeout");
        command.arg("120").arg(deny);
        command
    } else {
        program(deny)
    };
    if let Err(error) = output(fetch.args(["--locked", "fetch", "db"])) {
        let text = error.to_string();
        let reason = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no reason given");
        say(&format!(
            "advisories NOT checked: the advisory database cannot be fetched: {reason}"
        ));
        return Ok(());
    }
    must(&mut deny_command(
        deny,
        &["check", "--disable-fetch", "advisories"],
    ))
    .context("the lockfile has crates with advisories")
}

fn deny_command(deny: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = program(deny);
    command.args(["--locked", "--log-level", "error"]).args(arguments);
    command
}

/// Where cargo-deny is: as installed by this, on the path, or installed now.
fn find_or_install() -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let own = tools.join("bin/cargo-deny");
    let has_own = output(program(&own).arg("--version")).is_ok_and(|said| said.contains(VERSION));
    if has_own {
        return Ok(own);
    }
    if let Some(found) = which("cargo-deny") {
        say(&format!(
            "using {}",
            output(program(&found).arg("--version"))?.trim()
        ));
        return Ok(found);
    }
    say(&format!(
        "installing cargo-deny {VERSION} into `target/tools`, once; it takes some minutes"
    ));
    let mut install = program("cargo");
    install
        .args([
            "install",
            "cargo-deny",
            "--locked",
            "--version",
            VERSION,
            "--root",
        ])
        .arg(&tools)
        // Its release profile optimises across all crates, which takes longer than all its runs here.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    let (outcome, taken) = timed(|| must(&mut install));
    outcome.context("cargo-deny is not on the path and cannot be installed")?;
    say(&format!("installed in {:.0} s", taken.as_secs_f64()));
    if !own.exists() {
        bail!("`cargo install` left no `{}`", own.display());
    }
    Ok(own)
}
