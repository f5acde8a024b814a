//! Many nodes on one database: what one did counts on all, and a node that cannot know does not answer.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};
use std::sync::Arc;

on_postgres!(
    nodes_that_start_at_once_make_everything_once,
    an_assertion_is_used_once_across_nodes,
    a_budget_is_spent_exactly_across_nodes,
    a_kill_on_one_node_stops_the_other_once_it_read_the_feed,
    a_token_is_never_issued_on_a_fact_that_changed_elsewhere,
    a_revoked_token_is_inactive_on_the_other_node,
    a_new_policy_decides_on_the_other_node_at_once,
    a_new_tenant_is_served_by_every_node,
    a_key_rotated_on_one_node_verifies_on_the_other,
    the_first_key_of_an_algorithm_may_be_made_by_two_nodes_at_once,
    one_integrator_at_a_time_gives_every_event_one_place,
);

/// The estate on one node, and a second node on the same database.
async fn pair(place: &Place) -> (Estate, Chancery) {
    let estate = Estate::start(place).await;
    let other = Chancery::start(place).await;
    (estate, other)
}

async fn own(node: &Chancery, estate: &Estate) -> Answer {
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    node.form_with("/token", &form, Some(&estate.basic("planner")))
        .await
}

async fn is_active(node: &Chancery, estate: &Estate, token: &str) -> bool {
    let form = [("token", token)];
    let answer = node
        .form_with("/introspect", &form, Some(&estate.basic("planner")))
        .await;
    answer.json()["active"].as_bool().unwrap()
}

async fn nodes_that_start_at_once_make_everything_once(place: Place) {
    let starts = (0..3).map(|_| {
        let place = place.clone();
        tokio::spawn(async move { Chancery::start(&place).await })
    });
    let mut ids = std::collections::BTreeSet::new();
    for node in starts.collect::<Vec<_>>() {
        let node = node.await.unwrap();
        ids.insert(node.app.tenants.find_by_name("default").unwrap().tenant.id);
        let tenants = chancery_server::store::all_tenants(&node.app.db).await.unwrap();
        assert_eq!(tenants.len(), 2, "{tenants:?}");
    }
    assert_eq!(ids.len(), 1);
}

async fn an_assertion_is_used_once_across_nodes(place: Place) {
    let (estate, other) = pair(&place).await;
    let assertion = estate.assertion("across", plain());
    let nodes = [estate.node.clone(), other];
    let tries = (0..16).map(|number| {
        let (node, assertion) = (nodes[number % 2].clone(), assertion.clone());
        tokio::spawn(async move {
            let form = [
                ("grant_type", "client_credentials"),
                ("resource", NOTES),
                ("client_assertion_type", ASSERTION),
                ("client_assertion", assertion.as_str()),
            ];
            node.form("/token", &form).await.status.as_u16()
        })
    });
    let mut given = 0;
    for status in tries.collect::<Vec<_>>() {
        let status = status.await.unwrap();
        assert!(status == 200 || status == 401, "{status}");
        given += u32::from(status == 200);
    }
    assert_eq!(given, 1);
}

async fn a_budget_is_spent_exactly_across_nodes(place: Place) {
    let (estate, other) = pair(&place).await;
    estate
        .change("grants", "planner-notes", json!({ "budget": 5 }))
        .await;
    other.follow().await;
    let estate = Arc::new(estate);
    let tries = (0..16).map(|number| {
        let (estate, other) = (estate.clone(), other.clone());
        tokio::spawn(async move {
            let node = if number % 2 == 0 { &estate.node } else { &other };
            own(node, &estate).await.status.as_u16()
        })
    });
    let mut given = 0;
    for status in tries.collect::<Vec<_>>() {
        given += u32::from(status.await.unwrap() == 200);
    }
    assert_eq!(given, 5);
}

