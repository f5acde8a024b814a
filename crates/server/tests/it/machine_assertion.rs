//! Tokens for an assertion that an uploaded key signs: Google's service accounts, Salesforce's JWT bearer flow.

use crate::harness::*;
use crate::machine::*;
use crate::oauth_provider::{AskedOf, OAuthProvider};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_core::time::{Clock as _, Ttl};
use chancery_oauth::jose::{Algorithm, SigningKey};
use http::StatusCode;
use serde_json::{Value, json};

on_both_engines!(
    google_gets_an_assertion_with_its_scopes_inside,
    a_person_is_impersonated_by_configuration_alone,
    salesforce_names_a_host_and_no_lifetime,
    a_token_for_another_companys_host_is_not_sent,
    a_key_that_is_none_is_refused_and_not_shown,
    a_key_does_not_follow_a_changed_subject,
    what_google_refuses_is_told_and_asked_again,
    no_key_or_token_is_shown_or_kept_in_the_clear,
);

const GOOGLE: &str = "bot@project.iam.gserviceaccount.com";

fn google(provider: &OAuthProvider, changes: &Value) -> Value {
    let url = &provider.url;
    let mut assertion = json!({ "preset": "google-service-account", "issuer": GOOGLE,
        "token_endpoint": format!("{url}/token"), "scopes": ["https://www.googleapis.com/auth/drive.readonly"] });
    for (field, value) in changes.as_object().unwrap() {
        assertion[field] = value.clone();
    }
    json!({ "name": "crm", "base_url": format!("{url}/api"), "owner": "ops",
        "credential": { "signed_assertion": assertion } })
}

pub(crate) fn rsa() -> SigningKey {
    SigningKey::generate(Algorithm::Rs256).unwrap()
}

