//! `POST /upstreams/inspect`: looking at an MCP server before it is added, and `GET /me`.

use crate::estate::*;
use crate::harness::*;
use crate::outside;
use crate::upstream::Upstream;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

on_both_engines!(
    hints_become_scopes_and_definitions_become_pins,
    what_is_proposed_can_be_applied_and_called,
    every_page_is_read_without_a_session_too,
    a_server_that_wants_a_key_says_what_to_do,
    the_key_goes_where_it_is_told_and_comes_back_nowhere,
    what_the_fence_refuses_names_the_option,
    what_is_no_mcp_server_is_said_so,
    whoever_may_not_say_where_calls_go_may_not_look,
    me_is_the_one_administrator_or_has_to_be_said,
);

const KEY: &str = "MARKER-key-to-try-0123456789";

async fn look(estate: &Estate, body: Value) -> Answer {
    estate.try_admin("POST", "/upstreams/inspect", body).await
}

async fn estate(place: &Place) -> Estate {
    Estate::on(outside::node(place, |_, _| {}).await, "").await
}

async fn hints_become_scopes_and_definitions_become_pins(place: Place) {
    let (estate, upstream) = (estate(&place).await, Upstream::start().await);
    upstream.change_tool("list_accounts", "annotations", &json!({ "readOnlyHint": true }));
    upstream.change_tool(
        "close_account",
        "annotations",
        &json!({ "destructiveHint": true, "readOnlyHint": true }),
    );
    upstream.change_tool("pay", "description", &json!("pays\u{1b}[2J\nnow"));
    let answer = look(
        &estate,
        json!({ "url": upstream.url("/mcp"), "name": "shop", "owner": "ops" }),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = answer.json();
    assert_eq!(seen["server"]["name"], "bank");
    assert_eq!(seen["revision"], "2025-11-25");
    let tool = |name: &str| {
        let tools = seen["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap().clone()
    };
    assert_eq!(tool("list_accounts")["scope"], "read");
    assert_eq!(tool("pay")["scope"], "write");
    assert_eq!(tool("pay")["description"], "pays[2J now");
    assert_eq!(tool("close_account")["scope"], "destructive");
    let resource = &seen["document"]["resources"][0];
    assert_eq!(resource["scopes"]["destructive"]["sensitivity"], "sensitive");
    assert_eq!(resource["tools"]["pay"]["manifest"], tool("pay")["manifest"]);
    assert_eq!(
        resource["upstream"]["mcp"],
        json!({ "url": upstream.url("/mcp") })
    );
    assert!(seen["document"].get("connections").is_none());
    // Nothing was stored.
    let unknown = estate.try_admin("GET", "/resources/shop", Value::Null).await;
    assert_eq!(unknown.status, 404);
    // The session is not left behind.
    let methods: Vec<String> = upstream.take().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods.last().map(String::as_str), Some("DELETE"));
}

async fn what_is_proposed_can_be_applied_and_called(place: Place) {
    let (estate, upstream) = (estate(&place).await, Upstream::start().await);
    upstream.change_tool("list_accounts", "annotations", &json!({ "readOnlyHint": true }));
    let body = json!({ "url": upstream.url("/mcp"), "name": "shop", "owner": "ops", "key": KEY });
    let seen = look(&estate, body).await.json();
    estate.apply(seen["document"].clone()).await;
    let account = json!({ "connection": "shop", "owner": "tenant", "values": { "token": KEY } });
    estate.admin("POST", "/connected_accounts", account).await;
    estate
        .change("agents", "planner", json!({ "ceiling": { "shop": ["read"] } }))
        .await;
    estate
        .apply(json!({ "grants": [
            { "agent": "planner", "principal": "itself", "resource": "shop", "scopes": ["read"] },
            { "agent": "planner", "principal": "itself", "connection": "shop" },
        ] }))
        .await;
    let token = estate.own("planner", &[("audience", "shop")]).await.token();
    let call = |method: &str, params: Value| {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = http::Request::post("/mcp/shop")
            .header("host", "id.example")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .header("authorization", format!("Bearer {token}"));
        estate
            .node
            .send(request.body(axum::body::Body::from(body)).unwrap())
    };
    call("tools/list", json!({})).await;
    let answer = call("tools/call", json!({ "name": "list_accounts", "arguments": {} })).await;
    assert!(answer.text().contains("did list_accounts"), "{}", answer.text());
    // The pin that was proposed holds: a tool that changes after that is not called.
    upstream.change_tool("list_accounts", "description", &json!("now with a surprise"));
    call("tools/list", json!({})).await;
    let answer = call("tools/call", json!({ "name": "list_accounts", "arguments": {} })).await;
    assert!(!answer.text().contains("did list_accounts"), "{}", answer.text());
}

/// A server of the stateless era with one tool on each of three pages.
async fn stateless(
    State(seen): State<Arc<Mutex<Vec<HeaderMap>>>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    seen.lock().unwrap().push(headers.clone());
    let message: Value = serde_json::from_str(&body).unwrap();
    let id = &message["id"];
    let version = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    if version != "2026-07-28" || headers["mcp-method"] != "tools/list" {
        let error =
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32022, "message": "unsupported" } });
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    }
    let page = match message["params"]["cursor"].as_str() {
        None => 1,
        Some(cursor) => cursor.parse::<u32>().unwrap(),
    };
    let mut result = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "tools": [{ "name": format!("tool-{page}"), "inputSchema": { "type": "object" } }] });
    if page < 3 {
        result["nextCursor"] = json!((page + 1).to_string());
    }
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

