//! The accept loop over real sockets.

use super::*;
use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use chancery_core::time::Ttl;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SOON: Duration = Duration::from_secs(5);

fn limits() -> Limits {
    Limits {
        header_read_timeout: Ttl::from_millis(300),
        idle_timeout: Ttl::from_millis(1500),
        handshake_timeout: Ttl::from_millis(1500),
        write_timeout: Ttl::from_millis(500),
        drain_timeout: Ttl::from_millis(1500),
        ..Limits::default()
    }
}

fn router() -> Router {
    let who = |request: Request| async move {
        let peer = request.extensions().get::<PeerAddress>();
        let local = request.extensions().get::<LocalPeer>();
        format!(
            "peer={} uid={:?}",
            peer.is_some_and(|peer| peer.ip().is_loopback()),
            local.map(|peer| peer.uid)
        )
    };
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "slow"
    };
    let flood = || async {
        let chunks = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(vec![b'x'; 64 * 1024]));
        axum::body::Body::from_stream(chunks)
    };
    let endless = || std::future::pending::<&'static str>();
    Router::new()
        .route("/", get(who))
        .route("/slow", get(slow))
        .route("/flood", get(flood))
        .route("/endless", get(endless))
        .route("/echo", axum::routing::post(|body: String| async { body }))
}

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<usize>,
}

async fn start(tls: Option<Arc<TlsConfig>>, limits: Limits) -> Running {
    let address = "127.0.0.1:0".parse().expect("an address");
    let endpoint = Endpoint::tcp(address, tls, &TrustedProxies::default())
        .await
        .expect("binds");
    let address = endpoint.local_address().expect("an address");
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(endpoint, router(), limits, stop.clone()));
    Running {
        address,
        stop,
        served,
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connects")
}

/// Sends bytes and reads one answer.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> String {
    stream.write_all(request).await.expect("writes");
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8(answer.clone()).expect("text");
        if is_complete(&text) {
            return text;
        }
        let read = timeout(SOON, stream.read_buf(&mut answer))
            .await
            .expect("in time");
        assert_ne!(read.expect("reads"), 0, "closed after `{text}`");
    }
}

fn is_complete(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() == length.parse::<usize>().expect("a length"))
}

/// How long until the other side closes.
async fn time_to_close(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let started = Instant::now();
    let mut sink = Vec::new();
    let closed = timeout(SOON, stream.read_to_end(&mut sink))
        .await
        .expect("is closed");
    drop(closed);
    started.elapsed()
}

#[tokio::test]
async fn request_carries_the_peers_address() {
    let running = start(None, limits()).await;
    let answer = ask(&mut connect(running.address).await, REQUEST).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("peer=true uid=None"),
        "{answer}"
    );
}

#[tokio::test]
async fn unix_peer_is_known_by_its_uid() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    let endpoint = Endpoint::unix(&path).await.expect("binds");
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(endpoint, router(), limits(), stop.clone()));

    let uid = std::fs::metadata(directory.path()).expect("exists").uid();
    let mut stream = UnixStream::connect(&path).await.expect("connects");
    let answer = ask(&mut stream, REQUEST).await;
    assert!(
        answer.ends_with(&format!("peer=false uid=Some({uid})")),
        "{answer}"
    );

    stop.cancel();
    assert_eq!(served.await.expect("ends"), 0);
    assert!(!path.exists());
}

#[tokio::test]
async fn slow_head_is_cut_off() {
    let running = start(None, limits()).await;
    for opening in [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\nx-a: 1\r\n",
        b"PRI * HTTP/2.0\r\n",
    ] {
        let mut stream = connect(running.address).await;
        stream.write_all(opening).await.expect("writes");
        let elapsed = time_to_close(&mut stream).await;
        assert!(elapsed < Duration::from_millis(1200), "{opening:?} {elapsed:?}");
    }
}

