//! Rotating the vault: everything opens before, meanwhile and after, wherever it is interrupted, and the key before
//! opens nothing any more.

use crate::estate::*;
use crate::gateway::Bank;
use crate::harness::*;
use chancery_core::id::TenantId;
use chancery_core::time::Ttl;
use chancery_server::keys::RootKey;
use chancery_server::store::db::{FaultAction, Options, Point};
use chancery_server::store::vault;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

on_both_engines!(
    a_rotated_key_opens_everything_and_the_one_before_nothing,
    a_rotation_may_be_interrupted_between_any_two_steps,
    a_rotation_that_was_begun_is_finished_by_the_job,
    the_root_key_is_replaced_and_the_old_one_refused,
    the_root_key_may_be_replaced_in_spite_of_interruptions,
    only_who_may_rotates,
    a_change_of_keys_compiles_no_policy_anew,
);

mod two_nodes {
    crate::harness::on_postgres!(other_nodes_seal_open_and_record_while_a_key_is_rotated);
    use super::other_nodes_seal_open_and_record_while_a_key_is_rotated;
}

async fn step(node: &Chancery, body: Value) -> Value {
    node.admin("POST", "/api/v1/vault/rotate", body).await
}

/// Rotates the default tenant's key; gives its new id.
async fn rotate(node: &Chancery) -> String {
    let mut progress = step(node, json!({})).await;
    for _ in 0..100 {
        if progress["done"] == true {
            return progress["key"].as_str().unwrap().to_owned();
        }
        progress = step(node, json!({ "key": progress["key"] })).await;
    }
    panic!("it does not end: {progress}");
}

fn tenant(node: &Chancery) -> TenantId {
    node.app.tenants.find_by_name("default").unwrap().tenant.id
}

async fn works(bank: &Bank) {
    let answer = bank.tool("list_accounts", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    bank.estate.own("planner", &[("resource", NOTES)]).await.token();
}

async fn a_rotated_key_opens_everything_and_the_one_before_nothing(place: Place) {
    let mut bank = Bank::open(&place).await;
    let node = bank.estate.node.clone();
    let old = node.app.tenants.find(tenant(&node)).unwrap().keys.tenant_key_id();
    // More accounts than one portion.
    for number in 0..60 {
        let agent = json!({ "agents": [{ "name": format!("a{number}"), "owner": "ops" }], "connections": [{
            "name": format!("c{number}"), "owner": "ops", "base_url": "https://x.example", "owner_level": "tenant",
            "credential": { "api_key": { "parts": [{ "name": "token", "placement": { "header": { "name": "X-Key" } } }] } } }] });
        bank.estate.apply(agent).await;
        let account = json!({ "connection": format!("c{number}"), "owner": "tenant", "values": { "token": "0123456789" } });
        bank.estate.admin("POST", "/connected_accounts", account).await;
    }
    let begun = step(&node, json!({})).await;
    assert_eq!((&begun["done"], &begun["rewrapped"]), (&json!(false), &json!(0)));
    assert!(begun["remaining"].as_u64().unwrap() > 60);
    works(&bank).await;
    let first = step(&node, json!({ "key": begun["key"] })).await;
    assert!(first["remaining"].as_u64() < begun["remaining"].as_u64());
    works(&bank).await;
    let new = rotate(&node).await;
    assert_eq!(begun["key"], new.as_str());
    works(&bank).await;

    assert_eq!(
        vault::count_under(&node.app.db, tenant(&node), old.as_bytes())
            .await
            .unwrap(),
        0
    );
    let row = vault::find_tenant_keys(&node.app.db, tenant(&node))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.previous, None, "the key before is gone");
    // Asked again for this rotation, nothing new begins.
    assert_eq!(step(&node, json!({ "key": new })).await["done"], true);
    assert_eq!(bank.estate.events("vault.rotation_started").await.len(), 1);
    let rotated = bank.estate.events("vault.rotated").await;
    assert!(rotated[0]["ids"].to_string().contains(&old.to_string()));
    node.integrate().await;

    node.app.db.close().await;
    bank.estate.node = crate::outside::node(&place, |_, _| {}).await;
    works(&bank).await;
    let other = bank
        .estate
        .try_admin("POST", "/vault/rotate", json!({ "key": old.to_string() }))
        .await;
    assert_eq!(other.problem().0, 422);
}

