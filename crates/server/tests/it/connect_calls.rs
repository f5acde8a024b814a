//! Calls of tools behind the gateway that go out with a person's account at a provider.

use crate::browser::csrf;
use crate::connect::Drive;
use crate::estate::*;
use crate::harness::*;
use crate::upstream::Upstream;
use axum::body::Body;
use chancery_core::time::Ttl;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_client_is_sent_to_the_page_and_its_next_call_succeeds,
    a_call_whose_account_ended_at_the_provider_is_sent_to_the_page,
    what_opens_a_session_or_lists_says_where_to_connect_and_then_succeeds,
);

/// A drive, and an MCP server that takes the same accounts.
struct Tools {
    drive: Drive,
    upstream: Upstream,
}

impl Tools {
    async fn open(place: &Place) -> Self {
        let drive = Drive::open(place).await;
        let upstream = Upstream::start().await;
        let mut connection = drive.provider.connection("tools", &json!({}));
        connection["base_url"] = json!(upstream.url(""));
        drive
            .estate
            .apply(json!({
                "connections": [connection],
                "resources": [{
                    "name": "tools", "upstream": { "mcp": { "url": upstream.url("/mcp"), "connection": "tools" } },
                    "scopes": { "look": { "sensitivity": "read" } }, "default_scopes": ["look"],
                    "holders": { "staff": ["look"] }, "tools": { "list_accounts": ["look"] } }],
                "agents": [{ "name": "planner", "owner": "ops",
                    "ceiling": { "notes": ["read"], "drive": ["read"], "tools": ["look"] } }],
                "grants": [{ "agent": "planner", "principal": "tenant", "resource": "tools", "scopes": ["look"] }],
            }))
            .await;
        let secret = json!({ "secret": crate::oauth_provider::CLIENT_SECRET });
        drive
            .estate
            .admin("PUT", "/connections/tools/secret", secret)
            .await;
        let tools = Self { drive, upstream };
        // Somebody who has connected lists the tools, which pins them.
        tools.connect("bob").await;
        let listed = tools.send("bob", "tools/list", "", json!({})).await;
        assert!(listed.text().contains("list_accounts"), "{}", listed.text());
        tools.upstream.take();
        tools
    }

    async fn connect(&self, person: &str) {
        let mut browser = self.drive.signed_in(person).await;
        let page = browser.get("/connect/tools?agent=planner").await;
        let token = csrf(&page);
        let form = [
            ("csrf", token.as_str()),
            ("agent", "planner"),
            ("answer", "allow"),
            ("lasts", "always"),
        ];
        let begun = browser.submit("/connect/tools", &form).await;
        let location = begun
            .header("location")
            .unwrap_or_else(|| panic!("{}", begun.text()));
        let back = self.drive.provider.approve(location, &format!("{person}-there"));
        let done = browser.get(&back).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }

    /// As a client that opens URLs.
    async fn send(&self, person: &str, method: &str, name: &str, arguments: Value) -> Answer {
        let token = self.token(person).await;
        let mut params = json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
        } });
        let mut request = Request::post("/mcp/tools")
            .header("host", "id.example")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .header("authorization", format!("Bearer {token}"));
        if !name.is_empty() {
            params["name"] = json!(name);
            params["arguments"] = arguments;
            request = request.header("mcp-name", name);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let request = request.body(Body::from(body.to_string())).unwrap();
        self.drive.estate.node.send(request).await
    }

    /// As a client that opens a session.
    async fn initialize(&self, person: &str, revision: &str, capabilities: &Value) -> Answer {
        let token = self.token(person).await;
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {
            "protocolVersion": revision, "capabilities": capabilities,
            "clientInfo": { "name": "t", "version": "1" } } });
        let request = Request::post("/mcp/tools")
            .header("host", "id.example")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_string()));
        self.drive.estate.node.send(request.unwrap()).await
    }

    async fn token(&self, person: &str) -> String {
        let subject = self.drive.idp.token(&self.drive.estate.node, person);
        let target = [("audience", "tools"), ("scope", "look")];
        let issued = self.drive.estate.exchange_as("planner", (&subject, JWT), &target);
        issued.await.token()
    }

    async fn call(&self, person: &str) -> Answer {
        self.send(person, "tools/call", "list_accounts", json!({})).await
    }
}

/// Where a call sends its person.
fn sent_to(answer: &Answer) -> String {
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{}", answer.text());
    let requests = result["inputRequests"].as_object().unwrap();
    let (id, asked) = requests.iter().next().unwrap();
    assert!(id.starts_with("dec_"));
    asked["params"]["url"].as_str().unwrap().to_owned()
}

async fn a_client_is_sent_to_the_page_and_its_next_call_succeeds(place: Place) {
    let tools = Tools::open(&place).await;
    let page = sent_to(&tools.call("alice").await);
    assert_eq!(page, format!("{BASE}/connect/tools?agent=planner"));
    assert!(tools.upstream.take().is_empty());
    tools.connect("alice").await;
    let answer = tools.call("alice").await;
    assert!(answer.text().contains("did list_accounts"), "{}", answer.text());
    let seen = tools.upstream.take().remove(0);
    let bearer = seen.header("authorization").unwrap();
    assert!(bearer.starts_with("Bearer MARKER-access-") && bearer.ends_with("-of-alice-there"));
}

async fn a_call_whose_account_ended_at_the_provider_is_sent_to_the_page(place: Place) {
    let tools = Tools::open(&place).await;
    tools.connect("alice").await;
    tools.drive.provider.forget_everything();
    tools.drive.estate.node.advance(Ttl::from_minutes(70)).await;
    // Permitted and without a token to go out with; then refused for that reason.
    for _ in 0..2 {
        let page = sent_to(&tools.call("alice").await);
        assert_eq!(page, format!("{BASE}/connect/tools?agent=planner"));
    }
    assert!(tools.upstream.take().is_empty());
    // The end of a call is recorded beside its answer.
    while !ended_in_vain(&tools.drive.estate).await {
        tokio::task::yield_now().await;
    }
}

async fn ended_in_vain(estate: &Estate) -> bool {
    let ends = estate.events("call.ended").await;
    ends.iter().any(|end| end["outcome"] == "failed")
}

async fn what_opens_a_session_or_lists_says_where_to_connect_and_then_succeeds(place: Place) {
    let tools = Tools::open(&place).await;
    let page = format!("{BASE}/connect/tools?agent=planner");
    // The result of a list has no place for a question (2026-07-28).
    let listed = tools.send("alice", "tools/list", "", json!({})).await.json();
    let data = &listed["error"]["data"];
    assert_eq!(
        (&data["reason"], &data["connect_uri"]),
        (&json!("account_not_connected"), &json!(page)),
        "{listed}"
    );
    let url = json!({ "elicitation": { "url": {} } });
    let sent = tools.initialize("alice", "2025-11-25", &url).await.json();
    assert_eq!(sent["error"]["code"], -32042, "{sent}");
    assert_eq!(sent["error"]["data"]["elicitations"][0]["url"], page);
    for (revision, capabilities) in [("2025-11-25", json!({})), ("2025-06-18", url.clone())] {
        let told = tools.initialize("alice", revision, &capabilities).await.json();
        assert_eq!(told["error"]["data"]["connect_uri"], page, "{told}");
    }
    assert!(tools.upstream.take().is_empty());

    tools.connect("alice").await;
    let listed = tools.send("alice", "tools/list", "", json!({})).await;
    assert!(listed.text().contains("list_accounts"), "{}", listed.text());
    let opened = tools.initialize("alice", "2025-11-25", &url).await.json();
    assert!(opened["result"].is_object(), "{opened}");
}
