//! `cargo xtask interop`: unmodified foreign programs against a running server. See `interop/README.md`.
//!
//! Everything is played twice, with an issuer that has no path and with one that has: client libraries treat
//! the two differently.

mod install;
mod results;
mod world;

use crate::steps::{cargo, must, say};
use anyhow::{Result, ensure};
use install::{Foreign, NODE, PYTHON_1, PYTHON_2};
use results::Results;
use world::World;

/// Installs, builds, plays, and keeps the results.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`interop` takes no arguments");
    let foreign = Foreign::install()?;
    must(&mut cargo(&["build", "--locked", "--quiet", "-p", "chancery"]))?;
    let mut results = Results::default();
    for (place, path) in [("issuer without a path", ""), ("issuer with a path", "/t/main")] {
        say(&format!("\n{place}"));
        let mut world = World::start(&foreign, path)?;
        for (language, program) in PROGRAMS {
            world.play(&foreign, language, program, place, &mut results)?;
        }
    }
    results.keep(&crate::root().join("docs/spec/interop"))?;
    results.finish()
}

/// Every program, and what runs it.
const PROGRAMS: [(&str, &str); 6] = [
    (PYTHON_2, "refusals.py"),
    (PYTHON_1, "clients.py"),
    (PYTHON_2, "clients.py"),
    (PYTHON_2, "libraries.py"),
    (NODE, "clients.mjs"),
    (NODE, "oauth.mjs"),
];
