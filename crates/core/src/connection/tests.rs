#![expect(
    clippy::needless_pass_by_value,
    reason = "a test writes its JSON where it calls"
)]

use super::*;
use serde_json::json;

fn spec(changes: serde_json::Value) -> ConnectionSpec {
    let mut spec = json!({
        "base_url": "https://api.example/v1",
        "owner_level": "user",
        "credential": { "api_key": { "parts": [
            { "name": "token", "placement": { "header": { "name": "Authorization", "prefix": "Bearer " } } },
        ] } },
    });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn key(parts: serde_json::Value) -> ConnectionSpec {
    spec(json!({ "credential": { "api_key": { "parts": parts } } }))
}

fn check(spec: &ConnectionSpec) -> Result<(), SpecError> {
    spec.check(&"github".parse().unwrap())
}

fn header(name: &str) -> ConnectionSpec {
    key(json!([{ "name": "key", "placement": { "header": { "name": name } } }]))
}

#[test]
fn a_header_that_frames_or_routes_a_request_is_no_place_for_a_key() {
    assert_eq!(check(&header("X-Api-Key")), Ok(()));
    for name in [
        "Host",
        "connection",
        "Transfer-Encoding",
        "TE",
        "Content-Length",
        "Content-Type",
        "Cookie",
        "Mcp-Session-Id",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "Upgrade",
        "Keep-Alive",
        "",
        "a b",
        "x:y",
        "x\r\ny",
    ] {
        assert!(check(&header(name)).is_err(), "{name}");
    }
}

#[test]
fn parts_have_names_and_places_of_their_own() {
    let twice = |a: serde_json::Value, b: serde_json::Value| {
        key(json!([{ "name": "a", "placement": a }, { "name": "b", "placement": b }]))
    };
    let authorization = json!({ "header": { "name": "authorization" } });
    assert!(check(&twice(json!("basic_username"), json!("basic_password"))).is_ok());
    assert!(check(&twice(json!("basic_username"), json!("basic_username"))).is_err());
    assert!(check(&twice(json!("basic_username"), authorization.clone())).is_err());
    assert!(
        check(&twice(
            json!({ "header": { "name": "AUTHORIZATION" } }),
            authorization
        ))
        .is_err()
    );
    let same = json!([{ "name": "a", "placement": "basic_username" }, { "name": "a", "placement": "basic_password" }]);
    assert!(check(&key(same)).is_err());
    assert!(check(&key(json!([]))).is_err());
}

#[test]
fn a_value_cannot_break_out_of_its_place() {
    let header = Placement::Header {
        name: "X-Api-Key".to_owned(),
        prefix: String::new(),
    };
    assert!(header.accepts("abc def"));
    for value in ["", "a\r\nHost: evil", "a\nb", "ä", " a", "a\0"] {
        assert!(!header.accepts(value), "{value:?}");
    }
    assert!(!Placement::BasicUsername.accepts("user:more"));
    assert!(Placement::BasicPassword.accepts("pass:word"));
    assert!(!Placement::BasicPassword.accepts(&"a".repeat(20_000)));
}

#[test]
fn a_deny_wins_and_without_rules_everything_goes() {
    assert!(spec(json!({})).allows("DELETE", "/anything"));
    let ruled = spec(json!({ "rules": [
        { "effect": "allow", "methods": ["GET"], "path": "/repos/**" },
        { "effect": "allow", "path": "/user" },
        { "effect": "deny", "path": "/repos/*/secrets" },
    ] }));
    assert_eq!(check(&ruled), Ok(()));
    assert!(ruled.allows("GET", "/repos/acme/issues") && ruled.allows("PATCH", "/user"));
    assert!(!ruled.allows("POST", "/repos/acme/issues"));
    assert!(!ruled.allows("GET", "/repos/acme/secrets") && !ruled.allows("GET", "/orgs"));
    let only_denies = spec(json!({ "rules": [{ "effect": "deny", "path": "/**" }] }));
    assert!(check(&only_denies).is_err() && !only_denies.allows("GET", "/x"));
}

#[test]
fn a_credential_reaches_its_destination_alone() {
    let spec = spec(json!({ "hosts": ["uploads.example:8443"] }));
    let reaches = |url: &str| spec.reaches(&url.parse().unwrap());
    assert!(reaches("https://api.example/v1/mcp") && reaches("https://uploads.example:8443/x"));
    for url in [
        "https://api.example/v2",
        "https://uploads.example/x",
        "https://api.example.evil/v1",
        "https://evil.example",
    ] {
        assert!(!reaches(url), "{url}");
    }
}

#[test]
fn the_destination_is_all_that_decides_where_a_credential_ends_up() {
    let base = spec(json!({})).destination();
    assert_eq!(
        base,
        spec(
            json!({ "rules": [{ "effect": "allow", "path": "/a" }], "owner": "ops", "handling": "release" })
        )
        .destination()
    );
    assert_eq!(
        base,
        spec(json!({ "base_url": "https://api.example/v1/" })).destination()
    );
    for change in [
        json!({ "base_url": "https://api.example/v2" }),
        json!({ "base_url": "https://api.example" }),
        json!({ "base_url": "https://evil.example/v1" }),
        json!({ "hosts": ["evil.example"] }),
        json!({ "credential": "none" }),
        json!({ "credential": { "api_key": { "parts": [{ "name": "token", "placement": { "query": { "name": "Authorization" } } }] } } }),
        json!({ "credential": { "api_key": { "parts": [{ "name": "token", "placement": { "header": { "name": "Authorization" } } }] } } }),
    ] {
        assert_ne!(base, spec(change.clone()).destination(), "{change}");
    }
}

/// Fields are told apart by their lengths, so that none can pass for part of its neighbour.
#[test]
fn no_two_destinations_share_their_bytes() {
    let hosts = |hosts: &[&str]| spec(json!({ "hosts": hosts })).destination();
    assert_ne!(hosts(&["a.example", "b.example"]), hosts(&["a.exampleb.example"]));
    let named = |name: &str, prefix: &str| {
        key(json!([{ "name": "k", "placement": { "header": { "name": name, "prefix": prefix } } }]))
            .destination()
    };
    assert_ne!(named("x-a", "b"), named("x-ab", ""));
}

#[test]
fn only_surely_stricter_rules_are_no_widening() {
    let rules = |rules: serde_json::Value| spec(json!({ "rules": rules }));
    let (all, get) = (
        rules(json!([])),
        rules(json!([{ "effect": "allow", "methods": ["GET"], "path": "/**" }])),
    );
    let less = rules(json!([
        { "effect": "allow", "methods": ["GET"], "path": "/**" }, { "effect": "deny", "path": "/secrets" },
    ]));
    assert!(!all.widens(&get) && !get.widens(&less) && !get.widens(&get));
    assert!(get.widens(&all) && less.widens(&get) && less.widens(&all));
    assert!(get.widens(&rules(json!([{ "effect": "allow", "path": "/**" }]))));
    assert!(
        all.widens(&spec(json!({ "handling": "release" })))
            && all.widens(&spec(json!({ "owner_level": "tenant" })))
    );
    assert!(all.widens(&spec(json!({ "hosts": ["b.example"] }))));
}

#[test]
fn an_unknown_field_is_refused_at_every_depth() {
    for spec in [
        json!({ "base_url": "https://a.example", "credential": "none", "owner_level": "user", "x": 1 }),
        json!({ "base_url": "https://a.example", "owner_level": "user", "credential": { "api_key": { "parts": [], "x": 1 } } }),
        json!({ "base_url": "https://a.example", "owner_level": "user", "credential": { "api_key": { "parts": [
            { "name": "a", "placement": { "query": { "name": "a", "prefix": "x" } } }] } } }),
    ] {
        assert!(
            serde_json::from_value::<ConnectionSpec>(spec.clone()).is_err(),
            "{spec}"
        );
    }
}
