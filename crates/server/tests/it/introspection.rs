//! Introspection (RFC 7662): active only while everything a token hangs on is as it was, and only for those
//! whom the token concerns.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    an_active_token_is_described_as_it_was_issued,
    a_token_is_active_only_for_those_it_concerns,
    anything_but_a_token_of_ours_is_inactive,
    an_expired_token_is_inactive,
    a_token_is_inactive_after_each_kind_of_revocation,
    a_change_that_takes_nothing_away_ends_no_token,
    a_caller_that_cannot_prove_itself_learns_nothing,
);

async fn an_active_token_is_described_as_it_was_issued(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read write").await.token();
    let (told, claims) = (estate.introspect("planner", &token).await, claims(&token));
    assert_eq!(
        (&told["active"], &told["token_type"]),
        (&json!(true), &json!("Bearer"))
    );
    for claim in [
        "iss",
        "sub",
        "aud",
        "client_id",
        "scope",
        "exp",
        "iat",
        "jti",
        "act",
    ] {
        assert_eq!(told[claim], claims[claim], "{claim}");
    }
    assert_eq!(
        (told.get("chancery"), &told["assurance"]),
        (None, &json!("secret"))
    );
    let own = estate.own("planner", &[("resource", NOTES)]).await.token();
    assert_eq!(estate.introspect("planner", &own).await.get("act"), None);
}

async fn a_token_is_active_only_for_those_it_concerns(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    assert!(estate.is_active("planner", &token).await);
    assert_eq!(
        estate.introspect("helper", &token).await,
        json!({ "active": false })
    );
    let handed = estate.handed_over("notes:read").await;
    assert!(estate.is_active("helper", &handed).await, "it may act with it");
    assert!(!estate.is_active("third", &handed).await);
    let alice = estate.user("alice", &["staff"]);
    let plan = [("resource", HELPER_API), ("scope", "plan")];
    let at_helper = estate.exchange_as("planner", (&alice, JWT), &plan).await.token();
    assert!(estate.is_active("helper", &at_helper).await, "it is the audience");
    assert!(!estate.is_active("third", &at_helper).await);
}

async fn anything_but_a_token_of_ours_is_inactive(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    let mut flipped = token.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let foreign = estate.user("alice", &["staff"]);
    let forged = sign(&key("k"), Some("at+jwt"), &claims(&token));
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for text in ["x", "a.b.c", &flipped, &foreign, &forged, &format!("{unsigned}.")] {
        assert_eq!(
            estate.introspect("planner", text).await,
            json!({ "active": false }),
            "{text}"
        );
    }
    let answer = estate.post("/introspect", "planner", &[]).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn an_expired_token_is_inactive(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.advance(Ttl::from_seconds(299)).await;
    assert!(estate.is_active("planner", &token).await);
    estate.node.advance(Ttl::from_seconds(1)).await;
    assert!(!estate.is_active("planner", &token).await);
}

async fn a_token_is_inactive_after_each_kind_of_revocation(place: Place) {
    let estate = Estate::start(&place).await;
    let links = [
        "agents/planner",
        "clients/planner-pod",
        "runtime_bindings/planner-pod",
        "trusted_issuers/cluster",
        "trusted_issuers/corp",
        "users/alice",
        "grants/alice-notes",
        "resources/notes",
    ];
    for path in links {
        let pod = estate.pod("planner", plain());
        let alice = estate.user("alice", &["staff"]);
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", alice.as_str()),
            ("subject_token_type", JWT),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", pod.as_str()),
            ("resource", NOTES),
            ("scope", "read"),
        ];
        let token = estate.node.form("/token", &form).await.token();
        assert!(estate.is_active("planner", &token).await, "{path}");
        for step in ["suspend", "activate"] {
            let path = format!("/{path}/{step}");
            estate.admin("POST", &path, Value::Null).await;
        }
        assert!(
            !estate.is_active("planner", &token).await,
            "{path}: resuming revives nothing"
        );
    }
}

async fn a_change_that_takes_nothing_away_ends_no_token(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    estate
        .change("agents", "planner", json!({ "description": "plans" }))
        .await;
    estate
        .change(
            "grants",
            "alice-notes",
            json!({ "scopes": ["read", "write", "delete", "admin"] }),
        )
        .await;
    assert!(estate.is_active("planner", &token).await);
    estate
        .change("agents", "planner", json!({ "ceiling": { "notes": ["write"] } }))
        .await;
    assert!(
        !estate.is_active("planner", &token).await,
        "narrowing a ceiling takes something away"
    );
}

async fn a_caller_that_cannot_prove_itself_learns_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    let form = [("token", token.as_str())];
    let answer = estate.node.form("/introspect", &form).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    let wrong = basic(estate.client_id("planner"), "wrong");
    let answer = estate.node.form_with("/introspect", &form, Some(&wrong)).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}
