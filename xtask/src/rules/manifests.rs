//! Rules over manifests: which crate may depend on which, and on what else.

use super::Violation;
use super::lists::{CRATES, Crate, EXCLUSIVE, NEVER_BELOW_PURE};
use toml::Table;

/// A crate's manifest.
#[derive(Debug)]
pub struct Manifest {
    /// Its folder under `crates/`.
    pub name: String,
    /// Its content.
    pub content: Table,
}

/// Checks every manifest.
pub fn check(manifests: &[Manifest]) -> Vec<Violation> {
    let mut found = Vec::new();
    for expected in CRATES {
        if !manifests.iter().any(|manifest| manifest.name == expected.name) {
            found.push(violation(expected.name, "is missing"));
        }
    }
    for manifest in manifests {
        match CRATES.iter().find(|known| known.name == manifest.name) {
            Some(known) => check_one(known, manifest, &mut found),
            None => found.push(violation(
                &manifest.name,
                "is not one of the nine crates; a tenth needs an ADR and a row in `CRATES`",
            )),
        }
    }
    found
}

/// Checks what lies below a pure crate, as `cargo tree` names it.
pub fn check_below<'a>(pure: &str, below: impl Iterator<Item = &'a str>) -> Vec<Violation> {
    below
        .filter(|name| NEVER_BELOW_PURE.contains(name))
        .map(|name| violation(pure, &format!("is pure, but `{name}` lies below it")))
        .collect()
}

fn check_one(known: &Crate, manifest: &Manifest, found: &mut Vec<Violation>) {
    let package = manifest
        .content
        .get("package")
        .and_then(|package| package.get("name"));
    if package.and_then(toml::Value::as_str) != Some(known.package) {
        found.push(violation(
            known.name,
            &format!("is not called `{}`", known.package),
        ));
    }
    let lints = manifest
        .content
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        found.push(violation(known.name, "does not take the workspace's lints"));
    }
    for dependency in dependencies(&manifest.content) {
        if let Some(seen) = CRATES.iter().find(|other| other.package == dependency) {
            if !known.sees.contains(&seen.name) {
                found.push(violation(
                    known.name,
                    &format!("may not depend on `{}`", seen.name),
                ));
            }
        } else if let Some((_, owners)) = EXCLUSIVE.iter().find(|(name, _)| *name == dependency)
            && !owners.contains(&known.name)
        {
            found.push(violation(
                known.name,
                &format!("may not use `{dependency}`: only {}", owners.join(", ")),
            ));
        } else if known.is_pure && NEVER_BELOW_PURE.contains(&dependency.as_str()) {
            found.push(violation(
                known.name,
                &format!("is pure and may not use `{dependency}`"),
            ));
        }
    }
}

/// Packages that a manifest names in any of its dependency tables, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(manifest).chain(
        targets
            .into_iter()
            .flat_map(Table::values)
            .filter_map(toml::Value::as_table),
    );
    tables
        .flat_map(|table| {
            DEPENDENCY_TABLES
                .iter()
                .filter_map(|kind| table.get(*kind)?.as_table())
        })
        .flat_map(Table::iter)
        .map(|(key, value)| {
            let renamed = value.get("package").and_then(toml::Value::as_str);
            renamed.unwrap_or(key).to_owned()
        })
        .collect()
}

fn violation(name: &str, what: &str) -> Violation {
    Violation {
        rule: "direction",
        place: format!("crates/{name}/Cargo.toml"),
        what: format!("`{name}` {what}"),
    }
}

const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, dependencies: &str) -> Vec<String> {
        let package = CRATES
            .iter()
            .find(|known| known.name == name)
            .map_or("unknown", |known| known.package);
        let text =
            format!("package = {{ name = \"{package}\" }}\nlints = {{ workspace = true }}\n{dependencies}");
        let manifest = Manifest {
            name: name.to_owned(),
            content: text.parse().unwrap(),
        };
        let found = check(&[manifest]).into_iter();
        found
            .map(|found| found.what)
            .filter(|what| !what.ends_with("is missing"))
            .collect()
    }

    #[test]
    fn arrows_are_followed_and_siblings_never_meet() {
        assert!(one("server", "[dependencies]\nchancery-oauth.workspace = true").is_empty());
        assert!(one("oauth", "[dependencies]\nchancery-core.workspace = true").is_empty());
        assert_eq!(
            one("oauth", "[dependencies]\nchancery-policy.workspace = true").len(),
            1
        );
        assert_eq!(
            one("core", "[dev-dependencies]\nchancery-oauth.workspace = true").len(),
            1
        );
        assert_eq!(
            one("store", "[dependencies]\nchancery-audit.workspace = true").len(),
            1
        );
        assert_eq!(
            one("cli", "[dependencies]\nchancery-store.workspace = true").len(),
            1
        );
    }

    #[test]
    fn a_dependency_is_seen_under_another_name_and_for_one_target() {
        assert_eq!(
            one(
                "oauth",
                "[dependencies]\ndb = { package = \"rusqlite\", version = \"0\" }"
            )
            .len(),
            1
        );
        assert_eq!(
            one("vault", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"").len(),
            1
        );
        assert_eq!(one("cli", "[build-dependencies]\naxum = \"0\"").len(), 1);
        assert!(one("store", "[dependencies]\nrusqlite = \"0\"\ntokio = \"1\"").is_empty());
    }

    #[test]
    fn a_tenth_crate_a_missing_crate_and_foreign_lints_are_violations() {
        assert!(
            one("billing", "")
                .iter()
                .any(|what| what.contains("a tenth needs an ADR"))
        );
        assert_eq!(check(&[]).len(), CRATES.len());
        let manifest = Manifest {
            name: "core".to_owned(),
            content: "package.name = \"core\"".parse().unwrap(),
        };
        let found = check(&[manifest]);
        assert!(
            found.iter().any(|found| found.what.contains("lints")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|found| found.what.contains("not called")),
            "{found:?}"
        );
    }

    #[test]
    fn nothing_of_the_world_lies_below_a_pure_crate() {
        assert_eq!(
            check_below("core", ["serde", "tokio", "uuid"].into_iter()).len(),
            1
        );
        assert!(check_below("core", ["serde", "url"].into_iter()).is_empty());
    }
}
