//! Installing foreign programs at fixed versions below `target/interop`. Nothing is installed twice, nothing
//! globally.

use crate::steps::{capture, must, program, say, which};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python SDK's first line.
pub(super) const PYTHON_1: &str = "mcp1";
/// The Python SDK's second line.
pub(super) const PYTHON_2: &str = "mcp2";
/// Frameworks that bring the Python SDK along.
pub(super) const FRAMEWORKS: &str = "frameworks";
/// The TypeScript SDKs, what is built on them, and oauth4webapi.
pub(super) const NODE: &str = "node";

/// Where the foreign programs and their dependencies are.
#[derive(Debug)]
pub(super) struct Foreign {
    source: PathBuf,
    installed: PathBuf,
}

impl Foreign {
    /// Installs what is missing.
    pub(super) fn install() -> Result<Self> {
        let foreign = Self {
            source: crate::root().join("interop"),
            installed: crate::root().join("target/interop"),
        };
        ensure!(
            which("python3").is_some() && which("npm").is_some(),
            "interop needs python3 (3.10 or newer, with venv), and Node 20 or newer with npm, which installs a newer Node for the programs"
        );
        fs::create_dir_all(&foreign.installed)?;
        for line in [PYTHON_1, PYTHON_2, FRAMEWORKS] {
            foreign.python(line)?;
        }
        foreign.node()?;
        Ok(foreign)
    }

    /// A command that runs one of the programs.
    pub(super) fn command(&self, language: &str, name: &str) -> Command {
        if language == NODE {
            // Modules are found beside the program, so it runs from a copy beside them, with the Node that is installed
            // there: the conformance tool and the Inspector need a newer one than many machines have.
            let node = self.installed.join(NODE).join("node_modules/node/bin/node");
            let mut command = program(node);
            command.arg(self.installed.join(NODE).join(name));
            return command;
        }
        let mut command = program(self.installed.join(language).join("bin/python"));
        command.arg(self.source.join("python").join(name));
        command
    }

    fn python(&self, line: &str) -> Result<()> {
        let folder = self.installed.join(line);
        let wanted = self.source.join(format!("python/requirements-{line}.txt"));
        let stamp = Stamp::new(&folder, &wanted)?;
        if stamp.is_current() {
            return Ok(());
        }
        say(&format!("installing Python packages for {line}"));
        must(program("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = program(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        must(pip.arg("--requirement").arg(&wanted))?;
        stamp.write()
    }

    fn node(&self) -> Result<()> {
        let folder = self.installed.join(NODE);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(self.source.join(NODE))? {
            let path = entry?.path();
            if path.is_file() {
                let name = path.file_name().context("a file has a name")?;
                fs::copy(&path, folder.join(name))?;
            }
        }
        let version = capture("node", &["--version"])?;
        let major = version.trim().trim_start_matches('v').split('.').next();
        let major: u32 = major.unwrap_or_default().parse().context("node's version")?;
        ensure!(
            major >= 20,
            "interop needs Node 20 or newer, not {}",
            version.trim()
        );
        let stamp = Stamp::new(&folder, &folder.join("package.json"))?;
        if stamp.is_current() {
            return Ok(());
        }
        say("installing Node packages");
        let mut npm = program("npm");
        npm.current_dir(&folder);
        must(npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--loglevel=error",
        ]))?;
        stamp.write()
    }
}

/// What was installed last, kept beside it.
struct Stamp {
    file: PathBuf,
    wanted: String,
}

impl Stamp {
    fn new(folder: &Path, list: &Path) -> Result<Self> {
        let wanted = fs::read_to_string(list).with_context(|| format!("cannot read `{}`", list.display()))?;
        Ok(Self {
            file: folder.join("installed"),
            wanted,
        })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|installed| installed == self.wanted)
    }

    fn write(&self) -> Result<()> {
        Ok(fs::write(&self.file, &self.wanted)?)
    }
}
