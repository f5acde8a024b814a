//! A server that stands in for the Transit engine of OpenBao and HashiCorp Vault: the two operations, their errors and
//! their states, as the API's documentation and the servers' issue trackers have them. It encrypts nothing: what it hands
//! out is a number that it remembers the plaintext by.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_server::kms::{CredentialPlace, ServiceSource};
use chancery_server::roots::RootSource;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) const TOKEN: &str = "hvs.MARKER-transit-token";

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As documented.
    Well,
    /// Sealed: 503 for everything.
    Sealed,
    /// Takes the request and never answers.
    Hangs,
    /// The attack: gives back the key that it was given for something else.
    AnothersKey,
    /// The attack: gives back a key that it made up.
    MadeUp,
    /// The attack: gives back what is no key.
    Garbage,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    plaintext: String,
    associated_data: Value,
}

#[derive(Debug)]
struct Inside {
    mood: Mood,
    key: Option<&'static str>,
    latest_version: u64,
    min_decryption_version: u64,
    entries: Vec<Entry>,
    asked: usize,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Transit {
    inside: Arc<Mutex<Inside>>,
    address: SocketAddr,
}

impl Transit {
    /// With a key named `chancery`.
    pub(crate) async fn start() -> Self {
        let inside = Arc::new(Mutex::new(Inside {
            mood: Mood::Well,
            key: Some("chancery"),
            latest_version: 1,
            min_decryption_version: 1,
            entries: Vec::new(),
            asked: 0,
        }));
        let router = Router::new()
            .route("/v1/transit/encrypt/{key}", post(encrypt))
            .route("/v1/transit/decrypt/{key}", post(decrypt))
            .with_state(inside.clone());
        let address = crate::outside::serve(router).await;
        Self { inside, address }
    }

    /// How an operator names its key.
    pub(crate) fn source(&self) -> String {
        format!("transit:http://{}/v1/transit/chancery", self.address)
    }

    /// The key as a root key, with a token.
    pub(crate) fn root(&self, token: &str) -> RootSource {
        source(&self.source(), token)
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.inside().mood = mood;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.inside().asked
    }

    pub(crate) fn lose_key(&self) {
        self.inside().key = None;
    }

    pub(crate) fn rotate(&self) {
        self.inside().latest_version += 1;
    }

    pub(crate) fn forbid_old_versions(&self) {
        let mut inside = self.inside();
        inside.min_decryption_version = inside.latest_version;
    }

    /// What it was given to wrap, in base64.
    pub(crate) fn plaintexts(&self) -> Vec<String> {
        let inside = self.inside();
        inside
            .entries
            .iter()
            .map(|entry| entry.plaintext.clone())
            .collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
}

/// A key of a service as a root key.
pub(crate) fn source(name: &str, token: &str) -> RootSource {
    RootSource::Service(ServiceSource {
        service: name.parse().unwrap(),
        credential: CredentialPlace::Given(chancery_core::secret::Secret::new(token.to_owned())),
    })
}

type Shared = State<Arc<Mutex<Inside>>>;

async fn encrypt(state: Shared, key: Path<String>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(refusal) = refusal(&state, &key, &headers).await {
        return refusal;
    }
    let mut inside = state.lock().unwrap();
    let version = inside.latest_version;
    let number = inside.entries.len();
    inside.entries.push(Entry {
        version,
        plaintext: body["plaintext"].as_str().unwrap().to_owned(),
        associated_data: body["associated_data"].clone(),
    });
    let text = STANDARD.encode(format!("{number:060}"));
    let data = json!({ "ciphertext": format!("vault:v{version}:{text}"), "key_version": version });
    success(&data)
}

async fn decrypt(state: Shared, key: Path<String>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(refusal) = refusal(&state, &key, &headers).await {
        return refusal;
    }
    let inside = state.lock().unwrap();
    let ciphertext = body["ciphertext"].as_str().unwrap();
    let number = ciphertext
        .rsplit_once(':')
        .and_then(|(_, text)| STANDARD.decode(text).ok());
    let number = number.and_then(|text| String::from_utf8(text).ok()?.parse::<usize>().ok());
    let Some(entry) = number.and_then(|number| inside.entries.get(number)) else {
        return errors(
            StatusCode::INTERNAL_SERVER_ERROR,
            "1 error occurred:\n\t* cipher: message authentication failed\n\n",
        );
    };
    if entry.version < inside.min_decryption_version {
        let text = "ciphertext or signature version is disallowed by policy (too old)";
        return errors(StatusCode::BAD_REQUEST, text);
    }
    if entry.associated_data != body["associated_data"] {
        return errors(
            StatusCode::INTERNAL_SERVER_ERROR,
            "1 error occurred:\n\t* cipher: message authentication failed\n\n",
        );
    }
    let others = inside
        .entries
        .iter()
        .find(|other| other.plaintext != entry.plaintext);
    let plaintext = match inside.mood {
        Mood::AnothersKey => others.unwrap().plaintext.clone(),
        Mood::MadeUp => STANDARD.encode([7; 32]),
        Mood::Garbage => "AAAA".to_owned(),
        Mood::Well | Mood::Sealed | Mood::Hangs => entry.plaintext.clone(),
    };
    success(&json!({ "plaintext": plaintext }))
}

async fn refusal(state: &Shared, key: &str, headers: &HeaderMap) -> Option<Response> {
    let mood = {
        let mut inside = state.lock().unwrap();
        inside.asked += 1;
        inside.mood
    };
    match mood {
        Mood::Sealed => return Some(errors(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed")),
        Mood::Hangs => std::future::pending::<()>().await,
        Mood::Well | Mood::AnothersKey | Mood::MadeUp | Mood::Garbage => {}
    }
    if headers.get("x-vault-token").and_then(|token| token.to_str().ok()) != Some(TOKEN) {
        return Some(errors(StatusCode::FORBIDDEN, "permission denied"));
    }
    if state.lock().unwrap().key != Some(key) {
        return Some(errors(StatusCode::BAD_REQUEST, "encryption key not found"));
    }
    None
}

fn success(data: &Value) -> Response {
    let body =
        json!({ "request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data });
    Json(body).into_response()
}

fn errors(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "errors": [text] }))).into_response()
}
