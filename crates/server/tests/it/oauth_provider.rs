//! A provider with OAuth 2, stood in for: its token, revocation and userinfo endpoints and an interface, on loopback. A
//! test plays the person at its authorization page, and can have it misbehave.

use crate::browser::parameter;
use crate::harness::BASE;
use crate::outside;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// What was asked at one of its endpoints.
#[derive(Clone, Debug)]
pub(crate) struct AskedOf {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: HashMap<String, String>,
    pub(crate) body: String,
}

impl AskedOf {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A running provider.
#[derive(Clone)]
pub(crate) struct OAuthProvider {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
}

/// What a test has it answer; `None` for what it would answer by itself.
type Script = Arc<dyn Fn(&AskedOf) -> Option<Response> + Send + Sync>;

#[derive(Default)]
struct Shared {
    /// Code → (challenge, redirect URI, subject).
    codes: HashMap<String, (String, String, String)>,
    /// Refresh token → subject.
    refresh: HashMap<String, String>,
    /// Access token → subject.
    access: BTreeMap<String, String>,
    asked: Vec<AskedOf>,
    issued: usize,
    script: Option<Script>,
}

impl std::fmt::Debug for OAuthProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthProvider").finish_non_exhaustive()
    }
}

/// What proves us there.
pub(crate) const CLIENT_SECRET: &str = "MARKER-client-secret-at-the-provider";

impl OAuthProvider {
    pub(crate) async fn start() -> Self {
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let address = outside::serve(router).await;
        Self {
            url: format!("http://{address}"),
            shared,
        }
    }

    /// It as a connection where each person has an account; `oauth` adds to how it is asked.
    pub(crate) fn connection(&self, name: &str, oauth: &Value) -> Value {
        let url = &self.url;
        let mut spec = json!({
            "client_id": "chancery", "authentication": "client_secret_basic", "scopes": ["files.read", "profile"],
            "endpoints": {
                "authorization": format!("{url}/authorize"), "token": format!("{url}/token"),
                "revocation": format!("{url}/revoke"), "userinfo": format!("{url}/me"),
            },
            "account": { "of": "userinfo", "subject": "/id", "label": "/login" },
        });
        for (field, value) in oauth.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({
            "name": name, "base_url": format!("{url}/api"), "owner_level": "user", "owner": "ops",
            "credential": { "oauth2": spec },
        })
    }

    /// What somebody's yes there leads back to: the path of our callback.
    pub(crate) fn approve(&self, location: &str, subject: &str) -> String {
        let ask = |name: &str| parameter(location, name).unwrap_or_else(|| panic!("no {name} in {location}"));
        assert!(
            location.starts_with(&format!("{}/authorize?", self.url)),
            "{location}"
        );
        assert_eq!(
            (
                ask("code_challenge_method").as_str(),
                ask("response_type").as_str()
            ),
            ("S256", "code")
        );
        let mut shared = self.shared.lock().unwrap();
        let code = format!("MARKER-code-{}", shared.codes.len());
        let back = ask("redirect_uri");
        let kept = (ask("code_challenge"), back.clone(), subject.to_owned());
        shared.codes.insert(code.clone(), kept);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &ask("state"))
            .finish();
        format!("{}?{query}", back.strip_prefix(BASE).unwrap())
    }

    /// From now on this is asked first.
    pub(crate) fn script(&self, script: impl Fn(&AskedOf) -> Option<Response> + Send + Sync + 'static) {
        self.shared.lock().unwrap().script = Some(Arc::new(script));
    }

    /// From now on this is what it answers.
    pub(crate) fn answers(&self, answer: impl Fn(&AskedOf) -> Response + Send + Sync + 'static) {
        self.script(move |asked| Some(answer(asked)));
    }

    pub(crate) fn behave(&self) {
        self.shared.lock().unwrap().script = None;
    }

    /// What was asked at a path since the last look.
    pub(crate) fn asked(&self, path: &str) -> Vec<AskedOf> {
        let mut shared = self.shared.lock().unwrap();
        let (found, kept) = std::mem::take(&mut shared.asked)
            .into_iter()
            .partition(|asked| asked.path == path);
        shared.asked = kept;
        found
    }

    /// The person takes everything back there.
    pub(crate) fn forget_everything(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.refresh.clear();
        shared.access.clear();
    }

    /// It ends the access tokens before their time.
    pub(crate) fn forget_access(&self) {
        self.shared.lock().unwrap().access.clear();
    }

    /// How many access tokens are in force.
    pub(crate) fn in_force(&self) -> usize {
        self.shared.lock().unwrap().access.len()
    }
}

