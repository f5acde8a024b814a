//! The notes server through a real client: who acted, scopes, challenges, metadata, foreign pages.

use super::world::World;
use super::{document, said};
use crate::sample::client::{CallError, call_tool, list_tools, loopback_http};
use http::StatusCode;
use rmcp::model::{CallToolRequestParams, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

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
