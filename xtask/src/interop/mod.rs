//! `cargo xtask interop`: unmodified foreign programs against a running server. See `interop/README.md`.
//!
//! Two halves. Authorization: clients and servers get and verify tokens; played twice, with an issuer that has no path
//! and with one that has, because client libraries treat the two differently. Gateway: what clients and the
//! conformance tool see of one MCP server, directly and through the gateway; any difference fails.

mod gateway;
mod install;
mod results;
mod running;
mod world;

use crate::steps::{cargo, must, say};
use anyhow::{Result, bail};
use gateway::Gateway;
use install::{FRAMEWORKS, Foreign, NODE, PYTHON_1, PYTHON_2};
use results::Results;
use world::World;

/// Installs, builds, plays, and keeps the results of everything. One half alone, for working on it, keeps nothing.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let half = match arguments {
        [] => None,
        [half] if [AUTHORIZATION, GATEWAY].contains(&half.as_str()) => Some(half.as_str()),
        _ => bail!("`interop` takes nothing, `{AUTHORIZATION}` or `{GATEWAY}`"),
    };
    let foreign = Foreign::install()?;
    must(&mut cargo(&[
        "build",
        "--locked",
        "--quiet",
        "-p",
        "chancery",
        "--bins",
        "--examples",
    ]))?;
    let mut results = Results::default();
    if half != Some(GATEWAY) {
        authorization(&foreign, &mut results)?;
    }
    if half != Some(AUTHORIZATION) {
        through_gateway(&foreign, &mut results)?;
    }
    if half.is_none() {
        results.keep(&crate::root().join("docs/spec/interop"))?;
    }
    results.finish()
}

fn authorization(foreign: &Foreign, results: &mut Results) -> Result<()> {
    for (place, path) in [("issuer without a path", ""), ("issuer with a path", "/t/main")] {
        say(&format!("\n{place}"));
        let mut world = World::start(foreign, path)?;
        for (language, program) in PROGRAMS {
            let command = foreign.command(language, program);
            let name = format!("{language} {program}");
            world.running().play(command, &name, place, results)?;
        }
    }
    Ok(())
}

fn through_gateway(foreign: &Foreign, results: &mut Results) -> Result<()> {
    let place = "directly and through the gateway";
    say(&format!("\n{place}"));
    let mut gateway = Gateway::start(foreign)?;
    for (language, program) in GATEWAY_PROGRAMS {
        let command = foreign.command(language, program);
        let name = format!("{language} {program}");
        gateway.running().play(command, &name, place, results)?;
    }
    let client = gateway::rust_client()?;
    gateway.running().play(client, "rmcp", place, results)
}

/// Every program of the first half, and what runs it.
const PROGRAMS: [(&str, &str); 6] = [
    (PYTHON_2, "refusals.py"),
    (PYTHON_1, "clients.py"),
    (PYTHON_2, "clients.py"),
    (PYTHON_2, "libraries.py"),
    (NODE, "clients.mjs"),
    (NODE, "oauth.mjs"),
];

/// Every program of the second half, but for the one in Rust.
const GATEWAY_PROGRAMS: [(&str, &str); 6] = [
    (PYTHON_1, "gateway_clients.py"),
    (PYTHON_2, "gateway_clients.py"),
    (FRAMEWORKS, "gateway_frameworks.py"),
    (NODE, "gateway-clients.mjs"),
    (NODE, "gateway-programs.mjs"),
    (NODE, "conformance.mjs"),
];

/// The word for the first half.
const AUTHORIZATION: &str = "authorization";

/// The word for the second half.
const GATEWAY: &str = "gateway";
