//! Rotation of signing keys: published before it signs, and published until nothing signed with it is left.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_server::store::db::Options;
use serde_json::{Value, json};

on_both_engines!(
    a_new_key_is_published_before_it_signs,
    a_retiring_key_verifies_until_its_last_token_ended,
    a_second_key_does_not_wait_behind_the_first,
    a_rotation_is_recorded,
    a_key_that_the_root_key_does_not_open_is_not_used,
);

async fn kids(estate: &Estate) -> Vec<String> {
    let set = estate.node.get("/jwks").await.json();
    let keys = set["keys"].as_array().unwrap();
    let es256 = keys.iter().filter(|key| key["kty"] == "EC");
    es256.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signer(estate: &Estate) -> (String, String) {
    use base64::Engine as _;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    (header["kid"].as_str().unwrap().to_owned(), token)
}

async fn rotate(estate: &Estate) -> String {
    let made = estate
        .admin("POST", "/keys/rotate", json!({ "algorithm": "ES256" }))
        .await;
    made["kid"].as_str().unwrap().to_owned()
}

async fn a_new_key_is_published_before_it_signs(place: Place) {
    let estate = Estate::start(&place).await;
    let (old, _) = signer(&estate).await;
    let new = rotate(&estate).await;
    assert_eq!(kids(&estate).await.len(), 2);
    assert_eq!(signer(&estate).await.0, old);
    estate.node.advance(Ttl::from_seconds(599)).await;
    estate.node.expire().await;
    assert_eq!(
        signer(&estate).await.0,
        old,
        "verifiers have not all learned of it"
    );
    estate.node.advance(Ttl::from_seconds(1)).await;
    estate.node.expire().await;
    assert_eq!(signer(&estate).await.0, new);
}

async fn a_retiring_key_verifies_until_its_last_token_ended(place: Place) {
    let estate = Estate::start(&place).await;
    let (old, _) = signer(&estate).await;
    rotate(&estate).await;
    estate.node.advance(Ttl::from_seconds(599)).await;
    let (_, token) = signer(&estate).await;
    estate.node.advance(Ttl::from_seconds(1)).await;
    estate.node.expire().await;
    assert!(kids(&estate).await.contains(&old) && estate.is_active("planner", &token).await);
    estate.node.advance(Ttl::from_days(2)).await;
    estate.node.expire().await;
    assert!(kids(&estate).await.contains(&old));
    estate.node.advance(Ttl::from_seconds(1)).await;
    estate.node.expire().await;
    assert!(!kids(&estate).await.contains(&old));
    assert_eq!(signer(&estate).await.1.split('.').count(), 3);
}

async fn a_second_key_does_not_wait_behind_the_first(place: Place) {
    let estate = Estate::start(&place).await;
    rotate(&estate).await;
    let answer = estate
        .try_admin("POST", "/keys/rotate", json!({ "algorithm": "ES256" }))
        .await;
    assert_eq!(answer.problem().0, 422);
    estate
        .admin("POST", "/keys/rotate", json!({ "algorithm": "EdDSA" }))
        .await;
}

async fn a_rotation_is_recorded(place: Place) {
    let estate = Estate::start(&place).await;
    let kid = rotate(&estate).await;
    let events = estate.events("key.changed").await;
    let ids = events[0]["ids"].to_string();
    assert!(ids.contains(&kid) && ids.contains("local:1000"), "{ids}");
    estate.node.advance(Ttl::from_minutes(10)).await;
    estate.node.expire().await;
    let events = estate.events("key.changed").await;
    assert!(events[0]["ids"].to_string().contains("system:key_rotation"));
}

async fn a_key_that_the_root_key_does_not_open_is_not_used(place: Place) {
    let estate = Estate::start(&place).await;
    estate.node.app.db.close().await;
    let zero = if place.is_postgres() {
        "'\\x00'::bytea"
    } else {
        "x'00'"
    };
    let sql = format!("UPDATE root_key SET check_value = {zero} WHERE singleton = 1");
    place.behind_the_back(&sql).await;
    let failure = Chancery::try_start(&place, START, Options::default())
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("sealed under root key"), "{failure}");
}
