//! The second part: one MCP server, reached directly and through the gateway. It demands a key; Chancery keeps the
//! key and adds it, and its callers have a token instead.

use super::install::{Foreign, NODE};
use super::running::{Running, apply, chancery, clients, free_ports, wait_for};
use crate::steps::{output, program};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
}

impl Gateway {
    /// Starts the server, Chancery in front of it, and for programs that cannot send a header a listener each way.
    pub(super) fn start(foreign: &Foreign) -> Result<Self> {
        let mut running = Running::start()?;
        let folder = running.folder().to_owned();
        let ports = free_ports(4)?;
        let [fixture, own, open_direct, open_gateway] = ports.as_slice() else {
            bail!("no ports are free");
        };
        let mut begun = foreign.command(NODE, "fixture.mjs");
        running.begin("fixture", begun.args([&fixture.to_string(), KEY]))?;
        wait_for(*fixture, "/up")?;
        let direct = format!("http://127.0.0.1:{fixture}/mcp");
        let offered = list(foreign, &direct, "x-api-key", KEY)?;

        let issuer = format!("http://127.0.0.1:{own}");
        let data = folder.join("data");
        let mut serve = program(chancery()?);
        serve.args(["serve", "--log", "warn", "--allow-hosts", "127.0.0.1"]);
        serve.args(["--public-url", &issuer, "--listen"]);
        serve.arg(format!("127.0.0.1:{own}")).arg("--data").arg(&data);
        running.begin("serve", &mut serve)?;
        wait_for(*own, "/readyz")?;
        let file = folder.join("apply.json");
        fs::write(&file, document(&offered, *fixture)?.to_string())?;
        let socket = data.join("chancery.sock");
        let clients = clients(&apply(&socket, &file)?);
        keep_key(&socket)?;

        let url = format!("{issuer}/mcp/fixture");
        let token = token(&issuer, &url, &folder, &clients)?;
        let bearer = format!("Bearer {token}");
        // What is listed first is what the gateway accepts from then on.
        list(foreign, &url, "authorization", &bearer)?;
        for (port, target, name, value) in [
            (open_direct, fixture, "x-api-key", KEY),
            (open_gateway, own, "authorization", bearer.as_str()),
        ] {
            let mut pass = foreign.command(NODE, "pass.mjs");
            pass.arg(port.to_string()).arg(format!("127.0.0.1:{target}"));
            running.begin(&format!("pass-{port}"), pass.args([name, value]))?;
        }
        wait_for(*open_direct, "/up")?;
        wait_for(*open_gateway, "/readyz")?;

        let opened = |port: &u16, path: &str| format!("http://127.0.0.1:{port}{path}");
        let context = json!({
            "issuer": issuer,
            "client": clients.get(SDK_CLIENT),
            "direct": { "url": direct, "key": KEY, "open": opened(open_direct, "/mcp") },
            "gateway": { "url": url, "token": token, "open": opened(open_gateway, "/mcp/fixture") },
        });
        fs::write(folder.join("context.json"), context.to_string())?;
        Ok(Self { running })
    }

