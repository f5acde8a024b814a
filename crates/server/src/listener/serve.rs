//! The accept loop.

use super::bind::Endpoint;
use super::body::RequestBody;
use super::connection::{Answers, Connection, Protocol};
use super::forwarded::TrustedProxies;
use super::limits::Limits;
use super::peer::{LocalPeer, Peer, PeerAddress};
use super::sources::{SourcePlace, Sources};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Serves an endpoint until `shutdown`; then takes no more connections and finishes the requests under way.
/// Returns how many connections had to be cut when the time to drain was over.
pub async fn serve<S>(endpoint: Endpoint, service: S, limits: Limits, shutdown: CancellationToken) -> usize
where
    S: tower::Service<
            http::Request<RequestBody>,
            Response = axum::response::Response,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let host = Host {
        service,
        limits,
        tls: tls_of(&endpoint),
        handshakes: Arc::new(Semaphore::new(limits.max_handshakes.max(1))),
        shutdown: shutdown.clone(),
    };
    let sources = sources_of(&endpoint, &limits);
    let places = Arc::new(Semaphore::new(limits.max_connections.max(1)));

    while let Some((accepted, place)) = next(&endpoint, &places, &shutdown).await {
        let Some(source) = sources.place(&accepted) else {
            tracing::debug!(?accepted, "a source has as many connections as it may");
            continue;
        };
        let (host, cut) = (host.clone(), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                () = host.serve(accepted) => {}
                () = cut.cancelled() => {}
            }
            drop((place, source));
        });
    }
    // New connections are refused from here on, and a Unix socket's file is gone.
    drop(endpoint);

    connections.close();
    if tokio::time::timeout(limits.drain_timeout.as_std(), connections.wait())
        .await
        .is_ok()
    {
        return 0;
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    left
}

fn tls_of(endpoint: &Endpoint) -> Option<Arc<rustls::ServerConfig>> {
    match endpoint {
        Endpoint::Tcp { tls, .. } => tls.as_ref().map(|tls| tls.server()),
        Endpoint::Unix(_) => None,
    }
}

fn sources_of(endpoint: &Endpoint, limits: &Limits) -> Sources {
    match endpoint {
        Endpoint::Tcp { proxies, .. } => Sources::new(limits, proxies.clone()),
        Endpoint::Unix(_) => Sources::new(limits, TrustedProxies::default()),
    }
}

/// The next connection, once there is a place for it; none when the shutdown began.
async fn next(
    endpoint: &Endpoint,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(Accepted, OwnedSemaphorePermit)> {
    let taken = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match accept(endpoint).await {
                Ok(accepted) => return Some((accepted, place)),
                Err(error) => after_failure(&error).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        taken = taken => taken,
    }
}

/// A connection just taken.
#[derive(Debug)]
enum Accepted {
    Tcp(TcpStream, PeerAddress),
    Unix(UnixStream, LocalPeer),
}

impl Sources {
    /// A place for this connection among those of its source. Whoever can open the local socket has no bound but
    /// the one of all.
    fn place(&self, accepted: &Accepted) -> Option<SourcePlace> {
        match accepted {
            Accepted::Tcp(_, peer) => self.take(peer.ip()),
            Accepted::Unix(..) => Some(self.uncounted()),
        }
    }
}

async fn accept(endpoint: &Endpoint) -> io::Result<Accepted> {
    match endpoint {
        Endpoint::Tcp { listener, .. } => {
            let (stream, address) = listener.accept().await?;
            Ok(Accepted::Tcp(stream, PeerAddress::new(address)))
        }
        Endpoint::Unix(endpoint) => {
            let (stream, _) = endpoint.listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            Ok(Accepted::Unix(stream, LocalPeer { uid }))
        }
    }
}

/// A peer that left again is nothing; anything else, such as no file descriptors, needs time to pass.
async fn after_failure(error: &io::Error) {
    let is_the_peers = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    );
    if !is_the_peers {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// What every connection of an endpoint shares.
#[derive(Clone)]
struct Host<S> {
    service: S,
    limits: Limits,
    tls: Option<Arc<rustls::ServerConfig>>,
    handshakes: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl<S: Answers> Host<S> {
    async fn serve(self, accepted: Accepted) {
        match accepted {
            Accepted::Unix(stream, peer) => {
                let connection = Connection {
                    io: stream,
                    protocol: Protocol::Either,
                    peer: Peer::Local(peer),
                };
                connection.serve(self.service, &self.limits, &self.shutdown).await;
            }
            Accepted::Tcp(stream, peer) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                self.serve_tcp(stream, Peer::Remote(peer)).await;
            }
        }
    }

    async fn serve_tcp(self, stream: TcpStream, peer: Peer) {
        let Some(tls) = &self.tls else {
            let connection = Connection {
                io: stream,
                protocol: Protocol::Either,
                peer,
            };
            return connection.serve(self.service, &self.limits, &self.shutdown).await;
        };

        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.limits.handshake_timeout.as_std(), self.shake(tls, stream)) => shaken,
            () = self.shutdown.cancelled() => return,
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(?peer, %error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!(?peer, "a TLS handshake took too long"),
        };
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        let connection = Connection {
            io: stream,
            protocol,
            peer,
        };
        connection.serve(self.service, &self.limits, &self.shutdown).await;
    }

    async fn shake(
        &self,
        tls: &Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        let greeted = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        // Only a peer that has said hello takes a turn, so that silence costs nobody else one.
        let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
        greeted.into_stream(Arc::clone(tls)).await
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
