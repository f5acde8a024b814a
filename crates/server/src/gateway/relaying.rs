//! From the server's first bytes to an answer: what kind it is, its session, and what of its headers is passed on.

use crate::connect::refused::refused;
use crate::error::Failure;
use crate::gateway::answer::{Answer, Rejection};
use crate::gateway::relay::{Body, Fault, Relay};
use crate::gateway::session::Session;
use crate::gateway::upstream::{Begun, Onward, SESSION, Unsent, send};
use chancery_core::upstream::UpstreamUrl;
use chancery_mcp::headers::Headers;
use std::convert::Infallible;
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// Sends what was permitted and makes the answer, in a task of its own: a client that goes away does not end the
/// record. It ends the call only where that is how calls are cancelled; with sessions a lost connection means nothing.
///
/// # Errors
/// What cannot be handed on. The end of the call is recorded in every case.
pub async fn run(relay: Relay, url: UpstreamUrl, onward: Onward) -> Result<Answer, Rejection> {
    // Dropped with this future, when the client goes away before there is an answer.
    let (staying, left) = oneshot::channel::<Infallible>();
    let work = async move {
        let sent = send(&relay.app, &relay.served, &relay.permit, &url, onward);
        let begun = tokio::select! {
            begun = sent => begun,
            _ = left, if relay.is_stateless => {
                relay.ended(None, Some(Fault::ClientGone), 0);
                return Err(Rejection::Upstream("the client is gone"));
            }
        };
        answer(relay, begun).await
    };
    let answered = tokio::spawn(work.in_current_span()).await;
    drop(staying);
    answered.unwrap_or_else(|error| Err(Failure::internal(error).into()))
}

/// Makes the answer.
///
/// # Errors
/// What cannot be handed on. The end of the call is recorded in every case.
async fn answer(relay: Relay, begun: Result<Begun, Unsent>) -> Result<Answer, Rejection> {
    let begun = match begun {
        Ok(begun) => begun,
        Err(unsent) => return Err(without_answer(&relay, unsent)),
    };

    let status = begun.response.status();
    if status == 401
        && let Some(failure) = refused(&relay.app, &relay.served, &relay.permit).await
    {
        relay.ended(Some(status), Some(Fault::Broken), 0);
        return Err(failure.into());
    }
    if let Some(why) = not_handed_on(status, relay.is_stateless) {
        relay.ended(Some(status), Some(Fault::Broken), 0);
        return Err(why);
    }
    let upstream_session = begun.response.header(SESSION).map(str::to_owned);
    let content_type = begun.response.header("content-type").map(str::to_owned);
    // SECURITY: the client gets a session in another form, in which nobody would find a credential any more.
    let echoes = |value: &Option<String>| {
        let value = value.as_deref().unwrap_or_default();
        begun.search.finds(value.as_bytes())
    };
    if echoes(&upstream_session) || echoes(&content_type) {
        relay.ended(Some(status), Some(Fault::Echo), 0);
        return Err(rejected(Fault::Echo));
    }
    let opens_urls = relay.opens_urls;
    let session = upstream_session.map(|id| Session { id, opens_urls }.bind(&relay.served, &relay.caller));
    let media = content_type
        .as_deref()
        .map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
    let body = match media.as_deref() {
        Some("text/event-stream") => Body::Events(relay.events(begun)),
        Some("application/json") => Body::Whole(relay.whole(begun).await.map_err(rejected)?),
        // Without a message: a notification that was taken, or an error of the server's in other words.
        Some(_) | None => Body::Whole(relay.plain(begun).await.map_err(rejected)?),
    };
    Ok(Answer {
        status,
        content_type,
        session,
        body,
    })
}

/// The server did not answer: the end is recorded, and the client told why.
fn without_answer(relay: &Relay, unsent: Unsent) -> Rejection {
    let error = match unsent {
        Unsent::Failure(failure) => {
            relay.ended(None, Some(Fault::Internal), 0);
            return Rejection::Failure(failure);
        }
        Unsent::Egress(error) => error,
    };
    tracing::warn!(%error, resource = %relay.caller.resource.name, "an upstream could not be called");
    relay.ended(None, Some(Fault::Broken), 0);
    if error.is_busy() {
        Rejection::Busy(1)
    } else if error.is_timeout() {
        Rejection::Upstream("the server did not answer in time")
    } else {
        Rejection::Upstream("the server cannot be reached")
    }
}

/// Statuses that mean something else to our caller than to us.
fn not_handed_on(status: u16, is_stateless: bool) -> Option<Rejection> {
    match status {
        // The server refused the credential: the caller's own token is not at fault.
        401 | 403 | 407 => Some(Rejection::Upstream(
            "the server refused the credential of the connection",
        )),
        // Without sessions it comes with an error that says which method or resource is not there.
        404 if !is_stateless => Some(Rejection::UnknownSession),
        405 => Some(Rejection::MethodNotAllowed),
        300..=399 => Some(Rejection::Upstream(
            "the server redirects, which is never followed",
        )),
        _ => None,
    }
}

fn rejected(fault: Fault) -> Rejection {
    Rejection::Upstream(match fault {
        Fault::Echo => "the server sent the credential back; its answer was cut",
        Fault::TooLarge => "the answer of the server is too long",
        Fault::Foreign => "the server answered what was not asked",
        Fault::Broken | Fault::ClientGone => "the server broke off",
        Fault::Revoked | Fault::Internal | Fault::RequestTooLarge | Fault::Unreleased => {
            "the answer could not be handed on"
        }
    })
}

/// W3C trace context (Trace Context §3.2, §3.3), passed on as it came.
pub fn trace(headers: &Headers<'_>) -> Vec<(String, String)> {
    ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), headers.find(name).ok()??.to_owned())))
        .filter(|(_, value)| value.len() <= 512)
        .collect()
}
