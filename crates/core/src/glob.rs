//! Globs over paths and URIs: `*` stands for anything within one segment, `**` for anything at all.
//!
//! No other character is special. Whoever matches a path normalises it first: a glob compares bytes.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a text is not a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Empty, longer than 512 bytes, or with white space or characters outside ASCII.
    #[error("a glob is 1 to 512 visible ASCII characters")]
    Syntax,
    /// Three or more stars in a row.
    #[error("a glob has `*` or `**`, not more stars in a row")]
    Stars,
    /// A path that does not start with a slash.
    #[error("a path starts with `/`")]
    Relative,
    /// A path with what a normalised path never has.
    #[error("a path has no `//`, `.` or `..` segment, `?`, `#`, `\\` or malformed escape")]
    NotNormalised,
}

/// A glob.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Glob(Arc<str>);

impl Glob {
    /// The glob as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        // A set of positions in the glob, moved over the text byte by byte: never more than their product.
        let tokens = tokens(&self.0);
        let mut reached = vec![false; tokens.len() + 1];
        mark(&tokens, &mut reached, 0);
        for byte in text.bytes() {
            let mut next = vec![false; tokens.len() + 1];
            for (position, token) in tokens.iter().enumerate() {
                if reached.get(position) == Some(&true) && token.takes(byte) {
                    let after = if token.repeats() { position } else { position + 1 };
                    mark(&tokens, &mut next, after);
                }
            }
            reached = next;
        }
        reached.last() == Some(&true)
    }
}

impl std::str::FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() || text.len() > 512 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(GlobError::Syntax);
        }
        if text.contains("***") {
            return Err(GlobError::Stars);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A glob over normalised paths: it starts with a slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PathGlob(Glob);

impl PathGlob {
    /// The glob as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a normalised path matches. Give it the path alone, without its query.
    pub fn matches(&self, path: &str) -> bool {
        self.0.matches(path)
    }
}

impl std::str::FromStr for PathGlob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        let glob: Glob = text.parse()?;
        let rest = text.strip_prefix('/').ok_or(GlobError::Relative)?;
        let odd = |segment: &str| segment == "." || segment == "..";
        // SECURITY: a rule that no normalised path can match would deny nothing and look as if it did.
        if text.contains("//")
            || text.contains(['?', '#', '\\', '"', '<', '>', '`', '{', '}'])
            || rest.split('/').any(odd)
            || !escapes_are_upper_case(text)
        {
            return Err(GlobError::NotNormalised);
        }
        Ok(Self(glob))
    }
}

impl fmt::Debug for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for PathGlob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Segment,
    Anything,
}

impl Token {
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => own == byte,
            Self::Segment => byte != b'/',
            Self::Anything => true,
        }
    }

    fn repeats(self) -> bool {
        self == Self::Segment || self == Self::Anything
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match (byte, tokens.last()) {
            (b'*', Some(Token::Segment)) => {
                tokens.pop();
                tokens.push(Token::Anything);
            }
            (b'*', _) => tokens.push(Token::Segment),
            (byte, _) => tokens.push(Token::Byte(byte)),
        }
    }
    tokens
}

/// Reaches a position, and those after it that stars let be reached without a byte.
fn mark(tokens: &[Token], reached: &mut [bool], from: usize) {
    let mut position = from;
    loop {
        if let Some(place) = reached.get_mut(position) {
            *place = true;
        }
        match tokens.get(position) {
            Some(token) if token.repeats() => position += 1,
            Some(_) | None => return,
        }
    }
}

fn escapes_are_upper_case(text: &str) -> bool {
    let upper = |byte: Option<u8>| byte.is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && !(upper(bytes.next()) && upper(bytes.next())) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &str, text: &str) -> bool {
        glob.parse::<Glob>().unwrap().matches(text)
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_do_not() {
        assert!(matches("/repos/*/issues", "/repos/acme/issues"));
        assert!(!matches("/repos/*/issues", "/repos/acme/app/issues"));
        assert!(matches("/repos/**", "/repos/acme/app/issues"));
        assert!(matches("/repos/**/issues", "/repos/acme/app/issues"));
        assert!(!matches("/repos/**", "/repos"));
        assert!(!matches("/repos", "/repos/"));
        assert!(matches("notes://*", "notes://1") && !matches("notes://*", "notes://1/2"));
    }

    #[test]
    fn no_other_character_is_special() {
        assert!(matches("/a.c", "/a.c") && !matches("/a.c", "/abc"));
        assert!(matches("/[a]", "/[a]") && !matches("/[a]", "/a"));
        assert_eq!("/***".parse::<Glob>(), Err(GlobError::Stars));
        assert_eq!("/a b".parse::<Glob>(), Err(GlobError::Syntax));
    }

    #[test]
    fn a_path_that_no_normalised_path_can_match_is_refused() {
        for text in [
            "/a//b", "/a/../b", "/./a", "/a?b", "/a#b", "/%2f%2", "/%2a", "/a\\b", "/..",
        ] {
            assert_eq!(text.parse::<PathGlob>(), Err(GlobError::NotNormalised), "{text}");
        }
        assert_eq!("a/b".parse::<PathGlob>(), Err(GlobError::Relative));
        assert!("/a/%2A/**".parse::<PathGlob>().is_ok());
    }

    /// A backtracking matcher would not come back from this one.
    #[test]
    fn many_stars_end() {
        let glob = format!("/{}", "*a".repeat(255));
        assert!(!matches(&glob, &format!("/{}", "ab".repeat(4_000))));
        assert!(matches(&glob, &format!("/{}", "ba".repeat(4_000))));
    }

    proptest! {
        #[test]
        fn a_glob_without_stars_matches_itself_alone(text in "/[a-z/]{0,12}", other in "/[a-z/]{0,12}") {
            prop_assert!(matches(&text, &text));
            prop_assert_eq!(matches(&text, &other), text == other);
        }
    }
}
