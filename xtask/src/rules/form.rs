//! Rules over the form of a file: how it opens, how long it is, what its names say, what it may not leave in.

use super::Violation;
use super::lists::{LINES, NOT_VAGUE, VAGUE};
use super::source::{Source, tokens};

/// Checks every file.
pub fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let opens_with_doc = source.text.starts_with("//!");
        if !opens_with_doc && !source.path.ends_with("/tests.rs") {
            found.push(violation(
                "opening",
                source,
                1,
                "a file opens with `//!`: what it is",
            ));
        }
        let lines = source.product_lines();
        if lines > LINES && !source.is_test() {
            let what = format!("{lines} lines without tests; at most {LINES}: split by noun or verb");
            found.push(violation("size", source, 1, &what));
        }
        found.extend(left_in(source));
        found.extend(vague_names(source));
    }
    found
}

/// Attributes and macros that are not committed.
fn left_in(source: &Source) -> Vec<Violation> {
    let tokens = tokens(source.code());
    let mut found = Vec::new();
    for (first, second) in tokens.iter().zip(tokens.iter().skip(1)) {
        if second.text == "!" && ["todo", "unimplemented", "dbg"].contains(&first.text) {
            found.push(violation(
                "left in",
                source,
                first.line,
                &format!("`{}!`", first.text),
            ));
        }
        if first.text == "[" && second.text == "allow" {
            let what =
                "`#[allow]`: use `#[expect(…, reason = \"…\")]`, which says why and ends when it is moot";
            found.push(violation("left in", source, first.line, what));
        }
    }
    found
}

/// Files, folders and items named after nothing in particular.
fn vague_names(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for part in source.path.trim_end_matches(".rs").split('/') {
        if let Some(word) = vague_word(part) {
            found.push(violation(
                "names",
                source,
                1,
                &format!("a file or folder is called `{part}` (`{word}`)"),
            ));
        }
    }
    for (line, name) in source.declarations() {
        let is_meant = NOT_VAGUE
            .iter()
            .any(|(path, meant, _)| *path == source.path && *meant == name);
        if let Some(word) = vague_word(&name).filter(|_| !is_meant) {
            found.push(violation(
                "names",
                source,
                line,
                &format!("`{name}` says nothing (`{word}`)"),
            ));
        }
        if name.starts_with("get_") && !is_meant {
            let what = format!("`{name}`: `find` gives an `Option`, `load` an error if there is none");
            found.push(violation("names", source, line, &what));
        }
    }
    found
}

/// The first vague word of a name in either case style.
fn vague_word(name: &str) -> Option<&'static str> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character == '-' || character.is_uppercase() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            last.extend(character.to_lowercase());
        }
    }
    VAGUE
        .iter()
        .find(|vague| words.iter().any(|word| word == *vague))
        .copied()
}

fn violation(rule: &'static str, source: &Source, line: usize, what: &str) -> Violation {
    Violation {
        rule,
        place: format!("{}:{line}", source.path),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        check(&[Source::new(path, text)])
            .into_iter()
            .map(|found| found.rule)
            .collect()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(broken("crates/x/src/a.rs", "use b;\n"), ["opening"]);
        assert!(broken("crates/x/src/a.rs", "//! What it is.\n").is_empty());
        assert!(broken("crates/x/src/a/tests.rs", "use super::*;\n").is_empty());
    }

    #[test]
    fn a_long_file_is_split_and_its_tests_do_not_count() {
        let long = format!("//! Long.\n{}", "fn f();\n".repeat(LINES));
        assert_eq!(broken("crates/x/src/a.rs", &long), ["size"]);
        let tested = format!("//! Long.\n#[cfg(test)]\n{}", "fn f();\n".repeat(LINES));
        assert!(broken("crates/x/src/a.rs", &tested).is_empty());
    }

    #[test]
    fn nothing_unfinished_is_left_in() {
        for text in [
            "fn f() { todo!() }",
            "#[allow(dead_code)] fn f() {}",
            "#![allow(x)]",
            "fn f() { dbg!(1); }",
        ] {
            assert_eq!(
                broken("crates/x/src/a.rs", &format!("//! A.\n{text}")),
                ["left in"],
                "{text}"
            );
        }
        let quoted = "//! A.\n// todo!\nfn f() { let _ = \"#[allow(x)] dbg!()\"; }\n";
        assert!(broken("crates/x/src/a.rs", quoted).is_empty());
    }

    #[test]
    fn names_say_something() {
        for (path, text) in [
            ("crates/x/src/utils.rs", ""),
            ("crates/x/src/common/a.rs", ""),
            ("crates/x/src/a.rs", "struct KeyManager;"),
            ("crates/x/src/a.rs", "fn misc_things() {}"),
            ("crates/x/src/a.rs", "fn get_agent() {}"),
        ] {
            assert_eq!(
                broken(path, &format!("//! A.\n{text}")),
                ["names"],
                "{path} {text}"
            );
        }
        assert!(broken("crates/x/src/a.rs", "//! A.\nfn commonly_utilised() {}").is_empty());
        assert!(broken("crates/policy/src/manage.rs", "//! A.\nenum Manager {}").is_empty());
    }
}
