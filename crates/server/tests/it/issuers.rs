//! Trusted issuers whose keys are fetched, by discovery and by URL, through the token endpoint: rotation, unknown
//! keys, and issuers that do not answer.

use crate::estate::*;
use crate::harness::*;
use crate::outside;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use chancery_core::time::{Clock as _, Ttl};
use chancery_oauth::jose::SigningKey;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    a_person_is_known_by_discovery_and_by_the_url_of_the_keys,
    a_pod_is_known_by_discovery,
    a_rotated_key_is_fetched_when_its_first_token_comes,
    an_unknown_key_causes_one_fetch_a_minute_whoever_sends_it,
    an_issuer_that_hangs_is_a_clear_error_in_bounded_time,
    an_issuer_that_names_another_is_not_believed,
);

/// An issuer on this machine.
#[derive(Clone, Debug)]
struct Issuer {
    base: String,
    key: Arc<Mutex<Arc<SigningKey>>>,
    fetches: Arc<AtomicUsize>,
    hangs: Arc<AtomicBool>,
    named: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            key: Arc::new(Mutex::new(Arc::new(key("first")))),
            fetches: Arc::default(),
            hangs: Arc::default(),
            named: Arc::default(),
        };
        let (of_keys, of_discovery) = (issuer.clone(), issuer.clone());
        let keys = move || async move {
            of_keys.fetches.fetch_add(1, Ordering::SeqCst);
            if of_keys.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let published = jwks(&of_keys.key.lock().unwrap());
            (
                StatusCode::OK,
                [("content-type", "application/jwk-set+json")],
                published.to_string(),
            )
        };
        let discovery = move || async move {
            let named = of_discovery.named.lock().unwrap().clone();
            let issuer = named.unwrap_or_else(|| of_discovery.base.clone());
            axum::Json(json!({ "issuer": issuer, "jwks_uri": format!("{}/keys", of_discovery.base) }))
        };
        let router = Router::new()
            .route("/keys", get(keys))
            .route("/.well-known/openid-configuration", get(discovery));
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    fn rotate(&self, kid: &str) {
        *self.key.lock().unwrap() = Arc::new(key(kid));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn signed(&self, claims: &Value) -> String {
        let key = self.key.lock().unwrap().clone();
        sign(&key, None, claims)
    }

    fn person(&self, estate: &Estate) -> String {
        let now = estate.node.clock.now().as_seconds();
        self.signed(&json!({
            "iss": self.base, "sub": "alice", "aud": "chancery", "iat": now, "exp": now + 600, "roles": ["staff"],
        }))
    }
}

async fn estate(place: &Place, issuer: &Issuer, keys: Value) -> Estate {
    let node = outside::node(place, |_, world| world.outbound_timeout = Ttl::from_millis(300)).await;
    let estate = Estate::on(node, "").await;
    estate
        .apply(json!({
            "trusted_issuers": [{ "name": "live", "issuer": issuer.base, "purposes": ["users", "runtimes"],
                "audiences": ["chancery"], "keys": keys, "claims": { "roles": "roles" } }],
            "users": [{ "name": "live:alice", "issuer": "live", "subject": "alice", "roles": ["staff"] }],
            "grants": [{ "agent": "planner", "principal": { "user": "live:alice" }, "resource": "notes", "scopes": ["read"] }],
            "runtime_bindings": [{ "name": "live-pod", "issuer": "live", "agent": "planner", "audience": "chancery",
                "claims": { "sub": "pod" } }],
        }))
        .await;
    estate
}

async fn exchange(estate: &Estate, token: &str) -> Answer {
    let target = [("resource", NOTES), ("scope", "read")];
    estate.exchange_as("planner", (token, JWT), &target).await
}

async fn a_person_is_known_by_discovery_and_by_the_url_of_the_keys(place: Place) {
    let issuer = Issuer::start().await;
    let estate = estate(&place, &issuer, json!("discovery")).await;
    for _ in 0..3 {
        assert_eq!(exchange(&estate, &issuer.person(&estate)).await.scope(), "read");
    }
    assert_eq!(issuer.fetches(), 1, "kept");
    let uri = format!("{}/keys", issuer.base);
    estate
        .change("trusted_issuers", "live", json!({ "keys": { "jwks_uri": uri } }))
        .await;
    assert_eq!(exchange(&estate, &issuer.person(&estate)).await.scope(), "read");
    assert_eq!(issuer.fetches(), 2, "a changed issuer starts with nothing");
}

