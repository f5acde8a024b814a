//! `chancery scan PATH`: names the static keys that stand in `.env` files and in configurations of MCP clients, and
//! prints the commands that put Chancery in their place.
//!
//! It reads files and nothing else: it asks no server, and a value that it recognises is never printed, kept or sent.

mod api;
mod client_configuration;
mod env_file;
mod recognize;
mod replace;
mod walk;

use crate::print::{self, Output};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `scan`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScanArguments {
    /// Files, or folders to look through. Default: this folder.
    paths: Vec<PathBuf>,
    /// Also the configurations of MCP clients in the home folder.
    #[arg(long)]
    home: bool,
    /// End with 1 if there is a key, for checks before a commit.
    #[arg(long)]
    check: bool,
}

/// A key that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The file.
    file: PathBuf,
    /// The line, from 1.
    line: usize,
    /// Its name there, as in `GITHUB_TOKEN` or `mcpServers.github.headers.Authorization`.
    place: String,
    /// What it is, by its form or its name.
    what: &'static str,
    /// The commands that replace it, in their order.
    replace: Vec<String>,
}

/// A file that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The file or folder.
    file: PathBuf,
    /// Why.
    why: String,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Found {
    findings: Vec<Finding>,
    skipped: Vec<Skipped>,
}

/// `chancery scan`. Ends with 1 if `--check` was said and there is a key.
///
/// # Errors
/// A path that does not exist.
pub(crate) fn run(arguments: &ScanArguments, output: Output) -> anyhow::Result<ExitCode> {
    let mut found = Found::default();
    let files = walk::files(arguments, &mut found.skipped)?;
    let looked_at = files.len();
    for file in files {
        match read(&file).and_then(|text| look(&file, &text)) {
            Ok(findings) => found.findings.extend(findings),
            Err(why) => found.skipped.push(Skipped { file, why }),
        }
    }
    if output.json {
        print::json(&json!(found));
    } else {
        show(&found, looked_at);
    }
    let is_failure = arguments.check && !found.findings.is_empty();
    Ok(if is_failure {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > LONGEST {
        return Err(format!("longer than {LONGEST} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// The keys of one file.
fn look(file: &Path, text: &str) -> Result<Vec<Finding>, String> {
    match walk::kind(file) {
        walk::Kind::Environment => Ok(env_file::findings(file, text)),
        walk::Kind::Configuration => client_configuration::findings(file, text),
    }
}

fn show(found: &Found, looked_at: usize) {
    for Skipped { file, why } in &found.skipped {
        print::note(&format!("not looked at: {}: {why}", file.display()));
    }
    for finding in &found.findings {
        let Finding {
            file,
            line,
            place,
            what,
            ..
        } = finding;
        print::line(&format!("{}:{line}: {place} is {what}", file.display()));
    }
    let count = found.findings.len();
    if count == 0 {
        print::line(&format!("No static key; files looked at: {looked_at}."));
        return;
    }
    print::line(&format!(
        "\nStatic keys: {count}; files looked at: {looked_at}. In their place:"
    ));
    let mut shown = BTreeSet::new();
    for finding in &found.findings {
        if shown.insert(&finding.replace) {
            print::line("");
            finding.replace.iter().for_each(|line| print::line(line));
        }
    }
    print::line("\nThen revoke each key where it came from: whoever could read the file has it.");
}

/// The longest file that is looked at.
const LONGEST: u64 = 4 * 1024 * 1024;
