//! Which files are looked at: what programs read their environment from, and what MCP clients are configured by.

use super::{ScanArguments, Skipped};
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines `NAME=VALUE`.
    Environment,
    /// JSON or TOML that names MCP servers.
    Configuration,
}

/// How a file is read, by its name.
pub(super) fn kind(file: &Path) -> Kind {
    let extension = file.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("json" | "jsonc" | "toml") => Kind::Configuration,
        Some(_) | None => Kind::Environment,
    }
}

/// The files to look at, in the order of their paths.
///
/// # Errors
/// A path that does not exist.
pub(super) fn files(arguments: &ScanArguments, skipped: &mut Vec<Skipped>) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let here = [PathBuf::from(".")];
    let paths = if arguments.paths.is_empty() && !arguments.home {
        here.as_slice()
    } else {
        arguments.paths.as_slice()
    };
    for path in paths {
        ensure!(path.exists(), "there is no `{}`", path.display());
        if path.is_dir() {
            below(path, 0, &mut files, skipped);
        } else {
            files.push(path.clone());
        }
    }
    if arguments.home {
        let home = std::env::home_dir().context("there is no home folder to look in")?;
        files.extend(
            IN_HOME
                .iter()
                .map(|name| home.join(name))
                .filter(|file| file.is_file()),
        );
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Goes through a folder. Links are not followed: what they lead to is looked at where it stands.
fn below(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, skipped: &mut Vec<Skipped>) {
    let mut skip = |why: String| {
        skipped.push(Skipped {
            file: folder.to_owned(),
            why,
        });
    };
    if depth > DEEPEST {
        return skip(format!("more than {DEEPEST} folders deep"));
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return skip(error.to_string()),
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let (Ok(kind), Some(name)) = (entry.file_type(), name.to_str()) else {
            continue;
        };
        if kind.is_dir() && !LEFT_OUT.contains(&name) {
            below(&path, depth + 1, files, skipped);
        } else if kind.is_file() && is_looked_at(folder, name) {
            files.push(path);
        }
    }
}

fn is_looked_at(folder: &Path, name: &str) -> bool {
    let within = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    let is_environment = name == ".env" || name.starts_with(".env.") || extension == Some("env");
    is_environment || CONFIGURATIONS.contains(&name) || IN_FOLDERS.contains(&(within, name))
}

/// Files that configure MCP clients wherever they stand.
const CONFIGURATIONS: &[&str] = &[
    ".mcp.json",
    "mcp.json",
    "mcp_config.json",
    "mcp_settings.json",
    "cline_mcp_settings.json",
    "claude_desktop_config.json",
    ".claude.json",
];

/// Files that do in a folder of this name only.
const IN_FOLDERS: &[(&str, &str)] = &[
    (".claude", "settings.json"),
    (".claude", "settings.local.json"),
    (".codex", "config.toml"),
    (".gemini", "settings.json"),
    (".vscode", "settings.json"),
    (".zed", "settings.json"),
];

/// Where clients keep theirs for every project of a person.
const IN_HOME: &[&str] = &[
    ".claude.json",
    ".claude/settings.json",
    ".codex/config.toml",
    ".codeium/windsurf/mcp_config.json",
    ".config/Claude/claude_desktop_config.json",
    ".config/Code/User/mcp.json",
    ".config/zed/settings.json",
    ".cursor/mcp.json",
    ".gemini/settings.json",
    "Library/Application Support/Claude/claude_desktop_config.json",
    "Library/Application Support/Code/User/mcp.json",
];

/// Folders of what others wrote, or of what was built.
const LEFT_OUT: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "__pycache__",
    "node_modules",
    "site-packages",
    "target",
    "venv",
];

const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_and_client_configurations_are_looked_at_and_nothing_else() {
        let looked_at = |path: &str| {
            let path = Path::new(path);
            is_looked_at(
                path.parent().unwrap(),
                path.file_name().unwrap().to_str().unwrap(),
            )
        };
        for path in [
            "a/.env",
            "a/.env.local",
            "a/prod.env",
            "a/.mcp.json",
            "a/.cursor/mcp.json",
            "a/.codex/config.toml",
            "a/.vscode/settings.json",
        ] {
            assert!(looked_at(path), "{path}");
        }
        for path in [
            "a/settings.json",
            "a/config.toml",
            "a/environment",
            "a/package.json",
            "a/env",
        ] {
            assert!(!looked_at(path), "{path}");
        }
    }
}
