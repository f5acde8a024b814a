//! `cargo xtask interop`: unmodified foreign programs against a running server. See `interop/README.md`.
//!
//! Four parts. Authorization: clients and servers get and verify tokens; played twice, with an issuer that has no path
//! and with one that has, because client libraries treat the two differently. Gateway: what clients and the
//! conformance tool see of one MCP server, directly and through the gateway; any difference fails. People: a company's
//! identity provider, and clients that bring a person to the authorization endpoint. Pages: every page in Chromium.

mod gateway;
mod install;
mod people;
mod results;
mod running;
mod world;

use crate::steps::{cargo, must, say};
use anyhow::{Result, bail};
use gateway::Gateway;
use install::{FRAMEWORKS, Foreign, NODE, PYTHON_1, PYTHON_2};
use people::People;
use results::Results;
use std::process::Command;
use world::World;

/// Installs, builds, plays, and keeps the results of everything. One part alone, for working on it, keeps nothing.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let parts: Vec<Part> = match arguments {
        [] => PARTS.to_vec(),
        wanted => {
            let is_wanted = |(name, _): &Part| wanted.iter().any(|wanted| wanted == name);
            PARTS.into_iter().filter(is_wanted).collect()
        }
    };
    if parts.is_empty() {
        bail!(
            "the parts of `interop` are {}",
            PARTS.map(|(name, _)| name).join(", ")
        );
    }
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
    for (_, play) in &parts {
        play(&foreign, &mut results)?;
    }
    if parts.len() == PARTS.len() {
        results.keep(&crate::root().join("docs/spec/interop"))?;
    }
    results.finish()
}

/// A part: its word, and what plays it.
type Part = (&'static str, fn(&Foreign, &mut Results) -> Result<()>);

const PARTS: [Part; 4] = [
    ("authorization", authorization),
    ("gateway", through_gateway),
    ("people", people),
    ("pages", pages),
];

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

fn people(foreign: &Foreign, results: &mut Results) -> Result<()> {
    let rust = people::rust_client()?;
    let programs = PEOPLE_PROGRAMS.iter();
    let commands = programs
        .map(|(language, program)| {
            (
                format!("{language} {program}"),
                foreign.command(language, program),
            )
        })
        .chain([("rmcp".to_owned(), rust)]);
    with_people(foreign, ("people", "127.0.0.1"), commands, results)
}

fn pages(foreign: &Foreign, results: &mut Results) -> Result<()> {
    let place = ("pages in Chromium", "localhost");
    let command = foreign.command(NODE, "pages.mjs");
    with_people(foreign, place, [("node pages.mjs".to_owned(), command)], results)
}

fn with_people(
    foreign: &Foreign,
    (place, host): (&'static str, &str),
    commands: impl IntoIterator<Item = (String, Command)>,
    results: &mut Results,
) -> Result<()> {
    say(&format!("\n{place}"));
    let mut people = People::start(foreign, host)?;
    for (name, command) in commands {
        people.running().play(command, &name, place, results)?;
    }
    Ok(())
}

/// Every program of the first part, and what runs it.
const PROGRAMS: [(&str, &str); 6] = [
    (PYTHON_2, "refusals.py"),
    (PYTHON_1, "clients.py"),
    (PYTHON_2, "clients.py"),
    (PYTHON_2, "libraries.py"),
    (NODE, "clients.mjs"),
    (NODE, "oauth.mjs"),
];

/// Every program of the second part, but for the one in Rust.
const GATEWAY_PROGRAMS: [(&str, &str); 6] = [
    (PYTHON_1, "gateway_clients.py"),
    (PYTHON_2, "gateway_clients.py"),
    (FRAMEWORKS, "gateway_frameworks.py"),
    (NODE, "gateway-clients.mjs"),
    (NODE, "gateway-programs.mjs"),
    (NODE, "conformance.mjs"),
];

/// Every program of the third part, but for the one in Rust.
const PEOPLE_PROGRAMS: [(&str, &str); 6] = [
    (NODE, "people-oauth.mjs"),
    (PYTHON_2, "people.py"),
    (NODE, "people-mcp.mjs"),
    (PYTHON_1, "people_mcp.py"),
    (PYTHON_2, "people_mcp.py"),
    (NODE, "people-conformance.mjs"),
];
