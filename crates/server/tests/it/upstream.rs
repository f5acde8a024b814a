//! An MCP server and HTTP provider of the tests' own, on loopback: it keeps what it was sent, and misbehaves on
//! demand.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

/// What was sent to it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A server that is running.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tools: Arc<Mutex<Value>>,
    script: Arc<Mutex<Option<Script>>>,
}

/// What a test has it answer; `None` for what it would answer by itself.
#[derive(Clone)]
struct Script(Arc<dyn Fn(Seen) -> Answering + Send + Sync>);

type Answering = Pin<Box<dyn Future<Output = Option<Response>> + Send>>;

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script(..)")
    }
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            tools: Arc::new(Mutex::new(tools())),
            script: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        upstream
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was sent since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Waits until so many requests were sent.
    pub(crate) async fn wait_for(&self, count: usize) {
        while self.seen.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    }

    /// From now on this is asked first, for each request, as soon as it is there.
    pub(crate) fn script<F>(&self, script: impl Fn(Seen) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Response>> + Send + 'static,
    {
        let script = Script(Arc::new(move |seen| Box::pin(script(seen))));
        *self.script.lock().unwrap() = Some(script);
    }

    pub(crate) fn change_tool(&self, name: &str, field: &str, value: &Value) {
        let mut tools = self.tools.lock().unwrap();
        for tool in tools.as_array_mut().unwrap() {
            if tool["name"] == name {
                tool[field] = value.clone();
            }
        }
    }
}

/// What it offers.
fn tools() -> Value {
    let tool = |name: &str, properties: Value| json!({ "name": name, "description": name, "inputSchema": { "type": "object", "properties": properties } });
    json!([
        tool("list_accounts", json!({})),
        tool(
            "pay",
            json!({ "amount": { "type": "integer" }, "to": { "type": "string" }, "pin": { "type": "string", "writeOnly": true } })
        ),
        tool("leak", json!({})),
        tool("foreign", json!({})),
        tool("stream", json!({})),
        tool("die", json!({})),
        tool("slow", json!({})),
        tool("hang", json!({})),
        tool("absent", json!({})),
        tool("unmapped", json!({})),
        tool("close_account", json!({})),
    ])
}

async fn answer(
    State(upstream): State<Upstream>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen {
        method: method.to_string(),
        path: uri.to_string(),
        headers: headers.clone(),
        body: body.to_vec(),
    };
    let message = seen.json();
    upstream.seen.lock().unwrap().push(seen.clone());
    let script = upstream.script.lock().unwrap().clone();
    if let Some(Script(script)) = script
        && let Some(answer) = script(seen).await
    {
        return answer;
    }
    if uri.path() == "/v1/hang" {
        return std::future::pending().await;
    }
    if uri.path() == "/v1/slow" {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    if uri.path() != "/mcp" {
        return provider(&uri, &headers, &body);
    }
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(id) = message.get("id") else {
        return StatusCode::ACCEPTED.into_response();
    };
    let tools = upstream.tools.lock().unwrap().clone();
    match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "bank", "version": "1" } });
            (
                [("mcp-session-id", "session-of-the-upstream")],
                result_of(id, &result),
            )
                .into_response()
        }
        "prompts/list" => prompts(id),
        "tools/list" => result_of(id, &json!({ "tools": tools, "nextCursor": null })),
        "tools/call" if message["params"]["name"] == "slow" => {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            result_of(id, &json!({ "content": [] }))
        }
        "tools/call" if message["params"]["name"] == "hang" => {
            let _left = Left(upstream);
            std::future::pending().await
        }
        "tools/call" => call(
            id,
            message["params"]["name"].as_str().unwrap_or_default(),
            &headers,
        ),
        _ => result_of(id, &json!({})),
    }
}

fn prompts(id: &Value) -> Response {
    let arguments = json!([{ "name": "to", "required": true }, { "name": "tone" }]);
    result_of(
        id,
        &json!({ "prompts": [{ "name": "letter", "arguments": arguments }] }),
    )
}

/// Tells when a request was given up.
struct Left(Upstream);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.seen.lock().unwrap().push(Seen {
            method: "LEFT".to_owned(),
            path: String::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
        });
    }
}

fn call(id: &Value, tool: &str, headers: &HeaderMap) -> Response {
    match tool {
        "absent" => {
            let error =
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "not here" } });
            (StatusCode::NOT_FOUND, axum::Json(error)).into_response()
        }
        "leak" => {
            let key = headers
                .get("authorization")
                .map(|value| value.to_str().unwrap().to_owned());
            result_of(
                id,
                &json!({ "content": [{ "type": "text", "text": format!("the key is {key:?}") }] }),
            )
        }
        "foreign" => result_of(&json!("somebody-elses"), &json!({ "content": [] })),
        "stream" => {
            let notice =
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progress": 1 } });
            let last = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
            let body = format!(": hello\n\nid: 1\ndata: {notice}\n\nid: 2\ndata: {last}\n\ndata: {{\"never");
            ([("content-type", "text/event-stream")], body).into_response()
        }
        "die" => {
            let pieces = [
                Ok(Bytes::from_static(b"{\"jsonrpc\"")),
                Err(std::io::Error::other("gone")),
            ];
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            ([("content-type", "application/json")], body).into_response()
        }
        other => result_of(
            id,
            &json!({ "content": [{ "type": "text", "text": format!("did {other}") }], "extra": {"kept": 1.50} }),
        ),
    }
}

pub(crate) fn result_of(id: &Value, result: &Value) -> Response {
    // Odd spacing, so that a test sees whether bytes are kept.
    let body = format!("{{\"jsonrpc\" : \"2.0\",\"id\":{id} , \"result\":{result}}}");
    ([("content-type", "application/json")], body).into_response()
}

fn provider(uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let key = headers
        .get("x-api-key")
        .map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
    match uri.path() {
        "/v1/echo" => format!("you sent {key}").into_response(),
        "/v1/away" => (StatusCode::FOUND, [("location", "https://evil.example/")]).into_response(),
        "/v1/cookie" => ([("set-cookie", "a=b"), ("x-rate", "7")], "ok").into_response(),
        _ => (
            StatusCode::OK,
            [("content-type", "application/octet-stream")],
            body.clone(),
        )
            .into_response(),
    }
}
