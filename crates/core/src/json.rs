//! Strict JSON: one text has one meaning, or it is refused.
//!
//! Implements the parser side of I-JSON (RFC 7493 §2): UTF-8 without a byte order mark, no lone
//! surrogates (§2.1), integers that a double holds exactly (§2.2), no duplicate members at any
//! depth (§2.3, also RFC 7515 §4 and RFC 7519 §4). Adds limits on size and nesting.
//!
//! It does not refuse Unicode noncharacters and does not look at how many digits a fraction has.

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// What a text may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// The longest text, in bytes.
    pub max_bytes: usize,
    /// The deepest nesting; the outermost object or array counts as one.
    pub max_depth: usize,
}

impl JsonLimits {
    /// A text of at most `max_bytes` with the usual depth of 32.
    pub const fn of_bytes(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_depth: MAX_DEPTH,
        }
    }
}

/// Why a text is not acceptable JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is longer than the limit.
    #[error("json text is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not UTF-8 (RFC 8259 §8.1).
    #[error("json text is not utf-8")]
    NotUtf8,
    /// The text does not follow the grammar (RFC 8259 §2), or holds a number that overflows.
    #[error("malformed json at line {line}, column {column}")]
    Malformed {
        /// The line, from one.
        line: usize,
        /// The column, from one.
        column: usize,
    },
    /// An object names a member twice (RFC 7493 §2.3).
    #[error("json object has a duplicate member")]
    DuplicateMember,
    /// Objects and arrays are nested deeper than the limit.
    #[error("json text is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit in levels.
        limit: usize,
    },
    /// A number whose magnitude is over 2^53 - 1, which receivers would read differently
    /// (RFC 7493 §2.2).
    #[error("json number is outside the interoperable range")]
    NumberOutOfRange,
    /// The text is valid but is not an object.
    #[error("json text is not an object")]
    NotAnObject,
}

/// Parses a text that must be one JSON object.
///
/// # Errors
/// Every rule of [`JsonError`].
pub fn parse_object(text: &[u8], limits: JsonLimits) -> Result<Map<String, Value>, JsonError> {
    let Value::Object(members) = parse_value(text, limits)? else {
        return Err(JsonError::NotAnObject);
    };
    Ok(members)
}

/// Parses a text that may be any JSON value.
///
/// # Errors
/// Every rule of [`JsonError`] but [`JsonError::NotAnObject`].
pub fn parse_value(text: &[u8], limits: JsonLimits) -> Result<Value, JsonError> {
    if text.len() > limits.max_bytes {
        return Err(JsonError::TooLarge {
            limit: limits.max_bytes,
        });
    }
    let text = std::str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;

    let fault = Cell::new(None);
    let strict = Strict {
        limit: limits.max_depth,
        depth: 0,
        fault: &fault,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));

    parsed.map_err(|error| {
        fault.get().unwrap_or(JsonError::Malformed {
            line: error.line(),
            column: error.column(),
        })
    })
}

/// Builds a `Value` and stops at the first broken rule. serde's errors carry only text, so the rule
/// that broke travels beside them in `fault`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    limit: usize,
    depth: usize,
    fault: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, rule: JsonError) -> E {
        self.fault.set(Some(rule));
        E::custom("refused")
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.limit {
            return Err(self.refuse(JsonError::TooDeep { limit: self.limit }));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a json value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_INTEGER {
            return Err(self.refuse(JsonError::NumberOutOfRange));
        }
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_INTEGER {
            return Err(self.refuse(JsonError::NumberOutOfRange));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // Integers beyond 64 bits arrive here too, already rounded: hence the same bound.
        if value.is_finite() && value.abs() <= MAX_MAGNITUDE {
            return Ok(Value::from(value));
        }
        Err(self.refuse(JsonError::NumberOutOfRange))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if map.insert(name, value).is_some() {
                return Err(self.refuse(JsonError::DuplicateMember));
            }
        }
        Ok(Value::Object(map))
    }
}

/// The usual depth limit.
const MAX_DEPTH: usize = 32;

/// 2^53 - 1: the largest integer that every receiver reads alike (RFC 7493 §2.2).
const MAX_INTEGER: u64 = 9_007_199_254_740_991;

