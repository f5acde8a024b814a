//! An agent for itself (RFC 6749 §4.4): within its ceiling, its grants and policy.

use crate::estate::*;
use crate::harness::*;
use base64::Engine as _;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_token_says_what_rfc_9068_demands,
    a_scope_outside_the_ceiling_is_refused,
    a_scope_outside_the_blueprint_is_refused,
    a_scope_without_grant_needs_one,
    a_sensitive_scope_needs_a_person,
    one_refused_scope_refuses_the_whole_request,
    default_scopes_are_narrowed_to_what_is_allowed,
    a_resource_without_default_scopes_needs_a_scope,
    an_unknown_or_malformed_scope_is_invalid_scope,
    an_inactive_resource_is_unknown,
    an_agent_token_names_its_resource_in_each_scope,
    a_budget_is_spent_exactly_under_concurrency,
    a_budget_added_later_counts_from_then,
    a_used_up_budget_is_a_recorded_decision_that_explains_itself,
    a_grant_outside_its_hours_gives_nothing,
    a_grant_past_its_end_gives_nothing,
    a_token_ends_with_its_grant_and_its_agent,
    tokens_live_by_how_their_resource_is_enforced,
    each_algorithm_signs_and_is_published,
);

async fn a_token_says_what_rfc_9068_demands(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .own("planner", &[("resource", NOTES), ("scope", "read write")])
        .await;
    let (claims, body) = (answer.claims(), answer.json());
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("Bearer"), &json!(300))
    );
    assert_eq!(body.get("issued_token_type"), None);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(BASE), &json!(NOTES)));
    assert_eq!(claims["scope"], "read write");
    assert_eq!(claims["iat"], START.as_seconds());
    assert_eq!(claims["exp"], START.as_seconds() + 300);
    assert!(claims["sub"].as_str().unwrap().starts_with("agt_"));
    assert!(claims["jti"].as_str().unwrap().starts_with("tok_"));
    assert_eq!((claims.get("act"), claims.get("may_act")), (None, None));
    let header = answer.token().split('.').next().unwrap().to_owned();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("at+jwt"), &json!("ES256"))
    );
}

async fn a_scope_outside_the_ceiling_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change(
            "grants",
            "planner-notes",
            json!({ "scopes": ["read", "write", "admin"] }),
        )
        .await;
    let answer = estate
        .own("planner", &[("resource", NOTES), ("scope", "admin")])
        .await;
    assert_eq!(refused_by(&estate, &answer).await, ["ceiling"]);
}

async fn a_scope_outside_the_blueprint_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change("grants", "helper-notes", json!({ "scopes": ["read", "write"] }))
        .await;
    let ask = [("resource", NOTES), ("scope", "write")];
    assert_eq!(estate.own("helper", &ask).await.scope(), "write");
    estate
        .change(
            "blueprints",
            "workers",
            json!({ "ceiling": { "notes": ["read"] } }),
        )
        .await;
    let answer = estate.own("helper", &ask).await;
    assert_eq!(refused_by(&estate, &answer).await, ["ceiling"]);
}

async fn a_scope_without_grant_needs_one(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .own("helper", &[("resource", NOTES), ("scope", "write")])
        .await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
    let uri = answer.json()["consent_uri"].as_str().unwrap().to_owned();
    assert!(uri.starts_with(&format!("{BASE}/consent?decision=dec_")), "{uri}");
}

async fn a_sensitive_scope_needs_a_person(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change(
            "grants",
            "planner-notes",
            json!({ "scopes": ["read", "write", "delete"] }),
        )
        .await;
    let answer = estate
        .own("planner", &[("resource", NOTES), ("scope", "delete")])
        .await;
    assert_eq!(refused_by(&estate, &answer).await, ["policy"]);
}

async fn one_refused_scope_refuses_the_whole_request(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .own("planner", &[("resource", NOTES), ("scope", "read admin")])
        .await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    assert!(answer.json().get("access_token").is_none());
}