async fn a_kill_on_one_node_stops_the_other_once_it_read_the_feed(place: Place) {
    let (estate, other) = pair(&place).await;
    let token = own(&other, &estate).await.token();
    assert!(is_active(&other, &estate, &token).await);
    estate.kill("agent", "planner").await;
    // Within the bound the other node may still say what it last read; past it, it says nothing.
    other.clock.advance(PAST_THE_BOUND);
    let form = [("token", token.as_str())];
    let answer = other
        .form_with("/introspect", &form, Some(&estate.basic("planner")))
        .await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        own(&other, &estate).await.error(),
        (503, "temporarily_unavailable".to_owned())
    );
    assert_eq!(other.get("/readyz").await.status, 503);
    other.follow().await;
    assert_eq!(other.get("/readyz").await.status, 200);
    assert_eq!(
        own(&other, &estate).await.error(),
        (401, "invalid_client".to_owned())
    );
    estate
        .admin("POST", "/agents/planner/activate", Value::Null)
        .await;
    other.follow().await;
    assert!(!is_active(&other, &estate, &token).await);
}

async fn a_token_is_never_issued_on_a_fact_that_changed_elsewhere(place: Place) {
    let (estate, other) = pair(&place).await;
    let write = [
        ("grant_type", "client_credentials"),
        ("resource", NOTES),
        ("scope", "write"),
    ];
    let ask =
        |node: Chancery, header: String| async move { node.form_with("/token", &write, Some(&header)).await };
    let header = estate.basic("planner");
    assert_eq!(ask(other.clone(), header.clone()).await.scope(), "write");
    let changes = [
        ("grants", "planner-notes", json!({ "scopes": ["read"] })),
        ("agents", "planner", json!({ "ceiling": { "notes": ["read"] } })),
    ];
    for (collection, name, change) in changes {
        let before = estate.show(collection, name).await["spec"].clone();
        estate.change(collection, name, change).await;
        // The other node did not read the feed: what it relied on is asserted again when it commits.
        assert_eq!(
            ask(other.clone(), header.clone()).await.status,
            400,
            "{collection}"
        );
        estate
            .admin("PUT", &format!("/{collection}/{name}"), before)
            .await;
        assert_eq!(
            ask(other.clone(), header.clone()).await.status,
            400,
            "a stale refusal is safe"
        );
        other.follow().await;
        assert_eq!(ask(other.clone(), header.clone()).await.scope(), "write");
    }
    estate.kill("client", "planner").await;
    assert_ne!(ask(other.clone(), header.clone()).await.status, 200);
}

async fn a_revoked_token_is_inactive_on_the_other_node(place: Place) {
    let (estate, other) = pair(&place).await;
    let token = own(&other, &estate).await.token();
    estate.post("/revoke", "planner", &[("token", &token)]).await;
    other.follow().await;
    assert!(!is_active(&other, &estate, &token).await);
    let third = Chancery::start(&place).await;
    assert!(
        !is_active(&third, &estate, &token).await,
        "a node that starts later knows it too"
    );
}

async fn a_new_policy_decides_on_the_other_node_at_once(place: Place) {
    let (estate, other) = pair(&place).await;
    assert_eq!(own(&other, &estate).await.status, 200);
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let strict = format!(
        "{text}\n@id(\"stop\") forbid (principal is Agent, action == Action::\"issue_token\", resource);"
    );
    estate.admin("PUT", "/policy", json!({ "text": strict })).await;
    assert_eq!(
        own(&other, &estate).await.error(),
        (400, "access_denied".to_owned())
    );
}

async fn a_new_tenant_is_served_by_every_node(place: Place) {
    let (estate, other) = pair(&place).await;
    assert_eq!(other.get("/t/acme/jwks").await.status, 421);
    estate.node.add_tenant("acme").await;
    other.follow().await;
    assert_eq!(other.get("/t/acme/jwks").await.status, 200);
}

