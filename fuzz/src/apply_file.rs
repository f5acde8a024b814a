//! Configuration as code: a document in TOML or JSON, read as `chancery apply` and the server read it as far as
//! no database is needed. What is read and checked prints and reads back the same, and can be stored.

use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::grant::GrantSpec;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Spec};
use chancery_core::resource::ResourceSpec;
use chancery_core::user::UserSpec;
use serde_json::{Map, Value};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let document = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).ok()
    } else {
        toml::from_str::<Value>(text).ok()
    };
    let Some(Value::Object(document)) = document else {
        return;
    };

    for (kind, items) in document {
        let Value::Array(items) = items else { continue };
        for item in items {
            let Value::Object(item) = item else { continue };
            match kind.as_str() {
                "trusted_issuers" => read::<TrustedIssuerSpec>(item),
                "resources" => read::<ResourceSpec>(item),
                "blueprints" => read::<BlueprintSpec>(item),
                "users" => read::<UserSpec>(item),
                "agents" => read::<AgentSpec>(item),
                "clients" => read::<ClientSpec>(item),
                "runtime_bindings" => read::<RuntimeBindingSpec>(item),
                "grants" => read::<GrantSpec>(item),
                _ => {}
            }
        }
    }
}

fn read<S: Spec + PartialEq>(mut item: Map<String, Value>) {
    let name = item.remove("name").map(serde_json::from_value::<Name>);
    if let Some(Err(_)) = item.remove("state").map(serde_json::from_value::<Lifecycle>) {
        return;
    }
    let (Some(Ok(name)), Ok(spec)) = (name, serde_json::from_value::<S>(Value::Object(item))) else {
        return;
    };
    if spec.check(&name).is_err() {
        return;
    }

    let printed = serde_json::to_value(&spec).expect("a noun prints");
    let again: S = serde_json::from_value(printed.clone()).expect("a noun that is stored can be loaded");
    assert!(again == spec, "a noun changed on its way through the database");
    again
        .check(&name)
        .expect("a noun that was accepted is accepted again");
    // What `export` writes, `apply` reads: TOML has no null and no number beyond 64 bits.
    let exported = toml::to_string(&printed).expect("a noun can be exported");
    let applied: Value = toml::from_str(&exported).expect("an export can be read");
    let applied: S = serde_json::from_value(applied).expect("an export can be applied");
    assert!(applied == spec, "export and apply changed a noun");
    check_keys(&printed);
}

/// What becomes a key of a database is text that every engine takes.
fn check_keys(spec: &Value) {
    for field in ["issuer", "subject", "uri", "agent", "resource"] {
        let text = spec.get(field).and_then(Value::as_str).unwrap_or_default();
        assert!(!text.contains('\0'), "`{field}` cannot be stored by PostgreSQL");
    }
}
