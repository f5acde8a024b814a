//! The official Rust client, in both eras of MCP: the same calls directly at a server and through the gateway, for
//! `cargo xtask interop`. Here because it needs what this crate depends on and nothing of the crate.
//!
//! Its argument is the JSON file that every program of the run is given; it prints one JSON object for each check.

use anyhow::{Context as _, ensure};
use http::{HeaderName, HeaderValue};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ErrorData, GetPromptRequestParams, Implementation, ProgressNotificationParam,
    ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt as _, NotificationContext, RequestContext, RunningService,
    ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = std::env::args().nth(1).context("the argument is a file")?;
    let context: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let text = |path: &str| -> anyhow::Result<String> {
        let value = context.pointer(path).and_then(Value::as_str);
        Ok(value.with_context(|| format!("no `{path}`"))?.to_owned())
    };
    let direct = (text("/direct/url")?, "x-api-key", text("/direct/key")?);
    let gateway = (
        text("/gateway/url")?,
        "authorization",
        format!("Bearer {}", text("/gateway/token")?),
    );

    let discover = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    let mut all_passed = true;
    for (era, lifecycle) in [
        ("sessions", ClientLifecycleMode::Initialize),
        ("2026-07-28", discover),
    ] {
        let title = format!("rmcp 3.9, {era}");
        let (direct, gateway) = (
            seen(&direct, lifecycle.clone()).await,
            seen(&gateway, lifecycle).await,
        );
        match (direct, gateway) {
            (Ok(direct), Ok(gateway)) => {
                for ((name, wanted), (_, got)) in direct.iter().zip(&gateway) {
                    all_passed &= wanted == got;
                    let detail = if wanted == got {
                        wanted.to_string()
                    } else {
                        format!("directly {wanted}, through the gateway {got}")
                    };
                    say(&format!("{title}: {name}"), wanted == got, &detail)?;
                }
            }
            (direct, gateway) => {
                all_passed = false;
                let why = [direct.err(), gateway.err()].map(|error| error.map(|error| format!("{error:#}")));
                say(
                    &format!("{title}: connects both ways"),
                    false,
                    &format!("{why:?}"),
                )?;
            }
        }
    }
    Ok(if all_passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is seen on one way, step by step.
async fn seen(
    (url, name, value): &(String, &'static str, String),
    lifecycle: ClientLifecycleMode,
) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let headers = HashMap::from([(HeaderName::from_static(name), HeaderValue::from_str(value)?)]);
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str()).custom_headers(headers);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let progress = Arc::new(Mutex::new(Vec::new()));
    let handler = Handler {
        progress: progress.clone(),
    };
    let transport = StreamableHttpClientTransport::with_client(http, config);
    let client = handler.serve_with_lifecycle(transport, lifecycle).await?;
    let mut seen = offered(&client).await?;
    seen.extend(called(&client).await?);

    let answer = call(&client, "test_tool_with_progress", json!({})).await;
    let told = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(!told.is_empty(), "no progress was told");
    seen.push(("progress", json!([answer, told])));
    let calls = (0..8).map(|index| {
        let client = client.clone();
        let text = json!({ "text": index.to_string() });
        tokio::spawn(async move { outcome(client.call_tool(params("echo", &text)).await) })
    });
    let mut answers = Vec::new();
    for task in calls.collect::<Vec<_>>() {
        answers.push(task.await?);
    }
    seen.push(("calls side by side", json!(answers)));
    client.cancel().await?;
    Ok(seen)
}

type Client = RunningService<RoleClient, Handler>;

async fn offered(client: &Client) -> anyhow::Result<Vec<(&'static str, Value)>> {
    Ok(vec![
        ("what the server is", json!(client.peer_info())),
        ("tools/list", json!(client.list_all_tools().await?)),
        ("prompts/list", json!(client.list_all_prompts().await?)),
        ("resources/list", json!(client.list_all_resources().await?)),
        (
            "resources/templates/list",
            json!(client.list_all_resource_templates().await?),
        ),
    ])
}

async fn called(client: &Client) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let prompt = GetPromptRequestParams::new("test_simple_prompt");
    let document = ReadResourceRequestParams::new("test://static-text");
    let nothing = ReadResourceRequestParams::new("test://nothing");
    let completed = client.complete_prompt_argument("test_prompt_with_arguments", "arg1", "par", None);
    Ok(vec![
        (
            "a tool with arguments and structured content",
            call(client, "add", json!({ "a": 2, "b": 40.5 })).await,
        ),
        (
            "every kind of content",
            call(client, "test_multiple_content_types", json!({})).await,
        ),
        (
            "a tool that fails",
            call(client, "test_error_handling", json!({})).await,
        ),
        ("an unknown tool", call(client, "no_such_tool", json!({})).await),
        (
            "elicitation",
            call(client, "test_elicitation", json!({ "message": "who?" })).await,
        ),
        ("prompts/get", outcome(client.get_prompt(prompt).await)),
        (
            "resources/read",
            without_cache(outcome(client.read_resource(document).await)),
        ),
        (
            "an unknown resource",
            outcome(client.read_resource(nothing).await),
        ),
        ("completion/complete", outcome(completed.await)),
    ])
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Value {
    outcome(client.call_tool(params(tool, &arguments)).await)
}

fn params(tool: &'static str, arguments: &Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(tool).with_arguments(arguments)
}

/// A result, or the code of an error: its words are each side's own.
fn outcome<T: Serialize>(result: Result<T, ServiceError>) -> Value {
    match result {
        Ok(result) => json!({ "result": result }),
        Err(ServiceError::McpError(error)) => json!({ "failed": error.code }),
        Err(error) => json!({ "broken": error.to_string() }),
    }
}

/// Who may keep an answer, and for how long, is the gateway's to say.
fn without_cache(mut outcome: Value) -> Value {
    if let Some(result) = outcome.get_mut("result").and_then(Value::as_object_mut) {
        result.remove("ttlMs");
        result.remove("cacheScope");
    }
    outcome
}

/// Answers what the server asks, and notes what it tells.
struct Handler {
    progress: Arc<Mutex<Vec<f64>>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("interop", "1"))
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let content = json!({ "username": "alice", "email": "alice@corp.example" });
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.push(params.progress);
    }
}

fn say(check: &str, passed: bool, detail: &str) -> std::io::Result<()> {
    let line = json!({ "check": check, "passed": passed, "detail": detail });
    writeln!(std::io::stdout(), "{line}")
}
