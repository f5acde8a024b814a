//! What policy reads of the arguments of a call: flat fields of few types (design, section 7 and invariant 11).
//!
//! A field's name is its JSON Pointer without the leading slash. Its type follows from the schema, so that a rule
//! that compares numbers meets the same type in every call: a `number` is a decimal even where it is whole. Secret
//! fields never enter. What cannot be represented is an error, for a rule that finds a field missing might permit.

use crate::declared::{Place, Reading, Walk};
use crate::envelope::Object;
use crate::header_parameter::integral;
use crate::schema::InputSchema;
use crate::subschema::escaped;
use serde_json::{Number, Value};
use std::collections::BTreeSet;
use std::fmt;

/// One value that policy reads.
#[derive(Clone, PartialEq, Eq)]
pub enum Field {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A number with one to four decimal places, within what a policy's decimal holds.
    Decimal(String),
    /// A truth value.
    Flag(bool),
    /// A list of texts, without order.
    Texts(BTreeSet<String>),
}

/// Why arguments cannot be read by policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A number has more than four decimal places, or is too large for a decimal.
    #[error("the number at `{0}` cannot be represented for policy")]
    Number(String),
    /// There are more fields than policy reads.
    #[error("there are more than {MAX_FIELDS} fields")]
    TooMany,
}

/// The fields of arguments. Null counts as absent; a list of texts is one field, any other list one field for each
/// element.
///
/// # Errors
/// A value that cannot be represented, by its place.
pub fn policy_fields(schema: &InputSchema, arguments: &Object) -> Result<Vec<(String, Field)>, FieldError> {
    let value = Value::Object(arguments.clone());
    let walk = schema.walk(Reading::Any);
    let mut found = Vec::new();
    flatten(&walk, Some(&walk.start(&value)), &value, "", &mut found)?;
    Ok(found)
}

/// The places of secret values in arguments, as JSON Pointers: those that their schema marks with `writeOnly: true`,
/// `format: password` or `x-chancery-secret: true`.
pub fn secret_fields(schema: &InputSchema, arguments: &Object) -> Vec<String> {
    let value = Value::Object(arguments.clone());
    let walk = schema.walk(Reading::Any);
    let mut found = Vec::new();
    collect_secrets(&walk, &walk.start(&value), &value, "", &mut found);
    found
}

fn flatten(
    walk: &Walk<'_>,
    place: Option<&Place<'_>>,
    value: &Value,
    path: &str,
    found: &mut Vec<(String, Field)>,
) -> Result<(), FieldError> {
    if place.is_some_and(is_secret) {
        return Ok(());
    }
    let field = match value {
        Value::Null => return Ok(()),
        Value::Bool(flag) => Field::Flag(*flag),
        Value::String(text) => Field::Text(text.clone()),
        Value::Number(number) => {
            let field = number_field(number, place.is_some_and(is_decimal));
            field.ok_or_else(|| FieldError::Number(format!("/{path}")))?
        }
        Value::Array(elements) if elements.iter().all(Value::is_string) => {
            // An element may be secret where the list is not.
            let texts = elements.iter().enumerate().filter(|(index, element)| {
                let inner = place.map(|place| walk.element(place, *index, element));
                !inner.as_ref().is_some_and(is_secret)
            });
            Field::Texts(
                texts
                    .filter_map(|(_, text)| text.as_str().map(str::to_owned))
                    .collect(),
            )
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let inner = place.map(|place| walk.element(place, index, element));
                flatten(
                    walk,
                    inner.as_ref(),
                    element,
                    &below(path, &index.to_string()),
                    found,
                )?;
            }
            return Ok(());
        }
        Value::Object(members) => {
            for (name, member) in members {
                let inner = place.and_then(|place| walk.member(place, name, member));
                flatten(walk, inner.as_ref(), member, &below(path, &escaped(name)), found)?;
            }
            return Ok(());
        }
    };
    if found.len() >= MAX_FIELDS {
        return Err(FieldError::TooMany);
    }
    found.push((path.to_owned(), field));
    Ok(())
}

