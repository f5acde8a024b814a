//! What providers do otherwise than the standards, each played by a stand-in, and the preset that knows it.

use crate::browser::parameter;
use crate::connect::Drive;
use crate::harness::*;
use crate::oauth_provider::{AskedOf, CLIENT_SECRET, OAuthProvider};
use axum::response::{IntoResponse as _, Response};
use chancery_core::time::Ttl;
use http::StatusCode;
use serde_json::{Value, json};

on_both_engines!(
    github_says_its_errors_in_a_200_and_takes_back_with_the_apps_secret,
    slack_asks_with_commas_and_keeps_the_persons_token_beside_its_own,
    google_gives_a_refresh_token_once,
    salesforce_does_not_say_how_long_and_has_a_host_for_each_company,
    a_preset_that_is_not_known_is_refused,
);

/// A connection from a preset, at the stand-in's addresses.
fn connection(provider: &OAuthProvider, preset: &str, scopes: &[&str]) -> Value {
    let url = &provider.url;
    json!({
        "name": "drive", "base_url": format!("{url}/api"), "owner": "ops", "rules": [],
        "credential": { "oauth2": {
            "preset": preset, "client_id": "chancery", "scopes": scopes, "issuer": null,
            "endpoints": {
                "authorization": format!("{url}/authorize"), "token": format!("{url}/token"),
                "revocation": format!("{url}/revoke"), "userinfo": format!("{url}/me"),
            },
        } },
    })
}

fn body(value: &Value) -> Response {
    axum::Json(value.clone()).into_response()
}

