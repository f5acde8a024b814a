//! The members of an object and the elements of an array, each as the bytes that were written.
//!
//! Reads one level, refuses a member that is named twice there, and leaves what is below unread. Use
//! `chancery_core::json` where everything below must be unambiguous too.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// Why a text has no members that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// The text is not UTF-8 (RFC 8259 §8.1).
    #[error("json text is not utf-8")]
    NotUtf8,
    /// The text does not follow the grammar, or is not of the kind that is asked for.
    #[error("not the json object or array that is expected")]
    Malformed,
    /// A member is named twice (RFC 7493 §2.3).
    #[error("json object has a duplicate member")]
    DuplicateMember,
    /// A member differs from one that is expected in case only: some readers take one for the other.
    #[error("json object has a member that differs from an expected one in case only")]
    LookAlike,
}

/// The members of one object, in order.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    list: Vec<(String, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// Reads the members of an object.
    pub(crate) fn read(text: &'a str) -> Result<Self, MembersError> {
        let members: Self = serde_json::from_str(text).map_err(|_| MembersError::Malformed)?;
        let names: BTreeSet<&str> = members.names().collect();
        if names.len() < members.list.len() {
            return Err(MembersError::DuplicateMember);
        }
        Ok(members)
    }

    /// Reads the members and refuses names that some readers would take for one of `expected`.
    pub(crate) fn read_expecting(text: &'a str, expected: &[&str]) -> Result<Self, MembersError> {
        let members = Self::read(text)?;
        if members.names().any(|name| is_look_alike(name, expected)) {
            return Err(MembersError::LookAlike);
        }
        Ok(members)
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(name, _)| name.as_str())
    }

    /// The written value of a member.
    pub(crate) fn find(&self, name: &str) -> Option<&'a str> {
        let found = self.list.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.get())
    }

    /// The value of a member that is a string.
    pub(crate) fn find_text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.find(name)?).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_entry::<String, &'de RawValue>()? {
            list.push(member);
        }
        Ok(Members { list })
    }
}

/// The written elements of an array.
pub(crate) fn elements(text: &str) -> Result<Vec<&str>, MembersError> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| MembersError::Malformed)?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// Where a part of a text stands in it; nothing if it is no part of it.
pub(crate) fn place_of(part: &str, whole: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Whether a name is not one of `expected` but would be for a reader that ignores case, as Go's `encoding/json`
/// does, which also takes `ſ` for `s` and the Kelvin sign for `k`.
///
// SECURITY: with such an upstream `{"name":"read","Name":"delete"}` is decided as `read` and runs `delete`.
pub(crate) fn is_look_alike(name: &str, expected: &[&str]) -> bool {
    !expected.contains(&name) && expected.iter().any(|known| folded(known) == folded(name))
}

fn folded(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_what_was_written() {
        let text = r#" { "a" : {"x": 1.50} , "b":[ 1,2 ], "\u0063" : null } "#;
        let members = Members::read(text).unwrap();
        assert_eq!(members.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(members.find("a"), Some(r#"{"x": 1.50}"#));
        assert_eq!(members.find("c"), Some("null"));
        let place = place_of(members.find("b").unwrap(), text).unwrap();
        assert_eq!(text.get(place), Some("[ 1,2 ]"));
        assert_eq!(place_of("other", text), None);
    }

    #[test]
    fn a_member_named_twice_is_refused_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(Members::read(text).unwrap_err(), MembersError::DuplicateMember);
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "[[\"a\",1]]", "1", "", "{", "{} {}", "{\"a\"}"] {
            assert_eq!(
                Members::read(text).unwrap_err(),
                MembersError::Malformed,
                "{text}"
            );
        }
        assert_eq!(elements("{}").unwrap_err(), MembersError::Malformed);
    }

    #[test]
    fn names_that_differ_in_case_only_look_alike() {
        for name in ["Name", "NAME", "nAme"] {
            assert!(is_look_alike(name, &["name"]), "{name}");
        }
        assert!(is_look_alike("param\u{17f}", &["params"]));
        assert!(is_look_alike("tas\u{212a}Id", &["taskId"]));
        assert!(!is_look_alike("name", &["name"]));
        assert!(!is_look_alike("title", &["name"]));
    }

    #[test]
    fn deep_nesting_below_is_not_followed() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(Members::read(&text).is_ok());
    }
}
