//! Handing an answer on: byte for byte, except that listings are filtered and that a credential never comes back.
//! How the call ended is recorded, also when the client is gone.

use crate::app::App;
use crate::egress::EgressError;
use crate::gateway::caller::Caller;
use crate::gateway::credential::Search;
use crate::gateway::end::End;
use crate::gateway::in_force;
use crate::gateway::listing::Filter;
use crate::gateway::upstream::Begun;
use crate::limits::Ticket;
use crate::tenants::Served;
use bytes::Bytes;
use chancery_mcp::id::RequestId;
use chancery_mcp::server_message::ServerMessage;
use chancery_mcp::sse::{Decoder, Event};
use chancery_policy::UsePermit;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::Instrument as _;

/// What an answer is about, and what is done with it.
#[derive(Debug)]
pub struct Relay {
    /// The node.
    pub app: Arc<App>,
    /// The tenant.
    pub served: Arc<Served>,
    /// Who called.
    pub caller: Caller,
    /// What was permitted.
    pub permit: Box<UsePermit>,
    /// The request that is answered; `None` for a stream that may answer any of its session.
    pub asked: Option<RequestId>,
    /// How a listing is filtered.
    pub filter: Option<Filter>,
    /// Whether the call is under a revision without sessions: leaving is then how a client cancels (MCP 2026-07-28,
    /// cancellation), and a status of the server's is about this request alone.
    pub is_stateless: bool,
    /// Whether the client can send its person to a URL: what a session that begins now remembers.
    pub opens_urls: bool,
    /// What counts it as under way.
    pub ticket: Ticket,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Server-sent events, as they come.
    Events(mpsc::Receiver<Bytes>),
}

/// Why an answer is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The upstream answered something that was not asked, or what cannot be read.
    Foreign,
    /// The credential stands in the answer.
    Echo,
    /// The answer is too long.
    TooLarge,
    /// The request is too long.
    RequestTooLarge,
    /// The upstream broke off or took too long.
    Broken,
    /// The client went away.
    ClientGone,
    /// What the call hangs on was revoked, or the token is over.
    Revoked,
    /// A fault of ours.
    Internal,
    /// A credential was to be handed out and was not.
    Unreleased,
}

impl Fault {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign_answer",
            Self::Echo => "credential_in_answer",
            Self::TooLarge => "answer_too_large",
            Self::RequestTooLarge => "request_too_large",
            Self::Broken => "upstream_broke_off",
            Self::ClientGone => "client_gone",
            Self::Revoked => "revoked",
            Self::Internal => "internal",
            Self::Unreleased => "not_handed_out",
        }
    }
}

