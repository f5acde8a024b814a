//! Rules over what code names: who reaches the world, who signs, who opens, who writes audit, who looks into
//! a secret.

use super::Violation;
use super::lists::{CRATES, EXPOSES_SECRET, NEVER_IN, NEVER_IN_PURE, ONLY_IN};
use super::source::{Mention, Source};
use std::collections::BTreeSet;

/// Checks every product file.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut exposing = BTreeSet::new();
    for source in sources.iter().filter(|source| is_product(&source.path)) {
        let mentions = source.mentions();
        for mention in &mentions {
            check_mention(source, mention, &mut found);
        }
        if mentions.iter().any(|mention| names(mention, "expose_secret")) {
            exposing.insert(source.path.as_str());
        }
    }
    found.extend(check_exposing(&exposing, EXPOSES_SECRET));
    found
}

fn check_mention(source: &Source, mention: &Mention, found: &mut Vec<Violation>) {
    let path = source.path.as_str();
    if is_pure(path)
        && let Some(world) = NEVER_IN_PURE.iter().find(|world| names(mention, world))
    {
        found.push(violation(
            "pure",
            source,
            mention,
            &format!("`{world}`: this crate is pure"),
        ));
    }
    for limit in NEVER_IN.iter().filter(|limit| path.starts_with(limit.place)) {
        if let Some(never) = limit.paths.iter().find(|never| names(mention, never)) {
            found.push(violation(
                "imports",
                source,
                mention,
                &format!("`{never}`: {}", limit.why),
            ));
        }
    }
    for limit in ONLY_IN {
        let holds = starts_with_any(path, limit.within) && !starts_with_any(path, limit.places);
        if holds && let Some(named) = limit.paths.iter().find(|named| names(mention, named)) {
            found.push(violation(
                "imports",
                source,
                mention,
                &format!("`{named}`: {}", limit.why),
            ));
        }
    }
}

/// Compares the files that look into a secret with the list of those that may.
fn check_exposing(exposing: &BTreeSet<&str>, allowed: &[&str]) -> Vec<Violation> {
    let listed: BTreeSet<&str> = allowed.iter().copied().collect();
    let new = exposing.difference(&listed).map(|path| Violation {
        rule: "secrets",
        place: (*path).to_owned(),
        what: "`expose_secret` in a file that is not in `EXPOSES_SECRET` (xtask/src/rules/lists.rs)"
            .to_owned(),
    });
    let stale = listed.difference(exposing).map(|path| Violation {
        rule: "secrets",
        place: (*path).to_owned(),
        what: "no `expose_secret` any more: take it off `EXPOSES_SECRET` (xtask/src/rules/lists.rs)"
            .to_owned(),
    });
    new.chain(stale).collect()
}

/// Whether a mention is the path in question or lies below it. A single word is a crate: it is meant where it is
/// imported, or where more follows it. A capital word, and each of [`ITEMS`], is meant in every segment.
fn names(mention: &Mention, question: &str) -> bool {
    let path = mention.path.as_str();
    let is_path = question.contains("::");
    let is_same = path == question && (is_path || mention.is_import);
    let is_below = path
        .strip_prefix(question)
        .is_some_and(|rest| rest.starts_with("::"));
    let is_tail = is_path && path.ends_with(&format!("::{question}"));
    let is_item = question.starts_with(char::is_uppercase) || ITEMS.contains(&question);
    is_same || is_below || is_tail || is_item && path.split("::").any(|segment| segment == question)
}

fn is_product(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/")
}

