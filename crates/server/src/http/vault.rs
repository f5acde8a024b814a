//! The vault's own address, `POST {base}/vault/{connection}`: an agent asks with its agent token for the credential of a
//! connection that hands it out. The same in standard form is a token exchange at `{base}/token` (RFC 8693).

use crate::app::App;
use crate::connect::open::OpenedPart;
use crate::connect::release::{Rejection, Released, by_token};
use crate::gateway::caller::Unauthenticated;
use crate::http::broker::{unaskable, waits};
use crate::http::error::{self, Problem};
use crate::http::mcp::bearer;
use crate::http::tenant::RequestTenant;
use axum::extract::{Extension, Path, State};
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chancery_core::decision::Decision;
use serde_json::{Value, json};
use std::sync::Arc;

/// Hands a credential out.
pub async fn release(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(connection): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Ok(bearer) = bearer(&headers) else {
        return unauthenticated(Unauthenticated::Invalid);
    };
    match by_token(&app, &served, (&connection, bearer)).await {
        Ok(released) => handed_out(&released),
        Err(rejection) => rejected(rejection),
    }
}

/// SECURITY: the one answer that a credential leaves in; it is built here and written nowhere else.
fn handed_out(released: &Released) -> Response {
    let part = |part: &OpenedPart| -> Value {
        json!({ "name": part.name, "value": part.value.expose_secret(), "placement": part.placement })
    };
    let parts: Vec<Value> = released.parts.iter().map(part).collect();
    let body = json!({
        "connection": released.connection,
        "flow": released.flow,
        "parts": parts,
        "expires_in": released.expires_in.as_seconds(),
        "scopes": released.scopes,
        "decision": released.decision,
    });
    ([(CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

fn rejected(rejection: Rejection) -> Response {
    match rejection {
        Rejection::NoSuchConnection => error::no_such_endpoint().into_response(),
        Rejection::Unauthenticated(why) => unauthenticated(why),
        Rejection::BrokerOnly(decision) => refused(
            &decision,
            "broker_only",
            "the credentials of this connection are used here and never handed out",
            "make calls through the broker or the gateway, or set `handling = \"release\"` on the connection",
        ),
        Rejection::Denied(decision) => {
            let hint = format!("chancery why {}", decision.id);
            refused(
                &decision,
                "denied",
                "policy does not permit this credential to be handed out",
                &hint,
            )
        }
        Rejection::Awaits(awaited) => waits(&awaited),
        Rejection::Unaskable(decision, why) => unaskable(&decision, why),
        Rejection::Limited(limited) => error::limit_reached(&limited).into_response(),
        Rejection::Failure(failure) => failure.into_response(),
    }
}

fn refused(decision: &Decision, code: &'static str, text: &str, hint: &str) -> Response {
    Problem::new(
        StatusCode::FORBIDDEN,
        code,
        format!("{text}; decision {}", decision.id),
    )
    .with_hint(hint)
    .respond_with(json!({ "decision": decision.id }))
}

/// RFC 6750 §3.
fn unauthenticated(why: Unauthenticated) -> Response {
    let challenge = match why {
        Unauthenticated::Missing => "Bearer",
        Unauthenticated::Invalid => "Bearer error=\"invalid_token\"",
    };
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "an agent token of this tenant is needed",
    )
    .with_hint("ask for one at the token endpoint, without `resource` or `audience`");
    ([(WWW_AUTHENTICATE, challenge)], problem).into_response()
}