/// The same bound for numbers that are not written as a 64-bit integer.
const MAX_MAGNITUDE: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JsonLimits = JsonLimits::of_bytes(4096);

    fn error(text: &[u8]) -> JsonError {
        parse_value(text, LIMITS).expect_err("should be refused")
    }

    fn nested(levels: usize) -> String {
        format!("{}0{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn valid_object_is_parsed_in_order() {
        let text = br#"{"b":1,"a":[true,null,"x",-2,1.5,{"c":{}}]}"#;
        let members = parse_object(text, LIMITS).expect("valid");
        assert_eq!(serde_json::to_vec(&members).expect("prints"), text);
    }

    #[test]
    fn duplicate_member_is_refused_at_any_depth() {
        assert_eq!(error(br#"{"a":1,"a":1}"#), JsonError::DuplicateMember);
        assert_eq!(
            error(br#"{"x":[{"a":1,"b":2,"a":3}]}"#),
            JsonError::DuplicateMember
        );
    }

    #[test]
    fn duplicate_member_is_refused_when_spelled_with_an_escape() {
        assert_eq!(error(br#"{"exp":1,"\u0065xp":2}"#), JsonError::DuplicateMember);
    }

    #[test]
    fn invalid_utf8_and_lone_surrogates_are_refused() {
        assert_eq!(error(b"{\"a\":\"\xff\"}"), JsonError::NotUtf8);
        assert!(matches!(error(br#""\ud800""#), JsonError::Malformed { .. }));
        assert!(matches!(error(b"\xef\xbb\xbf{}"), JsonError::Malformed { .. }));
    }

    #[test]
    fn integers_beyond_a_double_are_refused() {
        assert!(parse_value(b"9007199254740991", LIMITS).is_ok());
        assert!(parse_value(b"-9007199254740991", LIMITS).is_ok());
        for text in [
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551616",
            "1e300",
        ] {
            assert_eq!(error(text.as_bytes()), JsonError::NumberOutOfRange, "{text}");
        }
        assert!(matches!(error(b"1e999"), JsonError::Malformed { .. }));
    }

    #[test]
    fn nesting_up_to_the_limit_is_accepted_and_one_more_refused() {
        assert!(parse_value(nested(32).as_bytes(), LIMITS).is_ok());
        assert_eq!(error(nested(33).as_bytes()), JsonError::TooDeep { limit: 32 });
        let bomb = nested(100_000);
        let limits = JsonLimits::of_bytes(1_000_000);
        assert_eq!(
            parse_value(bomb.as_bytes(), limits),
            Err(JsonError::TooDeep { limit: 32 })
        );
    }

    #[test]
    fn text_over_the_size_limit_is_refused_unread() {
        let limits = JsonLimits::of_bytes(3);
        assert_eq!(
            parse_value(b"[[[[", limits),
            Err(JsonError::TooLarge { limit: 3 })
        );
    }

    #[test]
    fn fractions_keep_their_last_digit() {
        for text in ["0.9", "112233445.5667788", "2.638344616030823e-256"] {
            let value = parse_value(text.as_bytes(), LIMITS).expect("valid");
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn trailing_text_and_lax_grammar_are_refused() {
        let lax = [
            "{} {}",
            "{,}",
            "[1,]",
            "{'a':1}",
            "{\"a\":01}",
            "NaN",
            "",
            "// x",
            "{\"a\":1",
            "\"\t\"",
        ];
        for text in lax {
            assert!(
                matches!(error(text.as_bytes()), JsonError::Malformed { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn object_is_required_where_asked() {
        for text in ["[]", "1", "\"a\"", "null", "true"] {
            assert_eq!(parse_object(text.as_bytes(), LIMITS), Err(JsonError::NotAnObject));
        }
    }

    proptest::proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(
            members in proptest::collection::hash_map(".{0,12}", -9_007_199_254_740_991i64..9_007_199_254_740_991, 0..8),
        ) {
            let value = serde_json::to_value(&members).expect("value");
            let text = serde_json::to_vec(&value).expect("prints");
            proptest::prop_assert_eq!(parse_value(&text, LIMITS), Ok(value));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse_value(&bytes, LIMITS);
        }
    }
}
