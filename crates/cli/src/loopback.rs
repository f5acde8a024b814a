//! A small HTTP/1.1 server on the loopback interface, for programs on this machine only: what `run` and `mcp wrap` serve.
//!
//! A request whose `Host` is not this server's, or that a page of a browser makes (`Origin`), is refused: a page that
//! points its own name at 127.0.0.1 gets nothing. Who else may ask is the business of whoever serves.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The body of an answer.
pub(crate) type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A port that is bound and does not answer yet.
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// A server at work; it stops when this is dropped.
pub(crate) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Bound {
    /// Binds 127.0.0.1; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken.
    pub(crate) async fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer. `admits` is asked once for each connection, with the address of the far end.
    pub(crate) fn serve<A, F, H, G>(self, admits: A, handler: H) -> Serving
    where
        A: Fn(SocketAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = bool> + Send,
        H: Fn(Request<Incoming>) -> G + Clone + Send + Sync + 'static,
        G: Future<Output = Response<Body>> + Send + 'static,
    {
        Serving(tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = self.listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (admits, handler, address) = (admits.clone(), handler.clone(), self.address);
                connections.spawn(async move {
                    if admits(peer).await {
                        connection(stream, address, handler).await;
                    }
                });
            }
        }))
    }
}

async fn connection<H, G>(stream: TcpStream, address: SocketAddr, handler: H)
where
    H: Fn(Request<Incoming>) -> G + Clone + Send + Sync + 'static,
    G: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = is_meant_for(&request, address).then(|| handler(request));
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer.await,
                None => problem(
                    StatusCode::FORBIDDEN,
                    "this host, or this origin, may not ask here",
                ),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // The far end hung up, or spoke something that is not HTTP.
    drop(connection.await);
}

// SECURITY: DNS rebinding, and pages that send requests to this machine.
fn is_meant_for<B>(request: &Request<B>, address: SocketAddr) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let own = [address.to_string(), format!("localhost:{}", address.port())];
    own.iter().any(|name| host.as_bytes() == name.as_bytes()) && !request.headers().contains_key(ORIGIN)
}

/// A whole body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(whole(value.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An answer that says what is wrong.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "error": detail }))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
