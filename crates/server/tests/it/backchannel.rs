//! Backchannel authentication (OpenID Connect CIBA Core): a person who is not there is asked for access to what is
//! theirs; the person is named exactly, and nobody else can say yes.

use crate::approval::{CIBA, answer_as, approve, estate_with, poll, prepare};
use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_policy::ApprovalAnswer;
use chancery_server::Failure;
use serde_json::{Value, json};

on_both_engines!(
    the_person_who_is_named_gives_access_and_nobody_else,
    a_hint_names_somebody_exactly_or_nobody,
    a_token_of_a_trusted_issuer_names_a_person,
    what_would_be_refused_anyway_asks_nobody,
    the_message_is_shown_as_the_agents_own_words,
    a_person_is_not_asked_about_everything_at_once,
    the_owners_own_yes_is_no_second_pair_of_eyes,
    metadata_names_the_endpoint_and_its_mode,
    a_stranger_asks_nobody,
    a_yes_tells_the_client_who_said_it,
    an_id_token_of_ours_names_its_person_to_its_own_client,
);

pub(crate) async fn ask(estate: &Estate, pairs: &[(&str, &str)]) -> Answer {
    let mut form = vec![("scope", "openid read"), ("resource", NOTES)];
    for (name, value) in pairs {
        form.retain(|(known, _)| known != name);
        form.push((*name, *value));
    }
    estate.post("/bc-authorize", "planner", &form).await
}

#[track_caller]
pub(crate) fn asked(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let id = text("approval_uri").rsplit('/').next().unwrap().to_owned();
    (text("auth_req_id"), id)
}

async fn people(place: &Place) -> Estate {
    let estate = Estate::start(place).await;
    prepare(&estate, "").await;
    estate
}

async fn the_person_who_is_named_gives_access_and_nobody_else(place: Place) {
    let estate = people(&place).await;
    let answer = ask(&estate, &[("login_hint", "alice")]).await;
    let (handle, id) = asked(&answer);
    assert_eq!(
        (&answer.json()["interval"], &answer.json()["expires_in"]),
        (&json!(5), &json!(600))
    );
    for person in ["carol", "dave", "ops"] {
        assert!(
            matches!(approve(&estate, person, &id).await, Err(Failure::Denied(_))),
            "{person}"
        );
    }
    assert_eq!(
        poll(&estate, "planner", &handle).await.error().1,
        "authorization_pending"
    );
    approve(&estate, "alice", &id).await.unwrap();
    let given = poll(&estate, "planner", &handle).await;
    assert_eq!(given.scope(), "openid read");
    let (alice, planner) = (
        estate.show("users", "alice").await,
        estate.show("agents", "planner").await,
    );
    assert_eq!(
        (&given.claims()["sub"], &given.claims()["act"]["sub"]),
        (&alice["id"], &planner["id"])
    );
    assert_eq!(poll(&estate, "planner", &handle).await.error().1, "invalid_grant");
}

async fn a_hint_names_somebody_exactly_or_nobody(place: Place) {
    let estate = people(&place).await;
    for hint in ["alic", "Alice", "alice@example.com", "corp alice", "%", "agt_0"] {
        assert_eq!(
            ask(&estate, &[("login_hint", hint)]).await.error(),
            (400, "unknown_user_id".to_owned()),
            "{hint}"
        );
    }
    let id = estate.show("users", "alice").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    asked(&ask(&estate, &[("login_hint", &id)]).await);
    estate.admin("POST", "/users/alice/suspend", json!({})).await;
    assert_eq!(
        ask(&estate, &[("login_hint", "alice")]).await.error().1,
        "unknown_user_id"
    );
    assert_eq!(ask(&estate, &[]).await.error().1, "invalid_request");
}

async fn a_token_of_a_trusted_issuer_names_a_person(place: Place) {
    let estate = people(&place).await;
    let alice = estate.user("alice", &["staff"]);
    asked(&ask(&estate, &[("login_hint_token", &alice)]).await);
    let stranger = estate.user("mallory", &["staff"]);
    assert_eq!(
        ask(&estate, &[("login_hint_token", &stranger)]).await.error().1,
        "unknown_user_id"
    );
    let forged = sign(
        &key("idp-1"),
        None,
        &json!({ "iss": IDP, "sub": "alice", "aud": "chancery", "exp": 1 }),
    );
    assert_eq!(
        ask(&estate, &[("login_hint_token", &forged)]).await.error().1,
        "unknown_user_id"
    );
    estate.node.advance(Ttl::from_minutes(20)).await;
    assert_eq!(
        ask(&estate, &[("login_hint_token", &alice)]).await.error().1,
        "expired_login_hint_token"
    );
    assert!(
        estate.events("user.created").await.len() <= 5,
        "nobody was made up"
    );
}

async fn what_would_be_refused_anyway_asks_nobody(place: Place) {
    let estate = people(&place).await;
    let beyond = ask(&estate, &[("login_hint", "alice"), ("scope", "openid delete")]).await;
    assert_eq!(beyond.error(), (400, "invalid_scope".to_owned()));
    let without_grant = ask(
        &estate,
        &[
            ("login_hint", "alice"),
            ("resource", MAIL),
            ("scope", "openid send"),
        ],
    )
    .await;
    assert_eq!(without_grant.error(), (403, "access_denied".to_owned()));
    assert!(estate.events("approval.requested").await.is_empty());
}

