//! The HTTP broker: what reaches the provider, and what a caller cannot do to the request.

use crate::estate::*;
use crate::harness::*;
use crate::outside;
use crate::upstream::Upstream;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_request_is_rebuilt_and_carries_the_credential_exactly_once,
    a_path_in_two_spellings_is_refused_before_it_is_decided,
    methods_paths_and_scopes_decide,
    an_answer_with_the_credential_is_cut_and_redirects_stay,
    upgrades_are_refused_and_cookies_stay_behind,
);

const KEY: &str = "MARKER-key-of-the-provider-0123456789";

pub(crate) struct Provider {
    pub(crate) estate: Estate,
    pub(crate) upstream: Upstream,
    pub(crate) token: String,
}

impl Provider {
    pub(crate) async fn open(place: &Place) -> Self {
        Self::on(outside::node(place, |_, _| {}).await).await
    }

    pub(crate) async fn on(node: Chancery) -> Self {
        let estate = Estate::on(node, "").await;
        let upstream = Upstream::start().await;
        estate.apply(document(&upstream)).await;
        let account = json!({ "connection": "files", "owner": "tenant", "values": { "key": KEY, "account": "acct 7" } });
        estate.admin("POST", "/connected_accounts", account).await;
        let token = estate
            .own("planner", &[("audience", "files"), ("scope", "read write")])
            .await
            .token();
        Self {
            estate,
            upstream,
            token,
        }
    }

    /// Another token, in the place of one that is dead.
    pub(crate) async fn renew(&mut self) {
        let target = [("audience", "files"), ("scope", "read write")];
        self.token = self.estate.own("planner", &target).await.token();
    }

    /// How the last request ended, once that is recorded.
    pub(crate) async fn ended(&self) -> Value {
        loop {
            if let Some(event) = self.estate.events("call.ended").await.first() {
                return event["parts"]["end"].clone();
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/broker/files{path}"))
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.estate
            .node
            .send(request.body(Body::from("the body")).unwrap())
            .await
    }
}

fn document(upstream: &Upstream) -> Value {
    json!({
        "connections": [{
            "name": "files", "base_url": upstream.url("/v1"), "owner_level": "tenant",
            "credential": { "api_key": { "parts": [
                { "name": "key", "placement": { "header": { "name": "X-Api-Key" } } },
                { "name": "account", "placement": { "query": { "name": "account" } } } ] } },
            "rules": [{ "effect": "allow", "path": "/**" }, { "effect": "deny", "path": "/keys/**" }],
        }],
        "resources": [{
            "name": "files", "scopes": { "read": { "sensitivity": "read" }, "write": {} }, "default_scopes": ["read"],
            "upstream": { "http": { "connection": "files", "routes": [
                { "methods": ["GET"], "path": "/**", "scopes": ["read"] },
                { "methods": ["PUT", "POST"], "path": "/files/**", "scopes": ["write"] } ] } },
        }],
        "agents": [{ "name": "planner", "owner": "ops", "ceiling": {
            "notes": ["read", "write", "delete"], "mail": ["send"], "helper-api": ["plan"], "files": ["read", "write"] } }],
        "grants": [
            { "agent": "planner", "principal": "itself", "resource": "files", "scopes": ["read", "write"] },
            { "agent": "planner", "principal": "itself", "connection": "files" },
        ],
    })
}

async fn a_request_is_rebuilt_and_carries_the_credential_exactly_once(place: Place) {
    let provider = Provider::open(&place).await;
    let headers = [
        ("x-api-key", "mine"),
        ("X-API-KEY", "again"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "1.2.3.4"),
        ("accept", "text/x"),
        ("content-type", "text/plain"),
    ];
    let answer = provider
        .send(&provider.token, "PUT", "/files/a%7eb?account=8&q=1", &headers)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "the body")
    );
    let seen = provider.upstream.take().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("PUT", "/v1/files/a~b?q=1&account=acct+7")
    );
    let keys: Vec<_> = seen.headers.get_all("x-api-key").iter().collect();
    assert_eq!(keys, [KEY]);
    assert_eq!(seen.header("accept"), Some("text/x"));
    for name in ["cookie", "x-forwarded-for", "authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

async fn a_path_in_two_spellings_is_refused_before_it_is_decided(place: Place) {
    let provider = Provider::open(&place).await;
    for path in [
        "/files/../keys/1",
        "/files/%2e%2e/keys/1",
        "/files%2fa",
        "/files//a",
        "/files/a%5c..%5cb",
        "/files/a;x=1",
        "/keys/%2e",
    ] {
        let answer = provider.send(&provider.token, "GET", path, &[]).await;
        assert_eq!(answer.problem(), (400, "path".to_owned()), "{path}");
    }
    assert!(provider.upstream.take().is_empty());
    assert!(provider.estate.events("call.decided").await.is_empty());
}

async fn methods_paths_and_scopes_decide(place: Place) {
    let provider = Provider::open(&place).await;
    let narrow = provider
        .estate
        .own("planner", &[("audience", "files"), ("scope", "read")])
        .await
        .token();
    assert_eq!(provider.send(&narrow, "GET", "/files/a", &[]).await.status, 200);
    let answer = provider.send(&narrow, "PUT", "/files/a", &[]).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("scope=\"write\"")
    );
    for (method, path) in [("DELETE", "/files/a"), ("GET", "/keys/1"), ("PUT", "/other")] {
        let answer = provider.send(&provider.token, method, path, &[]).await;
        assert_eq!(answer.problem(), (403, "denied".to_owned()), "{method} {path}");
        assert!(
            answer.json()["hint"]
                .as_str()
                .unwrap()
                .starts_with("chancery why dec_")
        );
    }
    assert_eq!(provider.upstream.take().len(), 1);
}

async fn an_answer_with_the_credential_is_cut_and_redirects_stay(place: Place) {
    let provider = Provider::open(&place).await;
    let request = Request::get("/broker/files/echo")
        .header("host", "id.example")
        .header("authorization", format!("Bearer {}", provider.token));
    let cut = provider
        .estate
        .node
        .try_send(request.body(Body::empty()).unwrap())
        .await;
    assert!(
        cut.is_err(),
        "the body ends with an error and not as if it were whole"
    );
    let away = provider.send(&provider.token, "GET", "/away", &[]).await;
    assert_eq!(
        (away.status.as_u16(), away.header("location")),
        (302, Some("https://evil.example/"))
    );
    assert_eq!(provider.upstream.take().len(), 2);
}

async fn upgrades_are_refused_and_cookies_stay_behind(place: Place) {
    let provider = Provider::open(&place).await;
    let upgrade = provider
        .send(
            &provider.token,
            "GET",
            "/files/a",
            &[("upgrade", "websocket"), ("connection", "upgrade")],
        )
        .await;
    assert_eq!(upgrade.problem(), (501, "upgrade_not_supported".to_owned()));
    assert!(provider.upstream.take().is_empty());
    let cookie = provider.send(&provider.token, "GET", "/cookie", &[]).await;
    assert_eq!(
        (cookie.header("set-cookie"), cookie.header("x-rate")),
        (None, Some("7"))
    );
}
