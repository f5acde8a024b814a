//! Authorization details (RFC 9396 §2): what is asked for, and given, in more detail than a scope says.
//!
//! A detail is an object with a `type`. Two are the same if their canonical forms (RFC 8785) are, and one list is within
//! another if each of its details is there: nothing is judged to be "less" than something else. Which types a resource
//! knows is in [`DetailTypeSpec`]; whether the members fit their schema is not judged here.

use crate::json::{JsonError, JsonLimits, parse_value};
use crate::scope::ScopeSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Why a text is no list of authorization details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailError {
    /// Not strict JSON, or too long.
    #[error("authorization_details are not acceptable json: {0}")]
    Json(#[from] JsonError),
    /// Not a list of objects.
    #[error("authorization_details are a list of objects")]
    NotObjects,
    /// More than [`MAX_DETAILS`].
    #[error("there are more than {MAX_DETAILS} authorization details")]
    TooMany,
    /// A detail without a type, or with one that no type is named like (RFC 9396 §2).
    #[error("a detail has a `type` of 1 to 128 printable ASCII characters without space")]
    Type,
    /// `locations` is not a list of texts (RFC 9396 §2.2).
    #[error("`locations` of a detail is a list of texts")]
    Locations,
    /// The same detail twice: nobody knows whether once or twice is meant.
    #[error("a detail is listed twice")]
    Repeated,
    /// A number without a canonical form.
    #[error("a number has no canonical form")]
    Number,
}

/// The type of a detail: a name, or a URI that its maker controls (RFC 9396 §2.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DetailType(Arc<str>);

impl DetailType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for DetailType {
    type Err = DetailError;

    fn from_str(text: &str) -> Result<Self, DetailError> {
        let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if (1..=MAX_TYPE).contains(&text.len()) && is_printable {
            return Ok(Self(text.into()));
        }
        Err(DetailError::Type)
    }
}

impl fmt::Display for DetailType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DetailType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for DetailType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a resource knows about a type of details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DetailTypeSpec {
    /// What such a detail allows, in plain words.
    pub description: String,
    /// The JSON Schema of its members, without `type` and `locations`. What it does not declare is refused.
    #[serde(default = "no_members")]
    pub schema: Value,
    /// The scopes that it says more about: a token has such a detail only along with all of them, so that whatever limits
    /// the scopes limits the detail.
    pub scopes: ScopeSet,
    /// Whether these scopes are given only along with such a detail, so that who agreed to one detail did not agree to
    /// everything that the scopes alone would allow. Yes if not said.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub required: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// The schema of a type that has no members but `type` and `locations`.
fn no_members() -> Value {
    serde_json::json!({ "type": "object", "properties": {} })
}

/// One detail, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationDetail {
    kind: DetailType,
    object: Map<String, Value>,
}

impl AuthorizationDetail {
    fn new(object: Map<String, Value>) -> Result<Self, DetailError> {
        let Value::Object(object) = canonical(&Value::Object(object))? else {
            return Err(DetailError::NotObjects);
        };
        let kind = object.get("type").and_then(Value::as_str);
        let kind = kind.ok_or(DetailError::Type)?.parse()?;
        let are_texts = |value: &Value| {
            let list = value.as_array();
            list.is_some_and(|list| list.iter().all(Value::is_string))
        };
        if !object.get("locations").is_none_or(are_texts) {
            return Err(DetailError::Locations);
        }
        Ok(Self { kind, object })
    }

    /// Its type.
    pub const fn kind(&self) -> &DetailType {
        &self.kind
    }

    /// Where it holds, as it says itself (RFC 9396 §2.2); nothing if it does not say.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        let list = self.object.get("locations").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it may hold at a resource: it names that one, or none.
    pub fn is_at(&self, uri: &str) -> bool {
        self.locations().all(|location| location == uri)
    }

    /// Its members, without `type` and `locations`.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = self.object.clone();
        members.shift_remove("type");
        members.shift_remove("locations");
        members
    }

    /// Its canonical text (RFC 8785).
    pub fn to_text(&self) -> String {
        Value::Object(self.object.clone()).to_string()
    }
}

/// A list of details, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationDetails(Vec<AuthorizationDetail>);

impl AuthorizationDetails {
    /// Reads the parameter (RFC 9396 §3).
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, DetailError> {
        Self::of_value(parse_value(text.as_bytes(), LIMITS)?)
    }

    fn of_value(value: Value) -> Result<Self, DetailError> {
        let Value::Array(list) = value else {
            return Err(DetailError::NotObjects);
        };
        if list.len() > MAX_DETAILS {
            return Err(DetailError::TooMany);
        }
        let mut details = Self::default();
        for value in list {
            let Value::Object(object) = value else {
                return Err(DetailError::NotObjects);
            };
            let detail = AuthorizationDetail::new(object)?;
            if details.0.contains(&detail) {
                return Err(DetailError::Repeated);
            }
            details.0.push(detail);
        }
        Ok(details)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &AuthorizationDetail> {
        self.0.iter()
    }

    /// Whether each of these is among others.
    pub fn is_within(&self, others: &Self) -> bool {
        self.0.iter().all(|detail| others.0.contains(detail))
    }

    /// Whether both have the same, in whatever order.
    pub fn is_same(&self, others: &Self) -> bool {
        self.is_within(others) && others.is_within(self)
    }

    /// Those that pass.
    #[must_use]
    pub fn filtered(&self, pass: impl FnMut(&&AuthorizationDetail) -> bool) -> Self {
        Self(self.0.iter().filter(pass).cloned().collect())
    }
}

impl Serialize for AuthorizationDetails {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|detail| &detail.object))
    }
}

