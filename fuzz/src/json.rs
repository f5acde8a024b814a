//! Strict JSON (RFC 7493): whatever is accepted means the same to another parser, and prints back to itself.

use chancery_core::json::{JsonLimits, parse_object, parse_value};
use serde_json::Value;

pub fn run(input: &[u8]) {
    let limits = JsonLimits::of_bytes(4_096);
    let Ok(value) = parse_value(input, limits) else {
        assert!(parse_object(input, limits).is_err(), "an object that is no value");
        return;
    };

    assert!(input.len() <= limits.max_bytes, "a text over the limit was read");
    assert!(
        depth(&value) <= limits.max_depth,
        "a text deeper than the limit was read"
    );
    // An object with this member is one text inside another to the other parser, whose library uses it for itself.
    if contains(input, b"$serde_json::private") {
        return;
    }
    let other: Value = serde_json::from_slice(input).expect("another parser refuses what we accept");
    assert_eq!(value, other, "two parsers read two values");
    assert_eq!(parse_object(input, limits).is_ok(), value.is_object());

    let printed = serde_json::to_vec(&value).expect("a value prints");
    let wide = JsonLimits::of_bytes(1 << 20);
    let again = parse_value(&printed, wide).expect("what we print we read");
    assert!(are_alike(&again, &value), "printing changed the value");
    if let Value::Object(members) = &value
        && let Some((name, member)) = members.iter().next()
    {
        let name = Value::from(name.as_str());
        let body = String::from_utf8(printed).expect("JSON is UTF-8");
        let twice = format!("{{{name}:{member},{}", &body[1..]);
        assert!(
            parse_value(twice.as_bytes(), wide).is_err(),
            "a duplicate member was read"
        );
    }
}

/// Whether two values are the same but for the last digits of fractions, which the library below rounds.
fn are_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(0.0), other.as_f64().unwrap_or(0.0));
            (one - other).abs() <= 4.0 * f64::EPSILON * one.abs()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| are_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let pairs = || one.iter().zip(other);
            one.len() == other.len()
                && pairs().all(|(one, other)| one.0 == other.0 && are_alike(one.1, other.1))
        }
        _ => one == other,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
