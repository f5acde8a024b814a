//! Rotation of signing keys: published before it signs, and published until nothing signed with it is left.

use crate::authorize::World;
use crate::browser::parameter;
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
    an_id_token_has_a_key_of_its_own,
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

fn kid_of(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "RS256");
    header["kid"].as_str().unwrap().to_owned()
}

async fn an_id_token_has_a_key_of_its_own(place: Place) {
    let world = World::start(&place).await;
    let estate = &world.estate;
    estate
        .change("resources", "notes", json!({ "algorithm": "RS256" }))
        .await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[("scope", "openid read write")]).await;
    let first = world.redeem(&code, &[]).await;
    let id_token = |answer: &Answer| answer.json()["id_token"].as_str().unwrap().to_owned();
    let (old, access) = (kid_of(&id_token(&first)), kid_of(&first.token()));
    assert_ne!(old, access);
    let keys = estate.admin("GET", "/keys", Value::Null).await;
    let use_of = |kid: &str| {
        let items = keys["items"].as_array().unwrap();
        items.iter().find(|item| item["kid"] == kid).unwrap()["use"].clone()
    };
    assert_eq!(
        (use_of(&old), use_of(&access)),
        (json!("id_token"), json!("access_token"))
    );
    assert!(estate.is_active("planner", &first.token()).await);

    let rotation = json!({ "algorithm": "RS256", "use": "id_token" });
    estate.admin("POST", "/keys/rotate", rotation.clone()).await;
    let again = estate.try_admin("POST", "/keys/rotate", rotation).await;
    assert_eq!(again.problem().0, 422);
    let other = json!({ "algorithm": "ES256", "use": "id_token" });
    assert_eq!(
        estate.try_admin("POST", "/keys/rotate", other).await.problem().0,
        422
    );
    estate.node.advance(Ttl::from_minutes(10)).await;
    estate.node.expire().await;
    let path = world.path(&[("scope", "openid read write")]);
    let location = browser.get(&path).await.header("location").unwrap().to_owned();
    let second = world.redeem(&parameter(&location, "code").unwrap(), &[]).await;
    assert_ne!(kid_of(&id_token(&second)), old);
    assert_eq!(kid_of(&second.token()), access, "one rotates without the other");
    // What was signed before is still known, and is published.
    assert!(estate.node.get("/jwks").await.text().contains(&old));
    let hint = id_token(&first);
    let quiet = world.path(&[("prompt", "none"), ("id_token_hint", &hint)]);
    let location = browser.get(&quiet).await.header("location").unwrap().to_owned();
    assert!(parameter(&location, "code").is_some(), "{location}");
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