async fn a_pod_is_known_by_discovery(place: Place) {
    let issuer = Issuer::start().await;
    let estate = estate(&place, &issuer, json!("discovery")).await;
    let now = estate.node.clock.now().as_seconds();
    let pod = |sub: &str| {
        issuer.signed(
            &json!({ "iss": issuer.base, "sub": sub, "aud": "chancery", "iat": now, "exp": now + 60 }),
        )
    };
    assert_eq!(
        estate.asserted(&pod("pod"), &[("resource", NOTES)]).await.status,
        200
    );
    assert_eq!(
        estate
            .asserted(&pod("other"), &[("resource", NOTES)])
            .await
            .error()
            .0,
        401
    );
}

async fn a_rotated_key_is_fetched_when_its_first_token_comes(place: Place) {
    let issuer = Issuer::start().await;
    let estate = estate(&place, &issuer, json!("discovery")).await;
    let old = issuer.person(&estate);
    assert_eq!(exchange(&estate, &old).await.status, 200);
    estate.node.advance(Ttl::from_minutes(2)).await;
    issuer.rotate("second");
    assert_eq!(exchange(&estate, &issuer.person(&estate)).await.status, 200);
    assert_eq!(issuer.fetches(), 2);
    // What the issuer no longer publishes proves nothing any more.
    assert_eq!(
        exchange(&estate, &old).await.error(),
        (400, "invalid_request".to_owned())
    );
}

async fn an_unknown_key_causes_one_fetch_a_minute_whoever_sends_it(place: Place) {
    let issuer = Issuer::start().await;
    let estate = estate(&place, &issuer, json!("discovery")).await;
    assert_eq!(exchange(&estate, &issuer.person(&estate)).await.status, 200);
    estate.node.advance(Ttl::from_minutes(2)).await;
    let now = estate.node.clock.now().as_seconds();
    let claims =
        json!({ "iss": issuer.base, "sub": "alice", "aud": "chancery", "iat": now, "exp": now + 600 });
    for number in 0..5 {
        let forged = sign(&key(&format!("forged-{number}")), None, &claims);
        assert_eq!(
            exchange(&estate, &forged).await.error(),
            (400, "invalid_request".to_owned())
        );
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(
        exchange(&estate, &issuer.person(&estate)).await.status,
        200,
        "the good key goes on"
    );
    estate.node.advance(Ttl::from_minutes(1)).await;
    let forged = sign(&key("forged-9"), None, &claims);
    exchange(&estate, &forged).await;
    assert_eq!(issuer.fetches(), 3);
}

async fn an_issuer_that_hangs_is_a_clear_error_in_bounded_time(place: Place) {
    let issuer = Issuer::start().await;
    issuer.hangs.store(true, Ordering::SeqCst);
    let estate = estate(&place, &issuer, json!("discovery")).await;
    // That these come back at all is the bound: the issuer never answers.
    let person = issuer.person(&estate);
    assert_eq!(
        exchange(&estate, &person).await.error(),
        (503, "temporarily_unavailable".to_owned())
    );
    assert_eq!(exchange(&estate, &person).await.error().0, 503);
    assert_eq!(
        issuer.fetches(),
        1,
        "a failure is remembered, and asked about once"
    );
    let now = estate.node.clock.now().as_seconds();
    let pod = json!({ "iss": issuer.base, "sub": "pod", "aud": "chancery", "iat": now, "exp": now + 60 });
    let answer = estate
        .asserted(&issuer.signed(&pod), &[("resource", NOTES)])
        .await;
    let reason = estate.reason(&answer).await;
    assert!(reason.contains("keys") && reason.contains("live"), "{reason}");
    issuer.hangs.store(false, Ordering::SeqCst);
    estate.node.advance(Ttl::from_seconds(31)).await;
    assert_eq!(exchange(&estate, &issuer.person(&estate)).await.status, 200);
}

async fn an_issuer_that_names_another_is_not_believed(place: Place) {
    let issuer = Issuer::start().await;
    *issuer.named.lock().unwrap() = Some("https://idp.example".to_owned());
    let estate = estate(&place, &issuer, json!("discovery")).await;
    assert_eq!(exchange(&estate, &issuer.person(&estate)).await.error().0, 503);
    assert_eq!(issuer.fetches(), 0, "its keys are not even asked for");
}
