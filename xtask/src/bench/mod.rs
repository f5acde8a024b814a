//! `cargo xtask bench [--quick] [--only PARTS] [--kills N]`: builds server and benchmark for speed, installs what is compared
//! with, starts a throw-away PostgreSQL, and runs `xtask/bench`.
//!
//! The profile is `dist` on this machine's own target; the static musl target of releases is not needed here.

use crate::postgres::Cluster;
use crate::steps::{cargo, must, output, program, say, which};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Builds, installs, runs.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let is_partial = arguments
        .iter()
        .any(|argument| argument == "--quick" || argument == "--only");
    say("building with the profile `dist`");
    let target = target_folder()?;
    // One after the other: built together, the server would get features that only the benchmark asks for.
    for package in ["chancery", "chancery-bench"] {
        must(&mut cargo(&[
            "build",
            "--locked",
            "--quiet",
            "--profile",
            "dist",
            "-p",
            package,
        ]))?;
    }
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let compared = oidc_provider(&folder);
    let cluster = Cluster::start();

    let mut bench = beside_the_server(&target.join("dist/chancery-bench"));
    bench.arg("--server").arg(target.join("dist/chancery"));
    bench.arg("--folder").arg(&folder).arg("--results");
    // A part is nobody's record.
    bench.arg(if is_partial {
        folder.clone()
    } else {
        crate::root().join("docs/bench")
    });
    match &cluster {
        Ok(cluster) => drop(bench.args(["--postgres", &cluster.url])),
        Err(error) => say(&format!("no PostgreSQL: {error:#}")),
    }
    match compared {
        Ok(compared) => drop(bench.arg("--oidc-provider").arg(compared)),
        Err(error) => say(&format!("no oidc-provider: {error:#}")),
    }
    match mcp_proxy(&folder) {
        Ok(program) => drop(bench.arg("--mcp-proxy").arg(program)),
        Err(error) => say(&format!("no mcp-proxy: {error:#}")),
    }
    must(bench.args(arguments))?;
    fs::remove_dir_all(folder.join("data")).context("cannot remove the benchmark's data")
}

/// A program pinned to the second core, where there is one: the server has the first.
fn beside_the_server(path: &Path) -> std::process::Command {
    let has_two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if has_two && let Some(taskset) = which("taskset") {
        let mut command = program(taskset);
        command.args(["-c", "1"]).arg(path);
        return command;
    }
    say("the load generator shares the server's core: rates are too low");
    program(path)
}

/// Installs the npm package that the benchmark compares with; its folder.
fn oidc_provider(folder: &Path) -> Result<PathBuf> {
    let source = crate::root().join("xtask/bench/oidc-provider");
    let installed = folder.join("oidc-provider");
    fs::create_dir_all(&installed)?;
    let list = fs::read_to_string(source.join("package.json"))?;
    let stamp = installed.join("installed");
    fs::copy(source.join("serve.mjs"), installed.join("serve.mjs"))?;
    if fs::read_to_string(&stamp).is_ok_and(|known| known == list) {
        return Ok(installed);
    }
    which("npm").context("npm is not installed")?;
    fs::write(installed.join("package.json"), &list)?;
    let mut npm = program("npm");
    npm.current_dir(&installed);
    must(npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel=error",
    ]))?;
    fs::write(stamp, list)?;
    Ok(installed)
}

/// Installs the published crate that calls are compared with; its program.
fn mcp_proxy(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("mcp-proxy/bin/mcp-proxy");
    if !program.exists() {
        say("installing mcp-proxy, once");
        let root = folder.join("mcp-proxy");
        let mut install = cargo(&[
            "install",
            "--locked",
            "--quiet",
            "--version",
            MCP_PROXY,
            "mcp-proxy",
            "--root",
        ]);
        must(install.arg(root))?;
    }
    Ok(program)
}

const MCP_PROXY: &str = "0.6.0";

/// Where Cargo builds to.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let text = output(&mut cargo(&[
        "metadata",
        "--locked",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let folder = metadata.get("target_directory").and_then(Value::as_str);
    Ok(folder.context("cargo names no target directory")?.into())
}