#[tokio::test]
async fn head_that_drips_is_cut_off_even_after_a_first_request() {
    let running = start(None, limits()).await;
    let mut stream = connect(running.address).await;
    ask(&mut stream, REQUEST).await;
    let (mut read, mut write) = stream.into_split();
    let drip = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nx-pad: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let elapsed = time_to_close(&mut read).await;
    assert!(
        elapsed > Duration::from_millis(200) && elapsed < Duration::from_millis(1200),
        "{elapsed:?}"
    );
    drip.abort();
}

#[tokio::test]
async fn idle_connection_lives_longer_than_a_slow_head_and_then_ends() {
    let running = start(None, limits()).await;
    let mut stream = connect(running.address).await;
    ask(&mut stream, REQUEST).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ask(&mut stream, REQUEST).await;
    let elapsed = time_to_close(&mut stream).await;
    assert!(
        elapsed > Duration::from_millis(1300) && elapsed < Duration::from_secs(4),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn request_under_way_is_no_idleness() {
    let running = start(None, limits()).await;
    let mut stream = connect(running.address).await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("writes");
    let mut byte = [0];
    let read = timeout(Duration::from_secs(2), stream.read(&mut byte)).await;
    assert!(read.is_err(), "was closed");
}

#[tokio::test]
async fn peer_that_does_not_read_loses_its_place() {
    let one = Limits {
        max_connections: 1,
        ..limits()
    };
    let running = start(None, one).await;
    let mut deaf = connect(running.address).await;
    deaf.write_all(b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("writes");
    let answer = ask(&mut connect(running.address).await, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let running = start(None, limits()).await;
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: 1\r\n".repeat(101));
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n",
        "x".repeat(65 * 1024)
    );
    for request in [many, long] {
        let answer = ask(&mut connect(running.address).await, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn connection_beyond_the_cap_waits_for_a_place() {
    let one = Limits {
        max_connections: 1,
        ..limits()
    };
    let running = start(None, one).await;
    let mut first = connect(running.address).await;
    ask(&mut first, REQUEST).await;

    let mut second = connect(running.address).await;
    second.write_all(REQUEST).await.expect("writes");
    let mut byte = [0];
    assert!(
        timeout(Duration::from_millis(200), second.read(&mut byte))
            .await
            .is_err()
    );
    drop(first);
    let read = timeout(SOON, second.read(&mut byte)).await.expect("in time");
    assert_eq!(read.expect("reads"), 1);
}

#[tokio::test]
async fn one_source_does_not_take_all_places() {
    let two = Limits {
        max_connections_per_source: 2,
        excepts_loopback: false,
        ..limits()
    };
    let running = start(None, two).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(running.address).await;
        ask(&mut stream, REQUEST).await;
        open.push(stream);
    }
    let mut third = connect(running.address).await;
    let mut byte = [0];
    let read = timeout(SOON, third.read(&mut byte)).await.expect("in time");
    assert!(matches!(read, Ok(0) | Err(_)), "is closed");
    // A place that is given up is there for the next.
    drop(open.pop());
    loop {
        let mut stream = connect(running.address).await;
        let written = stream.write_all(REQUEST).await;
        let read = timeout(SOON, stream.read(&mut byte)).await.expect("in time");
        if written.is_ok() && matches!(read, Ok(1)) {
            break;
        }
    }
}

#[tokio::test]
async fn body_that_does_not_come_in_time_is_answered_408() {
    let short = Limits {
        body_read_timeout: Ttl::from_millis(100),
        ..limits()
    };
    let running = start(None, short).await;
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    let mut whole = connect(running.address).await;
    let answer = ask(&mut whole, format!("{head}hello").as_bytes()).await;
    assert!(answer.ends_with("hello"), "{answer}");

    let mut late = connect(running.address).await;
    let answer = ask(&mut late, format!("{head}he").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    time_to_close(&mut late).await;

    // Bytes that drip in do not start the time anew.
    let (mut read, mut write) = connect(running.address).await.into_split();
    let drip = tokio::spawn(async move {
        let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
        let mut written = write.write_all(head.as_bytes()).await;
        while written.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            written = write.write_all(b"x").await;
        }
    });
    let mut answer = vec![0; 12];
    timeout(SOON, read.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("reads");
    assert_eq!(answer, b"HTTP/1.1 408");
    drip.abort();
}

#[tokio::test]
async fn shutdown_finishes_the_request_under_way_and_takes_no_more() {
    let running = start(None, limits()).await;
    let mut busy = connect(running.address).await;
    let mut idle = connect(running.address).await;
    ask(&mut idle, REQUEST).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("writes");
    tokio::time::sleep(Duration::from_millis(50)).await;

    running.stop.cancel();
    assert!(time_to_close(&mut idle).await < Duration::from_secs(1));
    let mut answer = String::new();
    timeout(SOON, busy.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("reads");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"),
        "{answer}"
    );
    assert_eq!(running.served.await.expect("ends"), 0);
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn drain_is_bounded_and_counts_what_it_cuts() {
    let running = start(None, limits()).await;
    let mut busy = connect(running.address).await;
    busy.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .expect("writes");
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop.cancel();
    let cut = timeout(SOON, running.served)
        .await
        .expect("in time")
        .expect("ends");
    assert_eq!(cut, 1);
}

/// Writes a fresh self-signed pair for `localhost` and returns its certificate.
fn write_pair(directory: &Path) -> CertificateDer<'static> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(directory.join("tls.crt"), signed.cert.pem()).expect("writes");
    std::fs::write(directory.join("tls.key"), signed.signing_key.serialize_pem()).expect("writes");
    signed.cert.der().clone()
}

fn load(directory: &Path) -> Result<TlsConfig, TlsError> {
    TlsConfig::load(directory.join("tls.crt"), directory.join("tls.key"))
}

async fn connect_tls(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, connect(address).await)
        .await
}

#[tokio::test]
async fn stalled_handshakes_neither_block_others_nor_last() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificate = write_pair(directory.path());
    let few = Limits {
        max_handshakes: 1,
        ..limits()
    };
    let running = start(Some(Arc::new(load(directory.path()).expect("loads"))), few).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(connect(running.address).await);
    }

    let started = Instant::now();
    let mut stream = connect_tls(running.address, &certificate)
        .await
        .expect("shakes hands");
    let answer = ask(&mut stream, REQUEST).await;
    assert!(answer.ends_with("peer=true uid=None"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(1));
    for stream in &mut stalled {
        assert!(time_to_close(stream).await < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn renewed_certificate_is_served_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = write_pair(directory.path());
    let tls = Arc::new(load(directory.path()).expect("loads"));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&tls).watch(Duration::from_millis(20), stop.clone()));
    let running = start(Some(tls), limits()).await;
    let serves =
        async |certificate: &CertificateDer<'static>| connect_tls(running.address, certificate).await.is_ok();
    assert!(serves(&first).await);

    std::fs::write(directory.path().join("tls.crt"), "broken").expect("writes");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(serves(&first).await);

    let key_of_another = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let second = write_pair(directory.path());
    std::fs::write(directory.path().join("tls.key"), key_of_another).expect("writes");
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(
        !serves(&second).await || !serves(&first).await,
        "one pair is served"
    );

    let third = write_pair(directory.path());
    let renewed = async {
        while !serves(&third).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, renewed)
        .await
        .expect("the renewed certificate is served");
    assert!(!serves(&first).await);

    stop.cancel();
    watching.await.expect("ends");
}

#[tokio::test]
async fn unusable_certificate_files_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(matches!(load(directory.path()), Err(TlsError::Unreadable { .. })));
    write_pair(directory.path());
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(directory.path().join("tls.key"), other).expect("writes");
    let refused = load(directory.path()).expect_err("is refused");
    assert!(
        matches!(refused, TlsError::KeyMismatch(_)) && refused.hint().is_some(),
        "{refused}"
    );
    std::fs::write(directory.path().join("tls.crt"), "").expect("writes");
    assert!(matches!(
        load(directory.path()),
        Err(TlsError::NoCertificate { .. })
    ));
}
