//! Tokens of a GitHub App's installation: as narrow as each call, and never wider than the connection.

use crate::harness::*;
use crate::machine::*;
use crate::machine_assertion::{checked_signature, pem, rsa};
use crate::oauth_provider::{AskedOf, OAuthProvider};
use axum::response::{IntoResponse as _, Response};
use chancery_core::time::{Clock as _, Ttl};
use chancery_oauth::jose::SigningKey;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    each_call_gets_a_token_as_narrow_as_it_is,
    calls_at_once_make_one_request_for_each_narrowing,
    what_is_given_wider_than_asked_is_not_used,
    a_repository_that_is_refused_stops_no_other,
    narrower_permissions_are_in_force_at_once,
    a_token_that_github_does_not_take_is_asked_for_anew,
    an_installation_that_is_stopped_or_given_up_opens_nothing,
    no_token_of_an_app_is_shown_or_kept_in_the_clear,
);

fn app(provider: &OAuthProvider) -> Value {
    let url = &provider.url;
    json!({ "name": "crm", "base_url": format!("{url}/api"), "owner": "ops", "rules": [],
        "credential": { "app_installation": { "preset": "github-app", "issuer": "Iv1.app", "installation": 7,
            "api_url": format!("{url}/api"), "account": "acme", "repositories": ["docs", "site"],
            "permissions": { "contents": "write", "issues": "read" } } } })
}

/// GitHub: it checks who asks, gives what is asked for, and its interface shows what each token is for; those before a
/// number it has forgotten.
fn plays_github(machine: &Machine, key: SigningKey, refuses: &'static str) -> Arc<AtomicUsize> {
    let given: Arc<Mutex<Vec<Value>>> = Arc::default();
    let forgotten: Arc<AtomicUsize> = Arc::default();
    let first = forgotten.clone();
    let now = machine.estate.node.clock.clone();
    machine.provider.answers(move |asked| {
        let mut given = given.lock().unwrap();
        if asked.path == "/api/app/installations/7/access_tokens" {
            let assertion = asked
                .header("authorization")
                .strip_prefix("Bearer ")
                .unwrap_or_default();
            let claims = checked_signature(assertion, &key);
            let seconds = now.now().as_seconds();
            let is_app = claims.is_some_and(|claims| {
                claims["iss"] == "Iv1.app"
                    && claims["exp"].as_i64().unwrap() <= seconds + 600
                    && claims["iat"].as_i64().unwrap() <= seconds
            });
            if !is_app {
                return said(StatusCode::UNAUTHORIZED, "A JSON web token could not be decoded");
            }
            if asked.body.contains(refuses) {
                return said(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "There is a repository that does not exist",
                );
            }
            let wanted: Value = serde_json::from_str(&asked.body).unwrap();
            let token = format!("MARKER-access-ghs-{}", given.len());
            given.push(wanted.clone());
            let end = now.now().plus(Ttl::from_minutes(60)).to_string();
            let mut permissions = wanted["permissions"].clone();
            permissions["metadata"] = json!("read");
            let body = json!({ "token": token, "expires_at": end, "permissions": permissions,
                "repository_selection": "selected" });
            return (StatusCode::CREATED, axum::Json(body)).into_response();
        }
        let number = asked
            .header("authorization")
            .strip_prefix("Bearer MARKER-access-ghs-");
        let number = number.and_then(|number| number.parse::<usize>().ok());
        let number = number.filter(|number| *number >= first.load(Ordering::SeqCst));
        let token = number.and_then(|number| given.get(number));
        token.map_or_else(
            || StatusCode::UNAUTHORIZED.into_response(),
            |token| token.to_string().into_response(),
        )
    });
    forgotten
}

fn said(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}

/// What stands in no request.
const NONE: &str = "\0";
const TOKENS: &str = "/api/app/installations/7/access_tokens";

async fn installed(place: &Place) -> Machine {
    let machine = Machine::of(place, app).await;
    let key = rsa();
    machine.ready(&pem(&key), json!("tenant")).await;
    plays_github(&machine, key, NONE);
    machine
}

