//! Public clients (RFC 6749 §2.1): software that can keep no secret. It says who it is and proves nothing, so that
//! it works only with a person who did.

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    a_public_client_works_with_a_verified_person_only,
    a_client_with_a_proof_cannot_come_without_it,
    a_proof_of_a_public_client_is_refused,
    a_name_alone_is_no_authorization_to_introspect,
    a_public_client_revokes_its_own_token,
    a_client_uses_no_grant_that_it_is_not_registered_for,
    a_redirect_uri_that_could_be_another_place_is_not_registered,
    what_a_client_calls_itself_ends_nothing_and_where_it_answers_does,
);

async fn estate(place: &Place) -> Estate {
    let estate = Estate::start(place).await;
    let desktop = json!({
        "name": "desktop", "agent": "planner", "method": "none",
        "redirect_uris": ["http://127.0.0.1/callback"],
    });
    estate.admin("POST", "/clients", desktop).await;
    estate
}

async fn exchange(estate: &Estate, client: &[(&str, &str)]) -> Answer {
    let alice = estate.user("alice", &["staff"]);
    let mut form = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", alice.as_str()),
        ("subject_token_type", JWT),
        ("resource", NOTES),
        ("scope", "read"),
    ];
    form.extend_from_slice(client);
    estate.node.form("/token", &form).await
}

async fn a_public_client_works_with_a_verified_person_only(place: Place) {
    let estate = estate(&place).await;
    let answer = exchange(&estate, &[("client_id", "desktop")]).await;
    assert_eq!(answer.claims()["chancery"]["assurance"], "claimed");

    let itself = [
        ("grant_type", "client_credentials"),
        ("client_id", "desktop"),
        ("resource", NOTES),
    ];
    let answer = estate.node.form("/token", &itself).await;
    assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
}

async fn a_client_with_a_proof_cannot_come_without_it(place: Place) {
    let estate = estate(&place).await;
    for (client, method) in [
        ("planner", "client_secret_basic"),
        ("planner-key", "private_key_jwt"),
        ("planner-pod", "runtime"),
    ] {
        let answer = exchange(&estate, &[("client_id", client)]).await;
        let reason = format!("the client is registered for `{method}`, not for this method");
        assert_eq!(estate.reason(&answer).await, reason);
    }
}

async fn a_proof_of_a_public_client_is_refused(place: Place) {
    let estate = estate(&place).await;
    let with_secret = [("client_id", "desktop"), ("client_secret", "anything")];
    let answer = exchange(&estate, &with_secret).await;
    let reason = "the client is registered for `none`, not for this method";
    assert_eq!(estate.reason(&answer).await, reason);
    let empty = [("client_id", "desktop"), ("client_secret", "")];
    assert_ne!(exchange(&estate, &empty).await.status, 500);
    let reset = estate
        .try_admin("POST", "/clients/desktop/reset-secret", Value::Null)
        .await;
    assert_eq!(reset.problem(), (422, "invalid".to_owned()));
}

async fn a_name_alone_is_no_authorization_to_introspect(place: Place) {
    let estate = estate(&place).await;
    let token = exchange(&estate, &[("client_id", "desktop")]).await.token();
    let form = [("token", token.as_str()), ("client_id", "desktop")];
    let answer = estate.node.form("/introspect", &form).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}

async fn a_public_client_revokes_its_own_token(place: Place) {
    let estate = estate(&place).await;
    let token = exchange(&estate, &[("client_id", "desktop")]).await.token();
    assert!(estate.is_active("planner", &token).await);
    let form = [("token", token.as_str()), ("client_id", "desktop")];
    assert_eq!(estate.node.form("/revoke", &form).await.status, 200);
    assert!(!estate.is_active("planner", &token).await);
}

async fn a_client_uses_no_grant_that_it_is_not_registered_for(place: Place) {
    let estate = estate(&place).await;
    estate
        .change(
            "clients",
            "desktop",
            json!({ "grant_types": ["authorization_code"] }),
        )
        .await;
    let answer = exchange(&estate, &[("client_id", "desktop")]).await;
    assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
}

async fn a_redirect_uri_that_could_be_another_place_is_not_registered(place: Place) {
    let estate = estate(&place).await;
    for uri in [
        "http://app.example/callback",
        "https://*.example/callback",
        "https://app.example/callback#x",
        "https://app.example@evil.example/",
        "javascript:alert(1)",
    ] {
        let client = json!({ "name": "x", "agent": "planner", "method": "none", "redirect_uris": [uri] });
        let answer = estate.try_admin("POST", "/clients", client).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{uri}");
    }
}

async fn what_a_client_calls_itself_ends_nothing_and_where_it_answers_does(place: Place) {
    let estate = estate(&place).await;
    let token = exchange(&estate, &[("client_id", "desktop")]).await.token();
    estate
        .change("clients", "desktop", json!({ "display_name": "Desktop" }))
        .await;
    assert!(estate.is_active("planner", &token).await);
    let moved = json!({ "redirect_uris": ["https://elsewhere.example/callback"] });
    estate.change("clients", "desktop", moved).await;
    assert!(!estate.is_active("planner", &token).await);
}
