//! Where schemas stand in a JSON Schema document (2020-12 Core §10 and §11; draft-07 §6 and §9).
//!
//! Knows which keywords hold schemas and which hold data, so that a property called `$ref` or an example with
//! `properties` is not taken for a schema. Does not say what a schema means.

use serde_json::Value;

/// A schema inside another.
#[derive(Clone, Debug)]
pub(crate) struct Subschema<'a> {
    /// The keyword that holds it.
    pub(crate) keyword: &'static str,
    /// Its place below the other, as a JSON Pointer (RFC 6901).
    pub(crate) pointer: String,
    /// The schema.
    pub(crate) schema: &'a Value,
}

/// The schemas that stand directly inside one.
pub(crate) fn children(schema: &Value) -> Vec<Subschema<'_>> {
    let Value::Object(members) = schema else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (keywords, is_named) in [(NAMED, true), (SINGLE_OR_LIST, false)] {
        for keyword in keywords {
            if let Some(value) = members.get(*keyword) {
                collect(keyword, value, is_named, &mut found);
            }
        }
    }
    found
}

fn collect<'a>(keyword: &'static str, value: &'a Value, is_named: bool, found: &mut Vec<Subschema<'a>>) {
    let pointer = format!("/{keyword}");
    match value {
        Value::Object(named) if is_named => {
            for (name, schema) in named.iter().filter(|(_, schema)| is_schema(schema)) {
                let pointer = format!("{pointer}/{}", escaped(name));
                found.push(Subschema {
                    keyword,
                    pointer,
                    schema,
                });
            }
        }
        Value::Array(list) if !is_named => {
            for (index, schema) in list.iter().enumerate() {
                let pointer = format!("{pointer}/{index}");
                found.push(Subschema {
                    keyword,
                    pointer,
                    schema,
                });
            }
        }
        Value::Object(_) | Value::Bool(_) if !is_named => found.push(Subschema {
            keyword,
            pointer,
            schema: value,
        }),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {}
    }
}

// `dependencies` of draft-07 also holds lists of names.
const fn is_schema(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Bool(_))
}

/// A name as a token of a JSON Pointer (RFC 6901 §3).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Keywords that hold schemas by name.
const NAMED: &[&str] = &[
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// Keywords that hold a schema or a list of them.
const SINGLE_OR_LIST: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_are_found_where_they_stand_and_data_is_not() {
        let schema = json!({
            "properties": {"$ref": {"type": "string"}, "a/b": true},
            "items": [{}, {}],
            "additionalProperties": false,
            "dependencies": {"x": ["y"], "z": {}},
            "anyOf": [{"not": {}}],
            "const": {"properties": {"no": {}}},
            "default": {"properties": {"no": {}}},
            "x-own": {"properties": {"no": {}}},
        });
        let mut pointers: Vec<String> = children(&schema).into_iter().map(|child| child.pointer).collect();
        pointers.sort();
        let expected = [
            "/additionalProperties",
            "/anyOf/0",
            "/dependencies/z",
            "/items/0",
            "/items/1",
            "/properties/$ref",
            "/properties/a~1b",
        ];
        assert_eq!(pointers, expected);
        for child in children(&schema) {
            assert_eq!(schema.pointer(&child.pointer), Some(child.schema));
        }
        assert!(children(&json!(true)).is_empty());
    }
}