/// A node whose n-th commit boundary from now on fails as a killed process would, and the counter.
async fn failing(place: &Place, counter: &Arc<AtomicUsize>) -> Chancery {
    let counter = counter.clone();
    let mut options = Options::default();
    options.retries = 0;
    options.fault = Some(Arc::new(move |point| {
        let is_boundary = matches!(point, Point::BeforeCommit | Point::AfterCommit);
        if is_boundary && counter.load(Ordering::SeqCst) > 0 && counter.fetch_sub(1, Ordering::SeqCst) == 1 {
            return FaultAction::Fail;
        }
        FaultAction::Continue
    }));
    Chancery::try_start(place, START, options).await.unwrap()
}

async fn a_rotation_may_be_interrupted_between_any_two_steps(place: Place) {
    let mut bank = Bank::open(&place).await;
    for boundary in 1..=8 {
        bank.estate.node.app.db.close().await;
        let counter = Arc::new(AtomicUsize::new(0));
        let node = failing(&place, &counter).await;
        counter.store(boundary, Ordering::SeqCst);
        let mut body = json!({});
        for _ in 0..6 {
            let answer = node.local("POST", "/api/v1/vault/rotate", body.clone()).await;
            if answer.status != 200 || answer.json()["done"] == true {
                break;
            }
            body = json!({ "key": answer.json()["key"] });
        }
        counter.store(0, Ordering::SeqCst);
        node.app.db.close().await;

        bank.estate.node = crate::outside::node(&place, |_, _| {}).await;
        works(&bank).await;
        rotate(&bank.estate.node).await;
        works(&bank).await;
        bank.estate.node.integrate().await;
    }
}

async fn a_rotation_that_was_begun_is_finished_by_the_job(place: Place) {
    let bank = Bank::open(&place).await;
    let node = &bank.estate.node;
    step(node, json!({})).await;
    node.expire().await;
    let served = node.app.tenants.find(tenant(node)).unwrap();
    assert_eq!(served.keys.previous_key_id(), None);
    works(&bank).await;
    // The MAC key of the key before is kept for a day, and not longer.
    let former = async || {
        let row = vault::find_tenant_keys(&node.app.db, tenant(node)).await.unwrap();
        row.unwrap().former_mac
    };
    assert!(former().await.is_some());
    node.advance(Ttl::from_days(2)).await;
    node.expire().await;
    assert_eq!(former().await, None);
}

async fn other_nodes_seal_open_and_record_while_a_key_is_rotated(place: Place) {
    let bank = Bank::open(&place).await;
    let other = crate::outside::node(&place, |_, _| {}).await;
    let begun = step(&bank.estate.node, json!({})).await;
    // The other node has not read the feed: what it records and seals is under the key before, or refused.
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let header = bank.estate.basic("planner");
    other.form_with("/token", &form, Some(&header)).await.token();
    let account =
        json!({ "connection": "bank", "owner": "tenant", "values": { "token": "another-key-0123456789" } });
    let sealed = other
        .local("POST", "/api/v1/connected_accounts", account.clone())
        .await;
    assert_eq!(
        sealed.problem().0,
        409,
        "nothing is sealed under a key that is being replaced"
    );
    rotate(&bank.estate.node).await;
    assert_eq!(begun["done"], false);
    other.form_with("/token", &form, Some(&header)).await.token();
    bank.estate.node.integrate().await;
    works(&bank).await;
    other.follow().await;
    let sealed = other.local("POST", "/api/v1/connected_accounts", account).await;
    assert!(sealed.status.is_success(), "{}", sealed.text());
    other.form_with("/token", &form, Some(&header)).await.token();
    bank.estate.node.follow().await;
    bank.estate.node.integrate().await;
    let answer = bank.tool("list_accounts", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn root(byte: u8) -> RootKey {
    RootKey::from_bytes(&[byte; 32]).unwrap()
}

async fn replace_root(node: &Chancery, byte: u8) -> Answer {
    let text = root(byte).to_file_text();
    let body = json!({ "root_key": text.expose_secret() });
    node.local("POST", "/t/system/api/v1/vault/rotate", body).await
}

async fn start_with_roots(place: &Place, current: u8, next: Option<u8>) -> Result<Chancery, String> {
    let started = Chancery::try_start_with(place, START, |config, _| {
        config.root = root(current).into();
        config.next_root = next.map(|byte| root(byte).into());
        config.allowed_hosts = crate::outside::loopback();
    });
    started.await.map_err(|failure| failure.to_string())
}

async fn the_root_key_is_replaced_and_the_old_one_refused(place: Place) {
    let mut bank = Bank::open(&place).await;
    let node = bank.estate.node.clone();
    let answer = replace_root(&node, 9).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["done"]),
        (200, &json!(true)),
        "{}",
        answer.text()
    );
    works(&bank).await;
    node.add_tenant("acme").await;
    assert_eq!(
        replace_root(&node, 9).await.json()["done"],
        true,
        "again is nothing"
    );
    let recorded = node
        .admin(
            "GET",
            "/t/system/api/v1/audit/events?kind=root_key.rotated",
            Value::Null,
        )
        .await;
    assert_eq!(recorded["items"].as_array().unwrap().len(), 1);
    node.app.db.close().await;

    let refused = start_with_roots(&place, 7, None).await.unwrap_err();
    assert!(refused.contains("root key"), "{refused}");
    bank.estate.node = start_with_roots(&place, 9, None).await.unwrap();
    works(&bank).await;
}

