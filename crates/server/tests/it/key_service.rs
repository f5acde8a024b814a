//! A root key that a service holds: what it is asked for, what it cannot make us believe, and what goes on while it does
//! not answer.

use crate::estate::*;
use crate::harness::*;
use crate::transit::{Mood, TOKEN, Transit, source};
use base64::Engine as _;
use chancery_core::time::Ttl;
use chancery_server::keys::RootKey;
use chancery_server::kms;
use chancery_server::node::{NodeConfig, World};
use chancery_server::roots::RootSource;
use chancery_server::store::key;
use serde_json::{Value, json};

on_both_engines!(
    the_service_is_asked_at_the_start_and_for_new_keys_and_never_for_a_token,
    a_service_that_is_sealed_or_hangs_stops_no_token_and_needs_no_restart,
    a_key_that_the_service_does_not_open_now_waits_and_the_one_before_goes_on,
    what_is_no_key_of_ours_from_the_service_opens_nothing,
    a_node_does_not_start_without_the_right_key_and_says_which_it_is,
    a_root_key_moves_from_a_file_to_a_service_and_back,
    a_move_to_a_service_that_fails_meanwhile_goes_on_where_it_was,
    the_key_of_a_tenant_that_ended_is_destroyed_when_its_log_is_complete,
);

mod two_nodes {
    crate::harness::on_postgres!(
        a_tenant_whose_key_the_service_does_not_open_yet_is_unavailable_and_not_unknown
    );
    use super::a_tenant_whose_key_the_service_does_not_open_yet_is_unavailable_and_not_unknown;
}

fn with(root: RootSource) -> impl FnOnce(&mut NodeConfig, &mut World) {
    |config, world| {
        config.root = root;
        config.allowed_hosts = crate::outside::loopback();
        world.outbound_timeout = Ttl::from_millis(300);
    }
}

async fn node(place: &Place, transit: &Transit) -> Chancery {
    Chancery::start_with(place, with(transit.root(TOKEN))).await
}

async fn refused(place: &Place, root: RootSource) -> String {
    let started = Chancery::try_start_with(place, START, with(root)).await;
    started.map(|_| ()).unwrap_err().to_string()
}

async fn works(estate: &Estate) {
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    assert!(estate.is_active("planner", &token).await);
}

async fn watch(node: &Chancery) {
    kms::watch(&node.app).await.unwrap();
}

async fn new_tenant(node: &Chancery, name: &str) -> Answer {
    let body = json!({ "name": name });
    node.local("POST", "/t/system/api/v1/tenants", body).await
}

async fn ready(node: &Chancery) -> (u16, String) {
    let request = http::Request::get("/readyz")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = node.send(request).await;
    (answer.status.as_u16(), answer.text())
}

#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert_eq!(
        answer.problem(),
        (503, "key_service_unavailable".to_owned()),
        "{}",
        answer.text()
    );
    assert_eq!(answer.headers["retry-after"], "5");
    assert!(
        !answer.text().contains("127.0.0.1"),
        "where the service is stays inside"
    );
}

async fn the_service_is_asked_at_the_start_and_for_new_keys_and_never_for_a_token(place: Place) {
    let transit = Transit::start().await;
    let mut estate = Estate::on(node(&place, &transit).await, "").await;
    let asked = transit.asked();
    for _ in 0..3 {
        works(&estate).await;
        estate.node.follow().await;
        estate.node.expire().await;
        watch(&estate.node).await;
        estate.node.integrate().await;
    }
    assert_eq!(transit.asked(), asked);
    assert_eq!(ready(&estate.node).await, (200, "ready\n".to_owned()));

    // A new tenant: one key wrapped, and read back by this node.
    estate.node.add_tenant("acme").await;
    assert_eq!(transit.asked(), asked + 2);
    // What the service was given is in no table, nor is its credential.
    let stored = crate::secrets::stored(&place).await;
    let holds = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(holds(b"transit:http://"), "where the key is, is recorded");
    for plaintext in transit.plaintexts() {
        let key = base64::engine::general_purpose::STANDARD
            .decode(&plaintext)
            .unwrap();
        let hexadecimal = key
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert!(!holds(&key) && !holds(plaintext.as_bytes()) && !holds(hexadecimal.as_bytes()));
    }
    assert!(!holds(TOKEN.as_bytes()));

    // Rotated inside Transit, old and new versions open; nothing is to be done here.
    transit.rotate();
    estate.node.add_tenant("beta").await;
    estate.node.app.db.close().await;
    estate.node = node(&place, &transit).await;
    works(&estate).await;
}

