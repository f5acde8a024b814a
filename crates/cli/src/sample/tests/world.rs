//! A notes server, and an authorization server of the tests' own.

use crate::sample::client::{CallError, ToolAnswer, call_tool};
use crate::sample::listener::{Body, Bound, Serving, json, text};
use crate::sample::notes::NotesServer;
use crate::sample::now;
use crate::sample::signer::Signer;
use aws_lc_rs::signature::Ed25519KeyPair;
use http::{Request, Response, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A notes server, and an authorization server that it trusts.
pub(super) struct World {
    pub(super) authority: Authority,
    pub(super) url: String,
    pub(super) metadata_url: String,
    _notes: NotesServer,
}

impl World {
    pub(super) async fn start() -> Self {
        let authority = Authority::start().await;
        let notes = NotesServer::start(0, authority.url.clone()).await.unwrap();
        Self {
            authority,
            url: notes.url(),
            metadata_url: notes.metadata_url(),
            _notes: notes,
        }
    }

    /// Good claims, with some set otherwise; null removes one.
    pub(super) fn claims(&self, changed: Value) -> Value {
        let mut claims = json!({
            "iss": self.authority.url,
            "sub": "alice",
            "aud": self.url,
            "client_id": "client",
            "iat": now(),
            "exp": now() + 300,
            "jti": "1",
            "scope": "read",
        });
        let members = claims.as_object_mut().unwrap();
        let Value::Object(changed) = changed else {
            panic!("claims are an object");
        };
        members.extend(changed);
        members.retain(|_, value| !value.is_null());
        claims
    }

    pub(super) fn token(&self, changed: Value) -> String {
        let claims = self.claims(changed);
        self.authority.es256.sign(Some("at+jwt"), &claims).unwrap()
    }

    pub(super) async fn call(
        &self,
        token: &str,
        tool: &str,
        arguments: Value,
    ) -> Result<ToolAnswer, CallError> {
        call_tool(&self.url, Some(token), tool, arguments).await
    }

    pub(super) async fn refused(&self, token: &str, reason: &str) {
        let error = self.call(token, "list_notes", Value::Null).await.unwrap_err();
        let CallError::Unauthorized { challenge } = error else {
            panic!("expected 401 ({reason}), got: {error}");
        };
        let start = format!(
            r#"Bearer resource_metadata="{}", scope="read", error="invalid_token", error_description=""#,
            self.metadata_url
        );
        let description = challenge.strip_prefix(&start).expect(&challenge);
        assert!(description.contains(reason), "{reason}: {challenge}");
    }
}

/// An authorization server with a key of each kind.
pub(super) struct Authority {
    pub(super) url: String,
    pub(super) es256: Signer,
    pub(super) rs256: Signer,
    pub(super) eddsa: Signer,
    pub(super) published: Arc<Mutex<Vec<Value>>>,
    pub(super) reads: Arc<Mutex<u32>>,
    _serving: Serving,
}

impl Authority {
    pub(super) async fn start() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        let eddsa = Signer::new(Algorithm::EdDSA, EncodingKey::from_ed_der(document.as_ref())).unwrap();
        let (es256, rs256) = (Signer::es256().unwrap(), Signer::rs256().unwrap());
        let keys = [&es256, &rs256, &eddsa].map(|signer| signer.key_set()["keys"][0].clone());
        let published = Arc::new(Mutex::new(keys.to_vec()));
        let reads = Arc::new(Mutex::new(0));

        let bound = Bound::to_loopback(0).await.unwrap();
        let url = bound.base();
        let (issuer, key_list, counter) = (url.clone(), Arc::clone(&published), Arc::clone(&reads));
        let serving = bound.serve(move |request| {
            let response = Self::answer(&issuer, &key_list, &counter, &request);
            async move { response }
        });
        Self {
            url,
            es256,
            rs256,
            eddsa,
            published,
            reads,
            _serving: serving,
        }
    }

    pub(super) fn answer<B>(
        issuer: &str,
        keys: &Mutex<Vec<Value>>,
        reads: &Mutex<u32>,
        request: &Request<B>,
    ) -> Response<Body> {
        match request.uri().path() {
            "/.well-known/oauth-authorization-server" | "/.well-known/oauth-authorization-server/other" => {
                json(
                    StatusCode::OK,
                    &json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }),
                )
            }
            "/keys" => {
                *reads.lock().unwrap() += 1;
                json(StatusCode::OK, &json!({ "keys": *keys.lock().unwrap() }))
            }
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }
}
