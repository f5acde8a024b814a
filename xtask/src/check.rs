//! `cargo xtask check`: exactly what CI runs besides tests. Every step runs, so that one look shows all faults.

use crate::steps::{Steps, cargo, must};
use crate::{deny, fuzz, generated, root, rules};
use anyhow::{Result, ensure};

/// Runs every check.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`check` takes no arguments");
    let mut steps = Steps::default();
    steps.step("rules", || rules::run(&[]));
    steps.step("fmt", || must(&mut cargo(&["fmt", "--all", "--", "--check"])));
    steps.step("fmt of fuzz targets", || {
        must(&mut cargo(&[
            "fmt",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--",
            "--check",
        ]))
    });
    steps.step("deny", || deny::run(&[]));
    steps.step("clippy", || {
        must(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ]))
    });
    // They are no members of the workspace, and stand or fall with its types.
    steps.step("clippy of fuzz targets", || {
        fuzz::lock()?;
        let mut command = cargo(&[
            "clippy",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]);
        // They share what the workspace has built.
        must(command.env("CARGO_TARGET_DIR", root().join("target")))
    });
    steps.step("rustdoc", || {
        let mut command = cargo(&[
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--quiet",
            "--keep-going",
        ]);
        must(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.step("generated files", generated::check);
    steps.finish("check")
}
