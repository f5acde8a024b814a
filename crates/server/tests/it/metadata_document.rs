//! Clients whose `client_id` is the URL of their metadata document, against servers that answer as they should, and
//! against hostile ones.

use crate::estate::*;
use crate::harness::*;
use axum::Router;
use axum::routing::get;
use chancery_core::time::Ttl;
use chancery_oauth::jose::SigningKey;
use chancery_server::egress::AllowedHost;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    a_document_makes_a_client_that_its_rule_adopts,
    an_unknown_client_is_staged_and_adopted_by_its_url,
    a_document_is_fetched_once_while_it_is_fresh,
    a_hostile_document_makes_no_client,
    an_address_of_special_use_is_not_asked,
    a_document_that_drifts_to_another_host_is_quarantined,
    a_document_that_only_renames_ends_nothing,
    an_outage_is_bridged_for_a_while_and_a_withdrawal_is_not,
    a_retired_url_never_comes_back,
    a_key_at_the_documents_address_proves_the_client,
    an_assertion_of_one_document_is_none_of_another,
    clients_with_documents_can_be_refused,
);

/// What the client's site answers.
#[derive(Clone, Debug, Default)]
struct Site {
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
    address: Option<SocketAddr>,
}

#[derive(Clone, Debug, Default)]
struct Script {
    status: u16,
    kind: &'static str,
    cache: &'static str,
    body: String,
    keys: String,
}

impl Site {
    async fn start() -> Self {
        let mut site = Self::default();
        let (this, keyed) = (site.clone(), site.clone());
        let document = async move || {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let script = this.script.lock().unwrap().clone();
            let status = axum::http::StatusCode::from_u16(script.status).unwrap();
            let headers = [
                ("content-type", script.kind),
                ("cache-control", script.cache),
                ("location", "https://elsewhere.example/"),
            ];
            (status, headers, script.body)
        };
        let keys = async move || {
            let keys = keyed.script.lock().unwrap().keys.clone();
            ([("content-type", "application/jwk-set+json")], keys)
        };
        let router = Router::new()
            .route("/client.json", get(document.clone()))
            .route("/other.json", get(document))
            .route("/keys", get(keys));
        site.address = Some(crate::outside::serve(router).await);
        site.says(&site.document());
        site
    }

    fn url(&self) -> String {
        format!("http://{}/client.json", self.address.unwrap())
    }

    fn document(&self) -> Value {
        json!({
            "client_id": self.url(), "client_name": "App",
            "redirect_uris": ["https://app.example/callback"],
            "grant_types": ["authorization_code"],
        })
    }

