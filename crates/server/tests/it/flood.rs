//! Whoever cannot prove anything cannot fill the log either: failures are recorded up to a bound for each source,
//! then counted; the answer is the same.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use chancery_server::listener::{PeerAddress, TrustedProxies};
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    failures_past_the_bound_are_counted_and_answered_the_same,
    another_source_tenant_or_minute_is_recorded_again,
    successes_and_denials_by_policy_are_never_left_out,
    behind_a_proxy_the_client_is_the_source_and_cannot_choose_another,
    what_was_counted_is_told_when_the_database_is_back,
);

const FAILED: &str = "authentication.failed";
const OMITTED: &str = "authentication.failures_omitted";

async fn ask(estate: &Estate, peer: &str, (client, secret): (&str, &str), forwarded: Option<&str>) -> Answer {
    let address = format!("{peer}:4711").parse().unwrap();
    let mut request = Request::post(estate.path("/token"))
        .header("host", "id.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic(client, secret))
        .extension(PeerAddress::new(address));
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    let form = format!("grant_type=client_credentials&resource={NOTES}");
    estate.node.send(request.body(Body::from(form)).unwrap()).await
}

async fn fail(estate: &Estate, peer: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(ask(estate, peer, ("nobody", "wrong"), None).await.status, 401);
    }
}

async fn count(estate: &Estate, kind: &str) -> usize {
    estate.events(kind).await.len()
}

async fn failures_past_the_bound_are_counted_and_answered_the_same(place: Place) {
    let estate = Estate::start(&place).await;
    let first = ask(&estate, "192.0.2.1", ("nobody", "wrong"), None).await;
    fail(&estate, "192.0.2.1", 98).await;
    let last = ask(&estate, "192.0.2.1", ("nobody", "wrong"), None).await;
    let shape = |answer: &Answer| {
        let mut body = answer.json();
        let reference = body["reference"].take();
        assert!(reference.as_str().unwrap().starts_with("ref_"));
        (answer.status, answer.headers.clone(), body)
    };
    assert_eq!(shape(&first), shape(&last));
    assert_eq!(
        (count(&estate, FAILED).await, count(&estate, OMITTED).await),
        (30, 0)
    );

    estate.node.expire().await;
    estate.node.expire().await;
    let events = estate.events(OMITTED).await;
    assert_eq!(events.len(), 1, "told once");
    let told = &events[0]["parts"]["omitted"];
    assert_eq!(
        (&told["count"], &told["source"]),
        (&json!(70), &json!("192.0.2.1"))
    );
    let sentence = events[0]["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("70 more failed authentications from 192.0.2.1"),
        "{sentence}"
    );
    let reference = last.json()["reference"].as_str().unwrap().to_owned();
    let why = estate
        .try_admin("GET", &format!("/why/{reference}"), Value::Null)
        .await;
    assert!(why.text().contains(OMITTED), "{}", why.text());
}

async fn another_source_tenant_or_minute_is_recorded_again(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    fail(&first, "192.0.2.1", 40).await;
    fail(&first, "192.0.2.2", 1).await;
    fail(&second, "192.0.2.1", 1).await;
    assert_eq!(
        (count(&first, FAILED).await, count(&second, FAILED).await),
        (31, 1)
    );
    // One /64 is one party, whatever address of it is used.
    for number in 0..40 {
        fail(&first, &format!("[2001:db8::{number:x}]"), 1).await;
    }
    assert_eq!(count(&first, FAILED).await, 61);
    first.node.expire().await;
    assert_eq!(count(&first, OMITTED).await, 2);
    first.node.advance(Ttl::from_minutes(1)).await;
    fail(&first, "192.0.2.1", 40).await;
    first.node.expire().await;
    assert_eq!(
        (count(&first, FAILED).await, count(&first, OMITTED).await),
        (91, 3)
    );
}

async fn successes_and_denials_by_policy_are_never_left_out(place: Place) {
    let estate = Estate::start(&place).await;
    fail(&estate, "192.0.2.1", 40).await;
    let (id, secret) = (estate.client_id("planner"), estate.secret("planner"));
    for _ in 0..3 {
        assert_eq!(ask(&estate, "192.0.2.1", (id, secret), None).await.status, 200);
    }
    estate
        .change("grants", "planner-notes", json!({ "budget": 0 }))
        .await;
    for _ in 0..3 {
        let answer = ask(&estate, "192.0.2.1", (id, secret), None).await;
        assert_eq!(answer.error().1, "access_denied");
    }
    assert_eq!(count(&estate, "token.issued").await, 6);
}

async fn behind_a_proxy_the_client_is_the_source_and_cannot_choose_another(place: Place) {
    let node = Chancery::start_with(&place, |config, _| {
        config.proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    })
    .await;
    let estate = Estate::on(node, "").await;
    for number in 0..40 {
        // What the client itself wrote stands left of what the proxy added.
        let forwarded = format!("203.0.113.{number}, 198.51.100.7");
        ask(&estate, "10.0.0.1", ("nobody", "wrong"), Some(&forwarded)).await;
        // Who comes directly is believed nothing.
        ask(
            &estate,
            "192.0.2.1",
            ("nobody", "wrong"),
            Some(&format!("203.0.113.{number}")),
        )
        .await;
    }
    assert_eq!(count(&estate, FAILED).await, 60);
    estate.node.expire().await;
    let events = estate.events(OMITTED).await;
    let mut sources: Vec<_> = events
        .iter()
        .map(|event| event["parts"]["omitted"]["source"].to_string())
        .collect();
    sources.sort();
    assert_eq!(sources, ["\"192.0.2.1\"", "\"198.51.100.7\""]);
}

async fn what_was_counted_is_told_when_the_database_is_back(place: Place) {
    use chancery_server::store::db::{FaultAction, Options, Point};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut estate = Estate::start(&place).await;
    estate.node.app.db.close().await;
    let (broken, mut options) = (Arc::new(AtomicBool::new(false)), Options::default());
    let is_broken = broken.clone();
    options.fault = Some(Arc::new(move |point: Point| {
        let strikes = point == Point::Statement("event") && is_broken.load(Ordering::SeqCst);
        if strikes {
            FaultAction::Fail
        } else {
            FaultAction::Continue
        }
    }));
    estate.node = Chancery::try_start(&place, START, options).await.unwrap();
    fail(&estate, "192.0.2.1", 31).await;
    broken.store(true, Ordering::SeqCst);
    assert!(
        chancery_server::jobs::expiry::run(&estate.node.app)
            .await
            .is_err()
    );
    broken.store(false, Ordering::SeqCst);
    estate.node.expire().await;
    let events = estate.events(OMITTED).await;
    assert_eq!(
        (events.len(), &events[0]["parts"]["omitted"]["count"]),
        (1, &json!(1))
    );
}
