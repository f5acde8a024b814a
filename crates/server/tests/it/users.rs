//! People as their issuers vouch for them: facts move forward only, and losing a role is a revocation.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_person_is_known_from_their_first_token,
    what_was_learned_of_a_person_is_an_event,
    a_person_seen_first_by_many_at_once_is_one_person,
    an_id_token_is_not_an_access_token,
    an_older_token_does_not_restore_a_lost_role,
    a_lost_role_ends_what_was_issued_on_it,
    a_lost_role_counts_even_if_the_request_is_denied,
    a_suspended_person_is_refused_and_their_tokens_end,
    a_retired_person_does_not_come_back,
    a_killed_issuer_ends_what_its_people_delegated,
    an_outside_role_is_never_a_built_in_one_unless_mapped,
    groups_hold_what_their_resource_says,
);

const READ: [(&str, &str); 2] = [("resource", NOTES), ("scope", "read")];

async fn tenant_grant(estate: &Estate) {
    let grant = json!({ "agent": "planner", "principal": "tenant", "resource": "notes", "scopes": ["read", "write", "delete"] });
    estate.apply(json!({ "grants": [grant] })).await;
}

async fn a_person_is_known_from_their_first_token(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let bob = estate.user("bob", &["staff"]);
    let claims = estate.exchange_as("planner", (&bob, JWT), &READ).await.claims();
    let shown = estate.show("users", "corp:bob").await;
    assert_eq!(
        (&shown["id"], &shown["spec"]["roles"]),
        (&claims["sub"], &json!(["staff"]))
    );
    let odd = estate.user("Bob Smith <bob@x>", &["staff"]);
    let first = estate.exchange_as("planner", (&odd, JWT), &READ).await.claims();
    let second = estate.exchange_as("planner", (&odd, JWT), &READ).await.claims();
    assert_eq!(first["sub"], second["sub"]);
}

async fn what_was_learned_of_a_person_is_an_event(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let bob = estate.user("bob", &["staff"]);
    let token = estate.exchange_as("planner", (&bob, JWT), &READ).await;
    let made = estate.events("user.created").await;
    assert_eq!(made[0]["parts"]["state"]["name"], "corp:bob");
    assert!(
        made[0]["ids"]
            .to_string()
            .contains(token.claims()["sub"].as_str().unwrap())
    );
    estate.node.advance(Ttl::from_seconds(2)).await;
    let bob = estate.user("bob", &["staff", "manager"]);
    estate.exchange_as("planner", (&bob, JWT), &READ).await.token();
    let changed = estate.events("user.updated").await;
    assert_eq!(
        changed[0]["parts"]["state"]["spec"]["roles"],
        json!(["manager", "staff"])
    );
}

async fn a_person_seen_first_by_many_at_once_is_one_person(place: Place) {
    let estate = std::sync::Arc::new(Estate::start(&place).await);
    tenant_grant(&estate).await;
    let bob = estate.user("bob", &["staff"]);
    let tries = (0..8).map(|_| {
        let (estate, bob) = (estate.clone(), bob.clone());
        tokio::spawn(async move { estate.exchange_as("planner", (&bob, JWT), &READ).await })
    });
    let mut subjects = std::collections::BTreeSet::new();
    for answer in tries.collect::<Vec<_>>() {
        subjects.insert(answer.await.unwrap().claims()["sub"].to_string());
    }
    assert_eq!(subjects.len(), 1);
}

async fn an_id_token_is_not_an_access_token(place: Place) {
    let estate = Estate::start(&place).await;
    let id_token = estate.user_with("alice", json!({ "roles": ["staff"], "nonce": "n" }));
    let answer = estate
        .exchange_as("planner", (&id_token, ACCESS_TOKEN), &READ)
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    assert_eq!(
        estate
            .exchange_as("planner", (&id_token, ID_TOKEN), &READ)
            .await
            .scope(),
        "read"
    );
}

async fn an_older_token_does_not_restore_a_lost_role(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let older = estate.user("bob", &["staff"]);
    estate.node.advance(Ttl::from_seconds(10)).await;
    let newer = estate.user("bob", &["guest"]);
    assert_eq!(
        estate.exchange_as("planner", (&older, JWT), &READ).await.scope(),
        "read"
    );
    let answer = estate.exchange_as("planner", (&newer, JWT), &READ).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    let answer = estate.exchange_as("planner", (&older, JWT), &READ).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
}