impl<'de> Deserialize<'de> for AuthorizationDetails {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of_value(value).map_err(serde::de::Error::custom)
    }
}

/// What policies see of one detail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailFacts {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: DetailType,
    /// Its members, as policies see the arguments of a call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, crate::call::Argument>,
}

/// The same value as its canonical text (RFC 8785) reads: one spelling of each number, members in order.
fn canonical(value: &Value) -> Result<Value, DetailError> {
    let text = serde_json_canonicalizer::to_string(value).map_err(|_| DetailError::Number)?;
    serde_json::from_str(&text).map_err(|_| DetailError::Number)
}

/// The most details at once.
pub const MAX_DETAILS: usize = 8;
/// The longest text of them. They stand in every token, and tokens in headers.
const LIMITS: JsonLimits = JsonLimits {
    max_bytes: 2_048,
    max_depth: 8,
};
const MAX_TYPE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AuthorizationDetails, DetailError> {
        AuthorizationDetails::parse(text)
    }

    #[test]
    fn each_malformation_has_its_error() {
        let long = format!(r#"[{{"type":"a","b":"{}"}}]"#, "x".repeat(2_048));
        let many: Vec<String> = (0..9)
            .map(|number| format!(r#"{{"type":"a","n":{number}}}"#))
            .collect();
        for (text, expected) in [
            (
                r#"[{"type":"a","x":1,"x":2}]"#,
                DetailError::Json(JsonError::DuplicateMember),
            ),
            (
                long.as_str(),
                DetailError::Json(JsonError::TooLarge { limit: 2_048 }),
            ),
            (&format!("[{}]", many.join(",")), DetailError::TooMany),
            (r#"{"type":"a"}"#, DetailError::NotObjects),
            (r#"["a"]"#, DetailError::NotObjects),
            (r#"[{"amount":1}]"#, DetailError::Type),
            (r#"[{"type":7}]"#, DetailError::Type),
            (r#"[{"type":"a b"}]"#, DetailError::Type),
            (r#"[{"type":"a\u202eb"}]"#, DetailError::Type),
            (
                r#"[{"type":"a","locations":"https://a.example"}]"#,
                DetailError::Locations,
            ),
            (
                r#"[{"type":"a","n":1},{"n":1.0,"type":"a"}]"#,
                DetailError::Repeated,
            ),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert!(parse("[]").unwrap().is_empty());
    }

    #[test]
    fn details_are_the_same_by_their_canonical_form_and_in_no_other_way() {
        let asked = parse(r#"[{"type":"pay","amount":10.0,"to":{"b":1,"a":2}}]"#).unwrap();
        let same = parse(r#"[{"to":{"a":2,"b":1},"amount":1e1,"type":"pay"}]"#).unwrap();
        assert!(asked.is_same(&same));
        assert_eq!(asked, same);
        // Less money is not "less": nobody here knows what a member means.
        for other in [
            r#"[{"type":"pay","amount":9,"to":{"b":1,"a":2}}]"#,
            r#"[{"type":"pay","amount":"10","to":{"b":1,"a":2}}]"#,
            r#"[{"type":"pay","amount":10}]"#,
        ] {
            assert!(!parse(other).unwrap().is_within(&asked), "{other}");
        }
        assert!(AuthorizationDetails::default().is_within(&asked));
        assert!(!asked.is_within(&AuthorizationDetails::default()));
    }

    #[test]
    fn what_is_stored_reads_back_and_is_canonical() {
        let details = parse(r#"[{"type":"pay","b":2,"a":[1.50,"x"]}]"#).unwrap();
        let text = serde_json::to_string(&details).unwrap();
        assert_eq!(text, r#"[{"a":[1.5,"x"],"b":2,"type":"pay"}]"#);
        assert_eq!(
            serde_json::from_str::<AuthorizationDetails>(&text).unwrap(),
            details
        );
        assert_eq!(
            details.iter().next().unwrap().to_text(),
            r#"{"a":[1.5,"x"],"b":2,"type":"pay"}"#
        );
        assert!(serde_json::from_str::<AuthorizationDetails>(r#"[{"b":2}]"#).is_err());
    }

    #[test]
    fn a_detail_for_another_place_is_told() {
        let details = parse(
            r#"[{"type":"a"},{"type":"b","locations":["https://x.example"]},
                {"type":"c","locations":["https://x.example","https://y.example"]}]"#,
        )
        .unwrap();
        let at: Vec<bool> = details
            .iter()
            .map(|detail| detail.is_at("https://x.example"))
            .collect();
        assert_eq!(at, [true, true, false]);
        assert!(details.iter().all(|detail| detail.members().is_empty()));
    }
}