async fn default_scopes_are_narrowed_to_what_is_allowed(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change(
            "resources",
            "notes",
            json!({ "default_scopes": ["read", "write", "delete"] }),
        )
        .await;
    assert_eq!(
        estate.own("planner", &[("resource", NOTES)]).await.scope(),
        "read write"
    );
    assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    let answer = estate.own("third", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
}

async fn a_resource_without_default_scopes_needs_a_scope(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.own("planner", &[("resource", MAIL)]).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
}

async fn an_unknown_or_malformed_scope_is_invalid_scope(place: Place) {
    let estate = Estate::start(&place).await;
    for scope in [
        "nothing",
        "read  write",
        " read",
        "read read",
        "re\"ad",
        "rëad",
        "read nothing",
    ] {
        let answer = estate
            .own("planner", &[("resource", NOTES), ("scope", scope)])
            .await;
        assert_eq!(answer.error(), (400, "invalid_scope".to_owned()), "{scope}");
    }
    for scope in ["read", "notes:nothing", "nothing:read", ":read", "notes:"] {
        let answer = estate.own("planner", &[("scope", scope)]).await;
        assert_eq!(answer.error(), (400, "invalid_scope".to_owned()), "{scope}");
    }
}

async fn an_inactive_resource_is_unknown(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .admin("POST", "/resources/notes/suspend", Value::Null)
        .await;
    for target in [("resource", NOTES), ("audience", "notes"), ("audience", NOTES)] {
        let answer = estate.own("planner", &[target]).await;
        assert_eq!(answer.error(), (400, "invalid_target".to_owned()), "{target:?}");
    }
}

async fn an_agent_token_names_its_resource_in_each_scope(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.own("planner", &[]).await;
    assert_eq!(answer.claims()["aud"], BASE);
    assert_eq!(answer.scope(), "notes:read notes:write");
    assert_eq!(answer.json()["expires_in"], 3_600);
    let answer = estate.own("planner", &[("scope", "notes:read")]).await;
    assert_eq!(answer.scope(), "notes:read");
}

async fn a_budget_is_spent_exactly_under_concurrency(place: Place) {
    let estate = std::sync::Arc::new(Estate::start(&place).await);
    let grant = json!({ "agent": "third", "principal": "itself", "resource": "notes", "scopes": ["read"], "budget": 5 });
    estate.apply(json!({ "grants": [grant] })).await;
    let tries = (0..16).map(|_| {
        let estate = estate.clone();
        tokio::spawn(async move { estate.own("third", &[("resource", NOTES)]).await })
    });
    let mut given = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            given += 1;
        } else {
            assert_eq!(answer.error(), (400, "access_denied".to_owned()));
        }
    }
    assert_eq!(given, 5);
}

async fn a_budget_added_later_counts_from_then(place: Place) {
    let estate = Estate::start(&place).await;
    assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.status, 200);
    estate
        .change("grants", "helper-notes", json!({ "budget": 2 }))
        .await;
    for _ in 0..2 {
        assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    }
    let answer = estate.own("helper", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "access_denied".to_owned()));
    estate
        .change("grants", "helper-notes", json!({ "budget": 0 }))
        .await;
    let answer = estate.own("helper", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "access_denied".to_owned()));
}

async fn a_used_up_budget_is_a_recorded_decision_that_explains_itself(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change("grants", "planner-notes", json!({ "budget": 1 }))
        .await;
    let assertion = estate.assertion("budget", plain());
    estate.own("planner", &[("resource", NOTES)]).await.token();
    let answer = estate.asserted(&assertion, &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "access_denied".to_owned()));
    let decision = answer.json()["decision"].as_str().unwrap().to_owned();

    let events = estate.events("token.issued").await;
    assert_eq!((&events[0]["outcome"], events.len()), (&json!("denied"), 2));
    let ids = events[0]["ids"].to_string();
    let grant = estate.show("grants", "planner-notes").await["id"].to_string();
    assert!(ids.contains(&decision) && ids.contains(&grant), "{ids}");
    let sentence = events[0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("budget used up"), "{sentence}");

    let why = estate
        .admin("GET", &format!("/why/{decision}"), json!(null))
        .await;
    let explained = &why["decision"]["explanation"];
    assert!(explained["notes"].to_string().contains("budget"), "{explained}");
    assert_eq!(explained["rows"][0][7], "NO");
    // The proof was spent with the refusal, and the refusal spent nothing else.
    let again = estate.asserted(&assertion, &[("resource", NOTES)]).await;
    assert_eq!(estate.reason(&again).await, "the assertion was used before");
}

