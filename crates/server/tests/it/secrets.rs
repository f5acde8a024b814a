//! Every secret that a whole scenario uses is looked for in everything that Chancery writes and says: lines of the log,
//! answers, audit events, the export, metrics, and every page or row of the database. None is found; and a planted one
//! is.

use crate::connect::Drive;
use crate::estate::*;
use crate::gateway::Bank;
use crate::harness::*;
use crate::oauth_provider::CLIENT_SECRET;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chancery_core::time::Ttl;
use chancery_server::keys::RootKey;
use http::Request;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

on_both_engines!(
    no_secret_of_a_whole_scenario_is_written_or_said,
    what_a_provider_gave_and_what_was_handed_out_is_not_written,
);

/// Every line that this program logs from the first look on, at a level that no operator would dare.
static LOG: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = "debug,chancery_server=trace,chancery_store=trace,h2=info,hyper=debug";
    let started = tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(move || writer.clone())
        .try_init();
    assert!(started.is_ok(), "somebody else logs");
    lines
});

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hexadecimal(text: &str) -> String {
    use std::fmt::Write as _;
    let mut written = String::new();
    for byte in text.bytes() {
        write!(written, "{byte:02x}").unwrap();
    }
    written
}

/// The key itself, of a root key's file.
fn key_of(root: &RootKey) -> String {
    let text = root.to_file_text();
    text.expose_secret().trim().rsplit(':').next().unwrap().to_owned()
}

/// What was used, by what it is.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// What of it stands in these bytes, in any usual form.
    fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        let finds = |needle: &[u8]| memchr::memmem::find(bytes, needle).is_some();
        let is_found = |secret: &str| {
            let hexadecimal = hexadecimal(secret);
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            [
                secret.to_owned(),
                hexadecimal,
                encoded,
                STANDARD.encode(secret),
                URL_SAFE_NO_PAD.encode(secret),
            ]
            .iter()
            .any(|form| finds(form.trim_end_matches('=').as_bytes()))
        };
        let found = self.0.iter().filter(|(_, secret)| is_found(secret));
        found.map(|(what, _)| *what).collect()
    }
}

async fn no_secret_of_a_whole_scenario_is_written_or_said(place: Place) {
    LazyLock::force(&LOG);
    let mut bank = Bank::open(&place).await;
    let (secrets, said) = scenario(&mut bank).await;
    let everywhere = everything(&place, &bank, said).await;
    for (place, bytes) in &everywhere {
        assert!(!bytes.is_empty(), "{place}");
        assert_eq!(secrets.found_in(bytes), Vec::<&str>::new(), "in {place}");
    }

    // The search must be able to find: one secret is planted wherever somebody could put it by mistake.
    // One of this run's own: the other engine's run shares the log.
    let planted = secrets.0[1].1.clone();
    tracing::warn!(planted, "a mistake");
    let mistake = json!({ "name": "mistake", "owner": "ops", "description": format!("it is {planted}") });
    let said = bank.estate.try_admin("POST", "/agents", mistake).await;
    bank.estate.node.integrate().await;
    let everywhere = everything(&place, &bank, said.body).await;
    for (place, bytes) in &everywhere {
        let found = secrets.found_in(bytes);
        assert_eq!(
            found.contains(&secrets.0[1].0),
            *place != "metrics",
            "in {place}: {found:?}"
        );
    }
}

/// Uses every kind of secret, rightly and wrongly. Gives them, and what was answered.
async fn scenario(bank: &mut Bank) -> (Secrets, Vec<u8>) {
    let root = key_of(&RootKey::from_bytes(&[7; 32]).unwrap());
    let next = RootKey::from_bytes(&[9; 32]).unwrap();
    let new_root = next.to_file_text();
    let estate = &bank.estate;
    let alice = estate.user("alice", &["staff"]);
    let assertion = estate.assertion("jti-of-the-scenario", plain());
    let issued = estate.planner_for_alice("read").await.token();
    let handed = estate.handed_over("notes:read").await;
    let mut secrets = vec![
        ("the provider's key", crate::gateway::KEY.to_owned()),
        ("a client's secret", estate.secret("planner").to_owned()),
        ("another client's secret", estate.secret("helper").to_owned()),
        ("a person's token", alice.clone()),
        ("an assertion", assertion.clone()),
        ("an access token", issued.clone()),
        ("an agent token", handed.clone()),
        ("the gateway's token", bank.token.clone()),
        ("the root key", root),
        ("a root key to come", key_of(&next)),
        ("the enrolment code", estate.node.code.clone().unwrap()),
    ];
    let mut said = Vec::new();
    let mut hear = |answer: Answer| said.extend_from_slice(&answer.body);

    // Rightly.
    hear(bank.tool("list_accounts", json!({})).await);
    hear(bank.tool("leak", json!({})).await);
    hear(
        bank.tool(
            "pay",
            json!({ "amount": 5, "to": "x", "pin": "MARKER-pin-0123456789" }),
        )
        .await,
    );
    secrets.push(("a hidden argument", "MARKER-pin-0123456789".to_owned()));
    hear(estate.post("/introspect", "planner", &[("token", &issued)]).await);
    hear(estate.post("/revoke", "planner", &[("token", &handed)]).await);
    let enrol = json!({ "code": secrets[10].1, "name": "root-of-ops" });
    hear(estate.try_admin("POST", "/enrol", enrol).await);
    let key = json!({ "root_key": new_root.expose_secret() });
    hear(
        estate
            .node
            .local("POST", "/t/system/api/v1/vault/rotate", key)
            .await,
    );
    hear(estate.try_admin("POST", "/vault/rotate", json!({})).await);
    estate.node.expire().await;

    estate.node.integrate().await;
    let secrets = Secrets(secrets);
    said.extend(misuse(bank, &secrets.0, (&alice, &issued, &assertion)).await);
    (secrets, said)
}