/// What the token of this call is for.
async fn token_of(machine: &Machine, token: &str, method: &str, path: &str) -> Value {
    let answer = machine.request(token, method, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn each_call_gets_a_token_as_narrow_as_it_is(place: Place) {
    let machine = installed(&place).await;
    let token = machine.token("planner").await;
    let reads = json!({ "contents": "read", "issues": "read" });
    let site = token_of(&machine, &token, "GET", "/repos/acme/site/issues").await;
    assert_eq!(site, json!({ "repositories": ["site"], "permissions": reads }));
    let written = token_of(&machine, &token, "POST", "/repos/acme/docs/contents/a").await;
    assert_eq!(
        written,
        json!({ "repositories": ["docs"], "permissions": { "contents": "write", "issues": "read" } })
    );
    // Not one that is listed: never more than those that are.
    let other = token_of(&machine, &token, "GET", "/repos/acme/secrets/contents/x").await;
    assert_eq!(
        other,
        json!({ "repositories": ["docs", "site"], "permissions": reads })
    );
    assert_eq!(machine.provider.asked(TOKENS).len(), 3);
    // Each is kept for what it is for, until shortly before its end.
    token_of(&machine, &token, "GET", "/repos/acme/site/pulls").await;
    token_of(&machine, &token, "GET", "/orgs/acme").await;
    assert!(machine.provider.asked(TOKENS).is_empty());
    machine.estate.node.advance(Ttl::from_minutes(59)).await;
    let token = machine.token("planner").await;
    token_of(&machine, &token, "GET", "/repos/acme/site/pulls").await;
    assert_eq!(machine.provider.asked(TOKENS).len(), 1);
    let began = machine.estate.events("connected_account.refreshing").await;
    let ended = machine.estate.events("connected_account.refreshed").await;
    assert_eq!((began.len(), ended.len()), (4, 4));
    assert_eq!(machine.account().await["status"], "connected");
}

async fn calls_at_once_make_one_request_for_each_narrowing(place: Place) {
    let machine = Arc::new(installed(&place).await);
    let token = machine.token("planner").await;
    let tries: Vec<_> = (0..40)
        .map(|number| {
            let (machine, token) = (machine.clone(), token.clone());
            let path = ["/repos/acme/site/a", "/repos/acme/docs/a"][number % 2];
            tokio::spawn(async move { machine.request(&token, "GET", path).await.status })
        })
        .collect();
    for status in tries {
        assert_eq!(status.await.unwrap(), 200);
    }
    assert_eq!(machine.provider.asked(TOKENS).len(), 2);
}

async fn what_is_given_wider_than_asked_is_not_used(place: Place) {
    let machine = installed(&place).await;
    let now = machine.estate.node.clock.clone();
    machine.provider.answers(move |asked: &AskedOf| {
        let end = now.now().plus(Ttl::from_minutes(60)).to_string();
        let wide = json!({ "token": "MARKER-access-wide", "expires_at": end, "permissions": { "administration": "write" } });
        match asked.path.as_str() {
            TOKENS => (StatusCode::CREATED, axum::Json(wide)).into_response(),
            _ => interface(asked, "MARKER-access-wide"),
        }
    });
    for _ in 0..2 {
        let refused = machine.use_by("planner").await;
        assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    }
    assert_eq!(machine.provider.asked(TOKENS).len(), 1, "it is not hammered");
    assert!(machine.provider.asked("/api/files").is_empty());
    let account = machine.account().await;
    assert_eq!(account["status"], "error");
    assert!(
        account["last_error"].as_str().unwrap().contains("more than"),
        "{account}"
    );
}

async fn a_repository_that_is_refused_stops_no_other(place: Place) {
    let machine = installed(&place).await;
    let token = machine.token("planner").await;
    let key = rsa();
    machine.prove(&pem(&key)).await;
    plays_github(&machine, key, r#"["docs"]"#);
    let answer = machine.request(&token, "GET", "/repos/acme/docs/a").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    token_of(&machine, &token, "GET", "/repos/acme/site/a").await;
    assert_eq!(machine.account().await["status"], "connected");
}

async fn narrower_permissions_are_in_force_at_once(place: Place) {
    let machine = installed(&place).await;
    machine.use_by("planner").await;
    let mut credential = machine.estate.show("connections", "crm").await["spec"]["credential"].clone();
    credential["app_installation"]["permissions"] = json!({ "issues": "read" });
    machine
        .estate
        .change("connections", "crm", json!({ "credential": credential }))
        .await;
    let token = machine.token("planner").await;
    let now = token_of(&machine, &token, "POST", "/repos/acme/site/issues").await;
    assert_eq!(now["permissions"], json!({ "issues": "read" }));
}

async fn a_token_that_github_does_not_take_is_asked_for_anew(place: Place) {
    let machine = Machine::of(&place, app).await;
    let key = rsa();
    machine.ready(&pem(&key), json!("tenant")).await;
    let forgotten = plays_github(&machine, key, NONE);
    assert_eq!(machine.use_by("planner").await.status, 200);
    forgotten.store(1, Ordering::SeqCst);
    machine.estate.node.advance(Ttl::from_minutes(2)).await;
    let answer = machine.use_by("planner").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.provider.asked(TOKENS).len(), 2);
    assert_eq!(machine.estate.events("connected_account.refused").await.len(), 1);
}

async fn an_installation_that_is_stopped_or_given_up_opens_nothing(place: Place) {
    let machine = installed(&place).await;
    let token = machine.token("planner").await;
    token_of(&machine, &token, "GET", "/files").await;
    let told = machine.given_up().await;
    assert_eq!(told["outcome"], "not_revoked", "{told}");
    assert!(
        told["reason"].as_str().unwrap().contains("by themselves"),
        "{told}"
    );
    assert_eq!(machine.request(&token, "GET", "/files").await.status, 403);
    assert_eq!(machine.provider.asked("/api/files").len(), 1);
}

async fn no_token_of_an_app_is_shown_or_kept_in_the_clear(place: Place) {
    let machine = installed(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    machine.shows_none_of(&place, &["MARKER-access"]).await;
}
