//! Ids of JSON-RPC requests (JSON-RPC 2.0 §4; MCP basic protocol, "Requests": a string or an integer, never null).
//!
//! An id is echoed exactly as it was written, and compared by value. It does not say whose request it is.

use std::fmt;

/// The id of a request.
#[derive(Clone)]
pub struct RequestId {
    written: Box<str>,
    value: IdValue,
}

/// What an id means, however it is spelled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdValue {
    /// An integer within ±(2^53 - 1).
    Number(i64),
    /// A text.
    Text(String),
}

impl RequestId {
    /// The id with this JSON text, or nothing if that is neither a string nor an integer that every reader
    /// reads alike.
    pub fn parse(written: &str) -> Option<Self> {
        let value = if written.trim_start().starts_with('"') {
            IdValue::Text(serde_json::from_str(written).ok()?)
        } else {
            IdValue::Number(
                serde_json::from_str(written)
                    .ok()
                    .filter(|number| is_exact(*number))?,
            )
        };
        Some(Self {
            written: written.trim().into(),
            value,
        })
    }

    /// The JSON text, as it was written.
    pub fn as_json(&self) -> &str {
        &self.written
    }

    /// What it means.
    pub const fn value(&self) -> &IdValue {
        &self.value
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for RequestId {}

impl std::hash::Hash for RequestId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.written)
    }
}

const fn is_exact(number: i64) -> bool {
    number.unsigned_abs() <= MAX_INTEGER
}

/// 2^53 - 1 (RFC 7493 §2.2).
const MAX_INTEGER: u64 = 9_007_199_254_740_991;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        for written in ["1", "-7", "0", "\"\"", "\"a\"", "9007199254740991"] {
            assert_eq!(RequestId::parse(written).unwrap().as_json(), written);
        }
        for written in [
            "null",
            "1.5",
            "1.0",
            "1e3",
            "true",
            "{}",
            "[1]",
            "9007199254740992",
            r#"{"$serde_json::private::RawValue":"1"}"#,
            "",
            "1 2",
        ] {
            assert!(RequestId::parse(written).is_none(), "{written}");
        }
    }

    #[test]
    fn an_id_keeps_its_spelling_and_compares_by_value() {
        let escaped = RequestId::parse(r#""\u0061""#).unwrap();
        assert_eq!(escaped.as_json(), r#""\u0061""#);
        assert_eq!(escaped, RequestId::parse("\"a\"").unwrap());
        assert_ne!(RequestId::parse("1").unwrap(), RequestId::parse("\"1\"").unwrap());
    }
}
