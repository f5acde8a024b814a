//! What the older eras do without a message: listening to the server's own messages, taking a stream up again, and
//! ending a session.

use crate::app::App;
use crate::gateway::answer::{Answer, Rejection};
use crate::gateway::call::{Incoming, Verb, asking, enter, permitted, session_of};
use crate::gateway::relay::Relay;
use crate::gateway::upstream::Onward;
use crate::gateway::{relaying, target};
use crate::limits::Ticket;
use crate::tenants::Served;
use bytes::Bytes;
use chancery_mcp::era::Era;
use chancery_mcp::error::ErrorResponse;
use chancery_mcp::headers::PROTOCOL_VERSION;
use std::sync::Arc;

/// Opens the stream, or ends the session.
///
/// # Errors
/// Why there is no answer of the server.
pub async fn without_message(
    app: &Arc<App>,
    served: &Arc<Served>,
    incoming: Incoming<'_>,
) -> Result<Answer, Rejection> {
    let entered = enter(app, served, incoming).await?;
    let era = Era::of_headers(&incoming.headers)
        .map_err(|error| Rejection::malformed(ErrorResponse::of_era(None, &error), None))?;
    if era.is_stateless() {
        return Err(Rejection::MethodNotAllowed);
    }
    // An open stream is idle most of the time: it counts when it is opened, and not as under way.
    app.limits
        .pass(asking(served, &entered.caller, None), entered.now)?;
    let session = session_of(served, &entered.caller, incoming)?;
    let (method, what) = match incoming.method {
        Verb::Delete => ("DELETE", "session/end"),
        Verb::Get | Verb::Post => ("GET", "session/listen"),
    };
    let permit = permitted(app, served, &entered, target::session(what), None).await?;

    let last_event_id = incoming.headers.find("last-event-id").ok().flatten();
    let version = (PROTOCOL_VERSION.to_owned(), era.revision().as_str().to_owned());
    let onward = Onward {
        method,
        body: Bytes::new(),
        headers: vec![version],
        session: session.map(|session| session.id),
        last_event_id: last_event_id.map(str::to_owned),
        trace: relaying::trace(&incoming.headers),
    };
    let relay = Relay {
        app: app.clone(),
        served: served.clone(),
        caller: entered.caller,
        permit,
        asked: None,
        filter: None,
        is_stateless: false,
        opens_urls: false,
        ticket: Ticket::default(),
    };
    relaying::run(relay, entered.url, onward).await
}
