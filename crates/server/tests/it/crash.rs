//! A node that is killed under load: every token that a client received, and every request that a provider received,
//! has its record.
//!
//! The victim is this very test program, started again.

use crate::broker::Provider;
use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use http::Request;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

on_both_engines!(
    a_killed_node_has_recorded_every_token_that_left_it,
    a_killed_node_has_decided_on_every_request_that_left_it,
);

async fn a_killed_node_has_recorded_every_token_that_left_it(place: Place) {
    let mut estate = Estate::start(&place).await;
    let header = estate.basic("planner");
    estate.node.app.db.close().await;

    let received = tokio::task::block_in_place(|| run_and_kill(&place, &header));

    assert!(received.len() >= ENOUGH);
    estate.node = Chancery::start_at(&place, START.plus(Ttl::from_minutes(1))).await;
    for jti in &received {
        let event = jti.replace("tok_", "evt_");
        let event = estate
            .admin("GET", &format!("/audit/events/{event}"), Value::Null)
            .await;
        assert_eq!(event["outcome"], "ok");
    }
    estate.node.integrate().await;
    let key = estate.admin("GET", "/audit/log", Value::Null).await["verifier_key"].clone();
    let export = estate.try_admin("GET", "/audit/export", Value::Null).await.text();
    let report = chancery_audit::verify(export.lines(), vec![key.as_str().unwrap().parse().unwrap()], &[]);
    assert!(report.unwrap().entries >= u64::try_from(received.len()).unwrap());
}

async fn a_killed_node_has_decided_on_every_request_that_left_it(place: Place) {
    let mut provider = Provider::open(&place).await;
    provider.estate.node.app.db.close().await;
    provider.upstream.script(|seen| async move {
        // Some are killed before they are answered, and some before their end is recorded.
        if seen.path.contains("-7") {
            std::future::pending::<()>().await;
        }
        None
    });

    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["crash::calling_victim", "--exact", "--ignored", "--nocapture"])
        .env("CRASH_URL", &place.text)
        .env("CRASH_HEADER", format!("Bearer {}", provider.token))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    provider.upstream.wait_for(ENOUGH).await;
    victim.kill().unwrap();
    assert!(!tokio::task::block_in_place(|| victim.wait()).unwrap().success());

    provider.estate.node = Chancery::start_at(&place, START.plus(Ttl::from_minutes(1))).await;
    let mut decided = HashMap::new();
    let mut query = "?limit=500".to_owned();
    loop {
        let page = provider
            .estate
            .admin("GET", &format!("/calls{query}"), Value::Null)
            .await;
        for call in page["items"].as_array().unwrap() {
            decided.insert(call["target"].as_str().unwrap().to_owned(), call.clone());
        }
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=500&cursor={next}");
    }
    let seen = provider.upstream.take();
    assert!(seen.len() >= ENOUGH);
    for seen in &seen {
        let path = seen.path.split('?').next().unwrap().trim_start_matches("/v1");
        let call = &decided[&format!("GET {path}")];
        assert_eq!(call["outcome"], "permitted", "{path}");
    }
    let is_open = |call: &Value| call["outcome"] == "permitted" && call["end"].is_null();
    assert!(
        decided.values().any(is_open),
        "an end that is not known is not made up"
    );
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the victim of the test above"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent process says what to do by the environment"
)]
async fn calling_victim() {
    let place = Place::at(std::env::var("CRASH_URL").unwrap());
    let header = std::env::var("CRASH_HEADER").unwrap();
    let node = Chancery::start_with(&place, |config, _| {
        config.allowed_hosts = crate::outside::loopback();
        config.call_limits = "off".parse().unwrap();
    })
    .await;
    let callers = (0..8).map(|caller| {
        let (node, header) = (node.clone(), header.clone());
        tokio::spawn(async move {
            for number in 0..100_000 {
                let request = Request::get(format!("/broker/files/files/{caller}-{number}"))
                    .header("host", "id.example")
                    .header("authorization", &header);
                let request = request.body(Body::empty()).unwrap();
                if format!("-{number}").contains("-7") {
                    // It is never answered: it stays open, and the next begins.
                    let node = node.clone();
                    tokio::spawn(async move { drop(node.try_send(request).await) });
                } else {
                    node.try_send(request).await.unwrap();
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Starts the victim, kills it once it gave out enough tokens, and returns all that it gave out.
fn run_and_kill(place: &Place, header: &str) -> Vec<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["crash::victim", "--exact", "--ignored", "--nocapture"])
        .env("CRASH_URL", &place.text)
        .env("CRASH_HEADER", header)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut received = Vec::new();
    for line in BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        received.extend(line.strip_prefix("received ").map(str::to_owned));
        if received.len() == ENOUGH {
            victim.kill().unwrap();
        }
    }
    assert!(!victim.wait().unwrap().success());
    received
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the victim of the test above"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent process says what to do by the environment"
)]
async fn victim() {
    let place = Place::at(std::env::var("CRASH_URL").unwrap());
    let header = std::env::var("CRASH_HEADER").unwrap();
    let node = Chancery::start_at(&place, START.plus(Ttl::from_seconds(30))).await;
    println!();
    let clients = (0..8).map(|_| {
        let (node, header) = (node.clone(), header.clone());
        tokio::spawn(async move {
            for _ in 0..100_000 {
                let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
                let answer = node.form_with("/token", &form, Some(&header)).await;
                println!("received {}", answer.claims()["jti"].as_str().unwrap());
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

const ENOUGH: usize = 200;
