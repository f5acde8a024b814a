use super::*;
use serde_json::json;

fn compiled(schema: &Value) -> InputSchema {
    InputSchema::compile(schema).unwrap_or_else(|error| panic!("{error}: {schema}"))
}

fn check(schema: &Value, arguments: &Value) -> Result<(), ArgumentError> {
    compiled(schema).validate(arguments.as_object().unwrap())
}

fn undeclared(path: &str) -> Result<(), ArgumentError> {
    Err(ArgumentError {
        path: path.to_owned(),
        fault: ArgumentFault::Undeclared,
    })
}

fn unsatisfied_at(path: &str, keyword: &str) -> Result<(), ArgumentError> {
    Err(ArgumentError {
        path: path.to_owned(),
        fault: ArgumentFault::Unsatisfied {
            keyword: keyword.to_owned(),
        },
    })
}

#[test]
fn arguments_satisfy_the_schema() {
    let schema = json!({
        "type": "object",
        "properties": {"amount": {"type": "integer", "minimum": 1}, "to": {"type": "string"}},
        "required": ["amount"],
    });
    assert_eq!(check(&schema, &json!({"amount": 5, "to": "a"})), Ok(()));
    assert_eq!(
        check(&schema, &json!({"to": "a"})),
        unsatisfied_at("/amount", "required")
    );
    assert_eq!(
        check(&schema, &json!({"amount": "5"})),
        unsatisfied_at("/amount", "type")
    );
    assert_eq!(
        check(&schema, &json!({"amount": 0})),
        unsatisfied_at("/amount", "minimum")
    );
}

#[test]
fn undeclared_arguments_are_refused_at_every_level_where_the_schema_is_silent() {
    let schema = json!({
        "type": "object",
        "properties": {
            "to": {"type": "object", "properties": {"email": {"type": "string"}}},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"n": {}}}},
        },
    });
    assert_eq!(
        check(&schema, &json!({"to": {"email": "a"}, "lines": [{"n": 1}]})),
        Ok(())
    );
    assert_eq!(check(&schema, &json!({"admin": true})), undeclared("/admin"));
    assert_eq!(
        check(&schema, &json!({"to": {"email": "a", "bcc/x": "b"}})),
        undeclared("/to/bcc~1x")
    );
    assert_eq!(
        check(&schema, &json!({"lines": [{"n": 1}, {"m": 1}]})),
        undeclared("/lines/1/m")
    );
}

#[test]
fn a_member_that_differs_in_case_is_undeclared() {
    let schema = json!({"properties": {"amount": {"type": "integer"}}});
    assert_eq!(
        check(&schema, &json!({"amount": 1, "Amount": 1_000_000})),
        undeclared("/Amount")
    );
}

#[test]
fn a_schema_that_says_so_is_open() {
    let schema = json!({"properties": {"a": {}}, "additionalProperties": {"properties": {"x": {}}}});
    assert_eq!(check(&schema, &json!({"b": {"x": 1}})), Ok(()));
    assert_eq!(check(&schema, &json!({"b": {"y": 1}})), undeclared("/b/y"));
    assert_eq!(
        check(
            &json!({"properties": {}, "additionalProperties": true}),
            &json!({"b": 1})
        ),
        Ok(())
    );
    assert_eq!(
        check(
            &json!({"properties": {}, "additionalProperties": false}),
            &json!({"b": 1})
        ),
        unsatisfied_at("", "additionalProperties")
    );
    // A map has no `properties`.
    assert_eq!(
        check(
            &json!({"properties": {"m": {"type": "object"}}}),
            &json!({"m": {"any": 1}})
        ),
        Ok(())
    );
    assert_eq!(check(&json!({"type": "object"}), &json!({"any": 1})), Ok(()));
}

#[test]
fn parts_of_a_composition_declare_together() {
    let schema = json!({
        "allOf": [{"properties": {"a": {}}}, {"$ref": "#/$defs/b"}],
        "$defs": {"b": {"properties": {"b": {"properties": {"c": {}}}}}},
    });
    assert_eq!(check(&schema, &json!({"a": 1, "b": {"c": 1}})), Ok(()));
    assert_eq!(
        check(&schema, &json!({"a": 1, "b": {"d": 1}})),
        undeclared("/b/d")
    );
    assert_eq!(check(&schema, &json!({"c": 1})), undeclared("/c"));
}

#[test]
fn a_branch_that_does_not_match_declares_nothing() {
    for keyword in ["oneOf", "anyOf"] {
        let schema = json!({keyword: [
            {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}, "required": ["kind"]},
        ]});
        assert_eq!(check(&schema, &json!({"kind": "a", "x": 1})), Ok(()));
        assert_eq!(
            check(&schema, &json!({"kind": "a", "y": "anything"})),
            undeclared("/y")
        );
    }
    let schema = json!({
        "properties": {"kind": {}},
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"properties": {"x": {}}},
        "else": {"properties": {"y": {}}},
    });
    assert_eq!(check(&schema, &json!({"kind": "a", "x": 1})), Ok(()));
    assert_eq!(check(&schema, &json!({"kind": "b", "x": 1})), undeclared("/x"));
}

#[test]
fn patterns_and_dependencies_declare() {
    let schema = json!({"patternProperties": {"^x-[a-z]+$": {"type": "string"}}});
    assert_eq!(check(&schema, &json!({"x-a": "1"})), Ok(()));
    assert_eq!(check(&schema, &json!({"y": "1"})), undeclared("/y"));
    let schema = json!({"properties": {"a": {}}, "dependentSchemas": {"a": {"properties": {"b": {}}}}});
    assert_eq!(check(&schema, &json!({"a": 1, "b": 1})), Ok(()));
    assert_eq!(check(&schema, &json!({"b": 1})), undeclared("/b"));
}

