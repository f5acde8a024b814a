//! Files of lines `NAME=VALUE`, as shells and `dotenv` libraries read them.

use super::Finding;
use super::recognize::recognize;
use super::replace;
use std::path::Path;

/// The keys of a file.
pub(super) fn findings(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((name, value)) = assignment(line) else {
            continue;
        };
        if let Some(recognized) = recognize(name, value) {
            findings.push(Finding {
                file: file.to_owned(),
                line: number,
                place: name.to_owned(),
                what: recognized.what,
                replace: replace::variable(name, recognized),
            });
        }
    }
    findings
}

/// Name and value of a line. A value that goes on over more lines is judged by its first.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = |text: &str| {
        let mut chars = text.chars();
        chars
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    if !is_name(name) {
        return None;
    }
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let value = match quote {
        Some(quote) => {
            let inner = value.strip_prefix(quote).unwrap_or(value);
            inner.split(quote).next().unwrap_or(inner)
        }
        None => value.split(" #").next().unwrap_or(value).trim_end(),
    };
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shells_read_them() {
        assert_eq!(assignment("A=b"), Some(("A", "b")));
        assert_eq!(assignment("export A = \"b # c\" # d"), Some(("A", "b # c")));
        assert_eq!(assignment("A='b'"), Some(("A", "b")));
        assert_eq!(assignment("A=b # c"), Some(("A", "b")));
        assert_eq!(assignment("A=b#c"), Some(("A", "b#c")));
        assert_eq!(assignment("A="), Some(("A", "")));
        assert_eq!(assignment("# A=b"), None);
        assert_eq!(assignment("1A=b"), None);
        assert_eq!(assignment("nothing"), None);
    }

    #[test]
    fn a_finding_names_line_and_variable_and_no_value() {
        let value = "0123456789abcdef";
        let text = format!("# keys\nDEBUG=1\nGITHUB_TOKEN={value}\n");
        let findings = findings(Path::new(".env"), &text);
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        assert_eq!((finding.line, finding.place.as_str()), (3, "GITHUB_TOKEN"));
        assert!(!format!("{finding:?}").contains(value));
    }
}
