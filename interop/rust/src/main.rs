//! The official Rust client's own OAuth flow through the gateway: it finds the authorization server, makes itself known by
//! registration (RFC 7591) or by its metadata document (CIMD), brings a person, calls a tool, and refreshes.
//!
//! Its argument is the JSON file that every program of the run is given; it prints one JSON object for each check.

use anyhow::{Context as _, Result, ensure};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let file = std::env::args().nth(1).context("the argument is a file")?;
    let context: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let document = format!("{}/rmcp.json", text(&context, "documents")?);
    let by_document = request().with_client_metadata_url(document.as_str());
    let mut all_passed = true;
    for (how, request) in [
        ("registers itself (RFC 7591)", request()),
        ("metadata document (CIMD)", by_document),
    ] {
        let let_in = let_in(&context, request).await;
        let (passed, detail) = match &let_in {
            Ok(detail) => (true, detail.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        let check = format!("rmcp 3.9: {how}, the person lets it in, it calls, it refreshes");
        println!("{}", json!({ "check": check, "passed": passed, "detail": detail }));
        all_passed &= passed;
    }
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn request() -> AuthorizationRequest {
    AuthorizationRequest::new("http://127.0.0.1/callback").with_client_name("rmcp")
}

async fn let_in(context: &Value, request: AuthorizationRequest) -> Result<String> {
    let wants_document = request.client_metadata_url.clone();
    let resource = text(context, "mcp")?;
    let mut state = OAuthState::new(resource, None).await?;
    state.start_authorization(request).await?;
    let back = person(context, &state.get_authorization_url().await?).await?;
    state.handle_callback_url(&back).await?;
    let (client_id, _) = state.get_credentials().await?;
    if let Some(document) = wants_document {
        ensure!(client_id == document, "it came as {client_id}");
    }
    let manager = state.into_authorization_manager().context("it is let in")?;
    let before = manager.get_access_token().await?;
    manager.refresh_token().await?;
    let after = manager.get_access_token().await?;
    ensure!(before != after, "the token is another");

    let http = AuthClient::new(reqwest::Client::builder().no_proxy().build()?, manager);
    let config = StreamableHttpClientTransportConfig::with_uri(resource);
    let client = ().serve(StreamableHttpClientTransport::with_client(http, config)).await?;
    let tools = client.list_all_tools().await?;
    ensure!(tools.iter().any(|tool| tool.name == "add"), "no tool `add`: {tools:?}");
    let arguments = json!({ "a": 1, "b": 2 }).as_object().cloned().unwrap_or_default();
    let called = client.call_tool(CallToolRequestParams::new("add").with_arguments(arguments)).await?;
    let answer = serde_json::to_string(&called)?;
    ensure!(answer.contains('3'), "{answer}");
    client.cancel().await?;
    Ok(client_id)
}

/// Where the person's browser was sent in the end.
async fn person(context: &Value, url: &str) -> Result<String> {
    let wishes = [("url", url), ("who", "alice"), ("through", text(context, "provider")?)];
    let http = reqwest::Client::builder().no_proxy().build()?;
    let said: Value = http.get(text(context, "person")?).query(&wishes).send().await?.json().await?;
    let location = said.get("location").and_then(Value::as_str);
    Ok(location.with_context(|| said.to_string())?.to_owned())
}

fn text<'a>(context: &'a Value, name: &str) -> Result<&'a str> {
    context.get(name).and_then(Value::as_str).with_context(|| format!("no `{name}`"))
}