    /// What runs.
    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// What an MCP server offers.
fn list(foreign: &Foreign, url: &str, header: &str, value: &str) -> Result<Value> {
    let mut list = foreign.command(NODE, "list.mjs");
    let printed = output(list.args([url, header, value])).context("the server's lists cannot be read")?;
    Ok(serde_json::from_str(&printed)?)
}

/// The file to apply: everything that the server offers is mapped by name, nothing by a pattern that would let more in.
fn document(offered: &Value, port: u16) -> Result<Value> {
    let items = |list: &str| {
        let items = offered.get(list).and_then(Value::as_array);
        items.with_context(|| format!("the server did not list its {list}"))
    };
    let mapped = |list: &str, key: &str, scopes: fn(&Value) -> Value| {
        let pairs = items(list)?.iter().map(|item| {
            let name = item.get(key).and_then(Value::as_str);
            Ok((name.context("an item without a name")?.to_owned(), scopes(item)))
        });
        pairs.collect::<Result<Map<String, Value>>>()
    };
    let by_hint = |tool: &Value| match tool.pointer("/annotations/readOnlyHint") {
        Some(Value::Bool(true)) => json!(["read"]),
        _ => json!(["read", "write"]),
    };
    let read = |_: &Value| json!(["read"]);
    let mut documents = mapped("resources", "uri", read)?;
    for (template, scopes) in mapped("resourceTemplates", "uriTemplate", read)? {
        documents.insert(template.replace("{id}", "*"), scopes);
    }
    ensure!(!documents.is_empty(), "the server offers no resources");
    let client = |name: &str, method: &str| json!({ "name": name, "agent": "worker", "method": method });
    Ok(json!({
        "connections": [{
            "name": "fixture", "owner": "lab", "owner_level": "tenant",
            "base_url": format!("http://127.0.0.1:{port}"),
            "credential": { "api_key": { "parts": [
                { "name": "key", "placement": { "header": { "name": "X-Api-Key" } } } ] } },
        }],
        "resources": [{
            "name": "fixture", "owner": "lab",
            "upstream": { "mcp": { "url": format!("http://127.0.0.1:{port}/mcp"), "connection": "fixture" } },
            "scopes": { "read": { "sensitivity": "read" }, "write": {} },
            "default_scopes": ["read", "write"],
            "tools": mapped("tools", "name", by_hint)?,
            "prompts": mapped("prompts", "name", read)?,
            "documents": documents,
        }],
        "agents": [{ "name": "worker", "owner": "lab", "ceiling": { "fixture": ["read", "write"] } }],
        "clients": [client(SDK_CLIENT, "client_secret_basic"), client(OWN_CLIENT, "client_secret_post")],
        "grants": [
            { "agent": "worker", "principal": "itself", "resource": "fixture", "scopes": ["read", "write"] },
            { "agent": "worker", "principal": "itself", "connection": "fixture" },
        ],
    }))
}

/// Gives Chancery the server's key.
fn keep_key(socket: &Path) -> Result<()> {
    let mut set = program(chancery()?);
    set.arg("--socket").arg(socket);
    set.args(["account", "set", "fixture", "--tenant-wide"]);
    let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = child.stdin.take().context("`account set` reads the key")?;
    writeln!(input, "{KEY}")?;
    drop(input);
    ensure!(child.wait()?.success(), "`account set` failed");
    Ok(())
}

/// A token for programs that are given one.
fn token(issuer: &str, resource: &str, folder: &Path, clients: &Map<String, Value>) -> Result<String> {
    let of_client = |member: &str| {
        let value = clients.get(OWN_CLIENT).and_then(|client| client.get(member));
        let text = value.and_then(Value::as_str).map(str::to_owned);
        text.with_context(|| format!("the client has no {member}"))
    };
    let secret = folder.join("secret");
    fs::write(&secret, of_client("secret")?)?;
    let mut issue = program(chancery()?);
    issue.args([
        "--url",
        issuer,
        "--json",
        "token",
        "issue",
        "--resource",
        resource,
    ]);
    issue
        .args(["--client", &of_client("id")?])
        .arg("--secret-file")
        .arg(&secret);
    let answer: Value = serde_json::from_str(&output(&mut issue)?)?;
    let token = answer.get("access_token").and_then(Value::as_str);
    Ok(token.context("no token was issued")?.to_owned())
}

/// The official Rust client, as an example of the binary's crate: it has the same dependencies.
pub(super) fn rust_client() -> Result<Command> {
    Ok(program(
        crate::bench::target_folder()?.join("debug/examples/gateway_client"),
    ))
}

/// The key that the server demands.
const KEY: &str = "key-of-the-fixture-0123456789abcdef";

/// The client that SDKs prove to be.
const SDK_CLIENT: &str = "worker-basic";

/// The client that `xtask` itself proves to be.
const OWN_CLIENT: &str = "worker-post";
