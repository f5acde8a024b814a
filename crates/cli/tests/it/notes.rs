//! A small MCP server that wants a key, with one tool that reads and one that writes.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use wire::{Reply, serve};

pub(crate) const KEY: &str = "MARKER-key-of-notes-0123456789";

/// The server; it ends with the test.
pub(crate) struct Notes {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Notes {
    pub(crate) fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let address = serve(move |asked| {
            if asked.header("authorization") != Some(&format!("Bearer {KEY}")) {
                return (401, Vec::new(), String::new());
            }
            if asked.method != "POST" {
                return (405, Vec::new(), String::new());
            }
            let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let reply = answer(&message);
            log.lock().unwrap().push(message);
            reply
        });
        Self {
            url: format!("http://{address}/mcp"),
            seen,
        }
    }

    /// Names of tools that were called.
    pub(crate) fn called(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let calls = seen.iter().filter(|message| message["method"] == "tools/call");
        calls
            .map(|call| call["params"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn answer(message: &Value) -> Reply {
    let schema = json!({ "type": "object" });
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "notes", "version": "1" } }),
        "tools/list" => json!({ "tools": [
            { "name": "read_note", "inputSchema": schema, "annotations": { "readOnlyHint": true } },
            { "name": "write_note", "inputSchema": schema },
        ] }),
        "tools/call" => {
            let text = format!("did {}", message["params"]["name"].as_str().unwrap_or_default());
            json!({ "content": [{ "type": "text", "text": text }] })
        }
        _ if message.get("id").is_none() => return (202, Vec::new(), String::new()),
        _ => json!({}),
    };
    result_of(&message["id"], &result)
}

/// A response in JSON.
pub(crate) fn result_of(id: &Value, result: &Value) -> Reply {
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    (
        200,
        vec![("content-type", "application/json".to_owned())],
        body.to_string(),
    )
}

/// HTTP, as far as tests need it.
pub(crate) mod wire {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use hyper::body::Incoming;
    use hyper::{HeaderMap, Method, Request, Response};
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::sync::Arc;

    /// What was asked.
    pub(crate) struct Asked {
        pub(crate) method: Method,
        pub(crate) path: String,
        pub(crate) headers: HeaderMap,
        pub(crate) body: Bytes,
    }

    impl Asked {
        pub(crate) fn header(&self, name: &str) -> Option<&str> {
            self.headers.get(name).map(|value| value.to_str().unwrap())
        }
    }

    /// What is answered: status, headers, body.
    pub(crate) type Reply = (u16, Vec<(&'static str, String)>, String);

    pub(crate) fn serve<H>(handler: H) -> SocketAddr
    where
        H: Fn(&Asked) -> Reply + Send + Sync + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let handler = Arc::clone(&handler);
                    let service =
                        hyper::service::service_fn(move |request| one(Arc::clone(&handler), request));
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                    tokio::spawn(connection);
                }
            });
        });
        address
    }

    async fn one<H>(handler: Arc<H>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible>
    where
        H: Fn(&Asked) -> Reply,
    {
        let (parts, body) = request.into_parts();
        let asked = Asked {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        let (status, headers, body) = handler(&asked);
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(Bytes::from(body))).unwrap())
    }
}