async fn a_service_that_is_sealed_or_hangs_stops_no_token_and_needs_no_restart(place: Place) {
    let transit = Transit::start().await;
    let estate = Estate::on(node(&place, &transit).await, "").await;
    for (name, mood) in [("one", Mood::Sealed), ("two", Mood::Hangs)] {
        transit.is(mood);
        is_unavailable(&new_tenant(&estate.node, name).await);
        let (status, text) = ready(&estate.node).await;
        assert_eq!(status, 200);
        assert!(text.contains("key service"), "{text}");
        works(&estate).await;

        // Nothing else asks while it fails, and what changes here is taken note of.
        let asked = transit.asked();
        is_unavailable(&estate.try_admin("POST", "/vault/rotate", json!({})).await);
        let text = estate
            .node
            .app
            .tenants
            .find_by_name("default")
            .unwrap()
            .policy
            .set
            .text()
            .to_owned();
        estate
            .admin("PUT", "/policy", json!({ "text": format!("{text}\n// {name}") }))
            .await;
        estate.node.follow().await;
        estate.node.integrate().await;
        works(&estate).await;
        assert_eq!(transit.asked(), asked);
        watch(&estate.node).await;
        assert_eq!(transit.asked(), asked + 1);
        is_unavailable(&new_tenant(&estate.node, name).await);

        transit.is(Mood::Well);
        watch(&estate.node).await;
        assert_eq!(ready(&estate.node).await.1, "ready\n");
        estate.node.add_tenant(name).await;
        works(&estate).await;
    }
}

async fn a_key_that_the_service_does_not_open_now_waits_and_the_one_before_goes_on(place: Place) {
    let transit = Transit::start().await;
    let estate = Estate::on(node(&place, &transit).await, "").await;
    for mood in [Mood::AnothersKey, Mood::MadeUp, Mood::Garbage] {
        // The new key is wrapped, and what comes back for it is wrong.
        transit.is(mood);
        let begun = estate.try_admin("POST", "/vault/rotate", json!({})).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        let key = begun.json()["key"].clone();
        works(&estate).await;
        is_unavailable(
            &estate
                .try_admin("POST", "/vault/rotate", json!({ "key": key }))
                .await,
        );

        transit.is(Mood::Well);
        watch(&estate.node).await;
        watch(&estate.node).await;
        let mut progress = estate.admin("POST", "/vault/rotate", json!({ "key": key })).await;
        while progress["done"] != true {
            progress = estate.admin("POST", "/vault/rotate", json!({ "key": key })).await;
        }
        works(&estate).await;
        estate.node.integrate().await;
    }
}

async fn what_is_no_key_of_ours_from_the_service_opens_nothing(place: Place) {
    let transit = Transit::start().await;
    let mut estate = Estate::on(node(&place, &transit).await, "").await;
    estate.node.app.db.close().await;
    for mood in [Mood::AnothersKey, Mood::MadeUp, Mood::Garbage] {
        transit.is(mood);
        let text = refused(&place, transit.root(TOKEN)).await;
        assert!(text.contains("key"), "{mood:?}: {text}");
        assert!(!text.contains(TOKEN));
    }
    transit.is(Mood::Well);
    estate.node = node(&place, &transit).await;
    works(&estate).await;

    // Rows of two tenants swapped: the service unwraps for a tenant only what was wrapped for it.
    estate.node.edit("UPDATE tenant_keys SET sealed = (SELECT t.sealed FROM tenant_keys AS t ORDER BY t.tenant LIMIT 1)").await;
    estate.node.app.db.close().await;
    let text = refused(&place, transit.root(TOKEN)).await;
    assert!(text.contains("does not unwrap"), "{text}");
}

