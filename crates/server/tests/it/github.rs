//! `--trust github:OWNER/REPO`: the ids that a binding pins are looked up by the server, through its fence.

use crate::estate::*;
use crate::harness::*;
use crate::outside;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

on_both_engines!(
    a_repository_is_looked_up_by_name_and_without_a_credential,
    a_repository_that_is_not_shown_says_how_to_go_on,
    without_a_network_the_way_around_is_named,
    a_name_that_leaves_its_path_is_never_asked_for,
    whoever_may_not_bind_may_not_look_up,
);

fn acme(id: u64, name: &str) -> Value {
    json!({ "id": id, "full_name": name, "private": false, "owner": { "login": "acme", "id": 7 } })
}

/// GitHub as it answers in public, and the headers it was asked with.
async fn github() -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let repository = move |headers: HeaderMap| async move {
        seen.lock().unwrap().push(headers);
        axum::Json(acme(42, "Acme/App"))
    };
    let moved = || async { (StatusCode::MOVED_PERMANENTLY, [("location", "/repositories/1")]) };
    let router = Router::new()
        .route("/api/v3/repos/acme/app", get(repository))
        .route(
            "/api/v3/repos/acme/other",
            get(|| async { axum::Json(acme(1, "evil/other")) }),
        )
        .route("/api/v3/repos/acme/moved", get(moved))
        .route("/api/v3/repos/acme/much", get(|| async { StatusCode::FORBIDDEN }))
        .route(
            "/api/v3/repos/acme/ill",
            get(|| async { StatusCode::BAD_GATEWAY }),
        );
    let address = outside::serve(router).await;
    (format!("http://{address}/api/v3"), asked)
}

async fn look_up(node: &Chancery, repository: &str) -> Answer {
    let body = json!({ "repository": repository });
    node.local("POST", "/api/v1/bindings/github", body).await
}

async fn a_repository_is_looked_up_by_name_and_without_a_credential(place: Place) {
    let (base, asked) = github().await;
    let node = outside::node(&place, |config, _| config.github_api = base).await;
    let ids = look_up(&node, "acme/app").await;
    assert_eq!(
        ids.json(),
        json!({ "repository_id": "42", "repository_owner_id": "7" })
    );
    let headers = asked.lock().unwrap().pop().unwrap();
    assert_eq!(headers["accept"], "application/vnd.github+json");
    assert!(!headers.contains_key("authorization"));
}

async fn a_repository_that_is_not_shown_says_how_to_go_on(place: Place) {
    let (base, _) = github().await;
    let node = outside::node(&place, |config, _| config.github_api = base).await;
    for (repository, reason) in [
        ("acme/secret", "no such repository to the public"),
        ("acme/moved", "another name"),
        ("acme/other", "does not describe"),
        ("acme/much", "no more anonymous requests"),
        ("acme/ill", "status 502"),
    ] {
        let answer = look_up(&node, repository).await;
        assert_eq!(answer.problem(), (422, "repository_unknown".to_owned()));
        let problem = answer.json();
        let (detail, hint) = (
            problem["detail"].as_str().unwrap(),
            problem["hint"].as_str().unwrap(),
        );
        assert!(detail.contains(reason), "{detail}");
        assert!(hint.contains(&format!("github:{repository}@ID")), "{hint}");
        assert!(hint.contains("gh api repos/"), "{hint}");
    }
}

async fn without_a_network_the_way_around_is_named(place: Place) {
    let node = outside::node(&place, |_, _| {}).await;
    let problem = look_up(&node, "acme/app").await.json();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("GitHub cannot be asked: cannot connect")
    );
    assert!(problem["hint"].as_str().unwrap().contains("github:acme/app@ID"));
    let fenced = Chancery::start_with(&Place::sqlite(), |config, _| {
        config.github_api = "https://127.0.0.1:1".to_owned();
    })
    .await;
    let problem = look_up(&fenced, "acme/app").await.json();
    assert!(
        problem["hint"].as_str().unwrap().contains("allowed_hosts"),
        "{problem}"
    );
}

async fn a_name_that_leaves_its_path_is_never_asked_for(place: Place) {
    let (base, asked) = github().await;
    let node = outside::node(&place, |config, _| config.github_api = base).await;
    for name in [
        "acme/../acme/app",
        "../repos/acme/app",
        "acme/app?x",
        "acme",
        "acme/app/zip",
        "acme/..",
    ] {
        let answer = look_up(&node, name).await;
        assert_eq!(answer.problem(), (422, "repository_unknown".to_owned()), "{name}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

async fn whoever_may_not_bind_may_not_look_up(place: Place) {
    let (base, asked) = github().await;
    let node = outside::node(&place, |config, _| config.github_api = base).await;
    let estate = Estate::on(node, "").await;
    let policy = estate.admin("GET", "/policy", Value::Null).await;
    let text = format!(
        "{}\n@id(\"planner-writes\") permit (principal == Agent::\"planner\", action == Action::\"issue_token\", resource);",
        policy["text"].as_str().unwrap()
    );
    estate.admin("PUT", "/policy", json!({ "text": text })).await;
    let grant =
        json!({ "agent": "planner", "principal": "itself", "resource": "chancery", "scopes": ["write"] });
    estate
        .change(
            "agents",
            "planner",
            json!({ "ceiling": { "chancery": ["write"] } }),
        )
        .await;
    estate.apply(json!({ "grants": [grant] })).await;
    let uri = format!("{BASE}/api/v1");
    let token = estate
        .own("planner", &[("resource", &uri), ("scope", "write")])
        .await
        .token();
    let body = json!({ "repository": "acme/app" });
    let answer = estate
        .node
        .api("POST", "/api/v1/bindings/github", &token, body)
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(asked.lock().unwrap().is_empty());
}
