//! Which tokens the notes server accepts, and where it gets the keys from.

use super::world::World;
use crate::sample::access_token::Verifier;
use crate::sample::client::{CallError, list_tools};
use crate::sample::listener::Bound;
use crate::sample::notes::NotesServer;
use crate::sample::now;
use crate::sample::signer::Signer;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

#[tokio::test]
async fn every_algorithm_of_the_published_keys_is_accepted() {
    let world = World::start().await;
    for signer in [
        &world.authority.es256,
        &world.authority.rs256,
        &world.authority.eddsa,
    ] {
        let token = signer.sign(Some("at+jwt"), &world.claims(json!({}))).unwrap();
        world.call(&token, "list_notes", Value::Null).await.unwrap();
    }
    let full_type = world
        .authority
        .es256
        .sign(Some("application/AT+JWT"), &world.claims(json!({})))
        .unwrap();
    world.call(&full_type, "list_notes", Value::Null).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_for_this_server_now_is_refused_with_401() {
    let world = World::start().await;
    let good = json!({});
    let past = now() - 60;
    let cases = [
        (json!({ "exp": past }), "expired"),
        (json!({ "nbf": now() + 60 }), "not valid yet"),
        (json!({ "iat": now() + 60 }), "issued in the future"),
        (json!({ "aud": "http://127.0.0.1:1/mcp" }), "another audience"),
        (json!({ "aud": format!("{}/", world.url) }), "another audience"),
        (json!({ "aud": [world.url, "http://other"] }), "another audience"),
        (json!({ "aud": [] }), "another audience"),
        (json!({ "iss": "http://127.0.0.1:1" }), "issued by someone else"),
        (json!({ "iss": [world.authority.url] }), "missing or malformed"),
        (json!({ "sub": null }), "missing or malformed"),
        (json!({ "exp": null }), "missing or malformed"),
        (json!({ "aud": null }), "missing or malformed"),
        (json!({ "iss": null }), "missing or malformed"),
        (json!({ "iat": null }), "missing or malformed"),
        (json!({ "jti": null }), "missing or malformed"),
        (json!({ "client_id": null }), "missing or malformed"),
        (json!({ "act": "agent-a" }), "missing or malformed"),
    ];
    for (changed, reason) in cases {
        world.refused(&world.token(changed), reason).await;
    }

    for wrong_type in [None, Some("JWT"), Some("at+jwt+x")] {
        let token = world
            .authority
            .es256
            .sign(wrong_type, &world.claims(good.clone()))
            .unwrap();
        world.refused(&token, "not an access token").await;
    }
    world.refused("not-a-token", "not a signed JWT").await;
}

#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_is_refused_with_401() {
    let world = World::start().await;
    let claims = world.claims(json!({}));

    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    world.refused(&none, "not a signed JWT").await;

    // The public key as an HMAC secret, the classic confusion.
    let public = world.authority.es256.key_set().to_string();
    let key_id = world.authority.es256.key_set()["keys"][0]["kid"].clone();
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = key_id.as_str().map(str::to_owned);
    let secret = EncodingKey::from_secret(public.as_bytes());
    let symmetric = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    world.refused(&symmetric, "algorithm not accepted").await;

    // A key of the issuer's, but a header that claims another algorithm for it.
    let (_, payload) = symmetric.split_once('.').unwrap();
    header.alg = Algorithm::RS256;
    let head = URL_SAFE_NO_PAD.encode(serde_json::to_string(&header).unwrap());
    world
        .refused(&format!("{head}.{payload}"), "not one of this algorithm")
        .await;

    let stranger = Signer::es256().unwrap();
    let foreign = stranger.sign(Some("at+jwt"), &claims).unwrap();
    world.refused(&foreign, "does not publish").await;

    let good = world.token(json!({}));
    let other = world.token(json!({ "scope": "read write delete" }));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    world
        .refused(&format!("{signed}.{signature}"), "signature is wrong")
        .await;
}

#[tokio::test]
async fn the_keys_are_read_once_and_again_for_a_new_key() {
    let world = World::start().await;
    let reads = || *world.authority.reads.lock().unwrap();
    let verifier = Verifier::new(world.authority.url.clone(), world.url.clone()).unwrap();
    for _ in 0..3 {
        verifier.verify(&world.token(json!({}))).await.unwrap();
    }
    assert_eq!(reads(), 1);

    // Invented key ids do not become requests.
    let new_key = Signer::es256().unwrap();
    let token = new_key.sign(Some("at+jwt"), &world.claims(json!({}))).unwrap();
    verifier.verify(&token).await.unwrap_err();
    assert_eq!(reads(), 1);

    // Once the pause is over, a published one is found.
    let published = new_key.key_set()["keys"][0].clone();
    world.authority.published.lock().unwrap().push(published);
    verifier.end_pause().await;
    verifier.verify(&token).await.unwrap();
    assert_eq!(reads(), 2);
}

#[tokio::test]
async fn an_unreachable_authorization_server_is_503_and_never_a_way_in() {
    let bound = Bound::to_loopback(0).await.unwrap();
    let nobody = bound.base();
    drop(bound);
    let notes = NotesServer::start(0, nobody.clone()).await.unwrap();
    let token = Signer::es256()
        .unwrap()
        .sign(Some("at+jwt"), &json!({ "iss": nobody }))
        .unwrap();
    let error = list_tools(&notes.url(), Some(&token)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::NoAnswer(words) if words.contains("503")),
        "{error}"
    );
    notes.stop().await;
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    let world = World::start().await;
    let impostor = format!("{}/other", world.authority.url);
    let notes = NotesServer::start(0, impostor.clone()).await.unwrap();
    let token = world.token(json!({ "iss": impostor, "aud": notes.url() }));
    let error = list_tools(&notes.url(), Some(&token)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::NoAnswer(words) if words.contains("503")),
        "{error}"
    );
}
