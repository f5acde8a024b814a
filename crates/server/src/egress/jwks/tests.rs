//! The key cache against real servers on this machine.

use super::*;
use crate::egress::{AllowedHost, EgressConfig};
use axum::Router;
use axum::routing::get;
use chancery_core::id::Id as _;
use chancery_core::issuer::{ClaimMapping, IssuerPurpose, TrustedIssuerSpec};
use chancery_core::noun::{Lifecycle, Record};
use chancery_core::time::FixedClock;
use chancery_oauth::jose::{Algorithm, SigningKey};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the issuer of a test answers, and how often it was asked.
#[derive(Clone, Debug, Default)]
struct Issuer {
    fetches: Arc<AtomicUsize>,
    answer: Arc<Mutex<Script>>,
}

#[derive(Clone, Debug, Default)]
struct Script {
    status: u16,
    body: String,
    cache_control: &'static str,
    delay: Duration,
}

impl Issuer {
    async fn start(kid: &str) -> (Self, SocketAddr) {
        let issuer = Self::default();
        issuer.says(&key_set(kid));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let this = issuer.clone();
        let keys = move || {
            let this = this.clone();
            async move {
                this.fetches.fetch_add(1, Ordering::SeqCst);
                let script = this.answer.lock().expect("unpoisoned").clone();
                tokio::time::sleep(script.delay).await;
                let status = axum::http::StatusCode::from_u16(script.status).expect("a status");
                let headers = [
                    ("content-type", "application/jwk-set+json"),
                    ("cache-control", script.cache_control),
                ];
                (status, headers, script.body)
            }
        };
        let discovery = move |host: &'static str| async move {
            let issuer = if host.is_empty() {
                format!("http://{address}")
            } else {
                host.to_owned()
            };
            let body = serde_json::json!({ "issuer": issuer, "jwks_uri": format!("http://{address}/keys") });
            ([("content-type", "application/json")], body.to_string())
        };
        let router = Router::new()
            .route("/keys", get(keys))
            .route(DISCOVERY_PATH, get(move || discovery("")))
            .route(
                "/evil/.well-known/openid-configuration",
                get(move || discovery("https://idp.example")),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        (issuer, address)
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.answer.lock().expect("unpoisoned"));
    }

    fn says(&self, body: &str) {
        self.change(|script| (script.status, script.body) = (200, body.to_owned()));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn key_set(kid: &str) -> String {
    let key = SigningKey::generate(Algorithm::Es256).expect("generates");
    serde_json::json!({ "keys": [key.public_jwk().clone().with_kid(kid)] }).to_string()
}

fn kids(set: &JwkSet) -> Vec<&str> {
    set.keys().iter().filter_map(|key| key.kid()).collect()
}

struct Bench {
    clock: Arc<FixedClock>,
    keys: Arc<IssuerKeys>,
    tenant: Name,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_000_000)));
        let config = EgressConfig {
            allowed_hosts: vec![AllowedHost::new("127.0.0.0/8".parse().expect("a target"))],
            total_timeout: Ttl::from_millis(1500),
            ..EgressConfig::default()
        };
        let egress = Arc::new(Egress::new(config, Arc::clone(&clock) as Arc<dyn Clock>).expect("builds"));
        let keys = IssuerKeys::new(
            egress,
            Arc::clone(&clock) as Arc<dyn Clock>,
            IssuerKeysConfig::default(),
        );
        Self {
            clock,
            keys: Arc::new(keys),
            tenant: "acme".parse().expect("a name"),
        }
    }

    async fn keys(&self, issuer: &TrustedIssuer) -> Answer {
        self.keys.keys_for(&self.tenant, issuer, self.clock.now()).await
    }

    async fn refreshed(&self, issuer: &TrustedIssuer) -> Answer {
        self.keys
            .refresh_on_unknown_kid(&self.tenant, issuer, self.clock.now())
            .await
    }

    fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(Ttl::from_seconds(seconds));
    }
}

fn issuer(url: &str, keys: KeySource) -> TrustedIssuer {
    Record {
        id: IssuerId::from_bytes([7; 16]),
        name: "idp".parse().expect("a name"),
        state: Lifecycle::Active,
        generation: 1,
        version: 1,
        created_at: Timestamp::from_seconds(0),
        updated_at: Timestamp::from_seconds(0),
        spec: TrustedIssuerSpec {
            issuer: url.to_owned(),
            purposes: vec![IssuerPurpose::Users],
            keys,
            audiences: vec!["chancery".to_owned()],
            claims: ClaimMapping::default(),
            assertions: Vec::new(),
            sign_in: None,
        },
    }
}

