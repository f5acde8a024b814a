//! The sample parties against an authorization server that is not Chancery, over real HTTP.

use super::access_token::Verifier;
use super::client::{CallError, ToolAnswer, call_tool, list_tools, loopback_http};
use super::identity_provider::Person;
use super::listener::{Body, Bound, Serving, json, text};
use super::notes::NotesServer;
use super::signer::Signer;
use super::{Ports, Surroundings, now};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn an_accepted_token_works_through_a_real_client_and_the_answer_says_who_acted() {
    let world = World::start().await;
    let token = world.token(json!({
        "scope": "read write delete",
        "act": { "sub": "agent-b", "act": { "sub": "agent-a" } },
    }));

    let mut tools = list_tools(&world.url, Some(&token)).await.unwrap();
    tools.sort();
    assert_eq!(tools, ["add_note", "delete_note", "list_notes"]);

    let added = world
        .call(&token, "add_note", json!({ "text": "buy milk" }))
        .await
        .unwrap();
    let by = "agent agent-b for alice, asked by agent agent-a";
    assert_eq!(added, said(&format!("note 1 added by {by}")));

    let listed = world.call(&token, "list_notes", Value::Null).await.unwrap();
    assert_eq!(
        listed,
        said(&format!("1 note, listed by {by}\n1. buy milk (by {by})"))
    );

    let deleted = world
        .call(&token, "delete_note", json!({ "number": 1 }))
        .await
        .unwrap();
    assert_eq!(deleted, said(&format!("note 1 deleted by {by}")));
    let again = world
        .call(&token, "delete_note", json!({ "number": 1 }))
        .await
        .unwrap();
    assert!(again.is_error);
}

#[tokio::test]
async fn a_token_without_actors_is_an_agent_that_acts_for_itself() {
    let world = World::start().await;
    let token = world.token(json!({ "sub": "robot" }));
    let listed = world.call(&token, "list_notes", Value::Null).await.unwrap();
    assert_eq!(listed, said("no notes, listed by agent robot for itself"));
}

#[tokio::test]
async fn both_eras_of_the_protocol_are_served() {
    let world = World::start().await;
    let token = world.token(json!({}));
    let newest = ProtocolVersion::V_2026_07_28;
    let discover = ClientLifecycleMode::Discover {
        preferred_versions: vec![newest],
    };
    for lifecycle in [ClientLifecycleMode::Initialize, discover] {
        let config = StreamableHttpClientTransportConfig::with_uri(world.url.as_str()).auth_header(&token);
        let transport = StreamableHttpClientTransport::with_client(loopback_http().unwrap(), config);
        let connection = ().serve_with_lifecycle(transport, lifecycle.clone()).await.unwrap();
        let listed = CallToolRequestParams::new("list_notes");
        connection.call_tool(listed).await.unwrap();
        let forbidden = CallToolRequestParams::new("add_note")
            .with_arguments(serde_json::Map::from_iter([("text".to_owned(), json!("x"))]));
        let error = CallError::from(connection.call_tool(forbidden).await.unwrap_err());
        assert!(
            matches!(error, CallError::Forbidden { .. }),
            "{lifecycle:?}: {error}"
        );
        connection.cancel().await.unwrap();
    }
}

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
async fn a_missing_scope_is_403_with_the_scope_of_the_tool() {
    let world = World::start().await;
    let reader = world.token(json!({ "scope": "read" }));
    world.call(&reader, "list_notes", Value::Null).await.unwrap();

    let calls = [
        ("add_note", "write", json!({ "text": "x" })),
        ("delete_note", "delete", json!({ "number": 1 })),
    ];
    for (tool, scope, arguments) in calls {
        let error = world.call(&reader, tool, arguments).await.unwrap_err();
        let CallError::Forbidden { challenge } = error else {
            panic!("{tool}: {error}");
        };
        assert_eq!(
            challenge,
            format!(
                r#"Bearer resource_metadata="{}", scope="{scope}", error="insufficient_scope""#,
                world.metadata_url
            )
        );
    }

    let nothing = world.token(json!({ "scope": null }));
    let error = world.call(&nothing, "list_notes", Value::Null).await.unwrap_err();
    assert!(matches!(error, CallError::Forbidden { .. }), "{error}");
    let unknown = world.call(&reader, "burn_notes", Value::Null).await.unwrap_err();
    assert!(matches!(unknown, CallError::Protocol(_)), "{unknown}");
}

