//! The switch: what it stops, what it admits that it cannot, and that nothing comes back to life.

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    each_noun_that_can_be_killed_ends_what_hangs_on_it,
    resuming_revives_nothing,
    a_rehearsal_changes_nothing,
    a_killed_thing_can_be_killed_again,
    what_cannot_be_killed_says_so,
    a_report_names_what_stops_and_what_remains,
    a_kill_is_recorded_with_who_did_it,
);

const TARGETS: [(&str, &str, &str); 6] = [
    ("agent", "agents", "helper"),
    ("client", "clients", "helper"),
    ("user", "users", "alice"),
    ("issuer", "trusted_issuers", "corp"),
    ("grant", "grants", "alice-notes"),
    ("blueprint", "blueprints", "workers"),
];

/// A token of helper, handed over by planner for Alice: it hangs on every target.
async fn token(estate: &Estate) -> Answer {
    let alice = estate.user("alice", &["staff"]);
    let target = [("audience", "agent:helper"), ("scope", "notes:read")];
    let handed = estate.exchange_as("planner", (&alice, JWT), &target).await;
    if handed.status != 200 {
        return handed;
    }
    estate
        .exchange("helper", &handed.token(), &[("resource", NOTES)])
        .await
}

async fn each_noun_that_can_be_killed_ends_what_hangs_on_it(place: Place) {
    let estate = Estate::start(&place).await;
    for (noun, collection, name) in TARGETS {
        let issued = token(&estate).await.token();
        let lineage = claims(&issued)["chancery"]["lineage"].to_string();
        let id = estate.show(collection, name).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(lineage.contains(&id), "{noun}: {lineage}");
        let report = estate.kill(noun, name).await;
        assert_eq!(
            (&report["state"], &report["dry_run"]),
            (&json!("suspended"), &json!(false))
        );
        assert_ne!(token(&estate).await.status, 200, "{noun}");
        estate
            .admin("POST", &format!("/{collection}/{name}/activate"), Value::Null)
            .await;
        assert!(!estate.is_active("helper", &issued).await, "{noun}");
        assert_eq!(token(&estate).await.scope(), "read", "{noun}");
    }
}

async fn resuming_revives_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let issued = token(&estate).await.token();
    for _ in 0..3 {
        estate.kill("agent", "planner").await;
        estate
            .admin("POST", "/agents/planner/activate", Value::Null)
            .await;
        assert!(!estate.is_active("helper", &issued).await);
    }
    let generation = estate.show("agents", "planner").await["generation"].as_u64();
    assert_eq!(generation, Some(3), "a generation only rises");
}

async fn a_rehearsal_changes_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let issued = token(&estate).await.token();
    let events = estate.events("").await.len();
    for (noun, collection, name) in TARGETS {
        let before = estate.show(collection, name).await;
        let path = format!("/kill/{noun}/{name}?dry_run=true");
        let report = estate.admin("POST", &path, Value::Null).await;
        assert_eq!(
            (&report["dry_run"], &report["state"]),
            (&json!(true), &json!("suspended"))
        );
        assert_eq!(estate.show(collection, name).await, before);
    }
    assert!(estate.is_active("helper", &issued).await);
    assert_eq!(estate.events("").await.len(), events);
}

async fn a_killed_thing_can_be_killed_again(place: Place) {
    let estate = Estate::start(&place).await;
    let first = estate.kill("agent", "planner").await["generation"]
        .as_u64()
        .unwrap();
    let second = estate.kill("agent", "planner").await["generation"]
        .as_u64()
        .unwrap();
    assert_eq!((first, second), (1, 2));
}

async fn what_cannot_be_killed_says_so(place: Place) {
    let estate = Estate::start(&place).await;
    for noun in [
        "tenant",
        "resource",
        "runtime_binding",
        "policy_set",
        "delegation",
        "nonsense",
    ] {
        let answer = estate
            .try_admin("POST", &format!("/kill/{noun}/x"), Value::Null)
            .await;
        assert_eq!(answer.problem().0, 422, "{noun}");
    }
    let answer = estate.try_admin("POST", "/kill/agent/nobody", Value::Null).await;
    assert_eq!(answer.problem(), (404, "not_found".to_owned()));
}

async fn a_report_names_what_stops_and_what_remains(place: Place) {
    let estate = Estate::start(&place).await;
    token(&estate).await.token();
    let report = estate.kill("agent", "planner").await;
    let stops = report["stops"].to_string();
    assert!(
        stops.contains("3 client(s)") && stops.contains("1 delegation(s)"),
        "{stops}"
    );
    let remains = report["remains"].to_string();
    assert!(
        remains.contains("300 seconds at most") && remains.contains("2026-01-15T12:05:00"),
        "{remains}"
    );
    assert_eq!(report["reaches_every_node_within_seconds"], 2);
}

async fn a_kill_is_recorded_with_who_did_it(place: Place) {
    let estate = Estate::start(&place).await;
    estate.kill("agent", "planner").await;
    let events = estate.events("agent.killed").await;
    assert_eq!(events[0]["parts"]["state"]["state"], "suspended");
    assert!(events[0]["ids"].to_string().contains("local:1000"));
    assert_eq!(events[0]["sentence"], "local:1000 killed agent planner");
}
