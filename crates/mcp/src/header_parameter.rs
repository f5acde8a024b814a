//! Arguments that travel in headers too: the annotation `x-mcp-header` of a tool's input schema (2026-07-28 streamable
//! HTTP, "Custom Headers from Tool Parameters"; SEP-2243).
//!
//! A schema with an annotation that breaks a rule makes the whole tool unusable. Arguments are not validated here
//! (`schema`).

use crate::envelope::Object;
use crate::headers::HeaderError;
use crate::subschema::children;
use serde_json::Value;
use std::collections::BTreeSet;

/// Every annotated parameter of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderParameters {
    list: Vec<HeaderParameter>,
}

/// One annotated parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParameter {
    header: String,
    path: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Flag,
}

/// Why the annotations of a tool are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// An annotation where `properties` alone does not lead.
    #[error("`x-mcp-header` stands where `properties` alone does not lead")]
    Place,
    /// The name is not a token of HTTP (RFC 9110 §5.6.2).
    #[error("`x-mcp-header` is not a name of a header")]
    Name,
    /// Two annotations have one name, but for case.
    #[error("`x-mcp-header` names one header twice")]
    Repeated,
    /// The parameter is not a string, an integer or a boolean.
    #[error("`x-mcp-header` annotates no string, integer or boolean")]
    Type,
}

impl HeaderParameters {
    /// Reads the annotations of an input schema.
    ///
    /// # Errors
    /// The rule that an annotation breaks.
    pub fn of_schema(schema: &Value) -> Result<Self, AnnotationError> {
        let mut list = Vec::new();
        if schema.get(ANNOTATION).is_some() {
            return Err(AnnotationError::Place);
        }
        collect(schema, &[], &mut list)?;

        let names: BTreeSet<String> = list.iter().map(|one| one.header.to_ascii_lowercase()).collect();
        if names.len() < list.len() {
            return Err(AnnotationError::Repeated);
        }
        Ok(Self { list })
    }

    /// The parameters.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderParameter> {
        self.list.iter()
    }
}

impl HeaderParameter {
    /// The whole name of its header.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The text that its header says for these arguments; nothing if the argument is missing or null.
    ///
    /// # Errors
    /// The argument has not the type that the annotation demands.
    pub fn text(&self, arguments: &Object) -> Result<Option<String>, HeaderError> {
        let mismatch = || HeaderError::Mismatch(self.header.clone());
        match (self.kind, self.value(arguments)) {
            (_, None | Some(Value::Null)) => Ok(None),
            (Kind::Text, Some(Value::String(text))) => Ok(Some(text.clone())),
            (Kind::Flag, Some(Value::Bool(flag))) => Ok(Some(flag.to_string())),
            (Kind::Integer, Some(Value::Number(number))) => {
                let integer = number.as_i64().or_else(|| integral(number.as_f64()?));
                integer
                    .map(|integer| Some(integer.to_string()))
                    .ok_or_else(mismatch)
            }
            (Kind::Text | Kind::Flag | Kind::Integer, Some(_)) => Err(mismatch()),
        }
    }

    /// Whether a decoded header says what `text` says. Integers are compared as numbers.
    pub fn says(&self, header: &str, text: &str) -> bool {
        match self.kind {
            Kind::Text | Kind::Flag => header == text,
            Kind::Integer => {
                let digits = header.strip_prefix('-').unwrap_or(header);
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                let number = header.parse::<f64>().ok().filter(|_| is_number);
                number
                    .and_then(integral)
                    .is_some_and(|number| number.to_string() == text)
            }
        }
    }

    fn value<'a>(&self, arguments: &'a Object) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        rest.iter()
            .try_fold(arguments.get(first)?, |value, name| value.get(name))
    }
}

fn collect(schema: &Value, path: &[String], list: &mut Vec<HeaderParameter>) -> Result<(), AnnotationError> {
    for child in children(schema) {
        if child.keyword != "properties" {
            check_free(child.schema)?;
            continue;
        }
        let mut inner = path.to_vec();
        inner.push(last_token(&child.pointer));
        if let Some(name) = child.schema.get(ANNOTATION) {
            list.push(HeaderParameter {
                header: header_name(name)?,
                path: inner.clone(),
                kind: kind(child.schema)?,
            });
        }
        collect(child.schema, &inner, list)?;
    }
    Ok(())
}

/// No annotation stands here or below.
fn check_free(schema: &Value) -> Result<(), AnnotationError> {
    if schema.get(ANNOTATION).is_some() {
        return Err(AnnotationError::Place);
    }
    children(schema)
        .iter()
        .try_for_each(|child| check_free(child.schema))
}

fn header_name(name: &Value) -> Result<String, AnnotationError> {
    let name = name.as_str().ok_or(AnnotationError::Name)?;
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_token) {
        return Err(AnnotationError::Name);
    }
    Ok(format!("{PREFIX}{name}"))
}

fn kind(schema: &Value) -> Result<Kind, AnnotationError> {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") => Ok(Kind::Text),
        Some("integer") => Ok(Kind::Integer),
        Some("boolean") => Ok(Kind::Flag),
        Some(_) | None => Err(AnnotationError::Type),
    }
}