#[test]
fn draft_07_is_closed_too() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"$ref": "#/definitions/a"}, "t": {"items": [{"properties": {"x": {}}}]}},
        "definitions": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}},
    });
    assert_eq!(check(&schema, &json!({"a": {"b": 1}, "t": [{"x": 1}]})), Ok(()));
    assert_eq!(check(&schema, &json!({"a": {"c": 1}})), undeclared("/a/c"));
    assert_eq!(check(&schema, &json!({"t": [{"y": 1}]})), undeclared("/t/0/y"));
    assert_eq!(
        check(&schema, &json!({"a": {"b": "1"}})),
        unsatisfied_at("/a/b", "type")
    );
}

#[test]
fn recursive_schemas_are_followed() {
    let schema = json!({
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"properties": {"left": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}},
    });
    assert_eq!(
        check(&schema, &json!({"tree": {"left": {"left": {"v": 1}}}})),
        Ok(())
    );
    assert_eq!(
        check(&schema, &json!({"tree": {"left": {"left": {"w": 1}}}})),
        undeclared("/tree/left/left/w")
    );
}

fn refused(schema: &Value) -> SchemaError {
    InputSchema::compile(schema).expect_err(&schema.to_string())
}

#[test]
fn nothing_is_fetched_and_references_stay_inside() {
    for reference in [
        "https://example.com/schema.json",
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "other.json#/a",
        "https://json-schema.org/draft/2020-12/schema",
        "#anchor",
        "#/$defs/missing",
        "#/default",
        "#/%24defs/a",
    ] {
        let schema = json!({
            "$defs": {"a": {"$anchor": "anchor"}}, "default": {}, "properties": {"x": {"$ref": reference}},
        });
        assert_eq!(refused(&schema), SchemaError::Reference, "{reference}");
    }
    assert_eq!(
        refused(&json!({"properties": {"x": {"$id": "https://a.example/", "type": "string"}}})),
        SchemaError::Keyword
    );
    assert_eq!(refused(&json!({"$dynamicRef": "#a"})), SchemaError::Keyword);
}

#[test]
fn a_schema_that_cannot_be_compiled_is_an_error() {
    assert_eq!(refused(&json!({"type": "objekt"})), SchemaError::Invalid);
    assert_eq!(
        refused(&json!({"properties": {"a": {"pattern": "("}}})),
        SchemaError::Invalid
    );
    assert_eq!(
        refused(&json!({"$schema": "http://json-schema.org/draft-03/schema#"})),
        SchemaError::Dialect
    );
    assert_eq!(refused(&json!({"$schema": 1})), SchemaError::Dialect);
    for schema in [json!(true), json!([]), json!(null)] {
        assert_eq!(refused(&schema), SchemaError::NotAnObject);
    }
}

#[test]
fn patterns_that_backtrack_are_refused() {
    for pattern in ["^(?=a)b", "(a)\\1", "(?<!x)y"] {
        assert_eq!(
            refused(&json!({"properties": {"a": {"pattern": pattern}}})),
            SchemaError::Invalid,
            "{pattern}"
        );
        assert_eq!(
            refused(&json!({"patternProperties": {pattern: {}}})),
            SchemaError::Invalid,
            "{pattern}"
        );
    }
    let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
    let long = format!("{}b", "a".repeat(2_000));
    assert_eq!(
        check(&schema, &json!({"a": long})),
        unsatisfied_at("/a", "pattern")
    );
}

#[test]
fn schemas_that_cost_too_much_are_refused() {
    assert_eq!(refused(&json!({"$ref": "#"})), SchemaError::ReferenceLoop);
    assert_eq!(
        refused(
            &json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}})
        ),
        SchemaError::ReferenceLoop
    );
    let mut definitions = serde_json::Map::new();
    for level in 0..30 {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        definitions.insert(format!("l{level}"), json!({"anyOf": [next, next]}));
    }
    definitions.insert("l30".into(), json!({"type": "string"}));
    assert_eq!(
        refused(&json!({"$ref": "#/$defs/l0", "$defs": definitions})),
        SchemaError::TooComplex
    );

    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({"properties": {"a": deep}});
    }
    assert_eq!(refused(&deep), SchemaError::TooLarge);
    let many: serde_json::Map<String, Value> = (0..5_000).map(|n| (n.to_string(), json!({}))).collect();
    assert_eq!(refused(&json!({"properties": many})), SchemaError::TooLarge);
}

#[test]
fn draft_07_does_not_declare_beside_a_reference() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"$ref": "#/definitions/a", "properties": {"evil": {"type": "integer"}}}},
        "definitions": {"a": {"properties": {"b": {}}}},
    });
    assert_eq!(refused(&schema), SchemaError::Keyword);
}

#[test]
fn errors_say_where_and_never_what() {
    let schema =
        json!({"properties": {"pin": {"type": "integer"}, "of": {"enum": ["x"]}, "re": {"pattern": "^x$"}}});
    for name in ["pin", "of", "re"] {
        let error = check(&schema, &json!({name: "s3cr3t"})).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        assert_eq!(error.path, format!("/{name}"));
    }
    let long = "x".repeat(5_000);
    assert_eq!(check(&schema, &json!({long: 1})).unwrap_err().path.len(), 256);
}