async fn every_page_is_read_without_a_session_too(place: Place) {
    let estate = estate(&place).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let address = outside::serve(Router::new().route("/mcp", post(stateless)).with_state(seen)).await;
    let answer = look(
        &estate,
        json!({ "url": format!("http://{address}/mcp"), "name": "shop" }),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["revision"], "2026-07-28");
    assert_eq!(answer.json()["tools"].as_array().unwrap().len(), 3);
}

async fn a_server_that_wants_a_key_says_what_to_do(place: Place) {
    let estate = estate(&place).await;
    let router = Router::new().route("/mcp", post(|| async { StatusCode::UNAUTHORIZED }));
    let url = format!("http://{}/mcp", outside::serve(router).await);
    let without = look(&estate, json!({ "url": url, "name": "shop" })).await;
    assert_eq!(without.problem(), (422, "upstream_unusable".to_owned()));
    assert!(
        without.json()["hint"]
            .as_str()
            .unwrap()
            .starts_with("give its key: --key -")
    );
    let with = look(&estate, json!({ "url": url, "name": "shop", "key": KEY })).await;
    assert!(with.json()["hint"].as_str().unwrap().starts_with("check the key"));
    assert!(!with.text().contains(KEY));
    let wrong = look(
        &estate,
        json!({ "url": url, "name": "shop", "key": { "k": KEY } }),
    )
    .await;
    assert_eq!(wrong.status, 422);
    assert!(!wrong.text().contains(KEY));
}

async fn the_key_goes_where_it_is_told_and_comes_back_nowhere(place: Place) {
    let (estate, upstream) = (estate(&place).await, Upstream::start().await);
    let body = json!({ "url": upstream.url("/mcp"), "name": "shop", "key": KEY, "header": "X-Api-Key" });
    let answer = look(&estate, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(KEY));
    let placement =
        &answer.json()["document"]["connections"][0]["credential"]["api_key"]["parts"][0]["placement"];
    assert_eq!(*placement, json!({ "header": { "name": "X-Api-Key" } }));
    for seen in upstream.take() {
        assert_eq!(seen.header("x-api-key"), Some(KEY));
        assert_eq!(seen.header("authorization"), None);
    }
    upstream.change_tool("pay", "description", &json!(format!("your key is {KEY}")));
    let echoed = look(
        &estate,
        json!({ "url": upstream.url("/mcp"), "name": "shop", "key": KEY }),
    )
    .await;
    assert_eq!(echoed.problem(), (422, "upstream_unusable".to_owned()));
    assert!(!echoed.text().contains(KEY));
    let log = estate.admin("GET", "/audit/events?limit=500", Value::Null).await;
    assert!(!log.to_string().contains(KEY));
}

async fn what_the_fence_refuses_names_the_option(place: Place) {
    let estate = Estate::start(&place).await;
    let upstream = Upstream::start().await;
    let answer = look(&estate, json!({ "url": upstream.url("/mcp"), "name": "shop" })).await;
    assert_eq!(answer.problem(), (422, "upstream_unusable".to_owned()));
    let hint = answer.json()["hint"].as_str().unwrap().to_owned();
    let option = format!("chancery serve --allow-hosts {}", upstream.address);
    assert!(hint.contains(&option), "{hint}");
    assert!(upstream.take().is_empty());
}

async fn what_is_no_mcp_server_is_said_so(place: Place) {
    let estate = estate(&place).await;
    let router = Router::new().route("/", post(|| async { "hello" }));
    let base = format!("http://{}", outside::serve(router).await);
    for path in ["/", "/nothing"] {
        let answer = look(&estate, json!({ "url": format!("{base}{path}"), "name": "shop" })).await;
        assert_eq!(answer.problem(), (422, "upstream_unusable".to_owned()), "{path}");
        assert!(answer.json()["hint"].as_str().unwrap().contains("/mcp"));
    }
    let away = look(&estate, json!({ "url": "ftp://a.example/mcp", "name": "shop" })).await;
    assert_eq!(away.problem(), (422, "invalid".to_owned()));
}

async fn whoever_may_not_say_where_calls_go_may_not_look(place: Place) {
    let (estate, upstream) = (estate(&place).await, Upstream::start().await);
    let policy = estate.admin("GET", "/policy", Value::Null).await;
    let text = format!(
        "{}\n@id(\"planner-writes\") permit (principal == Agent::\"planner\", action == Action::\"issue_token\", resource);",
        policy["text"].as_str().unwrap()
    );
    estate.admin("PUT", "/policy", json!({ "text": text })).await;
    estate
        .change(
            "agents",
            "planner",
            json!({ "ceiling": { "chancery": ["write"] } }),
        )
        .await;
    let grant =
        json!({ "agent": "planner", "principal": "itself", "resource": "chancery", "scopes": ["write"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let uri = format!("{BASE}/api/v1");
    let token = estate
        .own("planner", &[("resource", &uri), ("scope", "write")])
        .await
        .token();
    let body = json!({ "url": upstream.url("/mcp"), "name": "shop" });
    let answer = estate
        .node
        .api("POST", "/api/v1/upstreams/inspect", &token, body)
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(upstream.take().is_empty());
}

async fn me_is_the_one_administrator_or_has_to_be_said(place: Place) {
    let estate = Estate::start(&place).await;
    let administrator =
        |name: &str| json!({ "name": name, "issuer": "local", "subject": name, "roles": ["administrator"] });
    estate.apply(json!({ "users": [administrator("ada")] })).await;
    let me = estate.admin("GET", "/me", Value::Null).await;
    assert_eq!(
        (&me["user"], &me["administrators"]),
        (&json!("ada"), &json!(["ada"]))
    );
    estate.apply(json!({ "users": [administrator("bob")] })).await;
    let me = estate.admin("GET", "/me", Value::Null).await;
    assert_eq!(
        (&me["user"], &me["administrators"]),
        (&Value::Null, &json!(["ada", "bob"]))
    );
}