async fn a_lost_role_ends_what_was_issued_on_it(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let bob = estate.user("bob", &["staff", "manager"]);
    let delete = [("resource", NOTES), ("scope", "delete")];
    let token = estate.exchange_as("planner", (&bob, JWT), &delete).await.token();
    estate.node.advance(Ttl::from_seconds(10)).await;
    let bob = estate.user("bob", &["staff"]);
    assert_eq!(
        estate.exchange_as("planner", (&bob, JWT), &READ).await.scope(),
        "read"
    );
    assert!(!estate.is_active("planner", &token).await);
    let answer = estate.exchange("planner", &token, &delete).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn a_lost_role_counts_even_if_the_request_is_denied(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let bob = estate.user("bob", &["staff", "manager"]);
    let delete = [("resource", NOTES), ("scope", "delete")];
    let token = estate.exchange_as("planner", (&bob, JWT), &delete).await.token();
    estate.node.advance(Ttl::from_seconds(10)).await;
    let bob = estate.user("bob", &["staff"]);
    let answer = estate.exchange_as("planner", (&bob, JWT), &delete).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    assert!(
        !estate.is_active("planner", &token).await,
        "what was issued on the lost role has ended"
    );
}

async fn a_suspended_person_is_refused_and_their_tokens_end(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    estate.admin("POST", "/users/alice/suspend", Value::Null).await;
    assert!(!estate.is_active("planner", &token).await);
    assert_eq!(
        estate.planner_for_alice("read").await.error(),
        (400, "invalid_request".to_owned())
    );
    estate.admin("POST", "/users/alice/activate", Value::Null).await;
    assert_eq!(estate.planner_for_alice("read").await.scope(), "read");
    assert!(!estate.is_active("planner", &token).await);
}

async fn a_retired_person_does_not_come_back(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    for subject in ["bob", "Somebody Else"] {
        let token = estate.user(subject, &["staff"]);
        let claims = estate.exchange_as("planner", (&token, JWT), &READ).await.claims();
        let id = claims["sub"].as_str().unwrap();
        estate
            .admin("POST", &format!("/users/{id}/retire"), Value::Null)
            .await;
        let answer = estate.exchange_as("planner", (&token, JWT), &READ).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{subject}");
    }
}

async fn a_killed_issuer_ends_what_its_people_delegated(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    estate.kill("issuer", "corp").await;
    assert!(!estate.is_active("planner", &token).await);
    assert_eq!(
        estate.planner_for_alice("read").await.error(),
        (400, "invalid_request".to_owned())
    );
}

async fn an_outside_role_is_never_a_built_in_one_unless_mapped(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let mallory = estate.user("mallory", &["administrator", "auditor", "owner", "staff"]);
    estate
        .exchange_as("planner", (&mallory, JWT), &READ)
        .await
        .token();
    assert_eq!(
        estate.show("users", "corp:mallory").await["spec"]["roles"],
        json!(["staff"])
    );
    let claims = json!({ "claims": { "roles": "roles", "role_map": { "boss": "administrator" } } });
    estate.change("trusted_issuers", "corp", claims).await;
    estate.node.advance(Ttl::from_seconds(1)).await;
    let boss = estate.user("dora", &["boss", "administrator"]);
    let _ = estate.exchange_as("planner", (&boss, JWT), &READ).await;
    assert_eq!(
        estate.show("users", "corp:dora").await["spec"]["roles"],
        json!(["administrator"])
    );
}

async fn groups_hold_what_their_resource_says(place: Place) {
    let estate = Estate::start(&place).await;
    tenant_grant(&estate).await;
    let guard = estate.user_with("gus", json!({ "groups": ["night", "other"] }));
    assert_eq!(
        estate.exchange_as("planner", (&guard, JWT), &READ).await.scope(),
        "read"
    );
    let write = [("resource", NOTES), ("scope", "write")];
    let answer = estate.exchange_as("planner", (&guard, JWT), &write).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
}