    fn with(&self, field: &str, value: Value) -> Value {
        let mut document = self.document();
        document.as_object_mut().unwrap().insert(field.to_owned(), value);
        document
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn says(&self, document: &Value) {
        self.change(|script| {
            (script.status, script.kind, script.cache) = (200, "application/json", "max-age=600");
            script.body = document.to_string();
        });
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn estate(place: &Place) -> Estate {
    let node = Chancery::start_with(place, |config, _| {
        let mut loopback = AllowedHost::new("127.0.0.0/8".parse().unwrap());
        loopback.for_client_urls = true;
        config.allowed_hosts = vec![loopback];
    })
    .await;
    Estate::on(node, "").await
}

async fn adopting(estate: &Estate) {
    let rule = json!({ "name": "app", "outcome": "adopt", "agent": "planner", "hosts": ["127.0.0.1"] });
    estate.admin("POST", "/registration_rules", rule).await;
}

/// A public client shows its name at the endpoint that takes it alone; the answer says whether it is one.
async fn comes(estate: &Estate, client_id: &str) -> Answer {
    let form = [("token", "unknown"), ("client_id", client_id)];
    estate.node.form("/revoke", &form).await
}

async fn is_good(estate: &Estate, client_id: &str) -> bool {
    comes(estate, client_id).await.status == 200
}

async fn stored(estate: &Estate) -> Option<Value> {
    let list = estate.admin("GET", "/clients?limit=500", Value::Null).await;
    let items = list["items"].as_array().unwrap().clone();
    items
        .into_iter()
        .find(|item| item["spec"]["provenance"] == "metadata_document")
}

async fn a_document_makes_a_client_that_its_rule_adopts(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    assert!(is_good(&estate, &site.url()).await);
    let client = stored(&estate).await.unwrap();
    assert_eq!(
        (&client["state"], &client["spec"]["agent"]),
        (&json!("active"), &json!("planner"))
    );
    assert_eq!(client["spec"]["metadata_uri"], site.url());
    assert!(client["name"].as_str().unwrap().starts_with("127.0.0.1:"));
    // By its row's own id or name it would pass its document by.
    for other in ["id", "name"] {
        assert!(!is_good(&estate, client[other].as_str().unwrap()).await);
    }
}

async fn an_unknown_client_is_staged_and_adopted_by_its_url(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    let answer = comes(&estate, &site.url()).await;
    assert!(estate.reason(&answer).await.contains("chancery client adopt"));
    assert_eq!(stored(&estate).await.unwrap()["state"], "staged");
    let path = format!(
        "/clients/{}/adopt",
        url::form_urlencoded::byte_serialize(site.url().as_bytes()).collect::<String>()
    );
    estate.admin("POST", &path, json!({ "agent": "planner" })).await;
    assert!(is_good(&estate, &site.url()).await);
}

async fn a_document_is_fetched_once_while_it_is_fresh(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    for _ in 0..3 {
        assert!(is_good(&estate, &site.url()).await);
    }
    assert_eq!(site.asked(), 1);
    site.change(|script| script.cache = "no-store");
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert!(is_good(&estate, &site.url()).await);
    // Whatever HTTP says, nobody makes this server ask more often than every five minutes.
    estate.node.advance(Ttl::from_seconds(299)).await;
    assert!(is_good(&estate, &site.url()).await);
    assert_eq!(site.asked(), 2);
    estate.node.advance(Ttl::from_seconds(1)).await;
    assert!(is_good(&estate, &site.url()).await);
    assert_eq!(site.asked(), 3);
}

async fn a_hostile_document_makes_no_client(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    let documents = [
        site.with("client_id", json!("https://app.example/client.json")),
        site.with("client_secret", json!("hidden")),
        site.with("token_endpoint_auth_method", json!("client_secret_basic")),
        site.with("redirect_uris", json!(["javascript:alert(1)"])),
        site.with("client_name", json!("Bank\u{202e}toB")),
        site.with("client_name", json!("x".repeat(6_000))),
        json!([]),
    ];
    let mut cases: Vec<Script> = documents
        .iter()
        .map(|document| Script {
            status: 200,
            kind: "application/json",
            body: document.to_string(),
            ..Script::default()
        })
        .collect();
    let good = site.document().to_string();
    for (status, kind) in [
        (302, "application/json"),
        (404, "application/json"),
        (201, "application/json"),
        (200, "text/html"),
    ] {
        cases.push(Script {
            status,
            kind,
            body: good.clone(),
            ..Script::default()
        });
    }
    for case in cases {
        let said = format!("{case:?}");
        site.change(|script| *script = case);
        // What failed is not asked for again at once; it is not kept as an answer either.
        estate.node.advance(Ttl::from_seconds(31)).await;
        assert!(!is_good(&estate, &site.url()).await, "{said}");
        assert!(stored(&estate).await.is_none(), "{said}");
    }
    site.says(&site.document());
    estate.node.advance(Ttl::from_seconds(31)).await;
    assert!(
        is_good(&estate, &site.url()).await,
        "an error is never kept as a document"
    );
}

async fn an_address_of_special_use_is_not_asked(place: Place) {
    // This node has no exception for loopback.
    let estate = Estate::start(&place).await;
    let site = Site::start().await;
    for url in [
        site.url(),
        "https://127.0.0.1/client.json".to_owned(),
        "https://169.254.169.254/latest".to_owned(),
        "https://[::1]/client.json".to_owned(),
        "https://10.0.0.1/client.json".to_owned(),
        "http://metadata.internal/client.json".to_owned(),
        "https://user@app.example/client.json".to_owned(),
        "https://app.example".to_owned(),
    ] {
        let answer = comes(&estate, &url).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{url}");
    }
    assert_eq!(site.asked(), 0);
    assert!(stored(&estate).await.is_none());
}

async fn a_document_that_drifts_to_another_host_is_quarantined(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    assert!(is_good(&estate, &site.url()).await);
    site.says(&site.with("redirect_uris", json!(["https://evil.example/callback"])));
    estate.node.advance(Ttl::from_seconds(600)).await;
    let answer = comes(&estate, &site.url()).await;
    assert!(estate.reason(&answer).await.ends_with("is not active"));
    let client = stored(&estate).await.unwrap();
    assert_eq!(
        (&client["state"], &client["generation"]),
        (&json!("suspended"), &json!(1))
    );
    assert_eq!(estate.events("client.suspended").await.len(), 1);
    // It stays so until somebody has looked, even if the site repents.
    site.says(&site.document());
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert!(!is_good(&estate, &site.url()).await);
}

async fn a_document_that_only_renames_ends_nothing(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    assert!(is_good(&estate, &site.url()).await);
    site.says(&site.with("client_name", json!("App, new")));
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert!(is_good(&estate, &site.url()).await);
    let client = stored(&estate).await.unwrap();
    assert_eq!(
        (&client["generation"], &client["spec"]["display_name"]),
        (&json!(0), &json!("App, new"))
    );
}

async fn an_outage_is_bridged_for_a_while_and_a_withdrawal_is_not(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    assert!(is_good(&estate, &site.url()).await);
    site.change(|script| script.status = 503);
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert!(is_good(&estate, &site.url()).await);
    estate.node.advance(Ttl::from_days(1)).await;
    assert!(!is_good(&estate, &site.url()).await);
    site.says(&site.document());
    estate.node.advance(Ttl::from_seconds(31)).await;
    assert!(is_good(&estate, &site.url()).await);
    site.change(|script| script.status = 404);
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert!(!is_good(&estate, &site.url()).await);
}

async fn a_retired_url_never_comes_back(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    adopting(&estate).await;
    assert!(is_good(&estate, &site.url()).await);
    let name = stored(&estate).await.unwrap()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    estate
        .admin("POST", &format!("/clients/{name}/retire"), Value::Null)
        .await;
    let answer = comes(&estate, &site.url()).await;
    assert_eq!(estate.reason(&answer).await, "the client at this URL was retired");
    estate.node.advance(Ttl::from_days(2)).await;
    assert!(!is_good(&estate, &site.url()).await);
    let path = format!("/clients/{name}/adopt");
    let adopted = estate
        .try_admin("POST", &path, json!({ "agent": "planner" }))
        .await;
    assert_eq!(adopted.problem(), (422, "invalid".to_owned()));
}

async fn keyed(estate: &Estate, site: &Site, key: &SigningKey) {
    adopting(estate).await;
    let mut document = site.document();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["grant_types"] = json!(["client_credentials"]);
    document["jwks_uri"] = json!(format!("http://{}/keys", site.address.unwrap()));
    site.says(&document);
    site.change(|script| script.keys = jwks(key).to_string());
}

async fn asserted(estate: &Estate, client_id: &str, key: &SigningKey, jti: &str) -> Answer {
    use chancery_core::time::Clock as _;
    let now = estate.node.clock.now().as_seconds();
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": BASE, "jti": jti, "iat": now, "exp": now + 60,
    });
    let assertion = sign(key, None, &claims);
    estate
        .asserted(&assertion, &[("resource", NOTES), ("client_id", client_id)])
        .await
}

async fn a_key_at_the_documents_address_proves_the_client(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    let own = key("app-1");
    keyed(&estate, &site, &own).await;
    let answer = asserted(&estate, &site.url(), &own, "1").await;
    assert_eq!(answer.claims()["chancery"]["assurance"], "key");
    let replayed = asserted(&estate, &site.url(), &own, "1").await;
    assert_eq!(replayed.error(), (401, "invalid_client".to_owned()));
    let foreign = asserted(&estate, &site.url(), &key("app-1"), "2").await;
    assert_eq!(foreign.error(), (401, "invalid_client".to_owned()));
    assert!(
        !is_good(&estate, &site.url()).await,
        "without its key it is nobody"
    );
}

async fn an_assertion_of_one_document_is_none_of_another(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    let own = key("app-1");
    keyed(&estate, &site, &own).await;
    // The other URL serves the same bytes, which name the first.
    let other = site.url().replace("client.json", "other.json");
    let answer = asserted(&estate, &other, &own, "1").await;
    let reason = "the `client_id` of the metadata document is not its URL";
    assert_eq!(estate.reason(&answer).await, reason);
}

async fn clients_with_documents_can_be_refused(place: Place) {
    let (estate, site) = (estate(&place).await, Site::start().await);
    let rule = json!({ "name": "off", "outcome": "off", "ways": ["metadata_document"] });
    estate.admin("POST", "/registration_rules", rule).await;
    assert!(!is_good(&estate, &site.url()).await);
    assert_eq!(site.asked(), 0, "nobody is asked for what is not taken");
}
