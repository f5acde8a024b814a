//! Token exchange (RFC 8693): a person's token becomes one that says who acts; a child never exceeds its
//! parent.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    an_exchange_says_for_whom_and_who_acts,
    a_person_cannot_delegate_what_they_do_not_hold,
    each_limit_alone_refuses,
    policy_refuses_what_every_other_limit_allows,
    without_a_grant_the_person_must_consent,
    a_grant_for_any_person_covers_each_within_what_they_hold,
    a_grant_of_another_principal_is_no_fallback,
    a_child_carries_no_more_than_its_parent,
    a_child_never_outlives_its_parent,
    a_child_of_a_dying_parent_is_not_born_dead,
    an_audience_never_widens,
    a_stolen_token_cannot_be_laundered,
    a_token_for_a_resource_is_no_proof_elsewhere,
    an_agent_behind_a_resource_may_use_what_its_scope_carries,
    a_foreign_or_broken_subject_is_refused,
    a_revoked_token_is_no_subject,
    a_narrowed_child_dies_with_its_parents_lineage,
);

async fn an_exchange_says_for_whom_and_who_acts(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.planner_for_alice("read write").await;
    assert_eq!(answer.json()["issued_token_type"], ACCESS_TOKEN);
    let claims = answer.claims();
    let alice = estate.show("users", "alice").await["id"].clone();
    let planner = estate.show("agents", "planner").await["id"].clone();
    assert_eq!(
        (&claims["sub"], &claims["act"]),
        (&alice, &json!({ "sub": planner }))
    );
    assert_eq!(
        (&claims["aud"], &claims["scope"]),
        (&json!(NOTES), &json!("read write"))
    );
}

async fn a_person_cannot_delegate_what_they_do_not_hold(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.planner_for_alice("delete").await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    estate.node.advance(Ttl::from_seconds(1)).await;
    let manager = estate.user("alice", &["staff", "manager"]);
    let target = [("resource", NOTES), ("scope", "delete")];
    assert_eq!(
        estate
            .exchange_as("planner", (&manager, JWT), &target)
            .await
            .scope(),
        "delete"
    );
}

async fn each_limit_alone_refuses(place: Place) {
    let estate = Estate::start(&place).await;
    let narrowings = [
        (
            "agents",
            "planner",
            json!({ "ceiling": { "notes": ["read"] } }),
            "ceiling",
        ),
        ("grants", "alice-notes", json!({ "scopes": ["read"] }), "grant"),
        (
            "resources",
            "notes",
            json!({ "holders": { "staff": ["read"] } }),
            "holders",
        ),
    ];
    for (collection, name, narrow, limit) in narrowings {
        let before = estate.show(collection, name).await["spec"].clone();
        assert_eq!(estate.planner_for_alice("read write").await.scope(), "read write");
        estate.change(collection, name, narrow).await;
        let answer = estate.planner_for_alice("read write").await;
        assert_eq!(answer.status, 400, "{limit}");
        let decision = answer.json()["decision"].as_str().unwrap().to_owned();
        let why = estate
            .admin("GET", &format!("/why/{decision}"), Value::Null)
            .await;
        let rows = why["decision"]["decision"]["rows"].as_array().unwrap().clone();
        let write = rows.iter().find(|row| row["scope"] == "write").unwrap();
        for column in ["ceiling", "grant", "holders"] {
            assert_eq!(write[column], column != limit, "{limit}: {write}");
        }
        assert_eq!(estate.planner_for_alice("read").await.scope(), "read");
        estate
            .admin("PUT", &format!("/{collection}/{name}"), before)
            .await;
    }
}

async fn policy_refuses_what_every_other_limit_allows(place: Place) {
    let estate = Estate::start(&place).await;
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let forbid = "@id(\"no-writing\") forbid (principal == Agent::\"planner\", action == Action::\"issue_token\", \
                  resource == Scope::\"notes:write\") when { context has user };";
    estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{forbid}") }))
        .await;
    let answer = estate.planner_for_alice("write").await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    assert_eq!(estate.planner_for_alice("read").await.scope(), "read");
    assert_eq!(
        estate
            .own("planner", &[("resource", NOTES), ("scope", "write")])
            .await
            .scope(),
        "write"
    );
}

