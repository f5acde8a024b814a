//! The description of the administration interface (OpenAPI 3.1), made from the table of operations and the
//! types themselves.

use crate::app::App;
use crate::http::api::operations::{COLLECTIONS, OPERATIONS, Operation};
use crate::http::api::{
    accounts, approvals, directory, govern, manifests, people, registration, upstreams, vault,
};
use crate::http::tenant::RequestTenant;
use axum::Json;
use axum::extract::{Extension, State};
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::GrantSpec;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::noun::Lifecycle;
use chancery_core::registration::RegistrationRuleSpec;
use chancery_core::resource::ResourceSpec;
use chancery_core::user::UserSpec;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// `GET /openapi.json`.
pub async fn serve(
    State(_app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
) -> Json<Value> {
    Json(document(&served.tenant.spec.base_url))
}

/// The description of the interface of the tenant at `base`.
pub fn document(base: &str) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        paths
            .entry(operation.path.to_owned())
            .or_default()
            .insert(operation.method.to_owned(), describe(operation));
    }
    for (collection, spec) in COLLECTIONS {
        for (path, method, value) in collection_operations(collection, spec) {
            paths.entry(path).or_default().insert(method.to_owned(), value);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Chancery administration interface", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "servers": [{ "url": format!("{base}/api/v1") }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": { "schemas": schemas(), "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": format!("an access token for the resource `{base}/api/v1`; on the server's own machine the local socket needs none") }
        } },
    })
}

fn collection_operations(collection: &str, spec: &str) -> Vec<(String, &'static str, Value)> {
    let item = format!("/{collection}/{{name}}");
    let record = json!({ "allOf": [reference("Record"), { "type": "object", "properties": { "spec": reference(spec) } }] });
    let new = json!({ "allOf": [reference("Item"), reference(spec)] });
    let mut operations = vec![
        (format!("/{collection}"), "get", list(collection, &record)),
        (
            format!("/{collection}"),
            "post",
            answer(
                "write",
                &format!("make one of the {collection}"),
                Some(&new),
                (201, &record),
            ),
        ),
        (
            item.clone(),
            "get",
            answer("read", "one by name or id", None, (200, &record)),
        ),
        (
            item.clone(),
            "put",
            answer(
                "write",
                "replace what is specific to it",
                Some(&reference(spec)),
                (200, &record),
            ),
        ),
    ];
    let steps = [
        (
            "activate",
            "write",
            "put into use, or back into it; nothing issued before revives",
        ),
        ("suspend", "kill", "stop until activated again"),
        ("retire", "write", "end for good; the name is never free again"),
    ];
    for (step, scope, summary) in steps {
        operations.push((
            format!("{item}/{step}"),
            "post",
            answer(scope, summary, None, (200, &record)),
        ));
    }
    let reset = match collection {
        "clients" => Some("replace the secret; the new one is in `secret`, once"),
        "users" => Some(RESET_USER),
        _ => None,
    };
    operations.extend(reset.map(|summary| {
        let operation = answer("write", summary, None, (200, &record));
        (format!("{item}/reset-secret"), "post", operation)
    }));
    for (path, _, operation) in &mut operations {
        add_parameters(operation, path, &[]);
    }
    operations
}

const RESET_USER: &str =
    "end what somebody signs in with; a local person gets a code to begin anew, in `secret`, once";

fn list(collection: &str, record: &Value) -> Value {
    let page = json!({ "type": "object", "properties": {
        "items": { "type": "array", "items": record },
        "next_cursor": { "type": ["string", "null"], "description": "give it as `cursor` for the next page" },
    } });
    let mut operation = answer(
        "read",
        &format!("{collection} in order of names"),
        None,
        (200, &page),
    );
    let query = [
        ("limit", "at most so many, 1 to 500; default 100"),
        ("cursor", "where the page before ended"),
        ("state", "only this state"),
    ];
    add_parameters(&mut operation, "", &query);
    operation
}

fn describe(operation: &Operation) -> Value {
    let scope = operation
        .scope
        .map_or("", crate::http::api::caller::ApiScope::as_str);
    let body = operation.body.map(reference);
    let mut value = answer(
        scope,
        operation.summary,
        body.as_ref(),
        (operation.success, &json!({ "type": "object" })),
    );
    add_parameters(&mut value, operation.path, operation.query);
    value
}

