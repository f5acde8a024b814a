//! The fence against real servers on this machine, and names that resolve to what a test says.

use super::*;
use crate::listener::{Endpoint, Limits, TlsConfig, TrustedProxies, serve};
use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use bytes::Bytes;
use chancery_core::time::{FixedClock, Timestamp};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const RULES: DocumentRules = DocumentRules {
    max_bytes: 1024,
    content_types: &["application/json"],
};
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Resolves the names of a test.
#[derive(Debug)]
struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Lookup for Names {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let found = self.0.get(name.as_str()).cloned();
        Box::pin(async move { found.ok_or_else(|| std::io::ErrorKind::NotFound.into()) })
    }
}

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(Timestamp::from_seconds(1_000_000)))
}

fn config(allowed: &[&str]) -> EgressConfig {
    let target = |text: &&str| AllowedHost::new(text.parse().expect("a target"));
    EgressConfig {
        allowed_hosts: allowed.iter().map(target).collect(),
        total_timeout: Ttl::from_millis(800),
        ..EgressConfig::default()
    }
}

fn egress(allowed: &[&str]) -> Egress {
    Egress::new(config(allowed), clock()).expect("builds")
}

fn egress_with_names(allowed: &[&str], names: &[(&'static str, &[&str])]) -> Egress {
    let parse = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect()
    };
    let names = names.iter().map(|(name, texts)| (*name, parse(texts))).collect();
    Egress::with_lookup(config(allowed), clock(), Arc::new(Names(names))).expect("builds")
}

async fn start(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn by_operator(url: &str) -> Destination<'_> {
    Destination {
        tenant: None,
        source: UrlSource::Configured,
        url,
    }
}

fn by_client(url: &str) -> Destination<'_> {
    Destination {
        source: UrlSource::Client,
        ..by_operator(url)
    }
}

async fn refusal(egress: &Egress, url: &str) -> EgressError {
    egress
        .fetch_document(by_operator(url), RULES)
        .await
        .expect_err("is refused")
}

fn not_allowed(address: &str) -> EgressError {
    EgressError::AddressNotAllowed {
        address: address.parse().expect("an address"),
    }
}

#[tokio::test]
async fn document_of_an_allowed_loopback_host_is_fetched_with_its_age() {
    let headers = [
        ("content-type", "Application/JSON; charset=utf-8"),
        ("cache-control", "public, Max-Age=600"),
        ("age", "100"),
    ];
    let address = start(Router::new().route("/", get(move || async move { (headers, "{}") }))).await;
    let egress = egress(&["127.0.0.0/8"]);
    let document = egress
        .fetch_document(by_operator(&format!("http://{address}/")), RULES)
        .await
        .expect("is fetched");
    assert_eq!(document.body, Bytes::from_static(b"{}"));
    assert_eq!(document.max_age, Some(Ttl::from_seconds(500)));
}

#[tokio::test]
async fn loopback_is_refused_unless_the_operator_allowed_it() {
    let address = start(Router::new().route("/", get(|| async { (JSON, "{}") }))).await;
    let egress = egress(&[]);
    assert_eq!(
        refusal(&egress, &format!("http://{address}/")).await,
        EgressError::NotHttps
    );
    assert_eq!(
        refusal(&egress, &format!("https://{address}/")).await,
        not_allowed("127.0.0.1")
    );
    let by_name = refusal(&egress, &format!("https://localhost:{}/", address.port())).await;
    assert!(
        matches!(by_name, EgressError::AddressNotAllowed { .. }),
        "{by_name}"
    );
}

