//! An agent's view of an MCP server: the official Rust client with a bearer token, one connection per request.
//!
//! It tells apart the two refusals that OAuth knows (401: no good token; 403: not this scope) and keeps the
//! challenge, which says what to do about it. It does not act on the challenge: getting tokens is the agent's
//! affair.

use rmcp::model::{CallToolRequestParams, CallToolResult, ErrorData};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, InsufficientScopeError, StreamableHttpClientTransportConfig,
};
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::Value;
use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;
use thiserror::Error;

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolAnswer {
    /// Its words.
    pub(crate) text: String,
    /// Whether the tool says that it failed.
    pub(crate) is_error: bool,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// HTTP 401.
    #[error("401 unauthorized: {challenge}")]
    Unauthorized {
        /// The `WWW-Authenticate` header.
        challenge: String,
    },
    /// HTTP 403.
    #[error("403 forbidden: {challenge}")]
    Forbidden {
        /// The `WWW-Authenticate` header.
        challenge: String,
    },
    /// The server answered with an MCP error.
    #[error("the MCP server says: {} ({})", .0.message, .0.code.0)]
    Protocol(ErrorData),
    /// The arguments of a tool are a JSON object or absent.
    #[error("the arguments are not a JSON object")]
    ArgumentsNotAnObject,
    /// Anything else between here and the server.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Connects, calls one tool and hangs up. `arguments` is a JSON object, or null for none.
///
/// # Errors
/// If the server refuses the token or the call, or does not answer.
pub(crate) async fn call_tool(
    url: &str,
    bearer_token: Option<&str>,
    tool: &str,
    arguments: Value,
) -> Result<ToolAnswer, CallError> {
    let work = async {
        let connection = connect(url, bearer_token).await?;
        let result = called(&connection, tool, arguments).await;
        hang_up(connection).await;
        result
    };
    in_time(work).await
}

/// Calls one tool on a connection. `arguments` is a JSON object, or null for none.
///
/// # Errors
/// If the server refuses the call or does not answer.
pub(super) async fn called(
    connection: &Connection,
    tool: &str,
    arguments: Value,
) -> Result<ToolAnswer, CallError> {
    let mut request = CallToolRequestParams::new(tool.to_owned());
    match arguments {
        Value::Null => {}
        Value::Object(members) => request = request.with_arguments(members),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(CallError::ArgumentsNotAnObject);
        }
    }
    Ok(answer(&connection.call_tool(request).await?))
}

/// Connects, lists the names of the tools and hangs up.
///
/// # Errors
/// If the server refuses the token, or does not answer.
#[cfg(test)]
pub(crate) async fn list_tools(url: &str, bearer_token: Option<&str>) -> Result<Vec<String>, CallError> {
    let listed = async {
        let connection = connect(url, bearer_token).await?;
        let tools = connection.list_all_tools().await;
        hang_up(connection).await;
        Ok(tools?.into_iter().map(|tool| tool.name.into_owned()).collect())
    };
    in_time(listed).await
}

/// Fetches something with a bearer token: the status, and the answer's text.
///
/// # Errors
/// Nothing answers there.
pub(crate) async fn get(url: &str, bearer_token: &str) -> anyhow::Result<(http::StatusCode, String)> {
    let answer = loopback_http()?.get(url).bearer_auth(bearer_token).send().await?;
    Ok((answer.status(), answer.text().await?))
}

/// An HTTP client for plain HTTP on this host. It trusts no certificate authority, obeys no proxy settings and
/// follows no redirects.
///
/// # Errors
/// If the TLS library refuses its own defaults, which no input causes.
pub(super) fn loopback_http() -> anyhow::Result<reqwest::Client> {
    // Given explicitly, so that it does not matter whether the process has installed a default provider.
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .build()?;
    Ok(client)
}

/// A connection to an MCP server.
pub(super) type Connection = RunningService<RoleClient, ()>;

/// Connects.
///
/// # Errors
/// If the server refuses the token, or does not answer.
pub(super) async fn connect(url: &str, bearer_token: Option<&str>) -> Result<Connection, CallError> {
    let client = loopback_http().map_err(|error| CallError::NoAnswer(format!("{error:#}")))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    if let Some(token) = bearer_token {
        config = config.auth_header(token);
    }
    let transport = StreamableHttpClientTransport::with_client(client, config);
    Ok(().serve(transport).await?)
}

/// Hangs up.
pub(super) async fn hang_up(connection: Connection) {
    // Whatever was asked has been answered; how the goodbye went changes nothing.
    let _goodbye = connection.cancel().await;
}

async fn in_time<T>(work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let late = || CallError::NoAnswer(format!("not within {} seconds", CALL_TIMEOUT.as_secs()));
    tokio::time::timeout(CALL_TIMEOUT, work)
        .await
        .map_err(|_| late())?
}

fn answer(result: &CallToolResult) -> ToolAnswer {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    let lines: Vec<&str> = texts.map(|block| block.text.as_str()).collect();
    ToolAnswer {
        text: lines.join("\n"),
        is_error: result.is_error.unwrap_or(false),
    }
}

impl From<ClientInitializeError> for CallError {
    fn from(error: ClientInitializeError) -> Self {
        if let ClientInitializeError::TransportError { error, .. } = &error {
            return of_transport(error.error.as_ref());
        }
        if let ClientInitializeError::JsonRpcError(error) = error {
            return Self::Protocol(error);
        }
        Self::NoAnswer(in_full(&error))
    }
}

impl From<ServiceError> for CallError {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::TransportSend(error) = &error {
            return of_transport(error.error.as_ref());
        }
        if let ServiceError::McpError(error) = error {
            return Self::Protocol(error);
        }
        Self::NoAnswer(in_full(&error))
    }
}

fn of_transport(error: &(dyn StdError + Send + Sync + 'static)) -> CallError {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(refusal) = current.downcast_ref::<AuthRequiredError>() {
            let challenge = refusal.www_authenticate_header.clone();
            return CallError::Unauthorized { challenge };
        }
        if let Some(refusal) = current.downcast_ref::<InsufficientScopeError>() {
            let challenge = refusal.www_authenticate_header.clone();
            return CallError::Forbidden { challenge };
        }
        next = current.source();
    }
    CallError::NoAnswer(in_full(error))
}

/// An error with its causes.
fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words
}

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request may take, from connecting to hanging up.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
