//! The JWT bearer grant (RFC 7523 §2.1) and identity assertions (ID-JAG): a trusted issuer speaks for a person, for one
//! client, once, and within a grant that stands already.

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    an_assertion_gives_a_token_within_a_standing_grant,
    an_identity_assertion_gives_a_token_and_no_refresh_token,
    an_assertion_makes_no_grant,
    an_assertion_is_used_once_as_a_grant,
    only_an_issuer_that_may_send_the_kind_is_believed,
    no_kind_of_token_passes_for_another,
    an_identity_assertion_is_for_the_client_that_brings_it,
    an_identity_assertion_says_where_and_how_far,
    what_an_assertion_does_not_say_of_a_person_is_not_lost,
    a_client_without_proof_brings_no_assertion,
    an_assertion_is_of_its_tenant,
    metadata_names_the_grant_and_its_profile,
);

const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const JAG: Option<&str> = Some("oauth-id-jag+jwt");

async fn company(place: &Place) -> Estate {
    let estate = Estate::start(place).await;
    let both = json!({ "assertions": ["jwt_bearer", "id_jag"] });
    estate.change("trusted_issuers", "corp", both).await;
    estate
}

async fn bring(estate: &Estate, client: &str, assertion: &str, pairs: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", BEARER), ("assertion", assertion)];
    form.extend_from_slice(pairs);
    estate.post("/token", client, &form).await
}

/// A plain assertion about alice.
fn plain_assertion(estate: &Estate, jti: &str, extra: &Value) -> String {
    estate.vouched(None, with(json!({ "jti": jti }), extra))
}

/// An identity assertion about alice for planner's client.
fn jag(estate: &Estate, jti: &str, extra: &Value) -> String {
    let claims = json!({ "jti": jti, "client_id": estate.client_id("planner") });
    estate.vouched(JAG, with(claims, extra))
}

