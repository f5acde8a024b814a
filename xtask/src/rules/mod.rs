//! The rules that a machine checks: over manifests, imports, the form of files, and documents that name code.
//! `cargo xtask rules` prints what breaks them, and so does the test in `xtask/tests/rules.rs`.
//!
//! What is allowed where stands in [`lists`]. Limits on the whole dependency graph are in `deny.toml`, limits
//! on single calls and on functions in `clippy.toml`.

pub mod documents;
pub mod form;
pub mod imports;
pub mod lists;
pub mod manifests;
pub mod source;

use crate::steps::{capture, say};
use anyhow::{Context as _, Result, ensure};
use documents::Document;
use manifests::Manifest;
use source::Source;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// Where, as `path` or `path:line`.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.place, self.what, self.rule)
    }
}

/// Checks the workspace and prints every violation.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`rules` takes no arguments");
    let violations = check(&crate::root())?;
    for violation in &violations {
        say(&violation.to_string());
    }
    ensure!(
        violations.is_empty(),
        "{} violations of the rules",
        violations.len()
    );
    say("rules: no violations");
    Ok(())
}

/// Every violation in the workspace, sorted by place.
///
/// # Errors
/// The workspace cannot be read.
pub fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut sources = Vec::new();
    for folder in ["crates", "xtask"] {
        read_sources(root, &root.join(folder), &mut sources)?;
    }
    let manifests = read_manifests(root)?;
    let crates: BTreeSet<String> = manifests.iter().map(|manifest| manifest.name.clone()).collect();

    let mut found = manifests::check(&manifests);
    for pure in lists::CRATES.iter().filter(|known| known.is_pure) {
        let tree = below(root, pure.package)?;
        found.extend(manifests::check_below(pure.name, tree.iter().map(String::as_str)));
    }
    found.extend(imports::check(&sources));
    found.extend(form::check(&sources));
    found.extend(check_documents(root, &sources, &crates)?);
    found.sort_by(|one, other| one.place.cmp(&other.place));
    Ok(found)
}

fn check_documents(root: &Path, sources: &[Source], crates: &BTreeSet<String>) -> Result<Vec<Violation>> {
    let tests = documents::tests_of(sources);
    let architecture = read_document(root, "ARCHITECTURE.md")?;
    let coverage = read_document(root, "docs/spec/coverage.md")?;
    let security = read_document(root, "SECURITY.md")?;
    let contributing = read_document(root, "CONTRIBUTING.md")?;

    let mut found = documents::check_architecture(&architecture, crates);
    found.extend(documents::check_coverage(root, &coverage, &tests));
    found.extend(documents::check_tests(&security, &tests));
    for document in [&architecture, &security, &contributing] {
        found.extend(documents::check_paths(root, document));
    }
    Ok(found)
}

fn read_document(root: &Path, path: &str) -> Result<Document> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read `{path}`"))?;
    Ok(Document {
        path: path.to_owned(),
        text,
    })
}

fn read_manifests(root: &Path) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        let path = folder.join("Cargo.toml");
        if let (Some(name), true) = (folder.file_name(), path.exists()) {
            let text = fs::read_to_string(&path)?;
            let content = text
                .parse()
                .with_context(|| format!("cannot parse `{}`", path.display()))?;
            manifests.push(Manifest {
                name: name.to_string_lossy().into_owned(),
                content,
            });
        }
    }
    Ok(manifests)
}

fn read_sources(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            read_sources(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            sources.push(Source::new(&name, &text));
        }
    }
    Ok(())
}

/// Names of everything below a package at run time.
fn below(root: &Path, package: &str) -> Result<Vec<String>> {
    let manifest = root.join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let arguments = [
        "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}",
    ];
    let tree = capture(
        "cargo",
        &[
            &arguments[..],
            &["--manifest-path", &manifest, "--package", package],
        ]
        .concat(),
    )?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}
