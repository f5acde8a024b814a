//! Managing: refusals are recorded, requests with an idempotency key are carried out once, and every operation
//! that is described exists.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use chancery_server::http::api::operations::{COLLECTIONS, OPERATIONS};
use chancery_server::listener::LocalPeer;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_refused_management_request_is_recorded,
    applying_a_file_again_does_not_revive_what_was_killed,
    a_request_with_a_key_is_carried_out_once,
    a_key_for_another_request_is_refused,
    an_answer_with_a_secret_is_not_kept,
    every_described_operation_is_routed,
    tenants_are_managed_in_the_system_tenant_only,
);

async fn a_refused_management_request_is_recorded(place: Place) {
    let estate = Estate::start(&place).await;
    let ceiling = json!({ "ceiling": { "chancery": ["write"] } });
    estate.change("agents", "planner", ceiling).await;
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let generous = format!(
        "{text}\n@id(\"all\") permit (principal is Agent, action == Action::\"issue_token\", resource);"
    );
    estate.admin("PUT", "/policy", json!({ "text": generous })).await;
    let grant =
        json!({ "agent": "planner", "principal": "itself", "resource": "chancery", "scopes": ["write"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let uri = format!("{BASE}/api/v1");
    let token = estate
        .own("planner", &[("resource", &uri), ("scope", "write")])
        .await
        .token();
    let answer = estate
        .node
        .api("POST", "/api/v1/agents/helper/retire", &token, json!({}))
        .await;
    assert_eq!(answer.problem(), (403, "denied_by_policy".to_owned()));
    let events = estate.events("management.denied").await;
    assert_eq!(events.len(), 1);
    let request = &events[0]["parts"]["request"];
    assert_eq!(request["action"], "retire");
    assert_eq!(request["policies"], json!(["floor:agents-never-manage"]));
}

async fn applying_a_file_again_does_not_revive_what_was_killed(place: Place) {
    let estate = Estate::start(&place).await;
    estate.kill("agent", "planner").await;
    estate.apply(estate.document()).await;
    assert_eq!(estate.show("agents", "planner").await["state"], "suspended");
}

async fn a_request_with_a_key_is_carried_out_once(place: Place) {
    let estate = Estate::start(&place).await;
    let first = with_key(&estate, "/api/v1/agents/planner/suspend", "k-1", "{}").await;
    let again = with_key(&estate, "/api/v1/agents/planner/suspend", "k-1", "{}").await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (200, 200));
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(estate.events("agent.suspended").await.len(), 1);
}

async fn a_key_for_another_request_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    with_key(&estate, "/api/v1/agents/planner/suspend", "k-1", "{}").await;
    let other = with_key(&estate, "/api/v1/agents/helper/suspend", "k-1", "{}").await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused".to_owned()));
    assert_eq!(estate.show("agents", "helper").await["state"], "active");
}

async fn an_answer_with_a_secret_is_not_kept(place: Place) {
    let estate = Estate::start(&place).await;
    let body = json!({ "name": "one-more", "agent": "planner", "method": "client_secret_basic" }).to_string();
    let first = with_key(&estate, "/api/v1/clients", "k-2", &body).await;
    assert!(first.json()["secret"].is_string());
    let again = with_key(&estate, "/api/v1/clients", "k-2", &body).await;
    assert_eq!(again.problem(), (409, "already_done".to_owned()));
}

async fn every_described_operation_is_routed(place: Place) {
    let estate = Estate::start(&place).await;
    let mut all: Vec<(&str, String)> = OPERATIONS
        .iter()
        .map(|operation| (operation.method, operation.path.to_owned()))
        .collect();
    for (collection, _) in COLLECTIONS {
        all.push(("get", format!("/{collection}")));
        all.push(("put", format!("/{collection}/x")));
        all.push(("post", format!("/{collection}/x/activate")));
    }
    for (method, path) in all {
        let path = path.replace(['{', '}'], "");
        let answer = estate.node.get(&format!("/api/v1{path}")).await;
        let request = Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(format!("/api/v1{path}"));
        let request = request.header("host", "id.example").body(Body::empty()).unwrap();
        let status = estate.node.send(request).await.status.as_u16();
        // Without a token a routed operation asks for one; the two public ones look at the request first.
        assert!(
            [200, 401, 415].contains(&status),
            "{method} {path}: {status} {answer:?}"
        );
    }
}

async fn tenants_are_managed_in_the_system_tenant_only(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .node
        .local("POST", "/api/v1/tenants", json!({ "name": "other" }))
        .await;
    assert_eq!(answer.problem().0, 422);
    estate
        .node
        .admin("POST", "/t/system/api/v1/tenants", json!({ "name": "other" }))
        .await;
    let listed = estate
        .node
        .admin("GET", "/t/system/api/v1/tenants", Value::Null)
        .await;
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert!(names.contains(&"other"), "{names:?}");
    estate
        .node
        .admin("POST", "/t/system/api/v1/tenants/other/suspend", json!({}))
        .await;
    assert_eq!(estate.node.get("/t/other/jwks").await.status.as_u16(), 421);
    let answer = estate
        .node
        .local("POST", "/t/system/api/v1/tenants/default/suspend", json!({}))
        .await;
    assert_eq!(answer.problem().0, 422);
}

async fn with_key(estate: &Estate, path: &str, key: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .extension(LocalPeer { uid: 1_000 })
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_owned()))
        .unwrap();
    estate.node.send(request).await
}