fn by_uri(address: SocketAddr) -> TrustedIssuer {
    issuer(
        "https://idp.example",
        KeySource::JwksUri(format!("http://{address}/keys")),
    )
}

#[tokio::test]
async fn inline_keys_are_parsed_once_per_version_and_never_fetched() {
    let bench = Bench::new();
    let inline = |kid| KeySource::Inline(serde_json::from_str(&key_set(kid)).expect("json"));
    let mut issuer = issuer("https://idp.example", inline("a"));
    let first = bench.keys(&issuer).await.expect("parses");
    let again = bench.refreshed(&issuer).await.expect("parses");
    assert!(Arc::ptr_eq(&first, &again));

    issuer.spec.keys = inline("b");
    issuer.version = 2;
    assert_eq!(kids(&bench.keys(&issuer).await.expect("parses")), ["b"]);

    issuer.spec.keys = KeySource::Inline(serde_json::json!([]));
    issuer.version = 3;
    assert_eq!(
        bench.keys(&issuer).await.err(),
        Some(IssuerKeysError::InlineNotAnObject)
    );
}

#[tokio::test]
async fn discovery_finds_the_keys_of_exactly_this_issuer() {
    let (served, address) = Issuer::start("a").await;
    let bench = Bench::new();
    let good = issuer(&format!("http://{address}"), KeySource::Discovery);
    assert_eq!(kids(&bench.keys(&good).await.expect("is found")), ["a"]);

    for url in [format!("http://{address}/"), format!("http://{address}/evil")] {
        let mut other = issuer(&url, KeySource::Discovery);
        other.version = 1 + u64::try_from(url.len()).expect("short");
        assert_eq!(
            bench.keys(&other).await.err(),
            Some(IssuerKeysError::DiscoveryIssuerMismatch),
            "{url}"
        );
    }
    assert_eq!(served.fetches(), 1);
}

#[tokio::test]
async fn fifty_callers_cause_one_fetch() {
    let (served, address) = Issuer::start("a").await;
    served.change(|script| script.delay = Duration::from_millis(100));
    let bench = Bench::new();
    let issuer = by_uri(address);
    let callers = (0..50).map(|_| bench.keys(&issuer));
    for answer in futures_util::future::join_all(callers).await {
        assert_eq!(kids(&answer.expect("is fetched")), ["a"]);
    }
    assert_eq!(served.fetches(), 1);
}