fn below(path: &str, token: &str) -> String {
    if path.is_empty() {
        return token.to_owned();
    }
    format!("{path}/{token}")
}

fn collect_secrets(walk: &Walk<'_>, place: &Place<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    if is_secret(place) {
        found.push(path.to_owned());
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Some(place) = walk.member(place, name, member) {
                    let path = format!("{path}/{}", escaped(name));
                    collect_secrets(walk, &place, member, &path, found);
                }
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let place = walk.element(place, index, element);
                collect_secrets(walk, &place, element, &format!("{path}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret(place: &Place<'_>) -> bool {
    place.schemas().any(|schema| {
        schema.get("writeOnly") == Some(&Value::Bool(true))
            || schema.get("x-chancery-secret") == Some(&Value::Bool(true))
            || schema.get("format").and_then(Value::as_str) == Some("password")
    })
}

/// Whether the schema says `number` and nowhere `integer`.
fn is_decimal(place: &Place<'_>) -> bool {
    let says = |schema: &Object, kind: &str| match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(list)) => list.iter().any(|one| one == kind),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    let any = |kind| place.schemas().any(|schema| says(schema, kind));
    any("number") && !any("integer")
}

fn number_field(number: &Number, is_decimal: bool) -> Option<Field> {
    let whole = number.as_i64().or_else(|| integral(number.as_f64()?));
    match whole {
        Some(whole) if is_decimal => {
            (whole.unsigned_abs() <= MAX_DECIMAL).then(|| Field::Decimal(format!("{whole}.0")))
        }
        Some(whole) => Some(Field::Number(whole)),
        None => decimal(&number.to_string()).map(Field::Decimal),
    }
}

/// The text of a fraction, if it is a decimal of at most four places.
fn decimal(text: &str) -> Option<String> {
    let (whole, places) = text.split_once('.')?;
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let whole: i64 = whole.parse().ok()?;
    let fits = whole.unsigned_abs() < MAX_DECIMAL && (1..=4).contains(&places.len());
    (is_plain && fits).then(|| text.to_owned())
}

/// Values are of the caller and do not print.
impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Number(_) => "Number",
            Self::Decimal(_) => "Decimal",
            Self::Flag(_) => "Flag",
            Self::Texts(_) => "Texts",
        })
    }
}

/// The most fields of one call.
pub const MAX_FIELDS: usize = 512;