#[tokio::test]
async fn name_with_any_special_use_address_is_refused() {
    let names: &[(&str, &[&str])] = &[
        ("loop.example", &["127.0.0.1"]),
        ("mixed.example", &["8.8.8.8", "10.0.0.1"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("metadata.example", &["169.254.169.254"]),
        ("empty.example", &[]),
    ];
    let egress = egress_with_names(&["metadata.example"], names);
    for (url, expected) in [
        ("https://loop.example/", not_allowed("127.0.0.1")),
        ("https://LOOP.example:8443/", not_allowed("127.0.0.1")),
        ("https://mixed.example/", not_allowed("10.0.0.1")),
        ("https://mapped.example/", not_allowed("::ffff:127.0.0.1")),
        // Naming the host is not enough for a metadata service; its network must be allowed.
        ("https://metadata.example/", not_allowed("169.254.169.254")),
        ("https://empty.example/", EgressError::Unresolved),
        ("https://absent.example/", EgressError::Unresolved),
    ] {
        assert_eq!(refusal(&egress, url).await, expected, "{url}");
    }
}

#[tokio::test]
async fn http_name_must_resolve_to_loopback_even_when_allowed() {
    let egress = egress_with_names(&["localhost"], &[("localhost", &["8.8.8.8"])]);
    assert_eq!(
        refusal(&egress, "http://localhost/").await,
        not_allowed("8.8.8.8")
    );
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let router = Router::new()
        .route(
            "/",
            get(|| async { (StatusCode::FOUND, [("location", "/target")]) }),
        )
        .route(
            "/target",
            get(move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                (JSON, "{}")
            }),
        );
    let address = start(router).await;
    let egress = egress(&["127.0.0.0/8"]);
    assert_eq!(
        refusal(&egress, &format!("http://{address}/")).await,
        EgressError::Redirect
    );
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answer_must_be_a_plain_success_of_the_right_type() {
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let router = Router::new()
        .route("/html", get(|| async { ([("content-type", "text/html")], "{}") }))
        .route("/none", get(|| async { Body::from("{}").into_response() }))
        .route("/gone", get(|| async { (StatusCode::GONE, JSON, "{}") }))
        .route("/created", get(|| async { (StatusCode::CREATED, JSON, "{}") }))
        .route("/gzip", get(move || async move { (compressed, "{}") }));
    let address = start(router).await;
    let egress = egress(&["127.0.0.0/8"]);
    for (path, expected) in [
        ("html", EgressError::ContentType),
        ("none", EgressError::ContentType),
        ("gone", EgressError::Status(410)),
        ("created", EgressError::Status(201)),
        ("gzip", EgressError::ContentEncoding),
    ] {
        assert_eq!(
            refusal(&egress, &format!("http://{address}/{path}")).await,
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn endless_body_is_cut_at_the_limit() {
    let endless = || async {
        let chunks = stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from_static(
            &[b' '; 256],
        )));
        (JSON, Body::from_stream(chunks))
    };
    let address = start(Router::new().route("/", get(endless))).await;
    let egress = egress(&["127.0.0.0/8"]);
    assert_eq!(
        refusal(&egress, &format!("http://{address}/")).await,
        EgressError::TooLarge { limit: 1024 }
    );
}

#[tokio::test]
async fn slow_body_and_silent_server_end_at_the_total_timeout() {
    let drip = || async {
        let chunks = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, std::convert::Infallible>(Bytes::from_static(b" "))
        });
        (JSON, Body::from_stream(chunks))
    };
    let address = start(Router::new().route("/", get(drip))).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let silent_address = silent.local_addr().expect("an address");
    let egress = egress(&["127.0.0.0/8"]);

    let started = tokio::time::Instant::now();
    assert_eq!(
        refusal(&egress, &format!("http://{address}/")).await,
        EgressError::Timeout
    );
    assert_eq!(
        refusal(&egress, &format!("http://{silent_address}/")).await,
        EgressError::Timeout
    );
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn failure_is_remembered_for_a_while_and_per_tenant() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let failing = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        StatusCode::SERVICE_UNAVAILABLE
    };
    let address = start(Router::new().route("/", get(failing))).await;
    let clock = clock();
    let egress = Egress::new(config(&["127.0.0.0/8"]), Arc::clone(&clock) as Arc<dyn Clock>).expect("builds");

    let url = format!("http://{address}/");
    for _ in 0..3 {
        assert_eq!(refusal(&egress, &url).await, EgressError::Status(503));
    }
    assert_eq!(hits.load(Ordering::SeqCst), 1);

    let tenant: Name = "acme".parse().expect("a name");
    let other = Destination {
        tenant: Some(&tenant),
        ..by_operator(&url)
    };
    egress.fetch_document(other, RULES).await.expect_err("fails");
    assert_eq!(hits.load(Ordering::SeqCst), 2);

    clock.advance(Ttl::from_seconds(30));
    refusal(&egress, &url).await;
    assert_eq!(hits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn calls_to_one_host_take_turns() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_open, seen) = (Arc::clone(&open), Arc::clone(&most));
    let slow = move || async move {
        seen.fetch_max(now_open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(30)).await;
        now_open.fetch_sub(1, Ordering::SeqCst);
        (JSON, "{}")
    };
    let address = start(Router::new().route("/{n}", get(slow))).await;
    let config = EgressConfig {
        max_concurrent_per_host: 2,
        ..config(&["127.0.0.0/8"])
    };
    let egress = Egress::new(config, clock()).expect("builds");
    let urls: Vec<_> = (0..10).map(|n| format!("http://{address}/{n}")).collect();
    let calls = urls
        .iter()
        .map(|url| egress.fetch_document(by_operator(url), RULES));
    for fetched in futures_util::future::join_all(calls).await {
        fetched.expect("is fetched");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn exception_holds_for_its_tenant_and_not_for_urls_of_clients() {
    let address = start(Router::new().route("/", get(|| async { (JSON, "{}") }))).await;
    let url = format!("http://{address}/");
    let (acme, other): (Name, Name) = ("acme".parse().expect("a name"), "other".parse().expect("a name"));
    let mut config = config(&["127.0.0.0/8"]);
    config.allowed_hosts[0].tenant = Some(acme.clone());
    let egress = Egress::new(config.clone(), clock()).expect("builds");
    let of = |tenant, destination: Destination<'static>| Destination {
        tenant,
        ..destination
    };
    let url: &'static str = Box::leak(url.into_boxed_str());

    egress
        .fetch_document(of(Some(&acme), by_operator(url)), RULES)
        .await
        .expect("is allowed");
    for destination in [
        of(Some(&other), by_operator(url)),
        of(None, by_operator(url)),
        of(Some(&acme), by_client(url)),
    ] {
        let refused = egress
            .fetch_document(destination, RULES)
            .await
            .expect_err("is refused");
        assert_eq!(refused, EgressError::NotHttps);
    }

    config.allowed_hosts[0].for_client_urls = true;
    let egress = Egress::new(config, clock()).expect("builds");
    egress
        .fetch_document(of(Some(&acme), by_client(url)), RULES)
        .await
        .expect("is allowed");
}

#[tokio::test]
async fn client_url_with_an_address_in_place_of_a_name_is_refused() {
    let egress = egress(&[]);
    for (url, expected) in [
        ("https://8.8.8.8/", EgressError::AddressLiteral),
        ("https://[::ffff:127.0.0.1]/", not_allowed("::ffff:127.0.0.1")),
        ("https://2130706433/", not_allowed("127.0.0.1")),
    ] {
        let refused = egress
            .fetch_document(by_client(url), RULES)
            .await
            .expect_err("is refused");
        assert_eq!(refused, expected, "{url}");
    }
}

#[tokio::test]
async fn private_authority_is_trusted_only_when_its_file_is_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let signed = rcgen::generate_simple_self_signed(["idp.internal".to_owned()]).expect("a certificate");
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    std::fs::write(&certificate, signed.cert.pem()).expect("writes");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("writes");

    let tls = TlsConfig::load(certificate.clone(), key).expect("loads");
    let address = "127.0.0.1:0".parse().expect("an address");
    let endpoint = Endpoint::tcp(address, Some(Arc::new(tls)), &TrustedProxies::default())
        .await
        .expect("binds");
    let port = endpoint.local_address().expect("an address").port();
    let version = |request: axum::extract::Request| async move { (JSON, format!("{:?}", request.version())) };
    let router = Router::new().route("/", get(version));
    tokio::spawn(serve(
        endpoint,
        router,
        Limits::default(),
        CancellationToken::new(),
    ));

    let names = || -> Arc<dyn Lookup> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        Arc::new(Names(HashMap::from([
            ("idp.internal", vec![loopback]),
            ("other.internal", vec![loopback]),
        ])))
    };
    let without = config(&["idp.internal", "other.internal"]);
    let with = EgressConfig {
        extra_ca_file: Some(certificate),
        ..without.clone()
    };
    let url = format!("https://idp.internal:{port}/");

    let strict = Egress::with_lookup(without, clock(), names()).expect("builds");
    let refused = refusal(&strict, &url).await;
    assert!(matches!(refused, EgressError::Connect { .. }), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("extra_ca_file")));

    let trusting = Egress::with_lookup(with, clock(), names()).expect("builds");
    let document = trusting
        .fetch_document(by_operator(&url), RULES)
        .await
        .expect("is trusted");
    assert_eq!(document.body, "HTTP/2.0");
    let refused = refusal(&trusting, &format!("https://other.internal:{port}/")).await;
    assert!(matches!(refused, EgressError::Connect { .. }), "{refused}");
}

#[test]
fn broken_authority_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    for content in [None, Some(""), Some("not a certificate")] {
        if let Some(content) = content {
            std::fs::write(&path, content).expect("writes");
        }
        let config = EgressConfig {
            extra_ca_file: Some(path.clone()),
            ..config(&[])
        };
        let refused = Egress::new(config, clock()).expect_err("is refused");
        assert!(
            matches!(refused, EgressSetupError::ExtraAuthorities { .. }),
            "{refused}"
        );
    }
}
