//! Workload federation: clouds that trust Chancery as issuer. No secret of theirs exists here.

use crate::harness::*;
use crate::machine::*;
use crate::oauth_provider::OAuthProvider;
use axum::response::IntoResponse as _;
use chancery_core::time::{Clock as _, Ttl};
use http::StatusCode;
use serde_json::{Value, json};

on_both_engines!(
    google_cloud_exchanges_an_assertion_of_the_agent,
    a_service_account_is_impersonated_with_what_was_exchanged,
    entra_takes_the_assertion_as_a_clients,
    the_subject_is_the_accounts_owner_whoever_calls,
    an_assertion_to_a_cloud_is_no_token_of_ours,
    a_cloud_that_does_not_trust_us_gives_no_token,
    no_assertion_or_token_of_a_cloud_is_shown_or_kept_in_the_clear,
);

fn cloud(provider: &OAuthProvider, level: &str, exchange: &Value) -> Value {
    let url = &provider.url;
    json!({ "name": "crm", "base_url": format!("{url}/api"), "owner": "ops", "owner_level": level,
        "credential": { "workload_federation": { "audience": "https://iam.example/pool",
            "token_endpoint": format!("{url}/sts"), "exchange": exchange, "scopes": ["storage.read"] } } })
}

fn google(provider: &OAuthProvider) -> Value {
    cloud(
        provider,
        "agent",
        &json!({ "token_exchange": { "provider": "//iam.example/pool" } }),
    )
}

