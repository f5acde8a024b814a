//! The MCP endpoint of a resource behind the gateway (MCP streamable HTTP), and the metadata by which clients find
//! where to get its tokens (RFC 9728).

use crate::app::App;
use crate::error::Failure;
use crate::gateway::answer::{Answer, Rejection};
use crate::gateway::call::{self, Incoming, Verb};
use crate::gateway::caller::Unauthenticated;
use crate::gateway::relay::Body as AnswerBody;
use crate::gateway::{stream, upstream};
use crate::http::error::{self, Problem};
use crate::http::tenant::RequestTenant;
use crate::tenants::Served;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chancery_core::scope::ScopeSet;
use chancery_mcp::challenge::{Challenge, Refusal};
use chancery_mcp::headers::Headers;
use chancery_mcp::resource_metadata::{ResourceMetadata, metadata_url};
use futures_util::stream as futures_stream;
use std::sync::Arc;

/// `{base}/mcp/{resource}`: a message by POST; in the older eras a stream by GET, and the end of a session by
/// DELETE.
pub async fn endpoint(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(resource): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let verb = match method {
        Method::POST => Verb::Post,
        Method::GET => Verb::Get,
        Method::DELETE => Verb::Delete,
        _ => return wrong_method(),
    };
    if !is_own_origin(&headers, &served) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "this origin may not call here",
        )
        .into_response();
    }
    let Ok(body) = body else {
        let text = "the body is too large or broke off";
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text).into_response();
    };
    if verb == Verb::Post && !is_json(&headers) {
        let text = "the body is not application/json";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", text).into_response();
    }
    let Ok(bearer) = bearer(&headers) else {
        return challenge(
            &served,
            &format!("/mcp/{resource}"),
            Refusal::InvalidRequest,
            &ScopeSet::default(),
        );
    };
    let pairs: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let incoming = Incoming {
        resource: &resource,
        bearer,
        headers: Headers::new(&pairs),
        method: verb,
    };
    let answered = match verb {
        Verb::Post => call::post(&app, &served, incoming, &body).await,
        Verb::Get | Verb::Delete => stream::without_message(&app, &served, incoming).await,
    };
    match answered {
        Ok(answer) => answered_with(answer),
        Err(rejection) => rejected(&served, &resource, rejection),
    }
}

/// `GET /.well-known/oauth-protected-resource{path}` (RFC 9728 §3.1).
pub async fn metadata(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(path): Path<String>,
) -> Response {
    let uri = format!("{}/{}", served.tenant.spec.base_url, path.trim_end_matches('/'));
    let found = app.directory.resources.find_by_key(served.tenant.id, uri).await;
    match found {
        Ok(Some(resource)) if resource.state.is_active() && resource.spec.upstream.is_some() => {
            let mut document = ResourceMetadata::new(
                resource.spec.uri.as_str(),
                &served.tenant.spec.base_url,
                &resource.spec.default_scopes,
            );
            document.resource_name = Some(resource.name.to_string());
            let headers = [
                (CACHE_CONTROL, "public, max-age=60"),
                (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            ];
            (headers, axum::Json(document)).into_response()
        }
        Ok(_) => error::no_such_endpoint().into_response(),
        Err(failure) => Problem::from(failure).into_response(),
    }
}

fn answered_with(answer: Answer) -> Response {
    let body = match answer.body {
        AnswerBody::Whole(bytes) => Body::from(bytes),
        AnswerBody::Events(receiver) => {
            let next = |mut receiver: tokio::sync::mpsc::Receiver<Bytes>| async {
                let piece = receiver.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(piece), receiver))
            };
            Body::from_stream(futures_stream::unfold(receiver, next))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(kind)) = answer.content_type.as_deref().map(HeaderValue::from_str) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if let Some(Ok(session)) = answer.session.as_deref().map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static(upstream::SESSION), session);
    }
    response
}

fn rejected(served: &Served, name: &str, rejection: Rejection) -> Response {
    match rejection {
        Rejection::NoSuchResource => error::no_such_endpoint().into_response(),
        Rejection::Unauthenticated(why, resource) => {
            let refusal = match why {
                Unauthenticated::Missing => Refusal::NoToken,
                Unauthenticated::Invalid => Refusal::InvalidToken,
            };
            challenge(
                served,
                &format!("/mcp/{name}"),
                refusal,
                &resource.spec.default_scopes,
            )
        }
        Rejection::InsufficientScope(scopes, _) => challenge(
            served,
            &format!("/mcp/{name}"),
            Refusal::InsufficientScope,
            &scopes,
        ),
        Rejection::UnknownSession => Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_session",
            "no such session; open another",
        )
        .into_response(),
        Rejection::Malformed(error, era) => {
            let status = StatusCode::from_u16(error.status(era)).unwrap_or(StatusCode::BAD_REQUEST);
            json(status, error.to_body())
        }
        Rejection::Denied(body) => json(StatusCode::OK, body),
        Rejection::MethodNotAllowed => wrong_method(),
        Rejection::Upstream(text) => Problem::new(StatusCode::BAD_GATEWAY, "upstream", text).into_response(),
        Rejection::Busy(seconds) => {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many calls are under way",
            );
            ([(RETRY_AFTER, seconds.to_string())], problem).into_response()
        }
        Rejection::Limited(limited) => error::limit_reached(&limited).into_response(),
        Rejection::Failure(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> Response {
    Problem::from(failure).into_response()
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

/// The challenge of a resource at this path below the tenant's base.
pub(super) fn challenge(served: &Served, path: &str, refusal: Refusal, scopes: &ScopeSet) -> Response {
    let Some(url) = metadata_url(&format!("{}{path}", served.tenant.spec.base_url)) else {
        return error::no_such_endpoint().into_response();
    };
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let Ok(challenge) = Challenge::new(refusal, &url) else {
        return error::no_such_endpoint().into_response();
    };
    let text = challenge.with_scopes(scopes).to_string();
    let code = refusal.code().unwrap_or("unauthorized");
    let problem =
        Problem::new(status, code, "a token for this resource is needed").with_hint(format!("see {url}"));
    ([(WWW_AUTHENTICATE, text)], problem).into_response()
}

/// The token, from the header alone (MCP authorization, "Token Requirements"): one in the query is not looked at.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        return Ok(None);
    };
    if second.is_some() {
        return Err(());
    }
    let (scheme, token) = value.to_str().map_err(drop)?.split_once(' ').ok_or(())?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    Ok(Some(token.trim()))
}

/// SECURITY: a page in a browser may call only from the tenant's own origin; this stops DNS rebinding.
fn is_own_origin(headers: &HeaderMap, served: &Served) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let base = served.tenant.spec.base_url.as_str();
    origins.all(|origin| {
        origin.to_str().is_ok_and(|origin| {
            base == origin
                || base
                    .strip_prefix(origin)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    }) && headers.get_all(HOST).iter().count() <= 1
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

fn wrong_method() -> Response {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this endpoint takes POST",
    );
    ([(ALLOW, "GET, POST, DELETE")], problem).into_response()
}

/// The longest message: what the gateway parses, and a little more, so that it is the parser that refuses.
pub const MAX_BODY: usize = 5 * 1024 * 1024;