#[tokio::test]
async fn fifty_callers_of_a_hanging_issuer_wait_once() {
    let (served, address) = Issuer::start("a").await;
    served.change(|script| script.delay = Duration::from_mins(1));
    let bench = Bench::new();
    let issuer = by_uri(address);
    let started = tokio::time::Instant::now();
    let callers = (0..50).map(|_| bench.keys(&issuer));
    for answer in futures_util::future::join_all(callers).await {
        assert_eq!(
            answer.err(),
            Some(IssuerKeysError::FetchKeySet(EgressError::Timeout))
        );
    }
    assert_eq!(served.fetches(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn hanging_issuer_does_not_block_another() {
    let (hanging, hanging_address) = Issuer::start("a").await;
    hanging.change(|script| script.delay = Duration::from_mins(1));
    let (_, address) = Issuer::start("b").await;
    let bench = Bench::new();
    let mut slow = by_uri(hanging_address);
    slow.id = IssuerId::from_bytes([8; 16]);
    let (slow, fast) = (slow, by_uri(address));

    let blocked = bench.keys(&slow);
    let free = async {
        let started = tokio::time::Instant::now();
        bench.keys(&fast).await.expect("is fetched");
        started.elapsed()
    };
    let (blocked, elapsed) = tokio::join!(blocked, free);
    assert!(blocked.is_err());
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test]
async fn set_is_fresh_for_what_its_source_says_within_bounds() {
    for (cache_control, fresh_seconds) in [
        ("max-age=600", 600),
        ("max-age=1", 300),
        ("no-store", 300),
        ("", 300),
        ("max-age=31536000", 86_400),
    ] {
        let (served, address) = Issuer::start("a").await;
        served.change(|script| script.cache_control = cache_control);
        let bench = Bench::new();
        let issuer = by_uri(address);
        bench.keys(&issuer).await.expect("is fetched");
        bench.advance_seconds(fresh_seconds - 1);
        bench.keys(&issuer).await.expect("is kept");
        assert_eq!(served.fetches(), 1, "{cache_control}");
        bench.advance_seconds(1);
        bench.keys(&issuer).await.expect("is fetched");
        assert_eq!(served.fetches(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn unknown_kid_causes_at_most_one_fetch_a_minute() {
    let (served, address) = Issuer::start("a").await;
    let bench = Bench::new();
    let issuer = by_uri(address);
    bench.keys(&issuer).await.expect("is fetched");
    served.says(&key_set("b"));

    for _ in 0..5 {
        assert_eq!(kids(&bench.refreshed(&issuer).await.expect("is kept")), ["a"]);
    }
    assert_eq!(served.fetches(), 1);

    bench.advance_seconds(60);
    let callers = (0..20).map(|_| bench.refreshed(&issuer));
    for answer in futures_util::future::join_all(callers).await {
        assert_eq!(kids(&answer.expect("is fetched")), ["b"]);
    }
    assert_eq!(served.fetches(), 2);
    assert_eq!(kids(&bench.keys(&issuer).await.expect("is kept")), ["b"]);
}

#[tokio::test]
async fn last_good_set_serves_while_fetching_fails_but_not_forever() {
    let (served, address) = Issuer::start("a").await;
    let bench = Bench::new();
    let issuer = by_uri(address);
    bench.keys(&issuer).await.expect("is fetched");
    served.change(|script| script.status = 500);

    bench.advance_seconds(301);
    assert_eq!(kids(&bench.keys(&issuer).await.expect("is kept")), ["a"]);
    assert_eq!(kids(&bench.keys(&issuer).await.expect("is kept")), ["a"]);
    assert_eq!(served.fetches(), 2, "a failure is not retried at once");
    bench.advance_seconds(31);
    bench.keys(&issuer).await.expect("is kept");
    assert_eq!(served.fetches(), 3);

    bench.advance_seconds(86_400);
    assert_eq!(
        bench.keys(&issuer).await.err(),
        Some(IssuerKeysError::FetchKeySet(EgressError::Status(500)))
    );
    served.says(&key_set("b"));
    bench.advance_seconds(31);
    assert_eq!(kids(&bench.keys(&issuer).await.expect("is fetched")), ["b"]);
}

#[tokio::test]
async fn hostile_sets_are_refused_and_a_private_key_ends_trust_in_the_kept_set() {
    let (served, address) = Issuer::start("a").await;
    let bench = Bench::new();
    let issuer = by_uri(address);
    let refresh = async |body: &str| {
        served.says(body);
        bench.advance_seconds(120);
        bench.refreshed(&issuer).await
    };
    bench.keys(&issuer).await.expect("is fetched");

    for hostile in [
        r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
        "{}",
        "[",
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert_eq!(
            kids(&refresh(hostile).await.expect("the last good set serves")),
            ["a"],
            "{hostile}"
        );
    }
    let huge = format!(r#"{{"keys":[],"pad":"{}"}}"#, "x".repeat(64 * 1024));
    assert_eq!(
        kids(&refresh(&huge).await.expect("the last good set serves")),
        ["a"]
    );

    let private = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}"#;
    let refused = refresh(private).await.err();
    assert_eq!(refused, Some(IssuerKeysError::KeySet(JwkSetError::PrivateKey)));
    assert_eq!(bench.keys(&issuer).await.err(), refused);
}

#[tokio::test]
async fn nothing_is_shared_between_tenants_or_versions() {
    let (served, address) = Issuer::start("a").await;
    let bench = Bench::new();
    let mut issuer = by_uri(address);
    bench.keys(&issuer).await.expect("is fetched");
    let other: Name = "other".parse().expect("a name");
    bench
        .keys
        .keys_for(&other, &issuer, bench.clock.now())
        .await
        .expect("is fetched");
    assert_eq!(served.fetches(), 2);
    issuer.version = 2;
    bench.keys(&issuer).await.expect("is fetched");
    assert_eq!(served.fetches(), 3);
}

#[tokio::test]
async fn caller_that_gives_up_leaves_the_flight_to_the_next() {
    let (served, address) = Issuer::start("a").await;
    served.change(|script| script.delay = Duration::from_millis(100));
    let bench = Bench::new();
    let issuer = by_uri(address);
    let hasty = tokio::time::timeout(Duration::from_millis(20), bench.keys(&issuer)).await;
    assert!(hasty.is_err());
    assert_eq!(kids(&bench.keys(&issuer).await.expect("is fetched")), ["a"]);
}
