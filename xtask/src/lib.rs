//! Project tasks, one file each. They need nothing but Cargo; what else a task needs it installs or names.
//!
//! To add a task: write its file with `pub fn run(arguments: &[String]) -> Result<()>` and give it a row in
//! `TASKS`.

mod bench;
mod check;
mod deny;
mod fuzz;
mod generated;
mod interop;
mod postgres;
pub mod rules;
pub mod steps;
mod test;

use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::path::PathBuf;

/// One task.
#[derive(Debug)]
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// Runs the task that the first argument names.
///
/// # Errors
/// There is no such task, or it failed.
pub fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        steps::say(&help());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        steps::say(&help());
        return Ok(());
    }
    let task = TASKS.iter().find(|task| task.name == name);
    let task = task.with_context(|| format!("unknown task `{name}`\n\n{}", help()))?;
    (task.run)(rest)
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or_else(|| own.clone(), PathBuf::from)
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask TASK [ARGUMENTS]\n");
    for task in TASKS {
        let _ = write!(text, "\n  {:<10} {}", task.name, task.help);
    }
    text
}

const TASKS: &[Task] = &[
    Task {
        name: "test",
        help: "all tests, with a throw-away PostgreSQL beside them, and the rules; ARGUMENTS go to `cargo test`",
        run: test::run,
    },
    Task {
        name: "check",
        help: "what CI runs besides tests: fmt, clippy, rustdoc, rules, deny, generated files",
        run: check::run,
    },
    Task {
        name: "rules",
        help: "who may import what, sizes, names, documents that name code (see style in CONTRIBUTING.md)",
        run: rules::run,
    },
    Task {
        name: "deny",
        help: "dependencies: bans, licences, sources, advisories",
        run: deny::run,
    },
    Task {
        name: "fuzz",
        help: "fuzz targets with the pinned compiler: [TARGET …] [--seconds N]; all of them for 10 s each by default",
        run: fuzz::run,
    },
    Task {
        name: "generate",
        help: "writes every generated file anew",
        run: generated::run,
    },
    Task {
        name: "bench",
        help: "speed and size against the machine's own limits and the goals; --quick for a smoke run, --only PARTS, --kills N",
        run: bench::run,
    },
    Task {
        name: "interop",
        help: "unmodified foreign servers, clients and libraries against a running server; installs them",
        run: interop::run,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_task_and_unknown_tasks_fail() {
        for task in TASKS {
            assert!(help().contains(task.help), "{}", task.name);
        }
        let error = run(&["nonsense".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("unknown task `nonsense`"), "{error}");
    }
}
