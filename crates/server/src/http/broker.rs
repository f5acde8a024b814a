//! The broker's endpoint, `{base}/broker/{connection}/…`.

use crate::app::App;
use crate::approve::request::Unaskable;
use crate::broker::request::{self, Answer, BodyError, InboundBody, Incoming, Rejection};
use crate::gateway::approving::Awaited;
use crate::gateway::caller::Unauthenticated;
use crate::http::error::{self, Problem};
use crate::http::mcp::{bearer, challenge};
use crate::http::tenant::RequestTenant;
use crate::tenants::Served;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Extension, Request, State};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER, UPGRADE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::scope::ScopeSet;
use chancery_mcp::challenge::Refusal;
use futures_util::{TryStreamExt as _, stream};
use serde_json::json;
use std::sync::Arc;

/// Any method below a connection.
pub async fn endpoint(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    request: Request,
) -> Response {
    if request.headers().contains_key(UPGRADE) {
        let text = "the broker passes requests and answers; it does not pass WebSockets or other upgrades";
        return Problem::new(StatusCode::NOT_IMPLEMENTED, "upgrade_not_supported", text).into_response();
    }
    let (parts, body) = request.into_parts();
    let Some((connection, path)) = split(parts.uri.path()) else {
        return error::no_such_endpoint().into_response();
    };
    let Ok(bearer) = bearer(&parts.headers) else {
        return refused(&served, connection, Refusal::InvalidRequest, &ScopeSet::default());
    };
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let incoming = Incoming {
        connection,
        bearer,
        method: parts.method.as_str(),
        path,
        query: parts.uri.query(),
        headers,
        body: inbound(body),
    };
    match request::broker(&app, &served, incoming).await {
        Ok(answer) => answered(answer),
        Err(rejection) => rejected(&served, connection, rejection),
    }
}

fn inbound(body: Body) -> InboundBody {
    InboundBody {
        length: body.size_hint().exact(),
        pieces: Box::pin(body.into_data_stream().map_err(BodyError::from)),
    }
}

fn split(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/broker/")?;
    match rest.find('/') {
        Some(slash) => rest.split_at_checked(slash),
        None => Some((rest, "/")),
    }
}

fn answered(answer: Answer) -> Response {
    let next = |mut body: tokio::sync::mpsc::Receiver<Result<Bytes, _>>| async {
        let piece = body.recv().await?;
        Some((piece, body))
    };
    let mut response = Response::new(Body::from_stream(stream::unfold(answer.body, next)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) else {
            continue;
        };
        response.headers_mut().append(name, value);
    }
    if !response.headers().contains_key(CACHE_CONTROL) {
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    response
}

fn rejected(served: &Served, connection: &str, rejection: Rejection) -> Response {
    match rejection {
        Rejection::NoSuchConnection => error::no_such_endpoint().into_response(),
        Rejection::Unauthenticated(why, resource) => {
            let refusal = match why {
                Unauthenticated::Missing => Refusal::NoToken,
                Unauthenticated::Invalid => Refusal::InvalidToken,
            };
            refused(served, connection, refusal, &resource.spec.default_scopes)
        }
        Rejection::Path(error) => Problem::new(StatusCode::BAD_REQUEST, "path", error.to_string())
            .with_hint("send each path in one spelling: no dot segments, no encoded separators")
            .into_response(),
        Rejection::Denied(decision, _) if decision.reason == Some(DenyReason::InsufficientScope) => {
            let needed = decision.rows.iter().map(|row| row.scope.clone()).collect();
            refused(served, connection, Refusal::InsufficientScope, &needed)
        }
        Rejection::Denied(decision, _) => {
            let text = format!("policy does not permit this request; decision {}", decision.id);
            Problem::new(StatusCode::FORBIDDEN, "denied", text)
                .with_hint(format!("chancery why {}", decision.id))
                .into_response()
        }
        Rejection::Awaits(awaited) => waits(&awaited),
        Rejection::Unaskable(decision, why) => unaskable(&decision, why),
        Rejection::Body(error) => {
            Problem::new(StatusCode::BAD_REQUEST, "body", error.to_string()).into_response()
        }
        Rejection::Upstream(text) => Problem::new(StatusCode::BAD_GATEWAY, "upstream", text).into_response(),
        Rejection::TooLarge => {
            let text = "the body is longer than a request may be";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text).into_response()
        }
        Rejection::Limited(limited) => error::limit_reached(&limited).into_response(),
        Rejection::Busy => {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many calls are under way",
            );
            ([(RETRY_AFTER, "1")], problem).into_response()
        }
        Rejection::Failure(failure) => Problem::from(failure).into_response(),
    }
}

/// A request that waits for a person's yes: where they give it, and when to make the same request again.
pub(super) fn waits(awaited: &Awaited) -> Response {
    let (approval, decision) = (&awaited.approval, awaited.decision.id);
    let mut members = json!({
        "auth_req_id": awaited.id, "approval_uri": approval.approval_uri, "interval": approval.interval,
        "expires_in": approval.expires_in, "decision": decision,
    });
    if let Some((members, number)) = members.as_object_mut().zip(approval.number) {
        members.insert("number".to_owned(), json!(number));
    }
    let text = format!("a person must approve this request; decision {decision}");
    Problem::new(StatusCode::FORBIDDEN, "approval_required", text)
        .with_hint("once somebody approved it at `approval_uri`, make the very same request again")
        .respond_with(members)
}

/// A request that needs a yes which nobody can be asked for.
pub(super) fn unaskable(decision: &Decision, why: Unaskable) -> Response {
    let text =
        format!("policy permits this request only with a person's yes, and nobody can be asked: {why}");
    Problem::new(StatusCode::FORBIDDEN, "not_approvable", text)
        .with_hint(format!("chancery why {}", decision.id))
        .respond_with(json!({ "decision": decision.id }))
}

fn refused(served: &Served, connection: &str, refusal: Refusal, scopes: &ScopeSet) -> Response {
    challenge(served, &format!("/broker/{connection}"), refusal, scopes)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn what_follows_the_connection_is_the_path() {
        assert_eq!(split("/broker/github/repos/a"), Some(("github", "/repos/a")));
        assert_eq!(split("/broker/github"), Some(("github", "/")));
        assert_eq!(split("/mcp/github"), None);
    }
}