impl Relay {
    /// Reads the whole of an answer that is one JSON message, checks it, and filters it.
    ///
    /// # Errors
    /// Why it is not handed on. The end is recorded either way.
    pub async fn whole(self, mut begun: Begun) -> Result<Bytes, Fault> {
        let status = begun.response.status();
        let result = match begun.response.whole(MAX_ANSWER).await {
            Ok(body) => self.checked(&begun.search, body).await,
            Err(EgressError::TooLarge { .. }) => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Broken),
        };
        self.finish(status, result)
    }

    /// Hands the end to the log: the caller does not wait for its commit.
    fn finish(self, status: u16, result: Result<Bytes, Fault>) -> Result<Bytes, Fault> {
        let (fault, bytes) = match &result {
            Ok(body) => (None, body.len()),
            Err(fault) => (Some(*fault), 0),
        };
        self.ended(Some(status), fault, bytes);
        result
    }

    /// Reads the whole of an answer that is no message: handed on as it is, unless the credential stands in it.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub async fn plain(self, mut begun: Begun) -> Result<Bytes, Fault> {
        let status = begun.response.status();
        let result = match begun.response.whole(MAX_ANSWER).await {
            Ok(body) if begun.search.finds(&body) => Err(Fault::Echo),
            // A server that is asked for a message and answers with anything else is not understood.
            Ok(body) if self.asked.is_some() && status < 400 && !body.is_empty() => {
                drop(body);
                Err(Fault::Foreign)
            }
            Ok(body) => Ok(body),
            Err(EgressError::TooLarge { .. }) => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Broken),
        };
        self.finish(status, result)
    }

    /// Hands events on as they come, in a task of its own, until either side ends or the call is no longer
    /// allowed.
    pub fn events(self, begun: Begun) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
        tokio::spawn(
            async move {
                let status = begun.response.status();
                let mut bytes = 0;
                let fault = self.pump(begun, &sender, &mut bytes).await.err();
                self.ended(Some(status), fault, bytes);
            }
            .in_current_span(),
        );
        receiver
    }

    /// Records how it ended.
    pub fn ended(&self, status: Option<u16>, fault: Option<Fault>, bytes: usize) {
        self.ticket.end();
        let end = End { status, fault, bytes };
        end.record(&self.app, &self.served, &self.permit);
    }

    async fn pump(
        &self,
        mut begun: Begun,
        sender: &mpsc::Sender<Bytes>,
        bytes: &mut usize,
    ) -> Result<(), Fault> {
        let mut decoder = Decoder::new(MAX_ANSWER);
        let mut looks = in_force::looks();
        loop {
            let chunk = tokio::select! {
                chunk = begun.response.chunk() => chunk.map_err(|_| Fault::Broken)?,
                () = sender.closed() => return Err(Fault::ClientGone),
                _ = looks.tick() => {
                    in_force::check(&self.app, &self.served, &self.caller.token, &self.permit).await?;
                    continue;
                }
            };
            let mut events = Vec::new();
            let Some(chunk) = chunk else {
                // What follows the last event is no event, and is not handed on.
                decoder.finish(&mut events);
                return self.deliver(&begun.search, events, sender, bytes).await;
            };
            let pushed = decoder.push(&chunk, &mut events);
            self.deliver(&begun.search, events, sender, bytes).await?;
            pushed.map_err(|_| Fault::TooLarge)?;
        }
    }

    async fn deliver(
        &self,
        search: &Search,
        events: Vec<Event>,
        sender: &mpsc::Sender<Bytes>,
        bytes: &mut usize,
    ) -> Result<(), Fault> {
        for event in events {
            if search.finds(&event.raw) {
                return Err(Fault::Echo);
            }
            let raw = match &event.data {
                None => event.raw,
                Some(data) => match self.message(data).await? {
                    None => event.raw,
                    Some(filtered) => event.with_data(&filtered).map_err(|_| Fault::Internal)?,
                },
            };
            *bytes += raw.len();
            sender.send(raw.into()).await.map_err(|_| Fault::ClientGone)?;
        }
        Ok(())
    }

    async fn checked(&self, search: &Search, body: Bytes) -> Result<Bytes, Fault> {
        if search.finds(&body) {
            return Err(Fault::Echo);
        }
        if body.is_empty() {
            return Ok(body);
        }
        let text = std::str::from_utf8(&body).map_err(|_| Fault::Foreign)?;
        let filtered = self.message(text).await?;
        Ok(filtered.map_or(body, Bytes::from))
    }

    /// Checks one message of the upstream; gives what to send in its place, if it is a listing that must change.
    async fn message(&self, text: &str) -> Result<Option<String>, Fault> {
        if text.is_empty() {
            return Ok(None);
        }
        let message = ServerMessage::read(text).map_err(|_| Fault::Foreign)?;
        let Some(asked) = &self.asked else {
            return Ok(None);
        };
        message
            .check_asked(std::slice::from_ref(asked))
            .map_err(|_| Fault::Foreign)?;
        let Some(filter) = self.filter.as_ref().filter(|_| message.answers(asked)) else {
            return Ok(None);
        };
        let now = self.app.clock.now();
        let filtered = filter
            .apply(&self.app, &self.served, &self.caller, text, now)
            .await;
        filtered.map_err(|error| {
            tracing::warn!(%error, resource = %self.caller.resource.name, "a listing could not be filtered");
            Fault::Foreign
        })
    }
}

/// The longest answer, and the longest event.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Events that may wait for a slow client.
const EVENTS_AHEAD: usize = 16;
