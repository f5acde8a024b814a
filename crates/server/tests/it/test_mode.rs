//! Test mode: refused where others could reach it, absent without the flag, and no way around policy with it.

use crate::approval::{CIBA, prepare};
use crate::estate::*;
use crate::harness::*;
use crate::outside;
use axum::Router;
use axum::routing::get;
use chancery_server::Failure;
use chancery_server::egress::{Destination, DocumentRules, UrlSource};
use serde_json::json;

on_both_engines!(
    test_mode_is_refused_off_loopback,
    without_the_flag_nobody_answers_for_a_person,
    in_test_mode_the_decision_url_answers_for_the_person_who_is_asked,
    the_decision_url_gives_nobody_a_second_pair_of_eyes,
    clients_may_name_this_machine_in_test_mode_only,
);

const LOCAL: &str = "http://127.0.0.1:8440";

async fn start(place: &Place, public_url: &str, listen: &str) -> Result<Chancery, Failure> {
    Chancery::try_start_with(place, START, |config, _| {
        config.test_mode = true;
        config.public_url = public_url.to_owned();
        config.listen = listen.parse().unwrap();
    })
    .await
}

async fn test_mode_is_refused_off_loopback(place: Place) {
    for (url, listen) in [
        ("https://id.example", "127.0.0.1:0"),
        (LOCAL, "0.0.0.0:0"),
        ("https://id.example", "0.0.0.0:0"),
    ] {
        let refused = start(&place, url, listen).await.unwrap_err();
        assert!(matches!(refused, Failure::Start(_)), "{url} {listen}: {refused}");
    }
    start(&place, LOCAL, "127.0.0.1:0").await.unwrap();
}

/// An estate in test mode, whose base is on this machine.
async fn estate(place: &Place) -> Estate {
    let node = start(place, LOCAL, "127.0.0.1:0").await.unwrap();
    let estate = Estate::on(node, "").await;
    prepare(&estate, "").await;
    estate
}

async fn asked(estate: &Estate, scope: &str) -> String {
    let form = [("scope", scope), ("resource", NOTES), ("login_hint", "alice")];
    let answer = estate.post("/bc-authorize", "planner", &form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["auth_req_id"].as_str().unwrap().to_owned()
}

async fn decide(estate: &Estate, handle: &str, action: &str) -> Answer {
    let path = format!("/test/ciba?auth_req_id={handle}&action={action}");
    estate.node.form(&path, &[]).await
}

async fn poll(estate: &Estate, handle: &str) -> Answer {
    let form = [("grant_type", CIBA), ("auth_req_id", handle)];
    estate.post("/token", "planner", &form).await
}

async fn without_the_flag_nobody_answers_for_a_person(place: Place) {
    let estate = Estate::start(&place).await;
    prepare(&estate, "").await;
    let handle = asked(&estate, "openid read").await;
    assert_eq!(
        decide(&estate, &handle, "allow").await.problem(),
        (404, "no_such_endpoint".to_owned())
    );
    assert_eq!(estate.node.get("/test/ciba").await.status, 404);
    assert_eq!(poll(&estate, &handle).await.error().1, "authorization_pending");
}

async fn in_test_mode_the_decision_url_answers_for_the_person_who_is_asked(place: Place) {
    let estate = estate(&place).await;
    let handle = asked(&estate, "openid read").await;
    for (other, action) in [("unknown", "allow"), (handle.as_str(), "maybe")] {
        assert!(decide(&estate, other, action).await.status.is_client_error());
    }
    assert_eq!(poll(&estate, &handle).await.error().1, "authorization_pending");
    assert_eq!(decide(&estate, &handle, "allow").await.status, 204);
    assert_eq!(decide(&estate, &handle, "deny").await.status, 409);
    assert_eq!(poll(&estate, &handle).await.scope(), "openid read");
    let given = &estate.events("approval.given").await[0];
    assert!(
        given["parts"]["answer"]["reason"]
            .as_str()
            .unwrap()
            .contains("test mode")
    );

    let handle = asked(&estate, "openid write").await;
    assert_eq!(decide(&estate, &handle, "deny").await.status, 204);
    assert_eq!(poll(&estate, &handle).await.error().1, "access_denied");
}

async fn the_decision_url_gives_nobody_a_second_pair_of_eyes(place: Place) {
    let estate = estate(&place).await;
    let policy = r#"@id("writing-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
unless { context has approval && context.approval.count >= 1 };"#;
    let text = estate.admin("GET", "/policy", json!(null)).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{policy}") }))
        .await;
    let (handle, _) = crate::approval::waits(&estate.planner_for_alice("write").await);
    assert_eq!(decide(&estate, &handle, "allow").await.status, 404);
    assert_eq!(poll(&estate, &handle).await.error().1, "authorization_pending");
}

async fn clients_may_name_this_machine_in_test_mode_only(place: Place) {
    let address = outside::serve(Router::new().route("/", get(async || "{}"))).await;
    let url = format!("http://{address}/");
    let node = start(&place, LOCAL, "127.0.0.1:0").await.unwrap();
    let fetch = async |node: &Chancery| {
        let to = Destination {
            tenant: None,
            source: UrlSource::Client,
            url: &url,
        };
        let rules = DocumentRules {
            max_bytes: 100,
            content_types: &["text/plain"],
        };
        node.app.egress.fetch_document(to, rules).await
    };
    assert!(fetch(&node).await.is_ok());
    node.app.db.close().await;
    let other = outside::node(&place, |config, _| config.public_url = LOCAL.to_owned()).await;
    assert!(fetch(&other).await.is_err());
}
