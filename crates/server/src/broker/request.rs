//! One brokered request: parse → who calls → what → decide and record → send → hand on.

use crate::app::App;
use crate::approve::request::Unaskable;
use crate::broker::asked::{self, BodyLost};
use crate::broker::headers::{comes_back, passing};
use crate::broker::path::{PathError, checked_query, normalise};
use crate::broker::sieve::{Echoed, Sieve};
use crate::connect::open::open;
use crate::connect::refresh;
use crate::connect::refused::refused;
use crate::egress::{Destination, OutboundBody, StreamLimits, StreamRequest, StreamResponse, UrlSource};
use crate::error::Failure;
use crate::gateway::approving::{Awaited, Settled, settle};
use crate::gateway::call::asking;
use crate::gateway::caller::{self, Caller, Unauthenticated};
use crate::gateway::credential::{Search, place};
use crate::gateway::decision::{Decided, decide};
use crate::gateway::end::End;
use crate::gateway::in_force;
use crate::gateway::proposal::{Wanted, WantedRequest};
use crate::gateway::relay::Fault;
use crate::limits::{Limited, Ticket};
use crate::tenants::Served;
use bytes::Bytes;
use chancery_core::call::CallAction;
use chancery_core::connection::Connection;
use chancery_core::decision::Decision;
use chancery_core::name::Name;
use chancery_core::resource::{Resource, Upstream};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::claims::OwnToken;
use chancery_policy::UsePermit;
use futures_util::{Stream, StreamExt as _, stream};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tracing::Instrument as _;
use url::Url;

/// A request as it came in.
pub struct Incoming<'a> {
    /// The connection's name, from the path.
    pub connection: &'a str,
    /// The bearer token.
    pub bearer: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// What follows the connection's name, with its slash, undecoded.
    pub path: &'a str,
    /// The query, undecoded.
    pub query: Option<&'a str>,
    /// Headers that are text.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body.
    pub body: InboundBody,
}

/// The body of a request, as it comes.
pub struct InboundBody {
    /// How long it is, if that is known beforehand.
    pub length: Option<u64>,
    /// Its pieces. An error ends it.
    pub pieces: Pieces,
}

impl InboundBody {
    /// A body that is there already.
    fn of(bytes: Bytes) -> Self {
        Self {
            length: Some(bytes.len() as u64),
            pieces: Box::pin(stream::iter([Ok(bytes)])),
        }
    }
}

impl fmt::Debug for InboundBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundBody")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Pieces of a body.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;
/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl fmt::Debug for Incoming<'_> {
    /// SECURITY: the token and headers are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("connection", &self.connection)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// An answer of the provider.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, those that come back.
    pub headers: Vec<(String, String)>,
    /// Its body, as it comes.
    pub body: mpsc::Receiver<Result<Bytes, Echoed>>,
}