async fn a_node_does_not_start_without_the_right_key_and_says_which_it_is(place: Place) {
    let transit = Transit::start().await;
    let down = source("transit:http://127.0.0.1:1/v1/transit/chancery", TOKEN);
    let text = refused(&place, down).await;
    assert!(
        text.contains("cannot be asked") && text.contains("hint: "),
        "{text}"
    );
    let text = refused(&place, transit.root("hvs.another")).await;
    assert!(
        text.contains("permission denied") && text.contains("--root-key-credential"),
        "{text}"
    );
    transit.is(Mood::Sealed);
    let text = refused(&place, transit.root(TOKEN)).await;
    assert!(text.contains("Vault is sealed"), "{text}");
    transit.is(Mood::Well);
    let elsewhere = format!("{}-2", transit.source());
    let text = refused(&place, source(&elsewhere, TOKEN)).await;
    assert!(
        text.contains("encryption key not found") && text.contains("does the key exist"),
        "{text}"
    );

    let first = node(&place, &transit).await;
    first.app.db.close().await;
    // A key at hand, a key of another name, and a key of the same name on another server.
    let text = refused(&place, RootKey::from_bytes(&[7; 32]).unwrap().into()).await;
    assert!(text.contains(&transit.source()), "{text}");
    let text = refused(&place, source(&elsewhere, TOKEN)).await;
    assert!(text.contains(&format!("({})", transit.source())), "{text}");
    let other = Transit::start().await;
    let text = refused(&place, other.root(TOKEN)).await;
    assert!(
        text.contains("another key of the service") && text.contains(&transit.source()),
        "{text}"
    );
    // Old versions that may no longer decrypt: well, once every tenant's key is wrapped by the newest one.
    let first = node(&place, &transit).await;
    transit.rotate();
    for prefix in ["", "/t/system"] {
        let path = format!("{prefix}/api/v1/vault/rotate");
        let mut body = json!({});
        loop {
            let progress = first.admin("POST", &path, body).await;
            if progress["done"] == true {
                break;
            }
            body = json!({ "key": progress["key"] });
        }
    }
    transit.forbid_old_versions();
    first.app.db.close().await;
    node(&place, &transit).await.app.db.close().await;
    // Without that, and with a key that was deleted.
    transit.rotate();
    transit.forbid_old_versions();
    let text = refused(&place, transit.root(TOKEN)).await;
    assert!(text.contains("old versions"), "{text}");
    transit.lose_key();
    let text = refused(&place, transit.root(TOKEN)).await;
    assert!(text.contains("encryption key not found"), "{text}");
}

fn both(root: RootSource, next: RootSource) -> impl FnOnce(&mut NodeConfig, &mut World) {
    |config, world| {
        with(root)(config, world);
        config.next_root = Some(next);
    }
}

fn at_hand(byte: u8) -> RootSource {
    RootKey::from_bytes(&[byte; 32]).unwrap().into()
}

async fn replace(node: &Chancery, body: &Value) -> Answer {
    node.local("POST", "/t/system/api/v1/vault/rotate", body.clone())
        .await
}