fn last_token(pointer: &str) -> String {
    let token = pointer.rsplit('/').next().unwrap_or_default();
    token.replace("~1", "/").replace("~0", "~")
}

/// The integer that a double is, within what a double holds exactly.
pub(crate) fn integral(number: f64) -> Option<i64> {
    let is_integer = number.fract() == 0.0 && number.abs() <= MAX_INTEGER;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an integer within ±(2^53 - 1), as was just checked"
    )]
    is_integer.then_some(number as i64)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// What the names of such headers start with.
pub const PREFIX: &str = "Mcp-Param-";

/// The keyword of the annotation.
const ANNOTATION: &str = "x-mcp-header";

/// The longest name.
const MAX_NAME: usize = 128;

/// 2^53 - 1 (RFC 7493 §2.2).
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(properties: &Value) -> Result<HeaderParameters, AnnotationError> {
        HeaderParameters::of_schema(&json!({"type": "object", "properties": properties}))
    }

    fn texts(schema: &Value, arguments: &Value) -> Vec<Option<String>> {
        let parameters = of(schema).unwrap();
        let arguments = arguments.as_object().unwrap();
        parameters
            .iter()
            .map(|one| one.text(arguments).unwrap())
            .collect()
    }

    #[test]
    fn annotations_are_read_along_properties() {
        let schema = json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "a/b": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "Count"}}},
            "flag": {"type": "boolean", "x-mcp-header": "Flag"},
        });
        let names: Vec<String> = of(&schema)
            .unwrap()
            .iter()
            .map(|one| one.header().to_owned())
            .collect();
        assert_eq!(names, ["Mcp-Param-Region", "Mcp-Param-Count", "Mcp-Param-Flag"]);
        let arguments = json!({"region": "eu", "a/b": {"n": 42.0}, "flag": false});
        assert_eq!(
            texts(&schema, &arguments),
            [Some("eu".into()), Some("42".into()), Some("false".into())]
        );
        assert_eq!(texts(&schema, &json!({"region": null})), [None, None, None]);
    }

    #[test]
    fn annotations_elsewhere_make_the_tool_invalid() {
        let annotated = json!({"type": "string", "x-mcp-header": "X"});
        for schema in [
            json!({"x-mcp-header": "X"}),
            json!({"properties": {"a": {"type": "array", "items": annotated}}}),
            json!({"properties": {"a": {"oneOf": [annotated]}}}),
            json!({"allOf": [{"properties": {"a": annotated}}]}),
            json!({"$defs": {"a": annotated}}),
            json!({"additionalProperties": annotated}),
        ] {
            assert_eq!(
                HeaderParameters::of_schema(&schema),
                Err(AnnotationError::Place),
                "{schema}"
            );
        }
        let data = json!({"properties": {"a": {"type": "string", "default": {"x-mcp-header": "X"}}}});
        assert_eq!(HeaderParameters::of_schema(&data).unwrap().iter().count(), 0);
    }

    #[test]
    fn names_are_tokens_and_differ() {
        for name in [
            json!(""),
            json!("a b"),
            json!("a:b"),
            json!("a\r\nb"),
            json!("é"),
            json!(1),
        ] {
            let schema = json!({"a": {"type": "string", "x-mcp-header": name}});
            assert_eq!(of(&schema), Err(AnnotationError::Name), "{name}");
        }
        let schema = json!({
            "a": {"type": "string", "x-mcp-header": "Region"},
            "b": {"type": "string", "x-mcp-header": "region"},
        });
        assert_eq!(of(&schema), Err(AnnotationError::Repeated));
    }

    #[test]
    fn only_strings_integers_and_booleans_are_annotated() {
        for kind in [
            json!("number"),
            json!("object"),
            json!("array"),
            json!(["string"]),
            Value::Null,
        ] {
            let schema = json!({"a": {"type": kind, "x-mcp-header": "A"}});
            assert_eq!(of(&schema), Err(AnnotationError::Type), "{kind}");
        }
    }

    #[test]
    fn an_argument_of_another_type_is_a_mismatch() {
        let parameters = of(&json!({"a": {"type": "integer", "x-mcp-header": "A"}})).unwrap();
        for value in [json!("1"), json!(1.5), json!(true), json!([1])] {
            let arguments = json!({"a": value});
            let text = parameters
                .iter()
                .next()
                .unwrap()
                .text(arguments.as_object().unwrap());
            assert_eq!(text, Err(HeaderError::Mismatch("Mcp-Param-A".into())), "{value}");
        }
    }

    #[test]
    fn integers_are_compared_as_numbers() {
        let parameters = of(&json!({"a": {"type": "integer", "x-mcp-header": "A"}})).unwrap();
        let one = parameters.iter().next().unwrap();
        assert!(one.says("42", "42") && one.says("42.0", "42") && one.says("-7", "-7"));
        for header in ["43", "42.5", "4.2e1", "+42", " 42", "0x2a", "NaN", "inf", ""] {
            assert!(!one.says(header, "42"), "{header}");
        }
    }
}