/// The whole part of the largest decimal of a policy, which counts ten-thousandths in 64 bits.
const MAX_DECIMAL: u64 = 922_337_203_685_477;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(schema: &Value, arguments: &Value) -> Result<Vec<(String, Field)>, FieldError> {
        let schema = InputSchema::compile(schema).unwrap();
        policy_fields(&schema, arguments.as_object().unwrap())
    }

    fn names(schema: &Value, arguments: &Value) -> Vec<String> {
        fields(schema, arguments)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    fn one(schema: &Value, value: &Value) -> Result<Field, FieldError> {
        let found = fields(&json!({"properties": {"x": schema}}), &json!({"x": value}))?;
        Ok(found.into_iter().next().unwrap().1)
    }

    #[test]
    fn arguments_become_flat_fields() {
        let schema = json!({"properties": {
            "to": {"properties": {"e/mail": {}}}, "amount": {"type": "integer"}, "urgent": {}, "tags": {},
            "lines": {"items": {"properties": {"n": {}}}}, "none": {},
        }});
        let arguments = json!({
            "to": {"e/mail": "a"}, "amount": 5, "urgent": true, "tags": ["x", "y", "x"],
            "lines": [{"n": 1}, {"n": "b"}], "none": null,
        });
        let texts = ["x", "y"].map(str::to_owned).into();
        let expected = [
            ("to/e~1mail", Field::Text("a".into())),
            ("amount", Field::Number(5)),
            ("urgent", Field::Flag(true)),
            ("tags", Field::Texts(texts)),
            ("lines/0/n", Field::Number(1)),
            ("lines/1/n", Field::Text("b".into())),
        ];
        let found = fields(&schema, &arguments).unwrap();
        assert!(found == expected.map(|(name, field)| (name.to_owned(), field)));
    }

    #[test]
    fn the_type_of_a_number_follows_from_the_schema() {
        let number = json!({"type": "number"});
        assert!(one(&number, &json!(10)) == Ok(Field::Decimal("10.0".into())));
        assert!(one(&number, &json!(10.25)) == Ok(Field::Decimal("10.25".into())));
        assert!(one(&number, &json!(-0.0)) == Ok(Field::Decimal("0.0".into())));
        assert!(one(&json!({"type": ["number", "null"]}), &json!(-1)) == Ok(Field::Decimal("-1.0".into())));
        assert!(one(&json!({"type": "integer"}), &json!(10.0)) == Ok(Field::Number(10)));
        assert!(one(&json!({}), &json!(10)) == Ok(Field::Number(10)));
        assert!(one(&json!({}), &json!(-0.5)) == Ok(Field::Decimal("-0.5".into())));
    }

    #[test]
    fn numbers_that_policy_cannot_hold_are_errors() {
        let number = json!({"type": "number"});
        for value in [
            json!(0.12345),
            json!(1e-7),
            json!(922_337_203_685_478_i64),
            json!(922_337_203_685_477.5),
        ] {
            assert!(
                one(&number, &value) == Err(FieldError::Number("/x".into())),
                "{value}"
            );
        }
        assert!(one(&number, &json!(922_337_203_685_477_i64)).is_ok());
        assert!(one(&number, &json!(922_337_203_685_476.5)).is_ok());
    }

    #[test]
    fn secret_fields_never_enter() {
        let schema = json!({
            "properties": {
                "password": {"type": "string", "format": "password"},
                "key": {"$ref": "#/$defs/key"},
                "open": {"type": "string"},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer", "writeOnly": true}]},
                "list": {"items": {"x-chancery-secret": true}},
                "map": {"additionalProperties": {"writeOnly": true}},
            },
            "$defs": {"key": {"type": "object", "x-chancery-secret": true, "properties": {"pem": {}}}},
        });
        let arguments = json!({
            "password": "a", "key": {"pem": "b"}, "open": "c", "either": "d", "list": ["e"], "map": {"m": "f"},
        });
        assert_eq!(names(&schema, &arguments), ["open", "list"]);
        assert!(fields(&schema, &arguments).unwrap()[1].1 == Field::Texts(BTreeSet::new()));
        let compiled = InputSchema::compile(&schema).unwrap();
        assert_eq!(
            secret_fields(&compiled, arguments.as_object().unwrap()),
            ["/password", "/key", "/either", "/list/0", "/map/m"]
        );
    }

    #[test]
    fn a_mark_in_data_makes_nothing_secret() {
        let schema = json!({"properties": {"writeOnly": {"type": "string", "default": {"writeOnly": true}}}});
        assert_eq!(names(&schema, &json!({"writeOnly": "a"})), ["writeOnly"]);
    }

    #[test]
    fn more_fields_than_policy_reads_are_an_error() {
        let list: Vec<u32> = (0..513).collect();
        let schema = json!({"properties": {"a": {}}});
        assert!(fields(&schema, &json!({"a": list})) == Err(FieldError::TooMany));
        assert_eq!(names(&schema, &json!({"a": list[..512]})).len(), 512);
    }

    #[test]
    fn values_do_not_print() {
        let printed = format!("{:?}", one(&json!({}), &json!("s3cr3t")));
        assert!(!printed.contains("s3cr3t"));
    }
}
