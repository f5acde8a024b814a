//! Agents that prove themselves with their runtime's own token, and no secret of ours.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_pods_token_proves_its_agent,
    a_pods_token_may_be_used_until_it_ends,
    a_token_that_no_binding_matches_is_refused,
    a_token_that_two_bindings_match_is_refused,
    a_token_for_another_audience_is_refused,
    a_token_older_than_its_binding_allows_is_refused,
    a_token_by_a_key_that_is_not_the_issuers_is_refused,
    an_issuer_for_people_proves_no_runtime,
    an_issuer_for_runtimes_proves_no_person,
    nothing_inactive_behind_a_binding_authenticates,
    a_binding_test_says_claim_by_claim_what_differs,
);

async fn a_pods_token_proves_its_agent(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .asserted(&estate.pod("planner", plain()), &[("resource", NOTES)])
        .await;
    let claims = answer.claims();
    assert_eq!(claims["chancery"]["assurance"], "runtime");
    assert_eq!(claims["client_id"], estate.client_id("planner-pod"));
    let id = claims["jti"].as_str().unwrap().to_owned();
    let why = estate.admin("GET", &format!("/why/{id}"), Value::Null).await;
    assert_eq!(
        why["decision"]["decision"]["facts"]["instance"]["/kubernetes.io/pod/name"],
        "planner-0"
    );
}

async fn a_pods_token_may_be_used_until_it_ends(place: Place) {
    let estate = Estate::start(&place).await;
    let pod = estate.pod("planner", json!({ "exp": START.as_seconds() + 30 }));
    for _ in 0..3 {
        assert_eq!(
            estate.asserted(&pod, &[("resource", NOTES)]).await.scope(),
            "read"
        );
    }
    assert_eq!(
        estate.events("token.issued").await.len(),
        3,
        "every use is recorded"
    );
    estate.node.advance(Ttl::from_seconds(41)).await;
    let answer = estate.asserted(&pod, &[("resource", NOTES)]).await;
    assert!(
        estate
            .reason(&answer)
            .await
            .starts_with("the assertion does not verify")
    );
}

async fn a_token_that_no_binding_matches_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .asserted(&estate.pod("stranger", plain()), &[("resource", NOTES)])
        .await;
    assert!(
        estate
            .reason(&answer)
            .await
            .starts_with("no runtime binding matches this token")
    );
    let elsewhere = json!({ "kubernetes.io": { "namespace": "test" } });
    let answer = estate.asserted(&estate.pod("planner", elsewhere), &[]).await;
    assert!(
        estate
            .reason(&answer)
            .await
            .starts_with("no runtime binding matches this token")
    );
}

async fn a_token_that_two_bindings_match_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let second = json!({
        "name": "helper-pod", "issuer": "cluster", "agent": "helper", "audience": estate.base(),
        "claims": { "/kubernetes.io/namespace": "prod" },
    });
    estate.admin("POST", "/runtime_bindings", second).await;
    let answer = estate
        .asserted(&estate.pod("planner", plain()), &[("resource", NOTES)])
        .await;
    let reason = estate.reason(&answer).await;
    assert!(
        reason.starts_with("2 runtime bindings match this token"),
        "{reason}"
    );
    estate
        .admin("POST", "/runtime_bindings/helper-pod/suspend", Value::Null)
        .await;
    let answer = estate
        .asserted(&estate.pod("planner", plain()), &[("resource", NOTES)])
        .await;
    assert_eq!(answer.scope(), "read");
}

async fn a_token_for_another_audience_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    for audience in [
        json!("https://other.example"),
        json!(["x", "y"]),
        json!([]),
        Value::Null,
    ] {
        let answer = estate
            .asserted(&estate.pod("planner", json!({ "aud": audience })), &[])
            .await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{audience}");
    }
}

async fn a_token_older_than_its_binding_allows_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let pod = estate.pod("planner", plain());
    estate.node.advance(Ttl::from_seconds(299)).await;
    assert_eq!(estate.asserted(&pod, &[("resource", NOTES)]).await.status, 200);
    estate.node.advance(Ttl::from_seconds(1)).await;
    let answer = estate.asserted(&pod, &[("resource", NOTES)]).await;
    assert_eq!(
        estate.reason(&answer).await,
        "the token is older than runtime binding `planner-pod` allows"
    );
    let undated = estate.pod("planner", json!({ "iat": null }));
    assert_eq!(
        estate.asserted(&undated, &[]).await.error(),
        (401, "invalid_client".to_owned())
    );
}

async fn a_token_by_a_key_that_is_not_the_issuers_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let claims = claims(&estate.pod("planner", plain()));
    for kid in ["cluster-1", "unknown"] {
        let forged = sign(&key(kid), None, &claims);
        let answer = estate.asserted(&forged, &[("resource", NOTES)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{kid}");
    }
}

async fn an_issuer_for_people_proves_no_runtime(place: Place) {
    let estate = Estate::start(&place).await;
    let claims = json!({ "aud": estate.base(), "sub": "system:serviceaccount:prod:planner" });
    let answer = estate.asserted(&estate.user_with("x", claims), &[]).await;
    let reason = "no trusted issuer for runtimes has the issuer of this token";
    assert_eq!(estate.reason(&answer).await, reason);
}

async fn an_issuer_for_runtimes_proves_no_person(place: Place) {
    let estate = Estate::start(&place).await;
    let pod = estate.pod("planner", json!({ "aud": "chancery" }));
    let answer = estate
        .exchange_as("planner", (&pod, JWT), &[("resource", NOTES)])
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn nothing_inactive_behind_a_binding_authenticates(place: Place) {
    let estate = Estate::start(&place).await;
    let cases = [
        ("trusted_issuers", "cluster"),
        ("runtime_bindings", "planner-pod"),
        ("clients", "planner-pod"),
        ("agents", "planner"),
    ];
    for (collection, name) in cases {
        let pod = estate.pod("planner", plain());
        let token = estate.asserted(&pod, &[("resource", NOTES)]).await.token();
        estate
            .admin("POST", &format!("/{collection}/{name}/suspend"), Value::Null)
            .await;
        let answer = estate.asserted(&pod, &[("resource", NOTES)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{name}");
        estate
            .admin("POST", &format!("/{collection}/{name}/activate"), Value::Null)
            .await;
        assert_eq!(
            estate.asserted(&pod, &[("resource", NOTES)]).await.status,
            200,
            "{name}"
        );
        assert!(
            !estate.is_active("planner", &token).await,
            "{name}: nothing revives"
        );
    }
}

async fn a_binding_test_says_claim_by_claim_what_differs(place: Place) {
    let estate = Estate::start(&place).await;
    let body = json!({ "token": estate.pod("planner", plain()) });
    let report = estate.admin("POST", "/bindings/test", body).await;
    assert_eq!(
        (&report["agent"], &report["token"]),
        (&json!("planner"), &Value::Null)
    );
    let body = json!({ "token": estate.pod("stranger", plain()) });
    let report = estate.admin("POST", "/bindings/test", body).await;
    assert_eq!(report["agent"], Value::Null);
    let checks = report["bindings"][0]["checks"].as_array().unwrap();
    let differing: Vec<_> = checks.iter().filter(|check| check["matches"] == false).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0]["found"], "system:serviceaccount:prod:stranger");
    assert!(estate.events("token.issued").await.is_empty());
}