async fn the_root_key_may_be_replaced_in_spite_of_interruptions(place: Place) {
    let mut bank = Bank::open(&place).await;
    let (mut old, mut new) = (7, 9);
    for boundary in 1..=6 {
        bank.estate.node.app.db.close().await;
        let counter = Arc::new(AtomicUsize::new(0));
        let started = counter.clone();
        let mut options = Options::default();
        options.retries = 0;
        options.fault = Some(Arc::new(move |point| {
            let is_boundary = matches!(point, Point::BeforeCommit | Point::AfterCommit);
            if is_boundary
                && started.load(Ordering::SeqCst) > 0
                && started.fetch_sub(1, Ordering::SeqCst) == 1
            {
                return FaultAction::Fail;
            }
            FaultAction::Continue
        }));
        let node = Chancery::try_start_as(&place, options, |config| config.root = root(old).into())
            .await
            .unwrap();
        counter.store(boundary, Ordering::SeqCst);
        replace_root(&node, new).await;
        counter.store(0, Ordering::SeqCst);
        node.app.db.close().await;

        if let Err(refused) = start_with_roots(&place, old, None)
            .await
            .map(|node| drop_node(&node))
        {
            assert!(
                refused.contains("--next-root-key-file") || refused.contains("root key"),
                "{refused}"
            );
        }
        bank.estate.node = start_with_roots(&place, old, Some(new)).await.unwrap();
        works(&bank).await;
        let answer = replace_root(&bank.estate.node, new).await;
        assert_eq!(answer.json()["done"], true, "{}", answer.text());
        works(&bank).await;
        (old, new) = (new, new + 1);
    }
}

/// Lets go of the file before the next node opens it.
fn drop_node(node: &Chancery) {
    let db = node.app.db.clone();
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(db.close()));
}

/// Else a rotation in many tenants would hold up the revocation feed until the node refuses to answer.
async fn a_change_of_keys_compiles_no_policy_anew(place: Place) {
    let estate = Estate::start(&place).await;
    let node = &estate.node;
    let served = || node.app.tenants.find(tenant(node)).unwrap();
    let before = served();
    rotate(node).await;
    let after = served();
    assert_ne!(before.keys.tenant_key_id(), after.keys.tenant_key_id());
    assert!(Arc::ptr_eq(&before.policy, &after.policy));

    // Another set is in force at once.
    let text = format!("{}\n// another\n", before.policy.set.text());
    estate.admin("PUT", "/policy", json!({ "text": text })).await;
    assert_eq!(served().policy.set.text(), text);
}

async fn only_who_may_rotates(place: Place) {
    let estate = Estate::start(&place).await;
    let text = root(9).to_file_text();
    let elsewhere = estate
        .try_admin(
            "POST",
            "/vault/rotate",
            json!({ "root_key": text.expose_secret() }),
        )
        .await;
    assert_eq!(elsewhere.problem().0, 422, "the root key is the operator's");
    let broken = estate
        .node
        .local(
            "POST",
            "/t/system/api/v1/vault/rotate",
            json!({ "root_key": "MARKER-no-key" }),
        )
        .await;
    assert_eq!(broken.problem().0, 422);
    assert!(!broken.text().contains("MARKER"));
    let request = http::Request::post("/api/v1/vault/rotate").header("host", "id.example");
    let unknown = estate
        .node
        .send(request.body(axum::body::Body::from("{}")).unwrap())
        .await;
    assert_eq!(unknown.status, 401);
}