fn answer(scope: &str, summary: &str, body: Option<&Value>, (status, schema): (u16, &Value)) -> Value {
    let problem = json!({ "description": "a problem (RFC 9457)", "content": { "application/problem+json": { "schema": reference("Problem") } } });
    let success = if status == 204 {
        json!({ "description": "done" })
    } else {
        json!({ "description": "done", "content": { "application/json": { "schema": schema } } })
    };
    let mut operation =
        json!({ "summary": summary, "responses": { status.to_string(): success, "default": problem } });
    if let Some(members) = operation.as_object_mut() {
        if scope.is_empty() {
            members.insert("security".to_owned(), json!([]));
        } else {
            members.insert("x-scope".to_owned(), json!(scope));
        }
        if let Some(body) = body {
            let content = json!({ "required": true, "content": { "application/json": { "schema": body } } });
            members.insert("requestBody".to_owned(), content);
        }
    }
    operation
}

fn add_parameters(operation: &mut Value, path: &str, query: &[(&str, &str)]) {
    let in_path = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(query.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "query", "description": meaning, "schema": { "type": "string" } })
    }));
    if let Some(members) = operation.as_object_mut().filter(|_| !parameters.is_empty()) {
        members.insert("parameters".to_owned(), Value::Array(parameters));
    }
}

fn schemas() -> Value {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<AgentSpec>(&mut all);
    add::<BlueprintSpec>(&mut all);
    add::<ClientSpec>(&mut all);
    add::<ConnectionSpec>(&mut all);
    add::<GrantSpec>(&mut all);
    add::<RegistrationRuleSpec>(&mut all);
    add::<registration::Adoption>(&mut all);
    add::<registration::NewRegistrationToken>(&mut all);
    add::<ResourceSpec>(&mut all);
    add::<RuntimeBindingSpec>(&mut all);
    add::<TrustedIssuerSpec>(&mut all);
    add::<UserSpec>(&mut all);
    add::<Lifecycle>(&mut all);
    add::<govern::PolicyText>(&mut all);
    add::<govern::PolicyTest>(&mut all);
    add::<govern::Observation>(&mut all);
    add::<govern::Rotation>(&mut all);
    add::<govern::Enrolment>(&mut all);
    add::<govern::NewTenant>(&mut all);
    add::<directory::TokenToTest>(&mut all);
    add::<directory::Repository>(&mut all);
    add::<manifests::Acceptance>(&mut all);
    add::<approvals::Approving>(&mut all);
    add::<approvals::Rejecting>(&mut all);
    add::<accounts::NewAccount>(&mut all);
    add::<accounts::NewCredential>(&mut all);
    add::<people::SecretToSet>(&mut all);
    add::<upstreams::ServerToInspect>(&mut all);
    add::<vault::VaultRotation>(&mut all);
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for (name, schema) in all {
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    schemas.insert("Item".to_owned(), item());
    schemas.insert("Record".to_owned(), record());
    schemas.insert("Document".to_owned(), document_schema());
    schemas.insert("Problem".to_owned(), problem());
    json!(schemas)
}

fn add<T: ToSchema + PartialSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
    all.push((T::name().into_owned(), T::schema()));
    T::schemas(all);
}

fn item() -> Value {
    json!({ "type": "object", "properties": {
        "name": { "type": "string" },
        "state": { "$ref": "#/components/schemas/Lifecycle", "default": "active" },
    } })
}

fn record() -> Value {
    json!({ "type": "object", "required": ["id", "name", "state", "generation", "version", "spec"], "properties": {
        "id": { "type": "string" },
        "name": { "type": "string" },
        "state": reference("Lifecycle"),
        "generation": { "type": "integer", "description": "raised by every revocation, never lowered" },
        "version": { "type": "integer", "description": "raised by every change" },
        "created_at": { "type": "integer", "description": "microseconds since 1970-01-01T00:00:00Z" },
        "updated_at": { "type": "integer", "description": "microseconds since 1970-01-01T00:00:00Z" },
        "spec": { "type": "object" },
    } })
}

fn document_schema() -> Value {
    let list = |(collection, spec): &(&str, &str)| {
        let items = json!({ "type": "array", "items": { "allOf": [reference("Item"), reference(spec)] } });
        ((*collection).to_owned(), items)
    };
    let mut properties: Map<String, Value> = COLLECTIONS.iter().map(list).collect();
    properties.insert(
        "policy".to_owned(),
        json!({ "type": "string", "description": "the policies in force, in Cedar" }),
    );
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn problem() -> Value {
    json!({ "type": "object", "required": ["type", "code", "status", "detail"], "properties": {
        "type": { "type": "string" },
        "code": { "type": "string", "description": "stable" },
        "status": { "type": "integer" },
        "detail": { "type": "string", "description": "one sentence" },
        "hint": { "type": "string", "description": "the fix" },
    } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_resolves() {
        let document = document("https://id.example");
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_operation_names_its_scope_or_is_public() {
        let document = document("https://id.example");
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let public = operation.get("security").is_some();
                assert!(public != operation.get("x-scope").is_some(), "{method} {path}");
            }
        }
    }
}
