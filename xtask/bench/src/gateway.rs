//! Calls through the gateway against the same calls made directly, turn by turn in one run: an MCP server of one
//! tool, an API key added, a policy that reads an argument, every call recorded durably before it leaves.

use crate::http::{self, Connection};
use crate::load::{self, Outcome};
use crate::report::{Report, say};
use crate::scenario::{Requests, policies};
use crate::server::{Place, Server, free_address, pinned, wait_until_ready};
use crate::{Plan, scenario};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::rc::Rc;

/// Measures direct calls, calls through the gateway and, where it is installed, through `mcp-proxy`.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let upstream = Upstream::start().await?;
    let place = Place::fresh(&plan.server, &plan.folder.join("data/gateway"))?;
    let server = place.start().await?;
    let token = set_up(&place, &server, upstream.address).await?;
    let mut ways = vec![
        Way::new("direct", upstream.address, "/mcp", "", upstream.process()),
        Way::new("gateway", place.address(), "/mcp/bank", &token, server.process),
    ];
    let other = OtherProxy::start(plan, upstream.address).await?;
    if let Some(other) = &other {
        ways.push(
            Way::new("mcp-proxy", other.address, "/", "", other.child.id())
                .in_session()
                .await?,
        );
    }
    for way in &ways {
        way.check().await?;
    }
    for connections in [1, 16, 64] {
        for (way, outcome) in ways.iter().zip(in_turns(plan, &ways, connections).await?) {
            report.add_load("calls", way.name, &outcome);
        }
    }
    idle_sessions(plan, &server, place.address(), &token, report).await?;
    server.stop()
}

/// One way to the tool.
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
    token: String,
    session: String,
    process: u32,
}

impl Way {
    fn new(name: &'static str, address: SocketAddr, path: &'static str, token: &str, process: u32) -> Self {
        Self {
            name,
            address,
            path,
            token: token.to_owned(),
            session: String::new(),
            process,
        }
    }

    /// Opens a session for servers that demand one.
    async fn in_session(self) -> Result<Self> {
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.send(&self.post(&initialize(1))).await?;
        let session = answer.header("mcp-session-id").unwrap_or_default();
        let way = Self { session, ..self };
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        connection.send(&way.post(&initialized)).await?;
        Ok(way)
    }

    fn post(&self, message: &Value) -> Vec<u8> {
        post(self.address, self.path, (&self.token, &self.session), message)
    }

    fn requests(&self) -> Requests {
        let name = if self.name == "mcp-proxy" {
            "bank/pay"
        } else {
            "pay"
        };
        let call = |number: u64| {
            let arguments = json!({ "amount": number % 90, "to": format!("somebody-{number}@bank.example") });
            let params = json!({ "name": name, "arguments": arguments });
            self.post(&json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params }))
        };
        // More than a node remembers of calls, so that arguments are new each time.
        Rc::new((1..=8_192).map(call).collect())
    }

    /// What is measured must be an answered call.
    async fn check(&self) -> Result<()> {
        let requests = self.requests();
        let request = requests.first().context("a request")?;
        let answer = Connection::open(self.address).await?.send(request).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(
            answer.status == 200 && body.contains("paid"),
            "{}: {} {body}",
            self.name,
            answer.status
        );
        Ok(())
    }
}

/// Each way in turn, three times; of each the run with the middle p50.
async fn in_turns(plan: &Plan, ways: &[Way], connections: usize) -> Result<Vec<Outcome>> {
    let mut runs: Vec<Vec<Outcome>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..3 {
        for (way, outcomes) in ways.iter().zip(&mut runs) {
            let requests = way.requests();
            let span = plan.span() / 3;
            outcomes.push(load::run(way.address, &requests, connections, span, way.process).await?);
        }
    }
    let middle = |mut outcomes: Vec<Outcome>| {
        outcomes.sort_by(|left, right| left.p50.total_cmp(&right.p50));
        outcomes.get(1).copied().context("three runs")
    };
    runs.into_iter().map(middle).collect()
}

/// Opens many sessions and leaves them.
async fn idle_sessions(
    plan: &Plan,
    server: &Server,
    address: SocketAddr,
    token: &str,
    report: &mut Report,
) -> Result<()> {
    let sessions = if plan.is_quick { 500 } else { 10_000 };
    let mut connection = Connection::open(address).await?;
    let before = server.memory()?;
    for number in 0..sessions {
        let request = post(address, "/mcp/bank", (token, ""), &initialize(number));
        let answer = connection.send(&request).await?;
        ensure!(answer.status == 200, "a session was refused: {}", answer.status);
    }
    let grown = server.memory()? - before;
    report.add("calls", "memory before idle sessions", before, "MiB");
    report.add(
        "calls",
        format!("memory more with {sessions} idle sessions"),
        grown,
        "MiB",
    );
    Ok(())
}

async fn set_up(place: &Place, server: &Server, upstream: SocketAddr) -> Result<String> {
    let steps = server.apply(&document(upstream))?;
    server.run(&["account", "set", "bank", "--tenant-wide", "--key", "-"], KEY)?;
    let client = steps
        .iter()
        .find(|step| step.get("noun") == Some(&json!("client")))
        .context("no client was made")?;
    let text = |name: &str| client.get(name).and_then(Value::as_str).context("no credentials");
    let fields = [
        ("grant_type", "client_credentials"),
        ("audience", "bank"),
        ("scope", "look pay"),
        ("client_id", text("id")?),
        ("client_secret", text("secret")?),
    ];
    let mut connection = Connection::open(place.address()).await?;
    let answer = connection
        .send(&http::form(place.address(), "/token", &fields))
        .await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    let token = body.get("access_token").and_then(Value::as_str);
    let token = token.with_context(|| format!("no token: {body}"))?.to_owned();
    // The first list pins what the server offers.
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let answer = connection
        .send(&post(place.address(), "/mcp/bank", (&token, ""), &list))
        .await?;
    ensure!(answer.status == 200, "the list was refused: {}", answer.status);
    Ok(token)
}

