//! Names: what people and policies call a noun. Unique in a tenant for one kind of noun, never
//! reused, accepted wherever an id is, and the Cedar entity id of the noun.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 128 characters.
    #[error("a name has 1 to 128 characters")]
    Length,
    /// A character outside `a-z 0-9 . _ - : @ /`, or a first character that is not a letter or digit.
    #[error("a name starts with a lower-case letter or digit and holds only `a-z 0-9 . _ - : @ /`")]
    Character,
    /// The text has the form of an id (`agt_…`), which would make the two ambiguous.
    #[error("a name must not look like an id")]
    LooksLikeId,
}

/// A noun's name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > 128 {
            return Err(NameError::Length);
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first_is_plain = text.bytes().next().is_some_and(plain);
        if !first_is_plain || !text.bytes().all(|byte| plain(byte) || b"._-:@/".contains(&byte)) {
            return Err(NameError::Character);
        }
        if looks_like_id(text) {
            return Err(NameError::LooksLikeId);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn looks_like_id(text: &str) -> bool {
    text.len() == 30
        && text.as_bytes().get(3) == Some(&b'_')
        && text
            .bytes()
            .skip(4)
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_never_overlap() {
        assert_eq!(
            "agt_0123456789abcdefghjkmnpqrs".parse::<Name>(),
            Err(NameError::LooksLikeId)
        );
        assert!("report-bot".parse::<Name>().is_ok());
        assert!("corp:alice@example.com".parse::<Name>().is_ok());
    }

    #[test]
    fn foreign_characters_are_refused() {
        for text in ["Bot", "a b", "é", "-a", "a\"b", "a\nb"] {
            assert_eq!(text.parse::<Name>(), Err(NameError::Character), "{text}");
        }
        assert_eq!("".parse::<Name>(), Err(NameError::Length));
    }
}