async fn a_grant_outside_its_hours_gives_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .change(
            "grants",
            "helper-notes",
            json!({ "hours": { "from": 9, "until": 13 } }),
        )
        .await;
    assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    estate.node.advance(Ttl::from_minutes(60)).await;
    let answer = estate.own("helper", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
}

async fn a_grant_past_its_end_gives_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let end = START.plus(Ttl::from_minutes(10)).as_micros();
    estate
        .change("grants", "helper-notes", json!({ "expires_at": end }))
        .await;
    assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    estate.node.advance(Ttl::from_minutes(10)).await;
    let answer = estate.own("helper", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
}

async fn a_token_ends_with_its_grant_and_its_agent(place: Place) {
    let estate = Estate::start(&place).await;
    let end = |seconds| START.plus(Ttl::from_seconds(seconds));
    estate
        .change(
            "grants",
            "helper-notes",
            json!({ "expires_at": end(100).as_micros() }),
        )
        .await;
    let claims = estate.own("helper", &[("resource", NOTES)]).await.claims();
    assert_eq!(claims["exp"], end(100).as_seconds());
    estate
        .change("agents", "helper", json!({ "expires_at": end(50).as_micros() }))
        .await;
    let claims = estate.own("helper", &[("resource", NOTES)]).await.claims();
    assert_eq!(claims["exp"], end(50).as_seconds());
}

async fn tokens_live_by_how_their_resource_is_enforced(place: Place) {
    let estate = Estate::start(&place).await;
    let life = |answer: Answer| answer.json()["expires_in"].as_u64().unwrap();
    assert_eq!(life(estate.own("planner", &[("resource", NOTES)]).await), 300);
    estate
        .change("resources", "notes", json!({ "enforcement": "gateway" }))
        .await;
    assert_eq!(life(estate.own("planner", &[("resource", NOTES)]).await), 3_600);
    estate
        .change("resources", "notes", json!({ "lifetime": 60 }))
        .await;
    assert_eq!(life(estate.own("planner", &[("resource", NOTES)]).await), 60);
}

async fn each_algorithm_signs_and_is_published(place: Place) {
    use chancery_oauth::jose::{self, JwkSet, JwkSetLimits, Profile, UnverifiedJwt};
    let estate = Estate::start(&place).await;
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        estate
            .change("resources", "notes", json!({ "algorithm": algorithm }))
            .await;
        let token = estate.own("planner", &[("resource", NOTES)]).await.token();
        let published = estate.node.get("/jwks").await;
        assert_eq!(published.header("content-type"), Some("application/jwk-set+json"));
        assert!(
            !published.text().contains("\"d\""),
            "no private part is published"
        );
        let set = JwkSet::parse(&published.body, JwkSetLimits::default()).unwrap();
        let jwt = UnverifiedJwt::parse(&token).unwrap();
        jose::verify(&jwt, &Profile::access_token(BASE, NOTES), &set, START).unwrap();
    }
}

/// The limits that refused each scope of a denied request, from its `why` table.
async fn refused_by(estate: &Estate, answer: &Answer) -> Vec<String> {
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    let decision = answer.json()["decision"].as_str().unwrap().to_owned();
    let why = estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    let row = why["decision"]["decision"]["rows"][0].clone();
    let limits = ["parent", "ceiling", "grant", "holders", "policy"];
    let refusing = limits.into_iter().filter(|limit| row[*limit] == false);
    refusing.map(str::to_owned).collect()
}