async fn a_key_rotated_on_one_node_verifies_on_the_other(place: Place) {
    let (estate, other) = pair(&place).await;
    estate
        .admin("POST", "/keys/rotate", json!({ "algorithm": "ES256" }))
        .await;
    other.follow().await;
    assert_eq!(estate.node.get("/jwks").await.body, other.get("/jwks").await.body);
    let ahead = Ttl::from_minutes(10);
    estate.node.advance(ahead).await;
    other.advance(ahead).await;
    tokio::join!(estate.node.expire(), other.expire());
    estate.node.follow().await;
    other.follow().await;
    let states = estate.admin("GET", "/keys", Value::Null).await.to_string();
    let token = own(&estate.node, &estate).await.token();
    assert!(is_active(&other, &estate, &token).await, "{states}");
    let token = own(&other, &estate).await.token();
    assert!(is_active(&estate.node, &estate, &token).await);
}

async fn the_first_key_of_an_algorithm_may_be_made_by_two_nodes_at_once(place: Place) {
    let (estate, other) = pair(&place).await;
    estate
        .change("resources", "notes", json!({ "algorithm": "RS256" }))
        .await;
    other.follow().await;
    let (here, there) = tokio::join!(own(&estate.node, &estate), own(&other, &estate));
    let first = [here.token(), there.token()];
    estate.node.follow().await;
    other.follow().await;
    assert_eq!(estate.node.get("/jwks").await.body, other.get("/jwks").await.body);
    for token in &first {
        assert!(is_active(&estate.node, &estate, token).await);
        assert!(is_active(&other, &estate, token).await);
    }
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    let later = [
        own(&estate.node, &estate).await.token(),
        own(&other, &estate).await.token(),
    ];
    assert_eq!(
        header(&later[0]),
        header(&later[1]),
        "both sign with one key from then on"
    );
    // A rotation retires whatever there is, and both go on with the new key.
    estate
        .admin("POST", "/keys/rotate", json!({ "algorithm": "RS256" }))
        .await;
    let ahead = Ttl::from_minutes(10);
    estate.node.advance(ahead).await;
    other.advance(ahead).await;
    estate.node.expire().await;
    other.follow().await;
    let last = [
        own(&estate.node, &estate).await.token(),
        own(&other, &estate).await.token(),
    ];
    assert_eq!(header(&last[0]), header(&last[1]));
    assert_ne!(header(&last[0]), header(&later[0]));
}

async fn one_integrator_at_a_time_gives_every_event_one_place(place: Place) {
    let (estate, other) = pair(&place).await;
    for _ in 0..5 {
        own(&estate.node, &estate).await.token();
        own(&other, &estate).await.token();
        tokio::join!(estate.node.integrate(), other.integrate());
    }
    // A node that stops gives its lease up, and the other goes on at once.
    let give_up = chancery_server::jobs::integrator::give_up;
    give_up(&other.app).await.unwrap();
    estate.node.integrate().await;
    other.follow().await;
    let waiting = own(&other, &estate).await.token();
    let position = async || {
        let id = claims(&waiting)["jti"].as_str().unwrap().replace("tok_", "evt_");
        let event = estate
            .admin("GET", &format!("/audit/events/{id}"), Value::Null)
            .await;
        event["position"].as_u64()
    };
    other.integrate().await;
    assert_eq!(position().await, None, "the first node holds the lease");
    give_up(&estate.node.app).await.unwrap();
    other.integrate().await;
    assert!(position().await.is_some());
    give_up(&other.app).await.unwrap();
    estate.node.integrate().await;
    // The lease runs out, and the other node takes over where the first left off.
    let past = Ttl::from_seconds(11);
    other.advance(past).await;
    own(&other, &estate).await.token();
    other.integrate().await;
    estate.node.advance(past).await;
    estate.node.integrate().await;
    let mut positions = Vec::new();
    for event in estate.events("").await {
        positions.push(event["position"].as_u64().expect("every event has a place"));
    }
    positions.sort_unstable();
    let expected: Vec<u64> = (0..u64::try_from(positions.len()).unwrap()).collect();
    assert_eq!(positions, expected);
}