/// Sends secrets where others belong, or twice. Gives what was answered.
async fn misuse(
    bank: &Bank,
    secrets: &[(&'static str, String)],
    (alice, issued, assertion): (&str, &str, &str),
) -> Vec<u8> {
    let estate = &bank.estate;
    let mut said = Vec::new();
    let mut hear = |answer: Answer| said.extend_from_slice(&answer.body);
    let enrol = json!({ "code": secrets[10].1, "name": "another" });
    hear(estate.try_admin("POST", "/enrol", enrol).await);
    hear(
        estate
            .exchange("planner", &secrets[1].1, &[("resource", NOTES)])
            .await,
    );
    hear(
        estate
            .exchange_as("planner", (alice, ACCESS_TOKEN), &[("resource", alice)])
            .await,
    );
    hear(estate.own("planner", &[("scope", &secrets[1].1)]).await);
    let header = basic(&secrets[1].1, &secrets[2].1);
    hear(
        estate
            .node
            .form_with("/token", &[("grant_type", "client_credentials")], Some(&header))
            .await,
    );
    for _ in 0..2 {
        let answer = estate.asserted(assertion, &[("scope", "nothing")]).await;
        hear(answer);
    }
    hear(bank.send_as(issued, "{", &[]).await);
    hear(estate.node.get(&format!("/mcp/bank?access_token={issued}")).await);
    hear(estate.node.get(&format!("/nowhere/{issued}")).await);
    hear(
        estate
            .node
            .local(
                "POST",
                "/t/system/api/v1/vault/rotate",
                json!({ "root_key": secrets[9].1 }),
            )
            .await,
    );
    let account =
        json!({ "connection": "bank", "owner": "tenant", "values": { "wrong": crate::gateway::KEY } });
    hear(estate.try_admin("POST", "/connected_accounts", account).await);
    estate.node.integrate().await;
    said
}

async fn everything(place: &Place, bank: &Bank, said: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let estate = &bank.estate;
    let app = &estate.node.app;
    let metrics = app.metrics.text(app).await.unwrap();
    let events = estate.admin("GET", "/audit/events?limit=500", Value::Null).await;
    let log = LOG.0.lock().unwrap().clone();
    vec![
        ("the database", stored(place).await),
        ("the log", log),
        ("answers", said),
        ("events", events.to_string().into_bytes()),
        (
            "the export",
            estate.try_admin("GET", "/audit/export", Value::Null).await.body,
        ),
        ("metrics", metrics.into_bytes()),
    ]
}

/// Every page of the file and its write-ahead log, or every column of every row of every table.
pub(crate) async fn stored(place: &Place) -> Vec<u8> {
    if place.is_postgres() {
        return place.dump().await;
    }
    let url = place.url();
    let path = url.sqlite_path().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    bytes.extend(std::fs::read(log).unwrap_or_default());
    bytes
}

/// Tokens of a provider, what proves us there, and a credential that leaves: it stands in the one answer that it leaves in.
async fn what_a_provider_gave_and_what_was_handed_out_is_not_written(place: Place) {
    LazyLock::force(&LOG);
    let drive = Drive::of(&place, |provider| {
        let mut connection = provider.connection("drive", &json!({}));
        connection["handling"] = json!("release");
        connection
    })
    .await;
    let mut alice = drive.signed_in("alice").await;
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200);
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let person = drive.idp.token(&drive.estate.node, "alice");
    let token = drive
        .estate
        .exchange_as("planner", (&person, JWT), &[])
        .await
        .token();
    let request = Request::post("/vault/drive")
        .header("host", "id.example")
        .header("authorization", format!("Bearer {token}"));
    let handed = drive.estate.node.send(request.body(Body::empty()).unwrap()).await;
    let access = handed.json()["parts"][0]["value"].as_str().unwrap().to_owned();
    let target = [("audience", "connection:drive")];
    let exchanged = drive.estate.exchange("planner", &token, &target).await;
    assert_eq!(exchanged.token(), access);
    drive.estate.node.integrate().await;

    let secrets = Secrets(vec![
        ("a provider's token", access),
        ("any provider's token", "MARKER-access".to_owned()),
        ("a provider's refresh token", "MARKER-refresh".to_owned()),
        ("what proves us at the provider", CLIENT_SECRET.to_owned()),
        ("a provider's code", "MARKER-code".to_owned()),
        ("what opened the vault", token),
    ]);
    let events = drive
        .estate
        .admin("GET", "/audit/events?limit=500", Value::Null)
        .await;
    let export = drive.estate.try_admin("GET", "/audit/export", Value::Null).await;
    for (what, bytes) in [
        ("the database", stored(&place).await),
        ("the log", LOG.0.lock().unwrap().clone()),
        ("events", events.to_string().into_bytes()),
        ("the export", export.body),
    ] {
        assert!(!bytes.is_empty(), "{what}");
        assert_eq!(secrets.found_in(&bytes), Vec::<&str>::new(), "in {what}");
    }
    // The search can find.
    assert_eq!(secrets.found_in(&handed.body).len(), 2);
}
