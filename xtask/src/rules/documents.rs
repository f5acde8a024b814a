//! Rules over documents that name code: crates, files and tests that they name exist.

use super::Violation;
use super::source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A document.
#[derive(Debug)]
pub struct Document {
    /// Its path from the workspace's folder.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Names of tests by crate.
pub type Tests = BTreeMap<String, BTreeSet<String>>;

/// Every test of the crates.
pub fn tests_of(sources: &[Source]) -> Tests {
    let mut tests = Tests::new();
    for source in sources {
        let mut parts = source.path.split('/');
        if let (Some("crates"), Some(name)) = (parts.next(), parts.next()) {
            tests.entry(name.to_owned()).or_default().extend(source.tests());
        }
    }
    tests
}

/// The crates that ARCHITECTURE.md lists are those of the workspace. A crate's line starts with ``- `name`:``
/// under the heading of the crates.
pub fn check_architecture(document: &Document, crates: &BTreeSet<String>) -> Vec<Violation> {
    let section = document
        .text
        .lines()
        .skip_while(|line| *line != CRATES_HEADING)
        .skip(1);
    let listed: BTreeSet<String> = section
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("- `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let missing = crates
        .difference(&listed)
        .map(|name| format!("does not list the crate `{name}`"));
    let unknown = listed
        .difference(crates)
        .map(|name| format!("lists `{name}`, which is no crate"));
    missing
        .chain(unknown)
        .map(|what| violation("documents", document, 0, what))
        .collect()
}

/// Files and folders of the workspace that a document names in backticks exist.
pub fn check_paths(root: &Path, document: &Document) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, name) in quoted(&document.text) {
        let is_path = FOLDERS.iter().any(|folder| name.starts_with(folder));
        let is_pattern = name.contains(['*', '<', '{', '…', ' ']) || name.contains("NNNN");
        if is_path && !is_pattern && !root.join(name).exists() {
            found.push(violation(
                "documents",
                document,
                line,
                format!("names `{name}`, which does not exist"),
            ));
        }
    }
    found
}

/// Tests that a document names as `crate::test` in backticks exist.
pub fn check_tests(document: &Document, tests: &Tests) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, name) in quoted(&document.text) {
        let Some((krate, test)) = name.split_once("::") else {
            continue;
        };
        let is_test_name = !test.is_empty()
            && test
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let exists = tests.get(krate).is_none_or(|names| names.contains(test));
        if is_test_name && !exists {
            found.push(violation(
                "documents",
                document,
                line,
                format!("names the test `{name}`, which does not exist"),
            ));
        }
    }
    found
}

/// Every row of the coverage table has four cells, a file that exists, and a test.
pub fn check_coverage(root: &Path, document: &Document, tests: &Tests) -> Vec<Violation> {
    let mut found = check_tests(document, tests);
    let mut rows = 0_usize;
    for (index, line) in document
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('|'))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let line = index + 1;
        let [standard, _, place, test] = cells.as_slice() else {
            found.push(violation(
                "coverage",
                document,
                line,
                "a row has four cells".to_owned(),
            ));
            continue;
        };
        if *standard == "standard" || standard.starts_with('-') {
            continue;
        }
        rows += 1;
        for (_, file) in quoted(place) {
            if !root.join("crates").join(file).exists() {
                found.push(violation(
                    "coverage",
                    document,
                    line,
                    format!("`crates/{file}` does not exist"),
                ));
            }
        }
        let names_file = quoted(place).next().is_some();
        let names_test = quoted(test).any(|(_, name)| {
            name.split_once("::")
                .is_some_and(|(krate, test)| tests.get(krate).is_some_and(|known| known.contains(test)))
        });
        if !names_file || !names_test {
            found.push(violation(
                "coverage",
                document,
                line,
                "a row names a file and a test".to_owned(),
            ));
        }
    }
    if rows == 0 {
        found.push(violation("coverage", document, 0, "has no rows".to_owned()));
    }
    found
}

/// What stands in backticks, with its line, outside blocks of code.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_block = false;
    text.lines()
        .enumerate()
        .filter(move |(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            !is_block && !is_fence
        })
        .flat_map(|(index, line)| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(move |name| (index + 1, name))
        })
}

fn violation(rule: &'static str, document: &Document, line: usize, what: String) -> Violation {
    let place = if line == 0 {
        document.path.clone()
    } else {
        format!("{}:{line}", document.path)
    };
    Violation { rule, place, what }
}

/// The heading over the list of crates.
const CRATES_HEADING: &str = "## Nine crates";
/// What a path of the workspace starts with.
const FOLDERS: [&str; 7] = [
    ".ci/",
    "crates/",
    "docs/",
    "fuzz/",
    "policies/",
    "presets/",
    "xtask/",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document {
            path: "DOC.md".to_owned(),
            text: text.to_owned(),
        }
    }

    fn tests() -> Tests {
        Tests::from([(
            "oauth".to_owned(),
            BTreeSet::from(["padding_is_refused".to_owned()]),
        )])
    }

    #[test]
    fn the_list_of_crates_is_the_workspaces() {
        let crates = BTreeSet::from(["core".to_owned(), "oauth".to_owned()]);
        let good =
            document("# A\n\n## Nine crates\n\n- `core`: words.\n- `oauth`: rules.\n\n## Else\n- `x`: y.\n");
        assert!(check_architecture(&good, &crates).is_empty());
        let bad = document("## Nine crates\n- `core`: words.\n- `billing`: money.\n");
        assert_eq!(check_architecture(&bad, &crates).len(), 2);
        assert_eq!(check_architecture(&document("nothing"), &crates).len(), 2);
    }

    #[test]
    fn files_that_are_named_exist() {
        let root = crate::root();
        assert!(
            check_paths(
                &root,
                &document("see `xtask/src/lib.rs`, `docs/adr/NNNN-x.md`, `core`")
            )
            .is_empty()
        );
        assert_eq!(
            check_paths(&root, &document("see `crates/core/src/nowhere.rs`")).len(),
            1
        );
        assert!(check_paths(&root, &document("```\n`crates/core/src/nowhere.rs`\n```")).is_empty());
    }

    #[test]
    fn tests_that_are_named_exist() {
        assert!(
            check_tests(
                &document("by `oauth::padding_is_refused` and `std::fs`"),
                &tests()
            )
            .is_empty()
        );
        assert_eq!(
            check_tests(&document("by `oauth::padding_is_accepted`"), &tests()).len(),
            1
        );
        assert!(check_tests(&document("`oauth::jose::sign`, `policy::Permit`"), &tests()).is_empty());
    }

    #[test]
    fn every_row_of_coverage_has_a_test_that_exists() {
        let root = crate::root();
        let rows = |row: &str| {
            let text = format!("| standard | requirement | where | test |\n|---|---|---|---|\n{row}\n");
            check_coverage(&root, &document(&text), &tests()).len()
        };
        assert_eq!(
            rows("| RFC 7515 §2 | no padding | `oauth/src/lib.rs` | `oauth::padding_is_refused` |"),
            0
        );
        assert!(rows("| RFC 7515 §2 | no padding | `oauth/src/lib.rs` | `oauth::gone` |") > 0);
        assert!(rows("| RFC 7515 §2 | no padding | `oauth/src/gone.rs` | `oauth::padding_is_refused` |") > 0);
        assert!(rows("| RFC 7515 §2 | no padding | `oauth/src/lib.rs` | |") > 0);
        assert!(rows("| RFC 7515 §2 | `oauth::padding_is_refused` |") > 0);
        assert!(rows("") > 0);
    }
}
