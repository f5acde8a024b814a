//! A small HTTP/1.1 listener on the loopback interface, and the answers the sample parties give with it.
//!
//! Binding and serving are two steps, because each party writes its own URL into the documents it serves.
//! A request whose `Host` is not this listener's is refused: a page in a browser that re-points its own name
//! at 127.0.0.1 gets nothing. There is no TLS, no HTTP/2 and no routing here.

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::form_urlencoded;

/// The body of every answer.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A bound port that does not answer yet.
pub(crate) struct Bound {
    listener: TcpListener,
    port: u16,
}

impl Bound {
    /// Binds 127.0.0.1; port 0 takes any free one.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn to_loopback(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The URL of the listener, without a trailing slash.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts to answer.
    pub(crate) fn serve<H, F>(self, handler: H) -> Serving
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(self, handler, stop.clone()));
        Serving {
            stop: stop.drop_guard(),
            task,
        }
    }
}

/// A listener at work; it stops when this is dropped.
pub(crate) struct Serving {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Serving {
    /// Stops, and waits until the port is free and the open connections are closed.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // The task can only fail by panicking, and then it has stopped as well.
        let _stopped = self.task.await;
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, document: &Value) -> Response<Body> {
    with_type(status, "application/json", document.to_string())
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, words: impl Into<String>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", words.into())
}

/// A page.
pub(crate) fn html(status: StatusCode, page: String) -> Response<Body> {
    with_type(status, "text/html; charset=utf-8", page)
}

/// The pairs of a form that was posted; none if it is too long.
pub(crate) async fn form(request: Request<Incoming>) -> Vec<(String, String)> {
    let body = Limited::new(request.into_body(), FORM_LIMIT).collect().await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    form_urlencoded::parse(&bytes).into_owned().collect()
}

/// The first value of a parameter in the query of a request.
pub(crate) fn query_parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn accept<H, F>(bound: Bound, handler: H, stop: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = bound.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, bound.port, handler.clone(), stop.clone()));
            }
            // Out of file descriptors, say: give the others a moment to finish.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }

    drop(bound);
    connections.close();
    connections.wait().await;
}

async fn connection<H, F>(stream: TcpStream, port: u16, handler: H, stop: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = is_meant_for(&request, port).then(|| handler(request));
        async move {
            let refused = || text(StatusCode::MISDIRECTED_REQUEST, "this is another host\n");
            let response = match answer {
                Some(answer) => answer.await,
                None => refused(),
            };
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);

    tokio::select! {
        // The other side has hung up, or has spoken something that is not HTTP.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }

    connection.as_mut().graceful_shutdown();
    let _ended = tokio::time::timeout(GRACE, connection).await;
}

// SECURITY: the DNS rebinding check of every sample party.
fn is_meant_for<B>(request: &Request<B>, port: u16) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    own.iter().any(|name| host.as_bytes() == name.as_bytes())
}

/// The longest form that is read.
const FORM_LIMIT: usize = 16 * 1024;

/// How long open requests may take once the listener stops.
const GRACE: Duration = Duration::from_secs(1);

/// How long the listener rests after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