#[tokio::test]
async fn without_a_token_the_challenge_names_the_metadata_and_no_error() {
    let world = World::start().await;
    let error = call_tool(&world.url, None, "list_notes", Value::Null)
        .await
        .unwrap_err();
    let CallError::Unauthorized { challenge } = error else {
        panic!("{error}");
    };
    assert_eq!(
        challenge,
        format!(
            r#"Bearer resource_metadata="{}", scope="read""#,
            world.metadata_url
        )
    );

    // A token in the query is no token (RFC 6750 §5.3).
    let in_query = format!("{}?access_token={}", world.url, world.token(json!({})));
    let error = list_tools(&in_query, None).await.unwrap_err();
    assert!(matches!(error, CallError::Unauthorized { .. }), "{error}");
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

#[tokio::test]
async fn the_resource_metadata_is_the_same_at_both_places() {
    let world = World::start().await;
    let expected = json!({
        "resource": world.url,
        "resource_name": "Notes",
        "authorization_servers": [world.authority.url],
        "scopes_supported": ["read", "write", "delete"],
        "bearer_methods_supported": ["header"],
    });
    let root = world.metadata_url.trim_end_matches("/mcp");
    for url in [world.metadata_url.as_str(), root] {
        assert_eq!(document(url).await, expected);
    }
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_turned_away() {
    let world = World::start().await;
    let client = loopback_http().unwrap();
    let foreign_host = client
        .get(&world.metadata_url)
        .header("host", "attacker.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign_host.status(), StatusCode::MISDIRECTED_REQUEST);

    let foreign_origin = client
        .post(&world.url)
        .bearer_auth(world.token(json!({})))
        .header("origin", "https://attacker.example")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(foreign_origin.status(), StatusCode::FORBIDDEN);
}

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

/// A notes server, and an authorization server that it trusts.
struct World {
    authority: Authority,
    url: String,
    metadata_url: String,
    _notes: NotesServer,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::start().await;
        let notes = NotesServer::start(0, authority.url.clone()).await.unwrap();
        Self {
            authority,
            url: notes.url(),
            metadata_url: notes.metadata_url(),
            _notes: notes,
        }
    }

    /// Good claims, with some set otherwise; null removes one.
    fn claims(&self, changed: Value) -> Value {
        let mut claims = json!({
            "iss": self.authority.url,
            "sub": "alice",
            "aud": self.url,
            "client_id": "client",
            "iat": now(),
            "exp": now() + 300,
            "jti": "1",
            "scope": "read",
        });
        let members = claims.as_object_mut().unwrap();
        let Value::Object(changed) = changed else {
            panic!("claims are an object");
        };
        members.extend(changed);
        members.retain(|_, value| !value.is_null());
        claims
    }

    fn token(&self, changed: Value) -> String {
        let claims = self.claims(changed);
        self.authority.es256.sign(Some("at+jwt"), &claims).unwrap()
    }

    async fn call(&self, token: &str, tool: &str, arguments: Value) -> Result<ToolAnswer, CallError> {
        call_tool(&self.url, Some(token), tool, arguments).await
    }

    async fn refused(&self, token: &str, reason: &str) {
        let error = self.call(token, "list_notes", Value::Null).await.unwrap_err();
        let CallError::Unauthorized { challenge } = error else {
            panic!("expected 401 ({reason}), got: {error}");
        };
        let start = format!(
            r#"Bearer resource_metadata="{}", scope="read", error="invalid_token", error_description=""#,
            self.metadata_url
        );
        let description = challenge.strip_prefix(&start).expect(&challenge);
        assert!(description.contains(reason), "{reason}: {challenge}");
    }
}

/// An authorization server with a key of each kind.
struct Authority {
    url: String,
    es256: Signer,
    rs256: Signer,
    eddsa: Signer,
    published: Arc<Mutex<Vec<Value>>>,
    reads: Arc<Mutex<u32>>,
    _serving: Serving,
}

impl Authority {
    async fn start() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let document = pair.to_pkcs8v1().unwrap();
        let eddsa = Signer::new(Algorithm::EdDSA, EncodingKey::from_ed_der(document.as_ref())).unwrap();
        let (es256, rs256) = (Signer::es256().unwrap(), Signer::rs256().unwrap());
        let keys = [&es256, &rs256, &eddsa].map(|signer| signer.key_set()["keys"][0].clone());
        let published = Arc::new(Mutex::new(keys.to_vec()));
        let reads = Arc::new(Mutex::new(0));

        let bound = Bound::to_loopback(0).await.unwrap();
        let url = bound.base();
        let (issuer, key_list, counter) = (url.clone(), Arc::clone(&published), Arc::clone(&reads));
        let serving = bound.serve(move |request| {
            let response = Self::answer(&issuer, &key_list, &counter, &request);
            async move { response }
        });
        Self {
            url,
            es256,
            rs256,
            eddsa,
            published,
            reads,
            _serving: serving,
        }
    }

    fn answer<B>(
        issuer: &str,
        keys: &Mutex<Vec<Value>>,
        reads: &Mutex<u32>,
        request: &Request<B>,
    ) -> Response<Body> {
        match request.uri().path() {
            "/.well-known/oauth-authorization-server" | "/.well-known/oauth-authorization-server/other" => {
                json(
                    StatusCode::OK,
                    &json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }),
                )
            }
            "/keys" => {
                *reads.lock().unwrap() += 1;
                json(StatusCode::OK, &json!({ "keys": *keys.lock().unwrap() }))
            }
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

fn said(text: &str) -> ToolAnswer {
    ToolAnswer {
        text: text.to_owned(),
        is_error: false,
    }
}

async fn document(url: &str) -> Value {
    let response = loopback_http().unwrap().get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
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
