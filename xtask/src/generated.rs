//! Files in the repository that a program writes: each is made anew and compared, so that none can rot.

use crate::root;
use crate::steps::{cargo, output, say};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;

/// A generated file, and the command of the workspace that prints it.
#[derive(Debug)]
struct Generated {
    /// The file, from the workspace's folder.
    file: &'static str,
    /// Arguments of `cargo`.
    command: &'static [&'static str],
}

/// Every generated file. A new one gets a row here; `cargo xtask generate` writes it.
const GENERATED: &[Generated] = &[Generated {
    file: "docs/openapi.json",
    command: &[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "chancery",
        "--",
        "openapi",
    ],
}];

/// Writes every generated file.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`generate` takes no arguments");
    for stale in stale(GENERATED)? {
        say(&format!("wrote `{stale}`"));
    }
    say(&format!("{} generated files are up to date", GENERATED.len()));
    Ok(())
}

/// Fails if a generated file is not what its command prints. The file is written anew, so that `git diff`
/// shows what changed.
pub(crate) fn check() -> Result<()> {
    let stale = stale(GENERATED)?;
    if !stale.is_empty() {
        bail!(
            "out of date, now written anew: {}; look at `git diff` and commit",
            stale.join(", ")
        );
    }
    say(&format!("{} generated files, all up to date", GENERATED.len()));
    Ok(())
}

/// Runs every command; the files that were not what it prints, written anew.
fn stale(generated: &[Generated]) -> Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for Generated { file, command } in generated {
        let fresh = output(&mut cargo(command))?;
        let path = root().join(file);
        if fs::read_to_string(&path).ok().as_deref() != Some(fresh.as_str()) {
            fs::write(&path, fresh).with_context(|| format!("cannot write `{file}`"))?;
            stale.push(*file);
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_is_named_and_written() {
        const ROWS: &[Generated] = &[Generated {
            file: "target/generated-test.txt",
            command: &["--version"],
        }];
        let path = root().join("target/generated-test.txt");
        fs::create_dir_all(root().join("target")).unwrap();
        fs::write(&path, "old").unwrap();
        assert_eq!(stale(ROWS).unwrap(), ["target/generated-test.txt"]);
        assert!(stale(ROWS).unwrap().is_empty());
        assert!(fs::read_to_string(&path).unwrap().starts_with("cargo "));
        fs::remove_file(path).unwrap();
    }
}