fn is_pure(path: &str) -> bool {
    CRATES
        .iter()
        .any(|known| known.is_pure && path.starts_with(&format!("crates/{}/src/", known.name)))
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

fn violation(rule: &'static str, source: &Source, mention: &Mention, what: &str) -> Violation {
    Violation {
        rule,
        place: format!("{}:{}", source.path, mention.line),
        what: what.to_owned(),
    }
}

/// Words that mean one thing wherever they stand.
const ITEMS: [&str; 4] = ["async", "await", "expose_secret", "sign_compact"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_broken(path: &str, text: &str) -> Vec<String> {
        let found = check(&[Source::new(path, text)]).into_iter();
        found
            .filter(|found| !found.what.starts_with("no `expose_secret` any more"))
            .map(|found| found.what)
            .collect()
    }

    #[test]
    fn pure_crates_do_not_name_the_world() {
        for text in [
            "use std::fs;",
            "use std::{fmt, env::var};",
            "async fn f() {}",
            "fn f() { let _ = std::time::SystemTime::now(); }",
            "use std::time::Instant;",
            "use std::net::TcpStream;",
        ] {
            assert!(!rules_broken("crates/core/src/x.rs", text).is_empty(), "{text}");
            let tests = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert!(rules_broken("crates/core/src/x.rs", &tests).is_empty(), "{text}");
        }
        assert!(rules_broken("crates/core/src/x.rs", "use std::net::IpAddr; use std::fmt;").is_empty());
    }

    #[test]
    fn use_cases_name_no_http_type() {
        let use_case = "crates/server/src/issue/token.rs";
        for text in [
            "use axum::Json;",
            "fn f(s: http::StatusCode) {}",
            "use hyper::body::Incoming;",
            "use crate::http::error::Problem;",
            "use super::super::http::error::Problem;",
            "use axum as web;",
        ] {
            assert_eq!(rules_broken(use_case, text).len(), 1, "{text}");
            assert!(
                rules_broken("crates/server/src/http/oauth/token.rs", text).is_empty(),
                "{text}"
            );
        }
        assert!(rules_broken(use_case, "fn f(http: u8) { self.http.x(); }").is_empty());
    }

    #[test]
    fn http_reaches_no_further_than_use_cases() {
        let http = "crates/server/src/http/api/agents.rs";
        assert_eq!(rules_broken(http, "use chancery_store::record;").len(), 1);
        assert_eq!(
            rules_broken(http, "fn f() { crate::record::statement(); }").len(),
            1
        );
        assert!(rules_broken(http, "use crate::directory::view; use chancery_store::Page;").is_empty());
    }

    #[test]
    fn the_sample_is_foreign_software() {
        let sample = "crates/cli/src/sample/notes.rs";
        assert_eq!(rules_broken(sample, "use chancery_core::id::AgentId;").len(), 1);
        assert!(rules_broken(sample, "use reqwest::Client;").is_empty());
        assert_eq!(
            rules_broken("crates/cli/src/serve.rs", "use reqwest::Client;").len(),
            1
        );
    }

    #[test]
    fn only_listed_files_sign_open_and_record() {
        let elsewhere = "crates/server/src/issue/token.rs";
        for (text, own) in [
            (
                "use chancery_oauth::jose::SigningKey;",
                "crates/server/src/keys.rs",
            ),
            (
                "fn f() { key.sign_compact(&h, &c); }",
                "crates/server/src/keys.rs",
            ),
            (
                "fn f() { chancery_vault::open(a, b, c); }",
                "crates/server/src/keys.rs",
            ),
            ("use chancery_vault::{Sealed, open};", "crates/server/src/keys.rs"),
            ("fn f() { event::insert(t, &r); }", "crates/server/src/record.rs"),
            (
                "use chancery_store::event::insert;",
                "crates/server/src/record.rs",
            ),
            ("use reqwest::Client;", "crates/server/src/egress/client.rs"),
            ("use aws_lc_rs::{aead, digest};", "crates/server/src/keys.rs"),
            (
                "use tokio::net::TcpStream;",
                "crates/server/src/listener/serve.rs",
            ),
        ] {
            assert!(!rules_broken(elsewhere, text).is_empty(), "{text}");
            assert!(
                rules_broken(own, text).is_empty(),
                "{text}: {:?}",
                rules_broken(own, text)
            );
        }
        assert!(rules_broken(elsewhere, "use aws_lc_rs::digest; fn f() { change::insert(t); }").is_empty());
    }

    #[test]
    fn secrets_are_looked_into_in_listed_files_only() {
        let exposing = BTreeSet::from(["a.rs", "b.rs"]);
        assert!(check_exposing(&exposing, &["a.rs", "b.rs"]).is_empty());
        assert_eq!(check_exposing(&exposing, &["a.rs"]).len(), 1);
        assert_eq!(check_exposing(&exposing, &["a.rs", "b.rs", "c.rs"]).len(), 1);
        assert_eq!(
            rules_broken("crates/server/src/new.rs", "fn f() { s.expose_secret(); }").len(),
            1
        );
        let mut sorted = EXPOSES_SECRET.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, EXPOSES_SECRET);
    }
}