async fn without_a_grant_the_person_must_consent(place: Place) {
    let estate = Estate::start(&place).await;
    let alice = estate.user("alice", &["staff"]);
    let target = [("resource", MAIL), ("scope", "send")];
    let answer = estate.exchange_as("planner", (&alice, JWT), &target).await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
    assert!(answer.json()["consent_uri"].as_str().unwrap().starts_with(BASE));
    let grant = json!({ "agent": "planner", "principal": { "user": "alice" }, "resource": "mail", "scopes": ["send"] });
    estate.apply(json!({ "grants": [grant] })).await;
    assert_eq!(
        estate
            .exchange_as("planner", (&alice, JWT), &target)
            .await
            .scope(),
        "send"
    );
}

async fn a_grant_for_any_person_covers_each_within_what_they_hold(place: Place) {
    let estate = Estate::start(&place).await;
    let grant = json!({ "agent": "third", "principal": "tenant", "resource": "notes", "scopes": ["read"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let target = [("resource", NOTES), ("scope", "read")];
    let staff = estate.user("bob", &["staff"]);
    assert_eq!(
        estate.exchange_as("third", (&staff, JWT), &target).await.scope(),
        "read"
    );
    let guest = estate.user("carol", &["guest"]);
    let answer = estate.exchange_as("third", (&guest, JWT), &target).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    let answer = estate.own("third", &target).await;
    assert_eq!(
        answer.error(),
        (400, "consent_required".to_owned()),
        "nobody is not any person"
    );
}

async fn a_grant_of_another_principal_is_no_fallback(place: Place) {
    let estate = Estate::start(&place).await;
    let target = [("resource", NOTES), ("scope", "read")];
    let bob = estate.user("bob", &["staff"]);
    let answer = estate.exchange_as("planner", (&bob, JWT), &target).await;
    assert_eq!(
        answer.error(),
        (400, "consent_required".to_owned()),
        "alice's grant and the agent's own are not bob's"
    );
}

async fn a_child_carries_no_more_than_its_parent(place: Place) {
    let estate = Estate::start(&place).await;
    let parent = estate.planner_for_alice("read").await.token();
    let wider = [("resource", NOTES), ("scope", "read write")];
    let answer = estate.exchange("planner", &parent, &wider).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    let same = [("resource", NOTES), ("scope", "read")];
    assert_eq!(estate.exchange("planner", &parent, &same).await.scope(), "read");
    let alice = estate.user("alice", &["staff"]);
    let agent_token = estate
        .exchange_as("planner", (&alice, JWT), &[("scope", "notes:read")])
        .await
        .token();
    let answer = estate.exchange("planner", &agent_token, &wider).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    let answer = estate
        .exchange(
            "planner",
            &agent_token,
            &[("resource", HELPER_API), ("scope", "plan")],
        )
        .await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
}

async fn a_child_never_outlives_its_parent(place: Place) {
    let estate = Estate::start(&place).await;
    let soon = START.as_seconds() + 90;
    let alice = estate.user_with("alice", json!({ "roles": ["staff"], "exp": soon }));
    let target = [("resource", NOTES), ("scope", "read")];
    let answer = estate.exchange_as("planner", (&alice, JWT), &target).await;
    assert_eq!(
        (&answer.claims()["exp"], &answer.json()["expires_in"]),
        (&json!(soon), &json!(90))
    );
    let parent = answer.token();
    estate.node.advance(Ttl::from_seconds(30)).await;
    let child = estate.exchange("planner", &parent, &target).await;
    assert_eq!(
        (&child.claims()["exp"], &child.json()["expires_in"]),
        (&json!(soon), &json!(60))
    );
}

async fn a_child_of_a_dying_parent_is_not_born_dead(place: Place) {
    let estate = Estate::start(&place).await;
    let alice = estate.user_with(
        "alice",
        json!({ "roles": ["staff"], "exp": START.as_seconds() + 10 }),
    );
    // Within the allowance between clocks the token is still taken as not over.
    estate.node.advance(Ttl::from_seconds(12)).await;
    let answer = estate
        .exchange_as(
            "planner",
            (&alice, JWT),
            &[("resource", NOTES), ("scope", "read")],
        )
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn an_audience_never_widens(place: Place) {
    let estate = Estate::start(&place).await;
    let grant = json!({ "agent": "planner", "principal": { "user": "alice" }, "resource": "mail", "scopes": ["send"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let notes = estate.planner_for_alice("read").await.token();
    for (uri, scope) in [(MAIL, "send"), (HELPER_API, "plan")] {
        let answer = estate
            .exchange("planner", &notes, &[("resource", uri), ("scope", scope)])
            .await;
        assert_eq!(answer.error(), (400, "invalid_scope".to_owned()), "{uri}");
    }
    let answer = estate
        .exchange("planner", &notes, &[("scope", "mail:send")])
        .await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    assert_eq!(
        estate.exchange("planner", &notes, &[]).await.scope(),
        "notes:read"
    );
}

async fn a_stolen_token_cannot_be_laundered(place: Place) {
    let estate = Estate::start(&place).await;
    let alice = estate.user("alice", &["staff"]);
    let at_notes = estate.planner_for_alice("read").await.token();
    let agent_token = estate.exchange_as("planner", (&alice, JWT), &[]).await.token();
    let own = estate.own("planner", &[("resource", NOTES)]).await.token();
    for stolen in [&at_notes, &agent_token, &own] {
        for kind in [ACCESS_TOKEN, JWT] {
            let target = [("resource", NOTES), ("scope", "read")];
            let answer = estate.exchange_as("helper", (stolen, kind), &target).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
        }
        let answer = estate.exchange_as("helper", (stolen, ID_TOKEN), &[]).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    }
}

async fn a_token_for_a_resource_is_no_proof_elsewhere(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    let answer = estate.asserted(&token, &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    let answer = estate
        .node
        .api("GET", "/api/v1/agents", &token, Value::Null)
        .await;
    assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()));
}

async fn an_agent_behind_a_resource_may_use_what_its_scope_carries(place: Place) {
    let estate = Estate::start(&place).await;
    let alice = estate.user("alice", &["staff"]);
    let plan = [("resource", HELPER_API), ("scope", "plan")];
    let received = estate.exchange_as("planner", (&alice, JWT), &plan).await.token();
    let read = [("resource", NOTES), ("scope", "read")];
    let answer = estate.exchange("helper", &received, &read).await;
    let ids = [
        estate.show("agents", "helper").await,
        estate.show("agents", "planner").await,
    ];
    let act = json!({ "sub": ids[0]["id"], "act": { "sub": ids[1]["id"] } });
    assert_eq!((answer.scope().as_str(), &answer.claims()["act"]), ("read", &act));
    let write = [("resource", NOTES), ("scope", "write")];
    let answer = estate.exchange("helper", &received, &write).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_scope".to_owned()),
        "only what the scope carries"
    );
    let answer = estate.exchange("third", &received, &read).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_request".to_owned()),
        "only the agent behind the resource"
    );
}

async fn a_foreign_or_broken_subject_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let target = [("resource", NOTES), ("scope", "read")];
    let claims = claims(&estate.user("alice", &["staff"]));
    let forged = sign(&key("idp-1"), None, &claims);
    let other_issuer = estate.user_with("alice", json!({ "iss": "https://evil.example" }));
    let other_audience = estate.user_with("alice", json!({ "aud": "someone-else" }));
    let expired = estate.user_with("alice", json!({ "exp": START.as_seconds() - 60 }));
    let no_subject = estate.user_with("alice", json!({ "sub": null }));
    let not_yet = estate.user_with("alice", json!({ "nbf": START.as_seconds() + 60 }));
    let ours_forged = sign(
        &key("k"),
        Some("at+jwt"),
        &json!({ "iss": BASE, "aud": BASE, "sub": "agt_x", "exp": 9_999_999_999_i64 }),
    );
    for token in [
        forged,
        other_issuer,
        other_audience,
        expired,
        no_subject,
        not_yet,
        ours_forged,
        "x.y.z".to_owned(),
    ] {
        for kind in [JWT, ACCESS_TOKEN, ID_TOKEN] {
            let answer = estate.exchange_as("planner", (&token, kind), &target).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{token}");
        }
    }
}

async fn a_revoked_token_is_no_subject(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.planner_for_alice("read").await.token();
    assert_eq!(
        estate
            .post("/revoke", "planner", &[("token", &token)])
            .await
            .status,
        200
    );
    let answer = estate
        .exchange("planner", &token, &[("resource", NOTES), ("scope", "read")])
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn a_narrowed_child_dies_with_its_parents_lineage(place: Place) {
    let estate = Estate::start(&place).await;
    let parent = estate.planner_for_alice("read write").await.token();
    let child = estate
        .exchange("planner", &parent, &[("resource", NOTES), ("scope", "read")])
        .await
        .token();
    assert!(estate.is_active("planner", &child).await);
    estate.kill("grant", "alice-notes").await;
    assert!(!estate.is_active("planner", &child).await && !estate.is_active("planner", &parent).await);
}
