//! The request that goes on to the MCP server: rebuilt from what was decided, never copied from the caller.

use crate::app::App;
use crate::connect::open::open;
use crate::connect::refresh;
use crate::egress::{
    Destination, EgressError, OutboundBody, StreamLimits, StreamRequest, StreamResponse, UrlSource,
};
use crate::error::Failure;
use crate::gateway::credential::{Search, place};
use crate::tenants::Served;
use bytes::Bytes;
use chancery_core::time::Ttl;
use chancery_core::upstream::UpstreamUrl;
use chancery_policy::UsePermit;
use std::sync::Arc;
use url::Url;

/// What is sent on.
#[derive(Debug)]
pub struct Onward {
    /// `POST`, `GET` or `DELETE`.
    pub method: &'static str,
    /// The message.
    pub body: Bytes,
    /// Headers made from the message.
    pub headers: Vec<(String, String)>,
    /// The upstream's session.
    pub session: Option<String>,
    /// Where a stream is taken up again.
    pub last_event_id: Option<String>,
    /// W3C trace context, passed on.
    pub trace: Vec<(String, String)>,
}

/// An answer that has begun, and what to look for in it.
#[derive(Debug)]
pub struct Begun {
    /// The answer.
    pub response: StreamResponse,
    /// The credential that must not come back.
    pub search: Search,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unsent {
    /// A fault of ours, or a fact that changed.
    Failure(Failure),
    /// The upstream could not be reached.
    Egress(EgressError),
}

/// Opens the credential that the permit names and sends the request.
///
/// # Errors
/// Why there is no answer.
pub async fn send(
    app: &Arc<App>,
    served: &Arc<Served>,
    permit: &UsePermit,
    url: &UpstreamUrl,
    onward: Onward,
) -> Result<Begun, Unsent> {
    let mut target = Url::parse(url.as_str()).map_err(|error| Unsent::Failure(Failure::internal(error)))?;
    let body = OutboundBody::from(onward.body);
    let mut request = StreamRequest::new(onward.method, body, LIMITS).map_err(Unsent::Egress)?;
    let mut headers = onward.headers;
    headers.push(("accept".to_owned(), ACCEPT.to_owned()));
    if onward.method == "POST" {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    headers.extend(onward.session.map(|session| (SESSION.to_owned(), session)));
    headers.extend(onward.last_event_id.map(|id| ("last-event-id".to_owned(), id)));
    headers.extend(onward.trace);
    for (name, value) in &headers {
        request.set_header(name, value).map_err(Unsent::Egress)?;
    }

    let search = if permit.plan().connection.is_some() {
        refresh::ensure(app, served, permit)
            .await
            .map_err(Unsent::Failure)?;
        let credential = open(app, served, permit).await.map_err(Unsent::Failure)?;
        place(&credential, &mut target, &mut request).map_err(Unsent::Egress)?;
        Search::new(&credential)
    } else {
        Search::default()
    };
    let destination = Destination {
        tenant: Some(&served.tenant.name),
        source: UrlSource::Configured,
        url: target.as_str(),
    };
    let began = app.clock.now();
    let response = app
        .egress
        .open_stream(destination, request)
        .await
        .map_err(Unsent::Egress)?;
    app.metrics.upstream_began("mcp", app.clock.now().since(began));
    Ok(Begun { response, search })
}

/// The header of sessions.
pub const SESSION: &str = "mcp-session-id";

const ACCEPT: &str = "application/json, text/event-stream";

const LIMITS: StreamLimits = StreamLimits {
    turn: Ttl::from_seconds(1),
    head: Ttl::from_seconds(60),
    idle: Ttl::from_minutes(5),
    total: Ttl::from_minutes(60),
};