fn with(mut claims: Value, extra: &Value) -> Value {
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

const AT_NOTES: [(&str, &str); 2] = [("resource", NOTES), ("scope", "read write")];

#[track_caller]
fn is_refused(answer: &Answer) {
    assert_eq!(answer.error(), (400, "invalid_grant".to_owned()));
}

async fn an_assertion_gives_a_token_within_a_standing_grant(place: Place) {
    let estate = company(&place).await;
    let given = bring(
        &estate,
        "planner",
        &plain_assertion(&estate, "1", &json!({})),
        &AT_NOTES,
    )
    .await;
    assert_eq!(given.scope(), "read write");
    let (alice, planner) = (
        estate.show("users", "alice").await,
        estate.show("agents", "planner").await,
    );
    let said = given.claims();
    assert_eq!(
        (&said["sub"], &said["act"]["sub"]),
        (&alice["id"], &planner["id"])
    );
    assert!(said["exp"].as_i64().unwrap() <= said["iat"].as_i64().unwrap() + 300);
    assert!(estate.is_active("planner", &given.token()).await);
    // Every limit holds: alice does not hold `delete`, though it is granted.
    let wide = plain_assertion(&estate, "2", &json!({}));
    let wide = bring(
        &estate,
        "planner",
        &wide,
        &[("resource", NOTES), ("scope", "delete")],
    )
    .await;
    assert_eq!(wide.error().1, "invalid_scope");
    // It falls with the person.
    estate.kill("user", "alice").await;
    assert!(!estate.is_active("planner", &given.token()).await);
    is_refused(
        &bring(
            &estate,
            "planner",
            &plain_assertion(&estate, "3", &json!({})),
            &AT_NOTES,
        )
        .await,
    );
}

async fn an_identity_assertion_gives_a_token_and_no_refresh_token(place: Place) {
    let estate = company(&place).await;
    let assertion = jag(
        &estate,
        "1",
        &json!({ "resource": NOTES, "scope": "openid read offline_access" }),
    );
    let given = bring(&estate, "planner", &assertion, &[]).await;
    assert_eq!(given.scope(), "read");
    let body = given.json();
    assert!(body["refresh_token"].is_null() && body["id_token"].is_null());
    let issued = estate.events("token.issued").await;
    assert_eq!(
        issued[0]["parts"]["decision"]["facts"]["grant_type"],
        "jwt_bearer"
    );
}

async fn an_assertion_makes_no_grant(place: Place) {
    let estate = company(&place).await;
    let at_mail = [("resource", MAIL), ("scope", "send")];
    let answer = bring(&estate, "planner", &jag(&estate, "1", &json!({})), &at_mail).await;
    assert_eq!(answer.error().1, "consent_required");
    assert!(
        answer.json()["consent_uri"]
            .as_str()
            .unwrap()
            .contains("/consent?decision=")
    );
    // An administrator's word for everybody is what a company says beforehand.
    let grant = json!({ "agent": "planner", "principal": "tenant", "resource": "mail", "scopes": ["send"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let given = bring(&estate, "planner", &jag(&estate, "2", &json!({})), &at_mail).await;
    assert_eq!(given.scope(), "send");
}

async fn an_assertion_is_used_once_as_a_grant(place: Place) {
    let estate = company(&place).await;
    let assertion = jag(&estate, "once", &json!({}));
    let tries = (0..4).map(|_| {
        let (node, basic, assertion) = (estate.node.clone(), estate.basic("planner"), assertion.clone());
        tokio::spawn(async move {
            let form = [
                ("grant_type", BEARER),
                ("assertion", assertion.as_str()),
                AT_NOTES[0],
                AT_NOTES[1],
            ];
            node.form_with("/token", &form, Some(&basic)).await
        })
    });
    let mut given = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            given += 1;
        } else {
            is_refused(&answer);
        }
    }
    assert_eq!(given, 1);
    is_refused(&bring(&estate, "planner", &assertion, &AT_NOTES).await);
    // The id is what is used: another assertion with it is the same one.
    is_refused(
        &bring(
            &estate,
            "planner",
            &plain_assertion(&estate, "once", &json!({})),
            &AT_NOTES,
        )
        .await,
    );
}

async fn only_an_issuer_that_may_send_the_kind_is_believed(place: Place) {
    let estate = Estate::start(&place).await;
    is_refused(&bring(&estate, "planner", &jag(&estate, "1", &json!({})), &AT_NOTES).await);
    estate
        .change("trusted_issuers", "corp", json!({ "assertions": ["jwt_bearer"] }))
        .await;
    is_refused(&bring(&estate, "planner", &jag(&estate, "2", &json!({})), &AT_NOTES).await);
    let assertion = plain_assertion(&estate, "3", &json!({}));
    bring(&estate, "planner", &assertion, &AT_NOTES).await.token();
    // Nobody else's key, and no issuer that is not there.
    let now = 1_768_478_400;
    for iss in [IDP, "https://other.example"] {
        let claims =
            json!({ "iss": iss, "sub": "alice", "aud": BASE, "jti": "4", "iat": now, "exp": now + 60 });
        let forged = sign(&key("idp-1"), None, &claims);
        is_refused(&bring(&estate, "planner", &forged, &AT_NOTES).await);
    }
    // A runtime's issuer speaks for no person.
    let pod = estate.pod("planner", json!({ "jti": "5" }));
    is_refused(&bring(&estate, "planner", &pod, &AT_NOTES).await);
    let users_only = json!({ "assertions": ["id_jag"] });
    let mut spec = estate.show("trusted_issuers", "cluster").await["spec"].clone();
    spec["assertions"] = users_only["assertions"].clone();
    let refused = estate.try_admin("PUT", "/trusted_issuers/cluster", spec).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
}

/// What an issuer could be led to sign, and what it signs for others.
fn impostors() -> Vec<(Option<&'static str>, Value)> {
    vec![
        (Some("at+jwt"), json!({})),
        (Some("logout+jwt"), json!({})),
        (Some("client-authentication+jwt"), json!({})),
        (None, json!({ "nonce": "n" })),
        (None, json!({ "at_hash": "h" })),
        (None, json!({ "azp": "app" })),
        (None, json!({ "client_id": "app" })),
        (None, json!({ "scope": "read" })),
        (None, json!({ "events": {} })),
        (None, json!({ "cnf": { "jkt": "k" } })),
        (None, json!({ "act": { "sub": "somebody" } })),
        (None, json!({ "aud": "chancery" })),
        (None, json!({ "aud": [BASE, "chancery"] })),
        (None, json!({ "aud": format!("{BASE}/token") })),
        (None, json!({ "jti": null })),
        (None, json!({ "exp": 1_768_478_399 - 61 })),
        (None, json!({ "exp": 1_768_478_400 + 3_700 })),
        (
            None,
            json!({ "iat": 1_768_478_400 + 3_600, "exp": 1_768_478_400 + 3_660 }),
        ),
        (None, json!({ "sub": "" })),
        (JAG, json!({ "client_id": null })),
        (JAG, json!({ "client_id": "nobody" })),
        (JAG, json!({ "cnf": { "jkt": "k" } })),
        (JAG, json!({ "act": { "sub": "somebody" } })),
        (JAG, json!({ "aud": [BASE, "https://other.example"] })),
        (JAG, json!({ "aud": "https://other.example" })),
        (JAG, json!({ "aud_tenant": "acme" })),
        (JAG, json!({ "aud_sub": "mallory" })),
        (JAG, json!({ "authorization_details": [] })),
        (JAG, json!({ "scope": ["read"] })),
        (JAG, json!({ "resource": [] })),
    ]
}

async fn no_kind_of_token_passes_for_another(place: Place) {
    let estate = company(&place).await;
    // As a grant: what was made as something else, even with our name in its audience.
    for (typ, extra) in impostors() {
        let mut claims = with(json!({ "jti": "x" }), &extra);
        if typ == JAG && claims.get("client_id").is_none() {
            claims["client_id"] = json!(estate.client_id("planner"));
        }
        let answer = bring(&estate, "planner", &estate.vouched(typ, claims), &AT_NOTES).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_grant".to_owned()),
            "{typ:?} {extra}"
        );
    }
    let own = estate.planner_for_alice("read").await.token();
    is_refused(&bring(&estate, "planner", &own, &AT_NOTES).await);
    is_refused(&bring(&estate, "planner", "nonsense", &AT_NOTES).await);
    // And an identity assertion is no subject of an exchange, and proves no client.
    let assertion = jag(&estate, "y", &json!({ "aud": "chancery" }));
    for kind in [JWT, ID_TOKEN, ACCESS_TOKEN] {
        let answer = estate.exchange_as("planner", (&assertion, kind), &AT_NOTES).await;
        assert_eq!(answer.error().1, "invalid_request", "{kind}");
    }
    let as_proof = estate
        .asserted(&jag(&estate, "z", &json!({})), &[("resource", NOTES)])
        .await;
    assert_eq!(as_proof.error().1, "invalid_client");
    // The right one is good after all that: nothing of it was used.
    bring(&estate, "planner", &jag(&estate, "x", &json!({})), &AT_NOTES)
        .await
        .token();
}

async fn an_identity_assertion_is_for_the_client_that_brings_it(place: Place) {
    let estate = company(&place).await;
    let assertion = jag(&estate, "1", &json!({}));
    for client in ["helper", "third"] {
        is_refused(&bring(&estate, client, &assertion, &AT_NOTES).await);
    }
    bring(&estate, "planner", &assertion, &AT_NOTES).await.token();
}

async fn an_identity_assertion_says_where_and_how_far(place: Place) {
    let estate = company(&place).await;
    let bound = |jti: &str| jag(&estate, jti, &json!({ "resource": NOTES, "scope": "read" }));
    let wider = bring(&estate, "planner", &bound("1"), &AT_NOTES).await;
    assert_eq!(wider.error().1, "invalid_scope");
    let elsewhere = bring(&estate, "planner", &bound("2"), &[("resource", MAIL)]).await;
    assert_eq!(elsewhere.error().1, "invalid_target");
    let itself = bring(&estate, "planner", &bound("3"), &[("scope", "read")]).await;
    assert_eq!(
        (itself.scope().as_str(), &itself.claims()["aud"]),
        ("read", &json!(NOTES))
    );
    let either = jag(&estate, "4", &json!({ "resource": [MAIL, NOTES] }));
    assert_eq!(
        bring(&estate, "planner", &either, &[("scope", "read")])
            .await
            .error()
            .1,
        "invalid_target"
    );
    let narrowed = bring(&estate, "planner", &either, &AT_NOTES).await;
    assert_eq!(narrowed.scope(), "read write");
}

async fn what_an_assertion_does_not_say_of_a_person_is_not_lost(place: Place) {
    let estate = company(&place).await;
    let session = estate.planner_for_alice("read").await.token();
    estate
        .node
        .advance(chancery_core::time::Ttl::from_minutes(1))
        .await;
    let silent = plain_assertion(&estate, "1", &json!({}));
    bring(&estate, "planner", &silent, &AT_NOTES).await.token();
    let alice = estate.show("users", "alice").await;
    assert_eq!(alice["spec"]["roles"], json!(["staff"]));
    assert!(estate.is_active("planner", &session).await);
    // What it does say counts: a role that is gone is gone.
    let loud = plain_assertion(&estate, "2", &json!({ "roles": [], "groups": [] }));
    assert_eq!(
        bring(&estate, "planner", &loud, &AT_NOTES).await.error().1,
        "invalid_scope"
    );
    assert_eq!(estate.show("users", "alice").await["spec"]["roles"], json!([]));
    assert!(!estate.is_active("planner", &session).await);
    // Whoever is seen for the first time is known from then on.
    let bob = estate.vouched(None, json!({ "sub": "bob", "jti": "3" }));
    let answer = bring(&estate, "planner", &bob, &AT_NOTES).await;
    assert_ne!(answer.error().1, "invalid_grant");
    estate.show("users", "corp:bob").await;
}

async fn a_client_without_proof_brings_no_assertion(place: Place) {
    let estate = company(&place).await;
    let app = json!({ "name": "app", "agent": "planner", "method": "none" });
    estate.apply(json!({ "clients": [app] })).await;
    let id = estate.show("clients", "app").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let assertion = estate.vouched(JAG, json!({ "jti": "1", "client_id": id }));
    let form = [
        ("grant_type", BEARER),
        ("client_id", id.as_str()),
        ("assertion", assertion.as_str()),
        AT_NOTES[0],
        AT_NOTES[1],
    ];
    assert_eq!(
        estate.node.form("/token", &form).await.error().1,
        "unauthorized_client"
    );
    let restricted = json!({ "grant_types": ["client_credentials"] });
    estate.change("clients", "planner", restricted).await;
    let answer = bring(&estate, "planner", &jag(&estate, "2", &json!({})), &AT_NOTES).await;
    assert_eq!(answer.error().1, "unauthorized_client");
}

async fn an_assertion_is_of_its_tenant(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let both = json!({ "assertions": ["jwt_bearer", "id_jag"] });
    for estate in [&first, &second] {
        estate.change("trusted_issuers", "corp", both.clone()).await;
    }
    let theirs = plain_assertion(&second, "1", &json!({}));
    is_refused(&bring(&first, "planner", &theirs, &AT_NOTES).await);
    // The same id in two tenants is two assertions.
    for estate in [&first, &second] {
        let assertion = plain_assertion(estate, "2", &json!({}));
        bring(estate, "planner", &assertion, &AT_NOTES).await.token();
    }
}

async fn metadata_names_the_grant_and_its_profile(place: Place) {
    let estate = company(&place).await;
    let said = estate
        .node
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert!(said["grant_types_supported"].to_string().contains(BEARER));
    assert_eq!(
        said["authorization_grant_profiles_supported"],
        json!(["urn:ietf:params:oauth:grant-profile:id-jag"])
    );
    assert_eq!(
        said["device_authorization_endpoint"],
        format!("{BASE}/device_authorization")
    );
}