fn document(upstream: SocketAddr) -> Value {
    let limit = "\n@id(\"payments-up-to-100\")\nforbid (principal is Agent, action == Action::\"call_tool\", resource == Tool::\"bank:pay\")\n\
        unless { context.arguments.number.hasTag(\"amount\") && context.arguments.number.getTag(\"amount\") <= 100 };\n";
    let key = json!({ "header": { "name": "Authorization", "prefix": "Bearer " } });
    json!({
        "connections": [{
            "name": "bank", "owner": "group:lab", "base_url": format!("http://{upstream}"), "owner_level": "tenant",
            "credential": { "api_key": { "parts": [{ "name": "token", "placement": key }] } },
        }],
        "resources": [{
            "name": "bank", "lifetime": 3_600,
            "upstream": { "mcp": { "url": format!("http://{upstream}/mcp"), "connection": "bank" } },
            "scopes": { "look": { "sensitivity": "read" }, "pay": {} }, "default_scopes": ["look"],
            "tools": { "pay": ["look", "pay"] },
        }],
        "agents": [{ "name": "worker", "owner": "group:lab", "ceiling": { "bank": ["look", "pay"] } }],
        "clients": [{ "name": "worker-secret", "agent": "worker", "method": "client_secret_post" }],
        "grants": [
            { "agent": "worker", "principal": "itself", "resource": "bank", "scopes": ["look", "pay"] },
            { "agent": "worker", "principal": "itself", "connection": "bank" },
        ],
        "policy": policies(scenario::POLICIES) + limit,
    })
}

fn initialize(number: u64) -> Value {
    let params = json!({
        "protocolVersion": REVISION, "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" },
    });
    json!({ "jsonrpc": "2.0", "id": number, "method": "initialize", "params": params })
}

fn post(address: SocketAddr, path: &str, (token, session): (&str, &str), message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let optional = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{name}: {value}\r\n"),
    };
    let authorization = match token {
        "" => String::new(),
        token => format!("Bearer {token}"),
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {REVISION}\r\n{}{}Content-Length: {}\r\n\r\n{body}",
        optional("Authorization", &authorization),
        optional("Mcp-Session-Id", session),
        body.len()
    )
    .into_bytes()
}

/// The MCP server behind the gateway, in a process of its own beside the load.
struct Upstream {
    address: SocketAddr,
    child: Child,
}

impl Upstream {
    async fn start() -> Result<Self> {
        let address = free_address()?;
        let child = Command::new(std::env::current_exe()?)
            .arg("mcp-server")
            .arg(address.to_string())
            .spawn()?;
        let upstream = Self { address, child };
        wait_until_ready(address).await?;
        Ok(upstream)
    }

    fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // One that is gone already is as good as stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The MCP server of [`Upstream`].
pub(crate) fn serve_mcp() -> Result<()> {
    let address = std::env::args().nth(2).context("an address")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(async move {
                // A client that hangs up is how every connection ends.
                let _ = served.await;
            });
        }
    })
}

async fn answer(request: hyper::Request<hyper::body::Incoming>) -> Result<hyper::Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match message.get("method").and_then(Value::as_str) {
        Some("initialize") => json!({
            "protocolVersion": REVISION, "capabilities": { "tools": {} }, "serverInfo": { "name": "bank", "version": "1" },
        }),
        Some("tools/list") => json!({ "tools": [{
            "name": "pay", "description": "Pays.",
            "inputSchema": { "type": "object", "properties": { "amount": { "type": "integer" }, "to": { "type": "string" } } },
        }] }),
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": "paid" }], "isError": false }),
        Some(_) | None => json!({}),
    };
    let mut response = hyper::Response::builder().header("content-type", "application/json");
    if message.get("method") == Some(&json!("initialize")) {
        response = response.header("mcp-session-id", "one-of-the-benchmark");
    }
    let Some(id) = message.get("id") else {
        let status = if message.is_null() { 200 } else { 202 };
        return Ok(response.status(status).body(Full::default())?);
    };
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    Ok(response.body(Full::from(answer.to_string()))?)
}

/// The published crate `mcp-proxy`, on the server's core.
struct OtherProxy {
    address: SocketAddr,
    child: Child,
}

impl OtherProxy {
    async fn start(plan: &Plan, upstream: SocketAddr) -> Result<Option<Self>> {
        let Some(program) = &plan.mcp_proxy else {
            say("mcp-proxy: not installed, not measured");
            return Ok(None);
        };
        let address = free_address()?;
        let file = plan.folder.join("data/mcp-proxy.toml");
        let text = format!(
            "[proxy]\nname = \"bench\"\nseparator = \"/\"\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {}\n\
             [[backends]]\nname = \"bank\"\ntransport = \"http\"\nurl = \"http://{upstream}/mcp\"\n",
            address.port()
        );
        std::fs::write(&file, text)?;
        let child = pinned(program).arg("--config").arg(&file).spawn()?;
        let other = Self { address, child };
        for _ in 0..500 {
            if Connection::open(address).await.is_ok() {
                return Ok(Some(other));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        say("mcp-proxy: did not start, not measured");
        Ok(None)
    }
}

impl Drop for OtherProxy {
    fn drop(&mut self) {
        // One that is gone already is as good as stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REVISION: &str = "2025-11-25";
const KEY: &str = "a-key-of-the-benchmark-and-of-nothing-else";