/// What an assertion says, if the keys that we publish now hold it.
async fn checked(machine: &Machine, assertion: &str) -> Value {
    let keys = machine.estate.node.get("/jwks").await.json();
    let (header, _) = assertion.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    let all = keys["keys"].as_array().unwrap();
    let key = all.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(key["alg"], "RS256");
    let (input, signature) = assertion.rsplit_once('.').unwrap();
    let part = |name: &str| decode(key[name].as_str().unwrap());
    let public = aws_lc_rs::rsa::PublicKeyComponents {
        n: part("n"),
        e: part("e"),
    };
    let verified = public.verify(
        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
        input.as_bytes(),
        &decode(signature),
    );
    assert!(verified.is_ok());
    claims(assertion)
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

fn gives(provider: &OAuthProvider) {
    provider.answers(|asked| match asked.path.as_str() {
        "/sts" => body(
            &json!({ "access_token": "MARKER-access-cloud", "token_type": "Bearer", "expires_in": 3600,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" }),
        ),
        _ => interface(asked, "MARKER-access-cloud"),
    });
}

async fn at_google(place: &Place) -> Machine {
    let machine = Machine::of(place, google).await;
    assert_eq!(machine.name(json!({ "agent": "planner" })).await.status, 201);
    gives(&machine.provider);
    machine
}

async fn google_cloud_exchanges_an_assertion_of_the_agent(place: Place) {
    let machine = at_google(&place).await;
    assert_eq!(machine.use_by("planner").await.text(), "theirs");
    let form = machine.provider.asked("/sts").remove(0).form;
    assert_eq!(
        (
            form["grant_type"].as_str(),
            form["audience"].as_str(),
            form["scope"].as_str()
        ),
        (
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "//iam.example/pool",
            "storage.read"
        )
    );
    assert_eq!(form["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    let said = checked(&machine, &form["subject_token"]).await;
    let now = machine.estate.node.clock.now().as_seconds();
    assert_eq!(
        (&said["iss"], &said["sub"], &said["aud"], &said["exp"]),
        (
            &json!("https://id.example"),
            &json!("tenant:default:agent:planner"),
            &json!("https://iam.example/pool"),
            &json!(now + 300)
        )
    );
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert!(machine.provider.asked("/sts").is_empty(), "it is kept");
}

async fn a_service_account_is_impersonated_with_what_was_exchanged(place: Place) {
    let machine = Machine::of(&place, |provider| {
        let url = format!("{}/sa:generateAccessToken", provider.url);
        let exchange =
            json!({ "token_exchange": { "provider": "//iam.example/pool", "impersonation_url": url } });
        cloud(provider, "agent", &exchange)
    })
    .await;
    machine.name(json!({ "agent": "planner" })).await;
    let clock = machine.estate.node.clock.clone();
    machine.provider.answers(move |asked| match asked.path.as_str() {
        "/sts" => body(
            &json!({ "access_token": "MARKER-access-first", "token_type": "Bearer", "expires_in": 3600 }),
        ),
        "/sa:generateAccessToken" if asked.header("authorization") == "Bearer MARKER-access-first" => {
            let end = clock.now().plus(Ttl::from_minutes(30)).to_string();
            body(&json!({ "accessToken": "MARKER-access-second", "expireTime": end }))
        }
        _ => interface(asked, "MARKER-access-second"),
    });
    assert_eq!(machine.use_by("planner").await.text(), "theirs");
    let first = machine.provider.asked("/sts").remove(0);
    assert_eq!(
        first.form["scope"],
        "https://www.googleapis.com/auth/cloud-platform"
    );
    let second = machine.provider.asked("/sa:generateAccessToken").remove(0);
    assert_eq!(second.body, r#"{"scope":["storage.read"]}"#);
    machine.estate.node.advance(Ttl::from_minutes(29)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.provider.asked("/sts").len(), 1);
}

async fn entra_takes_the_assertion_as_a_clients(place: Place) {
    let machine = Machine::of(&place, |provider| {
        cloud(
            provider,
            "tenant",
            &json!({ "client_assertion": { "client_id": "app-1" } }),
        )
    })
    .await;
    machine.name(json!("tenant")).await;
    gives(&machine.provider);
    assert_eq!(machine.use_by("planner").await.text(), "theirs");
    let form = machine.provider.asked("/sts").remove(0).form;
    assert_eq!(
        (
            form["grant_type"].as_str(),
            form["client_id"].as_str(),
            form["client_assertion_type"].as_str()
        ),
        ("client_credentials", "app-1", crate::estate::ASSERTION)
    );
    let said = checked(&machine, &form["client_assertion"]).await;
    assert_eq!(said["sub"], "tenant:default");
}

async fn the_subject_is_the_accounts_owner_whoever_calls(place: Place) {
    let machine = at_google(&place).await;
    let grant = json!({ "grants": [{ "agent": "helper", "principal": "itself", "connection": "crm" }] });
    machine.estate.apply(grant).await;
    assert_eq!(
        machine.use_by("helper").await.status,
        403,
        "nobody named it for helper"
    );
    machine.name(json!({ "agent": "helper" })).await;
    let token = machine.token("helper").await;
    let path = "/files?sub=tenant:default:agent:planner";
    assert_eq!(machine.request(&token, "GET", path).await.status, 200);
    let asked = machine.provider.asked("/sts");
    assert_eq!(asked.len(), 1);
    let said = checked(&machine, &asked[0].form["subject_token"]).await;
    assert_eq!(said["sub"], "tenant:default:agent:helper");
}

async fn an_assertion_to_a_cloud_is_no_token_of_ours(place: Place) {
    let machine = at_google(&place).await;
    machine.use_by("planner").await;
    let assertion = machine.provider.asked("/sts").remove(0).form["subject_token"].clone();
    assert_eq!(machine.call(&assertion).await.status, 401);
    assert_eq!(
        machine
            .estate
            .node
            .api("GET", "/api/v1/agents", &assertion, Value::Null)
            .await
            .status,
        401
    );
    assert!(!machine.estate.is_active("planner", &assertion).await);
}

async fn a_cloud_that_does_not_trust_us_gives_no_token(place: Place) {
    let machine = at_google(&place).await;
    machine.provider.answers(|asked| match asked.path.as_str() {
        "/sts" => (
            StatusCode::BAD_REQUEST,
            axum::Json(json!({ "error": "invalid_grant",
            "error_description": "The given credential is rejected by the attribute condition." })),
        )
            .into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let refused = machine.use_by("planner").await;
    assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    let account = machine.account().await;
    assert!(
        account["last_error"].as_str().unwrap().contains("invalid_grant"),
        "{account}"
    );
    assert!(machine.provider.asked("/api/files").is_empty());
}

async fn no_assertion_or_token_of_a_cloud_is_shown_or_kept_in_the_clear(place: Place) {
    let machine = at_google(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    let assertion = machine.provider.asked("/sts").remove(0).form["subject_token"].clone();
    machine
        .shows_none_of(&place, &["MARKER-access", assertion.as_str()])
        .await;
}
