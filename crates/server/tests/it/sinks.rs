//! Checkpoints leave the host: by file and by URL, until they are taken, and the node says when they are not.

use crate::estate::*;
use crate::harness::*;
use crate::outside;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chancery_audit::verify;
use chancery_core::time::{Clock as _, Ttl};
use serde_json::Value;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    every_checkpoint_is_posted_and_appended,
    a_checkpoint_that_was_refused_is_posted_again_and_the_node_says_since_when,
    a_newer_checkpoint_takes_the_place_of_one_that_waits,
    a_sink_that_hangs_holds_up_no_log,
);

/// A sink that keeps what it takes, and answers with a status that a test sets.
#[derive(Clone, Debug)]
struct Sink {
    status: Arc<AtomicU16>,
    taken: Arc<Mutex<Vec<(String, String)>>>,
    tries: Arc<AtomicU16>,
}

impl Sink {
    async fn start() -> (Self, String) {
        let sink = Self {
            status: Arc::new(AtomicU16::new(204)),
            taken: Arc::default(),
            tries: Arc::default(),
        };
        let this = sink.clone();
        let take = move |headers: HeaderMap, note: String| async move {
            this.tries.fetch_add(1, Ordering::SeqCst);
            let status = StatusCode::from_u16(this.status.load(Ordering::SeqCst)).unwrap();
            if status.is_success() {
                let kind = headers["content-type"].to_str().unwrap().to_owned();
                this.taken.lock().unwrap().push((kind, note));
            }
            status
        };
        let hang = || std::future::pending::<StatusCode>();
        let router = Router::new()
            .route("/notes", post(take))
            .route("/hang", post(hang));
        let address = outside::serve(router).await;
        (sink, format!("http://{address}"))
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn tries(&self) -> u16 {
        self.tries.load(Ordering::SeqCst)
    }

    /// The notes of the default tenant's log.
    fn notes(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let of_default = taken
            .iter()
            .filter(|(_, note)| note.starts_with("id.example/log/"));
        of_default.map(|(_, note)| note.clone()).collect()
    }
}

async fn estate(place: &Place, url: String) -> Estate {
    let node = outside::node(place, |config, world| {
        config.checkpoint_url = Some(url);
        world.outbound_timeout = Ttl::from_millis(300);
    })
    .await;
    Estate::on(node, "").await
}

async fn deliver(estate: &Estate) {
    estate.node.app.sinks.deliver(estate.node.clock.now()).await;
}

async fn behind(estate: &Estate) -> Value {
    estate.admin("GET", "/audit/log", Value::Null).await["behind_since"].clone()
}

async fn every_checkpoint_is_posted_and_appended(place: Place) {
    let (sink, url) = Sink::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoints.txt");
    let node = outside::node(&place, |config, _| {
        config.checkpoint_url = Some(format!("{url}/notes"));
        config.checkpoint_file = Some(file.clone());
    })
    .await;
    let estate = Estate::on(node, "").await;
    for _ in 0..2 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
        estate.node.integrate().await;
        deliver(&estate).await;
        deliver(&estate).await;
        let newest = estate.node.get("/log/checkpoint").await.text();
        assert_eq!(sink.notes().last(), Some(&newest));
    }
    assert_eq!(sink.notes().len(), 2, "each once");
    assert!(
        sink.taken
            .lock()
            .unwrap()
            .iter()
            .all(|(kind, _)| kind == "text/plain; charset=utf-8")
    );
    let appended = std::fs::read_to_string(&file).unwrap();
    assert!(sink.notes().iter().all(|note| appended.contains(note)));
    let log = estate.admin("GET", "/audit/log", Value::Null).await;
    assert_eq!(
        (&log["witnessed"], &log["behind_since"]),
        (&Value::Bool(true), &Value::Null)
    );
    let lines = estate.try_admin("GET", "/audit/export", Value::Null).await.text();
    let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
    let key = log["verifier_key"].as_str().unwrap().parse().unwrap();
    let report = verify(&lines, vec![key], &sink.notes()).unwrap();
    assert_eq!(report.kept_confirmed, 2);
}

async fn a_checkpoint_that_was_refused_is_posted_again_and_the_node_says_since_when(place: Place) {
    let (sink, url) = Sink::start().await;
    let estate = estate(&place, format!("{url}/notes")).await;
    sink.answers(503);
    let since = estate.node.clock.now();
    estate.node.integrate().await;
    deliver(&estate).await;
    assert_eq!(behind(&estate).await, since.to_string());
    // Not at once, and later less and less often.
    let tries = sink.tries();
    deliver(&estate).await;
    assert_eq!(sink.tries(), tries);
    estate.node.advance(Ttl::from_seconds(1)).await;
    deliver(&estate).await;
    assert!(sink.tries() > tries && sink.notes().is_empty());
    sink.answers(200);
    estate.node.advance(Ttl::from_seconds(2)).await;
    assert_eq!(behind(&estate).await, since.to_string());
    deliver(&estate).await;
    assert_eq!(sink.notes(), [estate.node.get("/log/checkpoint").await.text()]);
    assert_eq!(behind(&estate).await, Value::Null);
}

async fn a_newer_checkpoint_takes_the_place_of_one_that_waits(place: Place) {
    let (sink, url) = Sink::start().await;
    let estate = estate(&place, format!("{url}/notes")).await;
    sink.answers(500);
    estate.node.integrate().await;
    deliver(&estate).await;
    let since = behind(&estate).await;
    estate.node.advance(Ttl::from_seconds(1)).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;
    assert_eq!(
        behind(&estate).await,
        since,
        "behind since the first that was not taken"
    );
    sink.answers(200);
    deliver(&estate).await;
    assert_eq!(sink.notes(), [estate.node.get("/log/checkpoint").await.text()]);
}

async fn a_sink_that_hangs_holds_up_no_log(place: Place) {
    let (_sink, url) = Sink::start().await;
    let estate = estate(&place, format!("{url}/hang")).await;
    estate.node.integrate().await;
    let size = estate.admin("GET", "/audit/log", Value::Null).await["size"].clone();
    assert!(size.as_u64().unwrap() > 0, "folding in waits for no sink");
    deliver(&estate).await;
    assert_ne!(
        behind(&estate).await,
        Value::Null,
        "the injected limit ended the wait"
    );
}