/// Why there is no answer of the provider.
#[derive(Debug)]
pub enum Rejection {
    /// There is no such connection behind this broker.
    NoSuchConnection,
    /// The caller is not known (401).
    Unauthenticated(Unauthenticated, Arc<Resource>),
    /// The path or query is refused (400).
    Path(PathError),
    /// Policy refused (403); the decision says why.
    Denied(Box<Decision>, Arc<Resource>),
    /// People are asked; the same request made again uses their yes (403).
    Awaits(Box<Awaited>),
    /// Policy permits it only with a yes, and nobody can be asked for one (403).
    Unaskable(Box<Decision>, Unaskable),
    /// The body did not come whole (400).
    Body(BodyLost),
    /// The provider could not be reached, or answered what is not handed on (502).
    Upstream(&'static str),
    /// The body is longer than a request may be (413).
    TooLarge,
    /// The caller asks for more than it may (429).
    Limited(Limited),
    /// Too much at once (503).
    Busy,
    /// A fault of ours, or not knowing enough to answer.
    Failure(Failure),
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

/// Answers one request.
///
/// # Errors
/// Why there is no answer of the provider.
pub async fn broker(
    app: &Arc<App>,
    served: &Arc<Served>,
    incoming: Incoming<'_>,
) -> Result<Answer, Rejection> {
    // 1. Who calls, where.
    let now = app.serving_now()?;
    let (resource, connection) = find(app, served, incoming.connection).await?;
    let caller = match caller::verify(app, served, resource.clone(), incoming.bearer, now).await? {
        Ok(caller) => caller,
        Err(why) => return Err(Rejection::Unauthenticated(why, resource)),
    };

    let ticket = app.limits.enter(asking(served, &caller, None), now)?;

    // 2. What: one path in one spelling, which is decided on and sent.
    let path = normalise(incoming.path).map_err(Rejection::Path)?;
    let query = incoming
        .query
        .map(checked_query)
        .transpose()
        .map_err(Rejection::Path)?;
    let most = app.limits.config().request_bytes;
    if incoming.body.length.is_some_and(|length| length > most) {
        return Err(Rejection::TooLarge);
    }
    let outgoing = Outgoing {
        headers: passing(&connection, &incoming.headers),
        connection,
        path,
        query,
        method: incoming.method.to_owned(),
        body: incoming.body,
    };

    // 3. Decide and record.
    let (permit, outgoing) = decided(app, served, &caller, outgoing, now).await?;

    // 4. Act, and hand on.
    let run = Run {
        app: app.clone(),
        served: served.clone(),
        permit,
        token: caller.token,
        ticket,
    };
    // In a task of its own: a client that goes away ends neither the request nor its record.
    tokio::spawn(run.send(outgoing).in_current_span())
        .await
        .unwrap_or_else(|error| Err(Failure::internal(error).into()))
}

/// The resource of this broker address and the connection behind it.
async fn find(app: &App, served: &Served, name: &str) -> Result<(Arc<Resource>, Arc<Connection>), Rejection> {
    let tenant = served.tenant.id;
    let name: Name = name.parse().map_err(|_| Rejection::NoSuchConnection)?;
    let uri = format!("{}/broker/{name}", served.tenant.spec.base_url);
    let resource = app.directory.resources.find_by_key(tenant, uri).await?;
    let resource = resource.filter(|resource| {
        let is_broker =
            matches!(&resource.spec.upstream, Some(Upstream::Http { connection, .. }) if *connection == name);
        resource.state.is_active() && is_broker
    });
    let connection = app.directory.connections.find_by_name(tenant, &name).await?;
    match (
        resource,
        connection.filter(|connection| connection.state.is_active()),
    ) {
        (Some(resource), Some(connection)) => Ok((resource, connection)),
        (Some(_) | None, _) => Err(Rejection::NoSuchConnection),
    }
}

/// Decides on a request and records the decision; where a yes is needed, it is used, or people are asked for it.
async fn decided(
    app: &App,
    served: &Served,
    caller: &Caller,
    mut outgoing: Outgoing,
    now: Timestamp,
) -> Result<(Box<UsePermit>, Outgoing), Rejection> {
    let resource = caller.resource.clone();
    let wanted = wanted(caller, &outgoing.connection, &outgoing.method, &outgoing.path);
    let needed = match decide(app, served, caller, wanted, now).await? {
        Decided::Permitted(permit) => return Ok((permit, outgoing)),
        Decided::Refused(decision) => return Err(asked::refused(app, served, decision, resource).await?),
        Decided::NeedsYes(needed) => needed,
    };
    let body = asked::whole(&mut outgoing.body).await.map_err(Rejection::Body)?;
    let call = body.map(|bytes| {
        let call = asked::call(served, &outgoing, &bytes);
        outgoing.body = InboundBody::of(bytes);
        call
    });
    match settle(app, served, &caller.chain, (*needed, call), now).await? {
        Settled::Permitted(permit) => Ok((permit, outgoing)),
        Settled::Refused(decision, None) => Err(Rejection::Denied(decision, resource)),
        Settled::Refused(decision, Some(why)) => Err(Rejection::Unaskable(decision, why)),
        Settled::Awaits(awaited) => Err(Rejection::Awaits(awaited)),
    }
}

fn wanted(caller: &Caller, connection: &Connection, method: &str, path: &str) -> Wanted {
    let allowed = connection.spec.allows(method, path);
    let scopes = caller.resource.spec.request_scopes(method, path);
    Wanted {
        action: CallAction::Request,
        target: format!("{method} {path}"),
        // What the connection's rules stop is on no route.
        scopes: scopes.filter(|_| allowed),
        arguments: BTreeMap::new(),
        obstacle: None,
        request: Some(WantedRequest {
            host: connection.spec.base_url.authority().to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
        }),
    }
}

/// What is sent on, once it is permitted.
pub(super) struct Outgoing {
    pub(super) connection: Arc<Connection>,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) method: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: InboundBody,
}

/// A request that is permitted.
struct Run {
    app: Arc<App>,
    served: Arc<Served>,
    permit: Box<UsePermit>,
    /// What the caller presented: the answer is handed on while it is in force.
    token: Arc<OwnToken>,
    /// What counts it as under way.
    ticket: Ticket,
}

/// A request that is ready to be sent.
struct Built {
    url: Url,
    request: StreamRequest,
    search: Search,
    /// Whether the body turned out to be longer than a request may be.
    is_too_large: Arc<AtomicBool>,
}

impl Run {
    async fn send(self, outgoing: Outgoing) -> Result<Answer, Rejection> {
        let connection = outgoing.connection.clone();
        if let Err(failure) = refresh::ensure(&self.app, &self.served, &self.permit).await {
            self.ended(End::without_answer(Fault::Broken));
            return Err(failure.into());
        }
        let built = match self.build(outgoing).await {
            Ok(built) => built,
            Err(failure) => {
                self.ended(End::without_answer(Fault::Internal));
                return Err(failure);
            }
        };
        let destination = Destination {
            tenant: Some(&self.served.tenant.name),
            source: UrlSource::Configured,
            url: built.url.as_str(),
        };
        let began = self.app.clock.now();
        let response = match self.app.egress.open_stream(destination, built.request).await {
            Ok(response) => response,
            Err(_) if built.is_too_large.load(Ordering::SeqCst) => {
                self.ended(End::without_answer(Fault::RequestTooLarge));
                return Err(Rejection::TooLarge);
            }
            Err(error) => {
                tracing::warn!(%error, connection = %connection.name, "a provider could not be called");
                self.ended(End::without_answer(Fault::Broken));
                return Err(if error.is_busy() {
                    Rejection::Busy
                } else if error.is_timeout() {
                    Rejection::Upstream("the provider did not answer in time")
                } else {
                    Rejection::Upstream("the provider cannot be reached")
                });
            }
        };
        let took = self.app.clock.now().since(began);
        self.app.metrics.upstream_began("http", took);
        if response.status() == UNAUTHORIZED
            && let Some(failure) = refused(&self.app, &self.served, &self.permit).await
        {
            self.ended(End::with_status(UNAUTHORIZED, Fault::Broken));
            return Err(failure.into());
        }
        self.begun(response, built.search)
    }

