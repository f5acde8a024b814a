//! The authorization endpoint, `GET` and `POST {base}/authorize` (RFC 6749 §3.1).
//!
//! A request that leads to signing in comes back here. When it began is carried along, sealed, so that `prompt=login`
//! asks once and not for ever.

use super::frame::{self, Message};
use crate::app::App;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::issue::arrival::Arrival;
use crate::people::authorize::{self, AuthorizeError, Next};
use crate::people::since;
use crate::tenants::Served;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use chancery_core::name::Name;
use chancery_core::time::Timestamp;
use chancery_oauth::request::authorize::OpenedRequest;
use chancery_oauth::sign_in::SignInWishes;
use std::sync::Arc;

/// `GET` and `POST {base}/authorize`.
pub async fn authorize(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    request: Parts,
    body: Bytes,
) -> Response {
    let sent = if request.method == Method::POST {
        String::from_utf8(body.to_vec()).unwrap_or_default()
    } else {
        request.uri.query().unwrap_or_default().to_owned()
    };
    let (asked, began) = since::split(&served, &sent);
    let answer = async {
        let now = app.serving_now()?;
        let signed_in = super::session(&app, &served, &request.headers, now).await?;
        let opened = OpenedRequest::parse(asked.as_bytes()).map_err(AuthorizeError::Request)?;
        let arrival = Arrival { now, source };
        let next = authorize::authorize(&app, &served, opened, (signed_in.as_ref(), began), arrival).await?;
        Ok::<_, AuthorizeError>((next, now))
    };
    match answer.await {
        Ok((Next::Client(location), _)) => frame::see_other(&location),
        Ok((Next::Consent(id), _)) => frame::see_other(&format!("/consent/{id}")),
        Ok((Next::SignIn(wishes), now)) => sign_in(&served, asked, &wishes, now),
        Err(AuthorizeError::Failure(failure)) => frame::failed(&failure),
        Err(AuthorizeError::Request(error)) => {
            tracing::info!(%error, "an authorization request was refused");
            cannot_begin(error.description, error.code.as_str())
        }
        Err(AuthorizeError::Waits(client)) => {
            tracing::info!(%client, "an authorization request of a client that waits for an agent was refused");
            waits(&client)
        }
        Err(AuthorizeError::Client(reason)) => {
            tracing::info!(reason, "an authorization request was refused");
            cannot_begin("the client is not known here, or not in use", "invalid_client")
        }
    }
}

/// SECURITY: nothing is redirected when the redirect URI may be anybody's (RFC 6749 §4.1.2.1).
fn cannot_begin(reason: &str, code: &str) -> Response {
    Message::new(
        "This request cannot be answered",
        format!("Whoever sent you here made a mistake: {reason}."),
    )
    .with_code(code)
    .with_hint("Nothing was given to anybody. Tell the maker of the application that sent you.")
    .respond(StatusCode::BAD_REQUEST)
}

/// The person is told whom to ask. What the client says of itself is not shown: nobody vouches for it.
fn waits(client: &Name) -> Response {
    Message::new(
        "This application is not let in yet",
        format!(
            "It made itself known here as {client}, and belongs to no agent yet. Ask an administrator, or the owner of \
             the agent that it is to act as, to let it in; then start again in the application."
        ),
    )
    .with_code("client_staged")
    .with_hint(format!(
        "Administrators find it in the console under Waiting clients, or run: chancery client adopt {client} --agent AGENT"
    ))
    .respond(StatusCode::FORBIDDEN)
}

fn sign_in(served: &Served, asked: &str, wishes: &SignInWishes, now: Timestamp) -> Response {
    let return_to = format!("/authorize?{}", since::join(served, asked, now));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", &return_to);
    if let Some(hint) = &wishes.login_hint {
        query.append_pair("login_hint", hint);
    }
    if let Some(age) = wishes.max_age {
        query.append_pair("max_age", &age.as_seconds().to_string());
    }
    if let Some(values) = &wishes.acr_values {
        query.append_pair("acr_values", values);
    }
    if wishes.is_afresh {
        query.append_pair("prompt", "login");
    }
    frame::see_other(&format!("/sign-in?{}", query.finish()))
}
