//! What the identity provider and the runtime sign, and the start and end of all parties.

use super::document;
use crate::sample::client::loopback_http;
use crate::sample::identity_provider::Person;
use crate::sample::{Ports, Surroundings};
use http::StatusCode;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn an_id_token_verifies_with_what_discovery_leads_to() {
    let around = Surroundings::start("http://127.0.0.1:1".to_owned(), None)
        .await
        .unwrap();
    let issuer = around.identity_provider.issuer().to_owned();
    let alice = Person::find("alice").unwrap();
    let token = around
        .identity_provider
        .id_token(alice, "http://127.0.0.1:1", Duration::from_mins(5))
        .unwrap();
    let claims = verified_by_discovery(&issuer, &token, Algorithm::ES256).await;
    assert_eq!(claims["iss"], issuer);
    assert_eq!(claims["sub"], alice.subject);
    assert_eq!(claims["aud"], "http://127.0.0.1:1");
    assert_eq!(claims["name"], alice.name);
    assert_eq!(claims["roles"], json!(alice.roles));
    assert_eq!(claims["groups"], json!(alice.groups));
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        300
    );

    let client = loopback_http().unwrap();
    let answer: Value = client
        .post(format!("{issuer}/login?user=bob&audience=http%3A%2F%2Fthere"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let claims = verified_by_discovery(&issuer, answer["id_token"].as_str().unwrap(), Algorithm::ES256).await;
    assert_eq!(claims["sub"], "00u-bob");
    assert_eq!(claims["aud"], "http://there");
    let nobody = client
        .post(format!("{issuer}/login?user=mallory"))
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);
    around.shutdown().await;
}

#[tokio::test]
async fn a_service_account_token_has_the_claims_of_a_projected_one() {
    let around = Surroundings::start("http://127.0.0.1:1".to_owned(), None)
        .await
        .unwrap();
    let runtime = &around.runtime;
    let issuer = runtime.issuer().to_owned();
    let lifetime = Duration::from_mins(10);
    let token = runtime
        .service_account_token("agents", "researcher", "researcher-7", "http://there", lifetime)
        .unwrap();
    let claims = verified_by_discovery(&issuer, &token, Algorithm::RS256).await;
    assert_eq!(claims["sub"], "system:serviceaccount:agents:researcher");
    assert_eq!(claims["aud"], json!(["http://there"]));
    let bound = &claims["kubernetes.io"];
    assert_eq!(bound["namespace"], "agents");
    assert_eq!(bound["serviceaccount"]["name"], "researcher");
    assert_eq!(bound["pod"]["name"], "researcher-7");
    for id in [
        &claims["jti"],
        &bound["serviceaccount"]["uid"],
        &bound["pod"]["uid"],
    ] {
        assert!(id.as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{id}");
    }

    let url = format!("{issuer}/token?service_account=researcher&namespace=agents");
    let client = loopback_http().unwrap();
    let text = client.get(&url).send().await.unwrap().text().await.unwrap();
    let again = verified_by_discovery(&issuer, &text, Algorithm::RS256).await;
    assert_eq!(again["aud"], json!(["http://127.0.0.1:1"]));
    assert_ne!(again["jti"], claims["jti"]);
    assert_eq!(
        again["kubernetes.io"]["serviceaccount"],
        claims["kubernetes.io"]["serviceaccount"]
    );
    let nameless = client.get(format!("{issuer}/token")).send().await.unwrap();
    assert_eq!(nameless.status(), StatusCode::BAD_REQUEST);
    around.shutdown().await;
}

#[tokio::test]
async fn shutdown_frees_the_ports() {
    let around = Surroundings::start("http://127.0.0.1:1".to_owned(), None)
        .await
        .unwrap();
    let port = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    let ports = Ports {
        identity_provider: port(around.identity_provider.issuer()),
        runtime: port(around.runtime.issuer()),
        notes: port(&around.notes.url()),
    };
    around.shutdown().await;
    let again = Surroundings::start("http://127.0.0.1:1".to_owned(), Some(ports))
        .await
        .unwrap();
    assert_eq!(port(&again.notes.url()), ports.notes);
    again.shutdown().await;
}

async fn verified_by_discovery(issuer: &str, token: &str, algorithm: Algorithm) -> Value {
    let discovery = document(&format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!(discovery["issuer"], issuer);
    assert_eq!(
        discovery["id_token_signing_alg_values_supported"],
        json!([algorithm])
    );
    let keys: JwkSet =
        serde_json::from_value(document(discovery["jwks_uri"].as_str().unwrap()).await).unwrap();
    let key_id = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&key_id).unwrap()).unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[issuer]);
    rules.validate_aud = false;
    jsonwebtoken::decode(token, &key, &rules).unwrap().claims
}

#[tokio::test]
async fn a_code_of_the_sample_company_is_for_its_client_verifier_and_once() {
    let around = Surroundings::start("http://127.0.0.1:1".to_owned(), None)
        .await
        .unwrap();
    let issuer = around.identity_provider.issuer().to_owned();
    let client = loopback_http().unwrap();
    let verifier = "a".repeat(50);
    let challenge = crate::sample::application::challenge(&verifier);
    let ask = |redirect: &str| {
        format!(
            "{issuer}/authorize?response_type=code&client_id=chancery&state=s&nonce=n&code_challenge_method=S256\
             &code_challenge={challenge}&redirect_uri={redirect}"
        )
    };
    let elsewhere = client
        .get(ask("http://127.0.0.1:2/sign-in/callback"))
        .send()
        .await;
    assert_eq!(elsewhere.unwrap().status(), StatusCode::BAD_REQUEST);

    let back = "http://127.0.0.1:1/sign-in/callback";
    let code = async || {
        let pressed = client
            .post(ask(back))
            .form(&[("user", "alice")])
            .send()
            .await
            .unwrap();
        let location = pressed.headers()["location"].to_str().unwrap().to_owned();
        let url = url::Url::parse(&location).unwrap();
        let mut pairs = url.query_pairs();
        pairs.find(|(name, _)| name == "code").unwrap().1.into_owned()
    };
    let redeem = async |code: &str, verifier: &str| {
        let form = [
            ("code", code),
            ("client_id", "chancery"),
            ("redirect_uri", back),
            ("code_verifier", verifier),
        ];
        client
            .post(format!("{issuer}/token"))
            .form(&form)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(
        redeem(&code().await, "wrong").await.status(),
        StatusCode::BAD_REQUEST
    );
    let good = code().await;
    let answer: Value = redeem(&good, &verifier).await.json().await.unwrap();
    let claims = verified_by_discovery(&issuer, answer["id_token"].as_str().unwrap(), Algorithm::ES256).await;
    assert_eq!(
        (&claims["nonce"], &claims["aud"]),
        (&json!("n"), &json!("chancery"))
    );
    assert_eq!(redeem(&good, &verifier).await.status(), StatusCode::BAD_REQUEST);
    around.shutdown().await;
}