pub(crate) fn pem(key: &SigningKey) -> String {
    let der = key.to_pkcs8().unwrap();
    let text = STANDARD.encode(der.expose_secret());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

/// The file that Google hands out.
fn key_file(key: &SigningKey) -> String {
    json!({ "type": "service_account", "project_id": "project", "private_key_id": "key-7",
        "private_key": pem(key), "client_email": GOOGLE })
    .to_string()
}

/// What a provider gives for an assertion that this key signed, by RFC 7523 §3; the claims go to the test.
fn checked(asked: &AskedOf, key: &SigningKey) -> Option<Value> {
    let claims = checked_signature(asked.form.get("assertion")?, key)?;
    let is_asked = asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer";
    is_asked.then_some(claims)
}

/// What an assertion claims that this key signed.
pub(crate) fn checked_signature(assertion: &str, key: &SigningKey) -> Option<Value> {
    let (input, signature) = assertion.rsplit_once('.')?;
    let decode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok();
    // This algorithm signs the same bytes in the same way.
    let is_signed = key.sign(input.as_bytes()).ok()? == decode(signature)?;
    is_signed.then(|| claims(assertion))
}

fn refused(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": error }))).into_response()
}

/// Google at `/token` and an interface that takes the token.
fn plays_google(provider: &OAuthProvider, key: SigningKey) {
    provider.answers(move |asked| match asked.path.as_str() {
        "/token" if checked(asked, &key).is_some() => body(&json!({ "access_token": "MARKER-access-ya29",
            "token_type": "Bearer", "expires_in": 3599 })),
        "/token" => refused("invalid_grant"),
        _ => interface(asked, "MARKER-access-ya29"),
    });
}

async fn at_google(place: &Place, changes: &Value) -> Machine {
    let machine = Machine::of(place, |provider| google(provider, changes)).await;
    let key = rsa();
    machine.ready(&key_file(&key), json!("tenant")).await;
    plays_google(&machine.provider, key);
    machine
}

async fn google_gets_an_assertion_with_its_scopes_inside(place: Place) {
    let machine = at_google(&place, &json!({})).await;
    assert_eq!(machine.use_by("planner").await.text(), "theirs");
    let asked = machine.provider.asked("/token").remove(0);
    let assertion = &asked.form["assertion"];
    let header: Value = serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(assertion.split('.').next().unwrap())
            .unwrap(),
    )
    .unwrap();
    assert_eq!(header, json!({ "alg": "RS256", "kid": "key-7", "typ": "JWT" }));
    let said = claims(assertion);
    let now = machine.estate.node.clock.now().as_seconds();
    assert_eq!(
        (&said["iss"], &said["aud"], &said["scope"], said.get("sub")),
        (
            &json!(GOOGLE),
            &json!("https://oauth2.googleapis.com/token"),
            &json!("https://www.googleapis.com/auth/drive.readonly"),
            None
        )
    );
    assert_eq!((&said["iat"], &said["exp"]), (&json!(now), &json!(now + 60)));
    assert!(!asked.form.contains_key("scope") && !asked.form.contains_key("client_id"));
    // A new one in time, each with an id of its own.
    machine.estate.node.advance(Ttl::from_minutes(59)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    let again = machine.provider.asked("/token").remove(0);
    assert_ne!(claims(&again.form["assertion"])["jti"], said["jti"]);
}

async fn a_person_is_impersonated_by_configuration_alone(place: Place) {
    let machine = at_google(&place, &json!({ "subject": "alice@acme.example" })).await;
    let token = machine.token("planner").await;
    let said = machine
        .request(&token, "GET", "/files?sub=mallory@acme.example&subject=mallory")
        .await;
    assert_eq!(said.status, 200);
    let asked = machine.provider.asked("/token").remove(0);
    assert_eq!(claims(&asked.form["assertion"])["sub"], "alice@acme.example");
}

fn salesforce(provider: &OAuthProvider) -> Value {
    let url = &provider.url;
    json!({ "name": "crm", "base_url": format!("{url}/api"), "owner": "ops", "credential": { "signed_assertion": {
        "preset": "salesforce-jwt", "issuer": "consumer-key", "subject": "bot@acme.example",
        "token_endpoint": format!("{url}/token") } } })
}

async fn at_salesforce(place: &Place, host: Option<&str>) -> Machine {
    let machine = Machine::of(place, salesforce).await;
    let key = rsa();
    machine.ready(&pem(&key), json!("tenant")).await;
    let host = host.unwrap_or(&machine.provider.url).to_owned();
    machine.provider.answers(move |asked| match asked.path.as_str() {
        "/token" => match checked(asked, &key) {
            Some(said) if said["aud"] == "https://login.salesforce.com" => body(&json!({
                "access_token": "MARKER-access-00D", "token_type": "Bearer", "scope": "api", "instance_url": host,
                "id": "https://login.salesforce.com/id/00D/005" })),
            _ => refused("invalid_grant"),
        },
        _ => interface(asked, "MARKER-access-00D"),
    });
    machine
}

async fn salesforce_names_a_host_and_no_lifetime(place: Place) {
    let machine = at_salesforce(&place, None).await;
    assert_eq!(machine.use_by("planner").await.text(), "theirs");
    let asked = machine.provider.asked("/token").remove(0);
    let said = claims(&asked.form["assertion"]);
    assert_eq!(
        (&said["iss"], &said["sub"]),
        (&json!("consumer-key"), &json!("bot@acme.example"))
    );
    // It is taken for a quarter of an hour.
    machine.estate.node.advance(Ttl::from_minutes(12)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert!(machine.provider.asked("/token").is_empty());
    machine.estate.node.advance(Ttl::from_minutes(2)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.provider.asked("/token").len(), 1);
}

async fn a_token_for_another_companys_host_is_not_sent(place: Place) {
    let machine = at_salesforce(&place, Some("https://evil.my.salesforce.com")).await;
    let refused = machine.use_by("planner").await;
    assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    assert!(machine.provider.asked("/api/files").is_empty());
    let error = machine.account().await["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("interface"), "{error}");
}

async fn a_key_that_is_none_is_refused_and_not_shown(place: Place) {
    let machine = Machine::of(&place, |provider| google(provider, &json!({}))).await;
    let elliptic = pem(&SigningKey::generate(Algorithm::Es256).unwrap());
    for secret in [
        "MARKER-no-key",
        "-----BEGIN PRIVATE KEY-----\nMARKER\n-----END PRIVATE KEY-----\n",
        r#"{"private_key":"MARKER"}"#,
        &elliptic,
    ] {
        let body = json!({ "secret": secret });
        let answer = machine
            .estate
            .try_admin("PUT", "/connections/crm/secret", body)
            .await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(!answer.text().contains("MARKER"), "{}", answer.text());
    }
    machine.name(json!("tenant")).await;
    let refused = machine.use_by("planner").await;
    assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    assert!(machine.provider.asked("/token").is_empty());
}

async fn a_key_does_not_follow_a_changed_subject(place: Place) {
    let machine = at_google(&place, &json!({ "subject": "alice@acme.example" })).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    let mut credential = machine.estate.show("connections", "crm").await["spec"]["credential"].clone();
    credential["signed_assertion"]["subject"] = json!("ceo@acme.example");
    machine
        .estate
        .change("connections", "crm", json!({ "credential": credential }))
        .await;
    assert_eq!(machine.use_by("planner").await.status, 403);
    machine.provider.asked("/token");
    // Named anew, and the key was uploaded to speak for Alice.
    machine.name(json!("tenant")).await;
    let refused = machine.use_by("planner").await;
    assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    assert!(machine.provider.asked("/token").is_empty());
}

async fn what_google_refuses_is_told_and_asked_again(place: Place) {
    let machine = at_google(&place, &json!({})).await;
    plays_google(&machine.provider, rsa());
    let answer = machine.use_by("planner").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    let account = machine.account().await;
    assert_eq!(account["status"], "error");
    assert!(
        account["last_error"].as_str().unwrap().contains("invalid_grant"),
        "{account}"
    );
    let key = rsa();
    machine.prove(&pem(&key)).await;
    plays_google(&machine.provider, key);
    machine.estate.node.advance(Ttl::from_seconds(11)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
}

async fn no_key_or_token_is_shown_or_kept_in_the_clear(place: Place) {
    let machine = Machine::of(&place, |provider| google(provider, &json!({}))).await;
    let key = rsa();
    let pem = pem(&key);
    machine.ready(&pem, json!("tenant")).await;
    plays_google(&machine.provider, key);
    assert_eq!(machine.use_by("planner").await.status, 200);
    let line = pem.lines().nth(4).unwrap();
    machine.shows_none_of(&place, &["MARKER-access", line]).await;
}