async fn answer(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = AskedOf {
        method,
        path: uri.path().to_owned(),
        headers,
        form: url::form_urlencoded::parse(&body).into_owned().collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let script = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(asked.clone());
        shared.script.clone()
    };
    if let Some(answer) = script.and_then(|script| script(&asked)) {
        return answer;
    }
    let mut shared = shared.lock().unwrap();
    match asked.path.as_str() {
        "/token" => shared.token(&asked),
        "/revoke" => shared.revoke(&asked),
        path => shared.interface(path, asked.header("authorization")),
    }
}

impl Shared {
    fn token(&mut self, asked: &AskedOf) -> Response {
        if asked.header("authorization") != crate::harness::basic("chancery", CLIENT_SECRET) {
            return refused(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let field = |name: &str| asked.form.get(name).map(String::as_str).unwrap_or_default();
        let subject = match field("grant_type") {
            "authorization_code" => {
                self.codes
                    .remove(field("code"))
                    .and_then(|(challenge, back, subject)| {
                        let digest = aws_lc_rs::digest::digest(
                            &aws_lc_rs::digest::SHA256,
                            field("code_verifier").as_bytes(),
                        );
                        let is_ours =
                            URL_SAFE_NO_PAD.encode(digest) == challenge && back == field("redirect_uri");
                        is_ours.then_some(subject)
                    })
            }
            "refresh_token" => self.refresh.remove(field("refresh_token")),
            "client_credentials" => return self.machine(field("scope")),
            _ => None,
        };
        let Some(subject) = subject else {
            return refused(StatusCode::BAD_REQUEST, "invalid_grant");
        };
        self.issued += 1;
        let (access, refresh) = (
            format!("MARKER-access-{}-of-{subject}", self.issued),
            format!("MARKER-refresh-{}-of-{subject}", self.issued),
        );
        self.access.insert(access.clone(), subject.clone());
        self.refresh.insert(refresh.clone(), subject);
        Json(json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh,
            "scope": "files.read profile",
        }))
        .into_response()
    }

    /// A token of the client's own (RFC 6749 §4.4.3: no refresh token with it).
    fn machine(&mut self, scope: &str) -> Response {
        self.issued += 1;
        let access = format!("MARKER-access-{}-of-chancery", self.issued);
        self.access.insert(access.clone(), "chancery".to_owned());
        Json(json!({ "access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": scope }))
            .into_response()
    }

    fn revoke(&mut self, asked: &AskedOf) -> Response {
        let subject = self.refresh.remove(&asked.form["token"]);
        if let Some(subject) = subject {
            self.access.retain(|_, of| *of != subject);
        }
        StatusCode::OK.into_response()
    }

    fn interface(&self, path: &str, authorization: &str) -> Response {
        let subject = authorization
            .strip_prefix("Bearer ")
            .and_then(|token| self.access.get(token));
        match subject {
            None => StatusCode::UNAUTHORIZED.into_response(),
            Some(subject) if path == "/me" => {
                Json(json!({ "id": format!("id-{subject}"), "login": subject })).into_response()
            }
            Some(subject) => format!("files of {subject}").into_response(),
        }
    }
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