async fn the_message_is_shown_as_the_agents_own_words(place: Place) {
    let estate = people(&place).await;
    let (_, id) = asked(
        &ask(
            &estate,
            &[("login_hint", "alice"), ("binding_message", "Order 47")],
        )
        .await,
    );
    let view = answer_as(&estate, "alice", &id, (ApprovalAnswer::Reject, None))
        .await
        .unwrap();
    assert_eq!(view.record.subject.says.unwrap().as_str(), "Order 47");
    let hostile = ask(
        &estate,
        &[("login_hint", "alice"), ("binding_message", "x\u{202e}y")],
    )
    .await;
    assert_eq!(hostile.error().1, "invalid_binding_message");
}

async fn a_person_is_not_asked_about_everything_at_once(place: Place) {
    let estate = people(&place).await;
    let mut codes = Vec::new();
    for number in 0..7 {
        let message = format!("Order {number}");
        let answer = ask(&estate, &[("login_hint", "alice"), ("binding_message", &message)]).await;
        codes.push(answer.status.as_u16());
    }
    assert_eq!(codes, [200, 200, 200, 200, 200, 503, 503]);
}

async fn the_owners_own_yes_is_no_second_pair_of_eyes(place: Place) {
    let policy = r#"@id("reading-needs-a-yes") forbid (principal is Agent, action == Action::"issue_token", resource)
        unless { context has approval && context.approval.count >= 1 };"#;
    let estate = estate_with(&place, policy).await;
    let (handle, id) = asked(&ask(&estate, &[("login_hint", "alice")]).await);
    approve(&estate, "alice", &id).await.unwrap();
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "openid read");

    estate
        .change("agents", "planner", json!({ "owner": "alice" }))
        .await;
    let (handle, id) = asked(&ask(&estate, &[("login_hint", "alice")]).await);
    approve(&estate, "alice", &id).await.unwrap();
    assert_eq!(poll(&estate, "planner", &handle).await.error().1, "access_denied");
}

async fn metadata_names_the_endpoint_and_its_mode(place: Place) {
    let estate = people(&place).await;
    let metadata = estate.node.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        metadata["backchannel_authentication_endpoint"],
        json!(format!("{BASE}/bc-authorize"))
    );
    assert_eq!(
        metadata["backchannel_token_delivery_modes_supported"],
        json!(["poll"])
    );
    assert_eq!(
        metadata["backchannel_user_code_parameter_supported"],
        Value::Bool(false)
    );
    assert!(
        metadata["grant_types_supported"]
            .as_array()
            .unwrap()
            .contains(&json!(CIBA))
    );
}

async fn a_stranger_asks_nobody(place: Place) {
    let estate = people(&place).await;
    let form = [
        ("scope", "openid read"),
        ("resource", NOTES),
        ("login_hint", "alice"),
    ];
    let answer = estate
        .node
        .form_with("/bc-authorize", &form, Some(&basic("planner", "wrong")))
        .await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    assert!(estate.events("approval.requested").await.is_empty());
}

/// The ID token that comes with alice's yes.
async fn id_token(estate: &Estate) -> (String, Answer) {
    let (handle, id) = asked(&ask(estate, &[("login_hint", "alice")]).await);
    approve(estate, "alice", &id).await.unwrap();
    let given = poll(estate, "planner", &handle).await;
    let token = given.json()["id_token"].as_str().unwrap().to_owned();
    (token, given)
}

async fn a_yes_tells_the_client_who_said_it(place: Place) {
    let estate = people(&place).await;
    let (token, given) = id_token(&estate).await;
    let said = claims(&token);
    let alice = estate.show("users", "alice").await["id"].clone();
    assert_eq!(
        (&said["iss"], &said["sub"], &said["aud"]),
        (&json!(BASE), &alice, &json!(estate.client_id("planner")))
    );
    assert!(said["at_hash"].is_string() && said["sid"].is_null() && said["auth_time"].is_null());
    assert!(given.json()["refresh_token"].is_null());
    // A yes of others to a token is no sign-in.
    let exchanged = estate.planner_for_alice("read").await;
    assert!(exchanged.json()["id_token"].is_null());
}

async fn an_id_token_of_ours_names_its_person_to_its_own_client(place: Place) {
    let estate = people(&place).await;
    let (token, given) = id_token(&estate).await;
    asked(&ask(&estate, &[("id_token_hint", &token), ("binding_message", "1")]).await);
    let form = [
        ("scope", "openid read"),
        ("resource", NOTES),
        ("id_token_hint", token.as_str()),
    ];
    let theirs = estate.post("/bc-authorize", "helper", &form).await;
    assert_eq!(theirs.error().1, "unknown_user_id");
    let access = given.token();
    let mut altered = token.clone();
    let last = if altered.ends_with('A') { "B" } else { "A" };
    altered.replace_range(altered.len() - 1.., last);
    let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
    let forged = sign(
        &key("idp-1"),
        Some("JWT"),
        &json!({ "iss": BASE, "sub": "usr_0", "aud": estate.client_id("planner"), "iat": 1, "exp": 1_868_478_400, "at_hash": "x" }),
    );
    for other in [&access, &altered, &unsigned, &forged] {
        let answer = ask(&estate, &[("id_token_hint", other)]).await;
        assert_eq!(answer.error().1, "unknown_user_id", "{other}");
    }
    // It is a hint and no proof: it may be over, though not for ever.
    estate.node.advance(Ttl::from_minutes(60)).await;
    asked(&ask(&estate, &[("id_token_hint", &token), ("binding_message", "2")]).await);
    estate.node.advance(Ttl::from_days(3)).await;
    assert_eq!(
        ask(&estate, &[("id_token_hint", &token)]).await.error().1,
        "unknown_user_id"
    );
}
