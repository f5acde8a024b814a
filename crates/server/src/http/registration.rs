//! The registration endpoint of a tenant and its management (RFC 7591 §3, RFC 7592 §2): JSON in, JSON out.

use crate::app::App;
use crate::error::Failure;
use crate::http::error::oauth_error;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::registration::register::Registered;
use crate::registration::{manage, register as registering};
use crate::tenants::Served;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::noun::Lifecycle;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::registration::metadata::describe;
use serde_json::{Map, Value};
use std::sync::Arc;

type Body = Result<Bytes, BytesRejection>;

/// `POST {base}/register` (RFC 7591 §3.1).
pub async fn register(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let bearer = bearer(&headers)?;
        let members = members(&headers, body)?;
        registering::register(&app, &served, &members, bearer, source).await
    };
    respond(&served, answer.await, StatusCode::CREATED)
}

/// `GET {base}/register/{client}` (RFC 7592 §2.1).
pub async fn read(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(client): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async { manage::read(&app, &served, &client, required(&headers)?).await };
    respond(&served, answer.await, StatusCode::OK)
}

/// `PUT {base}/register/{client}` (RFC 7592 §2.2).
pub async fn update(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(client): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let bearer = required(&headers)?;
        let members = members(&headers, body)?;
        manage::update(&app, &served, (&client, bearer), members).await
    };
    respond(&served, answer.await, StatusCode::OK)
}

/// `DELETE {base}/register/{client}` (RFC 7592 §2.3).
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(client): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async { manage::delete(&app, &served, &client, required(&headers)?).await };
    match answer.await {
        Ok(()) => (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response(),
        Err(failure) => oauth_error(&failure, &served.tenant.spec.base_url, false),
    }
}

fn respond(served: &Served, answer: Result<Registered, Failure>, status: StatusCode) -> Response {
    let base = &served.tenant.spec.base_url;
    match answer {
        Ok(registered) => {
            let headers = [(CACHE_CONTROL, "no-store")];
            (status, headers, axum::Json(information(base, &registered))).into_response()
        }
        Err(failure) => oauth_error(&failure, base, false),
    }
}

/// What a client is told of its registration (RFC 7591 §3.2.1, RFC 7592 §3).
fn information(base: &str, registered: &Registered) -> Value {
    let client = &registered.client;
    let mut all = describe(&client.spec);
    let mut add = |name: &str, value: Value| all.insert(name.to_owned(), value);
    add("client_id", Value::from(client.id.to_string()));
    add("client_id_issued_at", Value::from(client.created_at.as_seconds()));
    if let Some(secret) = &registered.secret {
        add("client_secret", Value::from(secret.expose_secret().as_str()));
    }
    if client.spec.method.uses_secret() {
        add("client_secret_expires_at", Value::from(0));
    }
    if let Some(token) = &registered.token {
        add(
            "registration_access_token",
            Value::from(token.expose_secret().as_str()),
        );
    }
    add(
        "registration_client_uri",
        Value::from(format!("{base}/register/{}", client.id)),
    );
    if client.state == Lifecycle::Staged {
        // A member of our own: SDKs show or ignore it, and a developer who reads it knows whom to ask.
        let text = format!(
            "this client belongs to no agent yet; an administrator, or the agent's owner, runs: chancery client adopt \
             {} --agent AGENT",
            client.id
        );
        add("chancery_staged", Value::from(text));
    }
    Value::Object(all)
}

/// The token of a request that may go without one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(AUTHORIZATION) {
            Err(NO_TOKEN)
        } else {
            Ok(None)
        };
    };
    let text = value.to_str().map_err(|_| NO_TOKEN)?;
    let (scheme, token) = text.split_once(' ').ok_or(NO_TOKEN)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(NO_TOKEN);
    }
    Ok(Some(token.trim()))
}

fn required(headers: &HeaderMap) -> Result<&str, OAuthError> {
    bearer(headers)?.ok_or(NO_TOKEN)
}

fn members(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, OAuthError> {
    const REFUSED: OAuthError = OAuthError::new(
        ErrorCode::InvalidClientMetadata,
        "the body is one JSON object of at most 64 KiB, as application/json",
    );
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(REFUSED);
    }
    let body = body.map_err(|_| REFUSED)?;
    parse_object(&body, JsonLimits::of_bytes(MAX_BODY)).map_err(|_| REFUSED)
}

const NO_TOKEN: OAuthError = OAuthError::new(
    ErrorCode::InvalidToken,
    "the Authorization header is not `Bearer` with a token",
);
/// The longest registration that is read.
pub const MAX_BODY: usize = 64 << 10;