    /// The head of the answer is there.
    fn begun(self, response: StreamResponse, search: Search) -> Result<Answer, Rejection> {
        let status = response.status();
        let headers: Vec<(String, String)> = response
            .headers()
            .filter(|(name, _)| comes_back(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if headers.iter().any(|(_, value)| search.finds(value.as_bytes())) {
            self.ended(End::with_status(status, Fault::Echo));
            return Err(Rejection::Upstream(
                "the provider sent the credential back; its answer was cut",
            ));
        }
        Ok(Answer {
            status,
            headers,
            body: self.hand_on(response, Sieve::new(search)),
        })
    }

    async fn build(&self, outgoing: Outgoing) -> Result<Built, Rejection> {
        let base = &outgoing.connection.spec.base_url;
        let text = format!("{}{}{}", base.origin(), base.path(), outgoing.path);
        let mut url = Url::parse(&text).map_err(|error| Rejection::Failure(Failure::internal(error)))?;
        // INVARIANT: what was decided on is what is sent; a URL library that reads it otherwise is not followed.
        if url.as_str() != text {
            return Err(Rejection::Path(PathError::Character));
        }
        url.set_query(outgoing.query.as_deref());
        if url.query() != outgoing.query.as_deref() {
            return Err(Rejection::Path(PathError::Character));
        }
        let unsendable = |_| Rejection::Upstream("a header cannot be sent on");
        let (body, is_too_large) = outbound(outgoing.body, self.app.limits.config().request_bytes);
        let mut request = StreamRequest::new(&outgoing.method, body, LIMITS).map_err(unsendable)?;
        for (name, value) in &outgoing.headers {
            request.set_header(name, value).map_err(unsendable)?;
        }
        let credential = open(&self.app, &self.served, &self.permit).await?;
        place(&credential, &mut url, &mut request).map_err(unsendable)?;
        Ok(Built {
            url,
            request,
            search: Search::new(&credential),
            is_too_large,
        })
    }

    /// Hands the body on in a task of its own, so that its end is recorded even when the client is gone.
    fn hand_on(self, response: StreamResponse, sieve: Sieve) -> mpsc::Receiver<Result<Bytes, Echoed>> {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let work = async move {
            let status = Some(response.status());
            let mut bytes = 0;
            let fault = self.pump(response, sieve, &sender, &mut bytes).await.err();
            self.ended(End { status, fault, bytes });
            if fault.is_some() {
                // A body that ends early must not look whole.
                sender.send(Err(Echoed)).await.ok();
            }
        };
        tokio::spawn(work.in_current_span());
        receiver
    }

    /// Hands pieces on until either side ends or the request is no longer allowed.
    async fn pump(
        &self,
        mut response: StreamResponse,
        mut sieve: Sieve,
        sender: &mpsc::Sender<Result<Bytes, Echoed>>,
        bytes: &mut usize,
    ) -> Result<(), Fault> {
        let most = self.app.limits.config().response_bytes;
        let mut looks = in_force::looks();
        let mut is_last = false;
        while !is_last {
            let piece = tokio::select! {
                piece = response.chunk() => piece.map_err(|_| Fault::Broken)?,
                () = sender.closed() => return Err(Fault::ClientGone),
                _ = looks.tick() => {
                    in_force::check(&self.app, &self.served, &self.token, &self.permit).await?;
                    continue;
                }
            };
            is_last = piece.is_none();
            let out = match piece {
                Some(piece) => sieve.push(&piece).map_err(|_| Fault::Echo)?,
                None => std::mem::replace(&mut sieve, Sieve::new(Search::default())).finish(),
            };
            *bytes += out.len();
            if *bytes as u64 > most {
                return Err(Fault::TooLarge);
            }
            if !out.is_empty() {
                sender.send(Ok(out)).await.map_err(|_| Fault::ClientGone)?;
            }
        }
        Ok(())
    }

    fn ended(&self, end: End) {
        self.ticket.end();
        end.record(&self.app, &self.served, &self.permit);
    }
}

/// The body as it is sent on, cut where it is longer than a request may be; and whether it was.
fn outbound(body: InboundBody, most: u64) -> (OutboundBody, Arc<AtomicBool>) {
    let is_too_large = Arc::new(AtomicBool::new(false));
    // No body is sent as none, and not as a stream that turns out to be empty.
    if body.length == Some(0) {
        return (OutboundBody::from(Bytes::new()), is_too_large);
    }
    let (told, mut sent) = (is_too_large.clone(), 0_u64);
    let pieces = body.pieces.map(move |piece| {
        let piece = piece?;
        sent = sent.saturating_add(piece.len() as u64);
        if sent > most {
            told.store(true, Ordering::SeqCst);
            return Err(BodyError::from("the body is longer than a request may be"));
        }
        Ok(piece)
    });
    (OutboundBody::from_stream(pieces), is_too_large)
}

const LIMITS: StreamLimits = StreamLimits {
    turn: Ttl::from_seconds(1),
    head: Ttl::from_seconds(60),
    idle: Ttl::from_minutes(2),
    total: Ttl::from_minutes(60),
};

/// The status of a provider that does not take the credential.
const UNAUTHORIZED: u16 = 401;
/// Pieces that may wait for a slow client.
const PIECES_AHEAD: usize = 8;