/// What the person's interface answers to this token.
fn interface(asked: &AskedOf, token: &str) -> Response {
    if asked.header("authorization") == format!("Bearer {token}") {
        "theirs".into_response()
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

async fn id(drive: &Drive) -> String {
    drive.account().await["id"].as_str().unwrap().to_owned()
}

async fn disconnected(drive: &Drive) -> Value {
    let path = format!("/connected_accounts/{}/retire", id(drive).await);
    drive.estate.admin("POST", &path, Value::Null).await["revocation"].clone()
}

async fn github_says_its_errors_in_a_200_and_takes_back_with_the_apps_secret(place: Place) {
    let drive = Drive::of(&place, |provider| connection(provider, "github", &["repo"])).await;
    let form = |text: &'static str| {
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        (headers, text).into_response()
    };
    drive
        .provider
        .script(move |asked| (asked.path == "/token").then(|| form("error=bad_verification_code")));
    let mut alice = drive.signed_in("alice").await;
    let refused = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(refused.status, 502, "{}", refused.text());

    drive.provider.answers(move |asked| match asked.path.as_str() {
        "/token" => form("access_token=MARKER-access-gho&scope=repo%2Cgist&token_type=bearer"),
        "/me" => body(&json!({ "id": 7, "login": "octo" })),
        "/revoke" => StatusCode::NO_CONTENT.into_response(),
        _ => interface(asked, "MARKER-access-gho"),
    });
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let asked = drive.provider.asked("/token").pop().unwrap();
    assert_eq!(
        (asked.form["client_secret"].as_str(), asked.header("accept")),
        (CLIENT_SECRET, "application/json")
    );
    let spec = drive.account().await["spec"].clone();
    assert_eq!(
        (&spec["provider_account"], &spec["scopes"]),
        (
            &json!({ "subject": "7", "label": "octo" }),
            &json!(["gist", "repo"])
        )
    );
    // It says nothing of an end, and there is none.
    drive.estate.node.advance(Ttl::from_days(20)).await;
    assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
    assert!(drive.provider.asked("/token").is_empty());
    assert_eq!(disconnected(&drive).await, json!({ "outcome": "revoked" }));
    let asked = drive.provider.asked("/revoke").remove(0);
    assert_eq!(asked.method, "DELETE");
    assert_eq!(asked.header("authorization"), basic("chancery", CLIENT_SECRET));
    assert_eq!(asked.body, r#"{"access_token":"MARKER-access-gho"}"#);
}

async fn slack_asks_with_commas_and_keeps_the_persons_token_beside_its_own(place: Place) {
    let scopes = ["chat:write", "users:read"];
    let drive = Drive::of(&place, |provider| connection(provider, "slack", &scopes)).await;
    let mut alice = drive.signed_in("alice").await;
    let location = drive.begun(&mut alice, "planner", &[]).await;
    assert_eq!(
        (
            parameter(&location, "user_scope").as_deref(),
            parameter(&location, "scope")
        ),
        (Some("chat:write,users:read"), None)
    );
    drive.provider.answers(|asked| {
        let is_refresh = asked.form.get("grant_type").is_some_and(|grant| grant == "refresh_token");
        match asked.path.as_str() {
            "/token" if is_refresh => body(&json!({ "ok": true, "access_token": "MARKER-access-xoxe-2",
                "refresh_token": "MARKER-refresh-2", "expires_in": 43200, "token_type": "user" })),
            "/token" => body(&json!({ "ok": true, "access_token": "MARKER-access-xoxb-of-the-app", "token_type": "bot",
                "team": { "id": "T1", "name": "Acme" },
                "authed_user": { "id": "U1", "scope": "chat:write,users:read", "access_token": "MARKER-access-xoxp",
                    "token_type": "user", "refresh_token": "MARKER-refresh-1", "expires_in": 43200 } })),
            "/revoke" => body(&json!({ "ok": false, "error": "not_allowed" })),
            "/api/files" if asked.header("authorization") == "Bearer MARKER-access-xoxp" => {
                interface(asked, "MARKER-access-xoxp")
            }
            _ => interface(asked, "MARKER-access-xoxe-2"),
        }
    });
    let done = alice.get(&drive.provider.approve(&location, "alice-there")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(
        drive.account().await["spec"]["provider_account"],
        json!({ "subject": "U1", "label": "Acme" })
    );
    assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
    drive.estate.node.advance(Ttl::from_minutes(13 * 60)).await;
    assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
    assert_eq!(
        drive.provider.asked("/token").pop().unwrap().form["refresh_token"],
        "MARKER-refresh-1"
    );
    // A no in a 200 is a no.
    let told = disconnected(&drive).await;
    assert_eq!(told["outcome"], "not_revoked");
    assert!(told["reason"].as_str().unwrap().contains("not_allowed"), "{told}");
    let asked = drive.provider.asked("/revoke").remove(0);
    assert_eq!(asked.header("authorization"), "Bearer MARKER-access-xoxe-2");
}

async fn google_gives_a_refresh_token_once(place: Place) {
    let drive = Drive::of(&place, |provider| {
        connection(provider, "google", &["openid", "email"])
    })
    .await;
    let mut alice = drive.signed_in("alice").await;
    let location = drive.begun(&mut alice, "planner", &[]).await;
    for (name, value) in [
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("scope", "email openid"),
    ] {
        assert_eq!(parameter(&location, name).as_deref(), Some(value));
    }
    drive.provider.answers(|asked| match asked.path.as_str() {
        "/token" if asked.form["grant_type"] == "refresh_token" => body(
            &json!({ "access_token": "MARKER-access-ya29-2", "expires_in": 3599, "token_type": "Bearer" }),
        ),
        "/token" => body(
            &json!({ "access_token": "MARKER-access-ya29", "expires_in": 3599, "token_type": "Bearer",
            "refresh_token": "MARKER-refresh-1" }),
        ),
        "/me" => body(&json!({ "sub": "1080", "email": "alice@gmail.example" })),
        "/revoke" => StatusCode::OK.into_response(),
        _ => interface(asked, "MARKER-access-ya29-2"),
    });
    let done = alice.get(&drive.provider.approve(&location, "alice-there")).await;
    assert!(done.text().contains("alice@gmail.example"), "{}", done.text());
    drive.provider.asked("/token");
    for _ in 0..2 {
        drive.estate.node.advance(Ttl::from_minutes(59)).await;
        assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
        let asked = drive.provider.asked("/token").remove(0);
        assert_eq!(asked.form["refresh_token"], "MARKER-refresh-1");
    }
    assert_eq!(disconnected(&drive).await, json!({ "outcome": "revoked" }));
}

async fn salesforce_does_not_say_how_long_and_has_a_host_for_each_company(place: Place) {
    let scopes = ["api", "refresh_token"];
    let drive = Drive::of(&place, |provider| connection(provider, "salesforce", &scopes)).await;
    let answers = |instance: String| {
        move |asked: &AskedOf| match asked.path.as_str() {
            "/token" => body(
                &json!({ "access_token": "MARKER-access-00D", "refresh_token": "MARKER-refresh-5Aep",
                "instance_url": instance, "id": "https://login.salesforce.com/id/00D/005", "token_type": "Bearer",
                "issued_at": "1768478400000", "signature": "x" }),
            ),
            "/revoke" => StatusCode::OK.into_response(),
            _ => interface(asked, "MARKER-access-00D"),
        }
    };
    drive
        .provider
        .answers(answers("https://evil.my.salesforce.com".to_owned()));
    let mut alice = drive.signed_in("alice").await;
    let refused = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("other_interface"));

    drive.provider.answers(answers(drive.provider.url.clone()));
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    drive.provider.asked("/token");
    drive.estate.node.advance(Ttl::from_minutes(12)).await;
    assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
    assert!(drive.provider.asked("/token").is_empty());
    drive.estate.node.advance(Ttl::from_minutes(2)).await;
    assert_eq!(drive.use_by("planner", "alice").await.text(), "theirs");
    assert_eq!(drive.provider.asked("/token").len(), 1, "its end is assumed");
}

async fn a_preset_that_is_not_known_is_refused(place: Place) {
    let drive = Drive::open(&place).await;
    let item = json!({ "name": "other", "base_url": "https://api.example", "owner_level": "user",
        "credential": { "oauth2": { "preset": "gitbub", "client_id": "x", "issuer": "https://id.example" } } });
    let answer = drive.estate.try_admin("POST", "/connections", item).await;
    assert_eq!(answer.problem(), (422, "invalid".to_owned()));
    assert!(answer.text().contains("github"));
    // What is stored and exported is whole, and applied again changes nothing.
    let item = json!({ "name": "hub", "credential": { "oauth2": { "preset": "github", "client_id": "x" } } });
    drive.estate.admin("POST", "/connections", item).await;
    let export = drive.estate.admin("GET", "/export", Value::Null).await;
    let again = drive
        .estate
        .apply(json!({ "connections": export["connections"] }))
        .await;
    assert!(!again.to_string().contains("updated"), "{again}");
    assert!(
        export
            .to_string()
            .contains("https://api.github.com/applications/x/grant")
    );
}
