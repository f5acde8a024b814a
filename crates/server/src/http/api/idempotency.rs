//! Idempotency keys: a change that is sent again with the same `Idempotency-Key` is not carried out again.
//!
//! The key is written in the batch that carries the change out, so that the effect happens once whatever fails;
//! the answer is stored afterwards. A retry gets the stored answer; if that was lost, or held a secret that is
//! shown once, it is told that the change was carried out.

use crate::app::App;
use crate::directory::change::OnceKey;
use crate::error::{Failure, Refusal};
use crate::http::error::Problem;
use crate::setup::sha256;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chancery_core::time::Timestamp;
use chancery_store::idempotency::{self, Answer};
use std::sync::{Arc, Mutex};

/// What the middleware knows of a request with a key, and what the caller adds once it is known.
#[derive(Clone, Debug)]
pub struct Pending {
    key: String,
    request: [u8; 32],
    once: Arc<Mutex<Option<OnceKey>>>,
}

impl Pending {
    /// The key for this caller, unless the request was carried out before: then its answer.
    ///
    /// # Errors
    /// The stored answer; a key that was used for another request; the database's.
    pub async fn claim(
        &self,
        app: &App,
        (tenant, actor): (chancery_core::id::TenantId, &str),
        now: Timestamp,
    ) -> Result<OnceKey, Response> {
        let found = idempotency::find(&app.db, tenant, actor, &self.key, now).await;
        match found.map_err(|error| Failure::from(error).into_response())? {
            Some(answer) if answer.request != self.request => {
                Err(Failure::from(Refusal::KeyReused).into_response())
            }
            Some(answer) => Err(replayed(answer)),
            None => {
                let once = OnceKey {
                    tenant,
                    actor: actor.to_owned(),
                    key: self.key.clone(),
                    request: self.request,
                };
                if let Ok(mut place) = self.once.lock() {
                    *place = Some(once.clone());
                }
                Ok(once)
            }
        }
    }
}

/// Reads the key and the whole body of changing requests, and stores the answer of those that succeed.
pub async fn middleware(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get("idempotency-key").cloned() else {
        return next.run(request).await;
    };
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let Some(key) = key.to_str().ok().filter(|key| (1..=128).contains(&key.len())) else {
        let text = "an Idempotency-Key has 1 to 128 visible characters";
        return Problem::new(StatusCode::BAD_REQUEST, "malformed_idempotency_key", text).into_response();
    };
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, super::MAX_BODY).await else {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than 8 MiB",
        )
        .into_response();
    };
    let mut named = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    named.extend_from_slice(&bytes);
    let pending = Pending {
        key: key.to_owned(),
        request: sha256(&named),
        once: Arc::default(),
    };
    parts.extensions.insert(pending.clone());
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    keep(&app, &pending, response).await
}

/// Stores a successful answer, unless it shows a secret.
async fn keep(app: &App, pending: &Pending, response: Response) -> Response {
    let once = pending.once.lock().ok().and_then(|mut place| place.take());
    let Some(once) = once.filter(|_| response.status().is_success()) else {
        return response;
    };
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, super::MAX_BODY).await else {
        return crate::http::error::internal(&"the answer could not be read");
    };
    if let Some(text) = storable(&bytes) {
        let statement =
            idempotency::complete(once.tenant, &once.actor, &once.key, parts.status.as_u16(), text);
        let batch = app.batch(app.clock.now()).push(statement);
        if let Err(error) = app.db.commit(batch).await {
            tracing::warn!(%error, "the answer to a request with an idempotency key was not stored");
        }
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// SECURITY: what shows a secret is never stored.
fn storable(bytes: &Bytes) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains("\"secret\"")).then_some(text)
}

fn replayed(answer: Answer) -> Response {
    if answer.status == 0 {
        return Problem::new(
            StatusCode::CONFLICT,
            "already_done",
            "this request was carried out, but its answer is not kept",
        )
        .with_hint("read the present state; a secret that was shown once can be reset")
        .into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, [(CONTENT_TYPE, "application/json")], answer.response).into_response();
    response
        .headers_mut()
        .insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