/// Until it is done; gives how many steps that took.
async fn replaced(node: &Chancery, body: &Value) -> usize {
    for steps in 1..=10 {
        let answer = replace(node, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.json()["done"] == true {
            return steps;
        }
    }
    panic!("it does not end");
}

async fn a_root_key_moves_from_a_file_to_a_service_and_back(place: Place) {
    let transit = Transit::start().await;
    let mut estate = Estate::on(Chancery::start_with(&place, with(at_hand(7))).await, "").await;
    for number in 0..10 {
        estate.node.add_tenant(&format!("t-{number}")).await;
    }
    let to_service = json!({ "root_key_service": transit.source() });
    let unknown = replace(&estate.node, &to_service).await;
    assert_eq!(unknown.problem().0, 422);
    assert!(
        unknown.text().contains("--next-root-key-file transit:"),
        "{}",
        unknown.text()
    );
    let mut both_at_once = to_service.clone();
    both_at_once["root_key"] = json!("x");
    assert_eq!(replace(&estate.node, &both_at_once).await.problem().0, 422);
    estate.node.app.db.close().await;

    let start = both(at_hand(7), transit.root(TOKEN));
    estate.node = Chancery::start_with(&place, start).await;
    let first = replace(&estate.node, &to_service).await.json();
    assert_eq!((&first["rewrapped"], &first["done"]), (&json!(8), &json!(false)));
    assert_eq!(first["remaining"], 4);
    works(&estate).await;
    // A new tenant in the middle is made under the recorded key and moves with the others.
    estate.node.add_tenant("late").await;
    assert!(replaced(&estate.node, &to_service).await <= 2);
    works(&estate).await;
    assert_eq!(replaced(&estate.node, &to_service).await, 1, "again is nothing");
    estate.node.app.db.close().await;

    let text = refused(&place, at_hand(7)).await;
    assert!(text.contains(&transit.source()), "{text}");
    estate.node = node(&place, &transit).await;
    works(&estate).await;

    // And back, to a new key at hand: the service is needed until the end, and no longer.
    let text = match at_hand(9) {
        RootSource::Held(key) => key.to_file_text(),
        RootSource::Service(_) => unreachable!(),
    };
    let to_file = json!({ "root_key": text.expose_secret() });
    replaced(&estate.node, &to_file).await;
    transit.is(Mood::Sealed);
    works(&estate).await;
    estate.node.app.db.close().await;
    estate.node = Chancery::start_with(&place, with(at_hand(9))).await;
    works(&estate).await;
}

async fn a_move_to_a_service_that_fails_meanwhile_goes_on_where_it_was(place: Place) {
    let transit = Transit::start().await;
    let mut estate = Estate::on(Chancery::start_with(&place, with(at_hand(7))).await, "").await;
    for number in 0..10 {
        estate.node.add_tenant(&format!("t-{number}")).await;
    }
    estate.node.app.db.close().await;
    estate.node = Chancery::start_with(&place, both(at_hand(7), transit.root(TOKEN))).await;
    let to_service = json!({ "root_key_service": transit.source() });
    replace(&estate.node, &to_service).await;
    for mood in [Mood::Sealed, Mood::Hangs] {
        transit.is(mood);
        is_unavailable(&replace(&estate.node, &to_service).await);
        works(&estate).await;
        transit.is(Mood::Well);
        watch(&estate.node).await;
    }
    // Stopped in the middle: with the old key alone it does not start, with both it goes on.
    estate.node.app.db.close().await;
    let text = refused(&place, at_hand(7)).await;
    assert!(text.contains("--next-root-key-file"), "{text}");
    estate.node = Chancery::start_with(&place, both(at_hand(7), transit.root(TOKEN))).await;
    works(&estate).await;
    replaced(&estate.node, &to_service).await;
    works(&estate).await;
    estate.node.app.db.close().await;
    // Both are still given: the one before is dropped.
    estate.node = Chancery::start_with(&place, both(at_hand(7), transit.root(TOKEN))).await;
    estate.node.add_tenant("after").await;
    works(&estate).await;
}

async fn the_key_of_a_tenant_that_ended_is_destroyed_when_its_log_is_complete(place: Place) {
    let node = Chancery::start(&place).await;
    node.add_tenant("acme").await;
    node.add_tenant("beta").await;
    let id = node.app.tenants.find_by_name("acme").unwrap().tenant.id;
    let key = async || key::find_tenant_key(&node.app.db, id).await.unwrap();
    let signing = async || key::load_signing_keys(&node.app.db, id).await.unwrap().len();
    node.admin("POST", "/t/system/api/v1/tenants/acme/suspend", Value::Null)
        .await;
    node.advance(Ttl::from_minutes(2)).await;
    node.integrate().await;
    node.expire().await;
    assert!(key().await.is_some(), "a suspended tenant may come back");

    node.admin("POST", "/t/system/api/v1/tenants/acme/retire", Value::Null)
        .await;
    let gone = node.local("GET", "/t/acme/api/v1/agents", Value::Null).await;
    assert_eq!(gone.status, 421, "{}", gone.text());
    node.integrate().await;
    node.expire().await;
    assert!(
        key().await.is_some(),
        "events of requests under way may still come"
    );
    node.advance(Ttl::from_minutes(2)).await;
    node.integrate().await;
    assert!(signing().await > 0);
    node.expire().await;
    assert_eq!((key().await, signing().await), (None, 0));
    assert!(node.app.tenants.find(id).is_none(), "nor does this node keep it");
    let events = "/t/system/api/v1/audit/events?kind=tenant_key.destroyed";
    let events = node.admin("GET", events, Value::Null).await;
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    node.expire().await;
    node.follow().await;
    let gone = node.local("GET", "/t/acme/api/v1/agents", Value::Null).await;
    assert_eq!(gone.status, 421, "{}", gone.text());
    assert_eq!(
        new_tenant(&node, "acme").await.status,
        409,
        "names are never used again"
    );

    // The others, and a start without it.
    assert_eq!(
        node.local("GET", "/t/beta/api/v1/agents", Value::Null)
            .await
            .status,
        200
    );
    node.app.db.close().await;
    let node = Chancery::start(&place).await;
    assert!(node.app.tenants.find(id).is_none());
    assert_eq!(
        node.local("GET", "/t/beta/api/v1/agents", Value::Null)
            .await
            .status,
        200
    );
}

async fn a_tenant_whose_key_the_service_does_not_open_yet_is_unavailable_and_not_unknown(place: Place) {
    let transit = Transit::start().await;
    let estate = Estate::on(node(&place, &transit).await, "").await;
    let other = node(&place, &transit).await;
    estate.node.add_tenant("acme").await;
    transit.is(Mood::Sealed);
    other.follow().await;
    let path = "/.well-known/oauth-authorization-server/t/acme";
    let request = || http::Request::get(path).header("host", "id.example");
    let ask = async || {
        other
            .send(request().body(axum::body::Body::empty()).unwrap())
            .await
    };
    is_unavailable(&ask().await);
    is_unavailable(&other.local("GET", "/t/acme/api/v1/agents", Value::Null).await);
    // Everybody else is served, and the feed is followed.
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    other
        .form_with("/token", &form, Some(&estate.basic("planner")))
        .await
        .token();

    transit.is(Mood::Well);
    watch(&other).await;
    watch(&other).await;
    assert_eq!(ask().await.status, 200);
    assert_eq!(
        other
            .local("GET", "/t/acme/api/v1/agents", Value::Null)
            .await
            .status,
        200
    );
}
