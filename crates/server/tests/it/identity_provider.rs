//! A company's identity provider, stood in for: discovery, keys and a token endpoint on loopback. A test plays the
//! person at its sign-in page, and can have it misbehave.

use crate::browser::{Browser, parameter};
use crate::estate::{jwks, key, sign};
use crate::harness::*;
use crate::outside;
use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_oauth::jose::SigningKey;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A running identity provider.
#[derive(Clone, Debug)]
pub(crate) struct IdentityProvider {
    pub(crate) issuer: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: SigningKey,
    names_itself: bool,
    issuer: Mutex<String>,
    /// Code → (challenge, claims).
    codes: Mutex<HashMap<String, (String, Value)>>,
    /// What was sent to the token endpoint: headers and form.
    seen: Mutex<Vec<(HeaderMap, HashMap<String, String>)>>,
}

impl IdentityProvider {
    /// One that says it names itself in every answer, or not.
    pub(crate) async fn start(names_itself: bool) -> Self {
        let shared = Arc::new(Shared {
            key: key("idp-1"),
            names_itself,
            issuer: Mutex::default(),
            codes: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .with_state(shared.clone());
        let address = outside::serve(router).await;
        let issuer = format!("http://{address}");
        shared.issuer.lock().unwrap().clone_from(&issuer);
        Self { issuer, shared }
    }

    /// It as a trusted issuer; `sign_in` adds to how people sign in.
    pub(crate) fn trusted(&self, name: &str, sign_in: &Value) -> Value {
        let mut method = json!({ "client_id": "chancery" });
        for (field, value) in sign_in.as_object().unwrap() {
            method[field] = value.clone();
        }
        json!({
            "name": name, "issuer": self.issuer, "purposes": ["users"], "audiences": ["chancery"],
            "keys": "discovery", "claims": { "roles": "roles", "groups": "groups" }, "sign_in": method,
        })
    }

    /// What a person's sign-in there leads back to: the path of our callback, with a code for these claims.
    pub(crate) fn approve(&self, location: &str, subject: &str, extra: &Value, now: i64) -> String {
        let ask = |name: &str| parameter(location, name).unwrap_or_else(|| panic!("no {name} in {location}"));
        assert!(
            location.starts_with(&format!("{}/authorize?", self.issuer)),
            "{location}"
        );
        let mut claims = json!({
            "iss": self.issuer, "sub": subject, "aud": ask("client_id"), "nonce": ask("nonce"),
            "iat": now, "exp": now + 600, "auth_time": now, "roles": ["staff"],
        });
        for (name, value) in extra.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut codes = self.shared.codes.lock().unwrap();
        let code = format!("code-{}", codes.len());
        codes.insert(code.clone(), (ask("code_challenge"), claims));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("code", &code)
            .append_pair("state", &ask("state"));
        if self.shared.names_itself {
            query.append_pair("iss", &self.issuer);
        }
        let back = ask("redirect_uri");
        format!("{}?{}", back.strip_prefix(BASE).unwrap(), query.finish())
    }

    /// Signs a person in, in a browser.
    pub(crate) async fn sign_in(&self, node: &Chancery, subject: &str) -> Browser {
        let mut browser = Browser::at(node);
        self.sign_in_with(node, &mut browser, (subject, &json!({}))).await;
        browser
    }

    /// The same in a browser that is there, with claims of the test's own.
    pub(crate) async fn sign_in_with(
        &self,
        node: &Chancery,
        browser: &mut Browser,
        (subject, extra): (&str, &Value),
    ) -> Answer {
        let sent = browser.get("/sign-in?return_to=/me/agents&prompt=login").await;
        let location = sent
            .header("location")
            .unwrap_or_else(|| panic!("{sent:?}"))
            .to_owned();
        let back = self.approve(&location, subject, extra, now(node));
        browser.get(&back).await
    }

    /// A token about a person that agents may bring.
    pub(crate) fn token(&self, node: &Chancery, subject: &str) -> String {
        let claims = json!({
            "iss": self.issuer, "sub": subject, "aud": "chancery", "iat": now(node), "exp": now(node) + 600,
            "roles": ["staff"],
        });
        sign(&self.shared.key, None, &claims)
    }

    /// What was sent to the token endpoint last.
    pub(crate) fn last_seen(&self) -> (HeaderMap, HashMap<String, String>) {
        self.shared.seen.lock().unwrap().last().unwrap().clone()
    }
}

/// The node's moment in seconds.
pub(crate) fn now(node: &Chancery) -> i64 {
    use chancery_core::time::Clock as _;
    node.clock.now().as_seconds()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = shared.issuer.lock().unwrap().clone();
    Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
        "authorization_response_iss_parameter_supported": shared.names_itself,
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(jwks(&shared.key))
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    shared.seen.lock().unwrap().push((headers, form.clone()));
    let found = shared.codes.lock().unwrap().remove(&form["code"]);
    let Some((challenge, claims)) = found else {
        return refused();
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
    if URL_SAFE_NO_PAD.encode(digest) != challenge {
        return refused();
    }
    Json(json!({ "access_token": "theirs", "token_type": "Bearer", "id_token": sign(&shared.key, Some("JWT"), &claims) }))
        .into_response()
}

fn refused() -> Response {
    (
        http::StatusCode::BAD_REQUEST,
        Json(json!({ "error": "invalid_grant" })),
    )
        .into_response()
}
