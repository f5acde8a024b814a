//! One connection, from its first byte to its last.

use super::activity::{Activity, Lapse, TicketedBody, Watched};
use super::body::{Late, RequestBody};
use super::limits::Limits;
use super::peer::Peer;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What answers requests: an axum router, or anything of its shape.
pub(super) trait Answers:
    tower::Service<
        http::Request<RequestBody>,
        Response = axum::response::Response,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Answers for S where
    S: tower::Service<
            http::Request<RequestBody>,
            Response = axum::response::Response,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// What the handshake settled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
    /// Whatever the first bytes are.
    Either,
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(super) struct Connection<I> {
    pub(super) io: I,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection<I> {
    /// Serves requests until the peer leaves, lapses, or `shutdown` asks to finish. What is under way is
    /// then finished; the caller bounds how long that may take.
    pub(super) async fn serve(self, service: impl Answers, limits: &Limits, shutdown: &CancellationToken) {
        let activity = Arc::new(Activity::default());
        let write_timeout = limits.write_timeout.as_std();
        let io = TokioIo::new(Watched::new(self.io, Arc::clone(&activity), write_timeout));
        let service = Counted {
            inner: service,
            peer: self.peer,
            activity: Arc::clone(&activity),
            body_patience: limits.body_read_timeout.as_std(),
        };
        let builder = builder(self.protocol, limits);
        let mut connection = pin!(builder.serve_connection(io, service));

        let lapse = tokio::select! {
            ended = connection.as_mut() => return log_end(self.peer, ended),
            lapse = activity.lapse(limits) => Some(lapse),
            () = shutdown.cancelled() => None,
        };
        if lapse == Some(Lapse::Stalled) {
            tracing::debug!(peer = ?self.peer, "a request's head did not come in time");
            return;
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => log_end(self.peer, ended),
            _ = activity.lapse(limits) => {}
        }
    }
}

fn builder(protocol: Protocol, limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = match protocol {
        Protocol::Http1 => auto::Builder::new(TokioExecutor::new()).http1_only(),
        Protocol::Http2 => auto::Builder::new(TokioExecutor::new()).http2_only(),
        Protocol::Either => auto::Builder::new(TokioExecutor::new()),
    };
    let max_header_bytes = limits.max_header_bytes.max(MIN_HEADER_BYTES);
    // To hyper the wait for a head includes the idle time before it, so it only backs up what `Activity`
    // tells apart.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout.max(limits.header_read_timeout).as_std())
        .max_headers(limits.max_headers)
        .max_buf_size(usize::try_from(max_header_bytes).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(max_header_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.http2_ping_interval.as_std())
        .keep_alive_timeout(limits.http2_ping_timeout.as_std());
    builder
}

/// The service, with who is asking put on each request, and each request counted.
#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    peer: Peer,
    activity: Arc<Activity>,
    body_patience: Duration,
}

impl<S: Answers> hyper::service::Service<http::Request<Incoming>> for Counted<S> {
    type Response = http::Response<TicketedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: http::Request<Incoming>) -> Self::Future {
        let ticket = self.activity.begin(request.version());
        self.peer.mark(request.extensions_mut());
        let (late, version) = (Late::default(), request.version());
        let patience = self.body_patience;
        let request = request.map(|body| RequestBody::new(body, patience, late.clone()));
        let service = self.inner.clone();
        Box::pin(async move {
            let mut response = service.oneshot(request).await?;
            // Whatever the service made of the broken body, the client is told what broke it.
            if late.is_late() {
                response = too_late(version);
            }
            Ok(response.map(|inner| TicketedBody {
                inner,
                _ticket: ticket,
            }))
        })
    }
}

/// 408 (RFC 9110 §15.5.9). The rest of the body is not waited for, so an HTTP/1 connection ends with it.
fn too_late(version: http::Version) -> axum::response::Response {
    let mut response = http::Response::new(axum::body::Body::from(
        "the request's body did not come in time\n",
    ));
    *response.status_mut() = http::StatusCode::REQUEST_TIMEOUT;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    if version < http::Version::HTTP_2 {
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
    }
    response
}

fn log_end(peer: Peer, ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(?peer, %error, "a connection ended in error");
    }
}

/// The least that hyper accepts.
const MIN_HEADER_BYTES: u32 = 8192;
const SEND_BUFFER_BYTES: usize = 256 * 1024;
