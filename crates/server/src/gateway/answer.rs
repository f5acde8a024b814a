//! What a caller of the gateway is told: an answer of the server, or why there is none. HTTP is made of it elsewhere.

use crate::error::Failure;
use crate::gateway::caller::Unauthenticated;
use crate::gateway::relay::Body;
use crate::limits::Limited;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::resource::Resource;
use chancery_core::scope::ScopeSet;
use chancery_mcp::envelope::Request;
use chancery_mcp::era::Era;
use chancery_mcp::error::{ErrorCode, ErrorResponse};
use chancery_mcp::method::Method;
use serde_json::json;
use std::sync::Arc;

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its content type.
    pub content_type: Option<String>,
    /// The session, as the client may present it.
    pub session: Option<String>,
    /// Its body.
    pub body: Body,
}

/// Why there is no answer of the server.
#[derive(Debug)]
pub enum Rejection {
    /// There is no such resource behind this gateway.
    NoSuchResource,
    /// The caller is not known (401).
    Unauthenticated(Unauthenticated, Arc<Resource>),
    /// The token lacks scopes that it could have (403), with every scope that the operation needs.
    InsufficientScope(ScopeSet, Arc<Resource>),
    /// The session is not known, or not this caller's (404): the client opens another.
    UnknownSession,
    /// A JSON-RPC error of ours; its status follows from it.
    Malformed(Box<ErrorResponse>, Option<Era>),
    /// Policy refused; the body says why, and where to look.
    Denied(Vec<u8>),
    /// The server does not take this HTTP method.
    MethodNotAllowed,
    /// The server could not be reached, or answered what is not handed on (502, 504).
    Upstream(&'static str),
    /// Too much at once (503); try again after so many seconds.
    Busy(u64),
    /// The caller asks for more than it may (429).
    Limited(Limited),
    /// A fault of ours, or not knowing enough to answer.
    Failure(Failure),
}

impl Rejection {
    /// A JSON-RPC error of ours, in the era that its status follows from.
    pub fn malformed(error: ErrorResponse, era: Option<Era>) -> Self {
        Self::Malformed(Box::new(error), era)
    }
}

impl From<Limited> for Rejection {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What a caller is told of a refusal: a challenge where more scopes would cure it, a tool's error where the agent
/// can do something about it, always with the decision's id.
pub fn denial(decision: &Decision, request: Option<(&Request, Era)>, resource: &Arc<Resource>) -> Rejection {
    if decision.reason == Some(DenyReason::InsufficientScope) {
        let needed = decision.rows.iter().map(|row| row.scope.clone()).collect();
        return Rejection::InsufficientScope(needed, resource.clone());
    }
    let text = sentence(decision, resource);
    let Some((request, era)) = request else {
        return Rejection::Denied(ErrorResponse::new(None, ErrorCode::InvalidRequest, text).to_body());
    };
    let data = json!({ "decision": decision.id, "reason": decision.reason });
    if request.method == Method::ToolsCall.as_str() {
        return Rejection::Denied(tool_error(request, era, &text, &data));
    }
    let error = ErrorResponse::new(Some(&request.id), ErrorCode::InvalidParams, text).with_data(data);
    Rejection::malformed(error, Some(era))
}

/// A result that says that the tool was not run (MCP tools, "Error Handling"): the agent reads it and can do
/// otherwise.
fn tool_error(request: &Request, era: Era, text: &str, data: &serde_json::Value) -> Vec<u8> {
    let mut result = json!({
        "content": [{ "type": "text", "text": text }],
        "isError": true,
        "_meta": { "chancery/denied": data },
    });
    if era.is_stateless()
        && let Some(result) = result.as_object_mut()
    {
        result.insert("resultType".to_owned(), json!("complete"));
    }
    format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
        request.id.as_json()
    )
    .into_bytes()
}

fn sentence(decision: &Decision, resource: &Resource) -> String {
    let connection = decision
        .facts
        .call
        .as_ref()
        .and_then(|call| call.connection.as_ref())
        .map_or_else(String::new, |connection| format!(" `{}`", connection.name));
    let agent = &decision.facts.agent.name;
    let why = match decision.reason {
        Some(DenyReason::ArgumentsRefused) => "the arguments do not fit what the tool declares".to_owned(),
        Some(DenyReason::ConnectionNotGranted) => {
            format!("agent `{agent}` has no grant to use the connection{connection}")
        }
        Some(DenyReason::AccountMissing) => {
            format!(
                "nobody has connected an account for{connection} that can be used here: set a key with `chancery \
                 account set`, or let the person connect one"
            )
        }
        Some(DenyReason::ConnectionRefused) => format!("policy does not permit the connection{connection}"),
        Some(DenyReason::ManifestNotAccepted) => format!(
            "the server has not shown this tool yet, or changed it: list its tools once, or let the owner of `{}` \
             accept the change",
            resource.name
        ),
        Some(DenyReason::ApprovalRequired) => "policy permits this only with a person's yes".to_owned(),
        Some(DenyReason::ScopeRefused) => "a scope that this needs is no longer given".to_owned(),
        Some(
            DenyReason::CallRefused
            | DenyReason::BudgetUsedUp
            | DenyReason::NotMapped
            | DenyReason::InsufficientScope
            | DenyReason::ReleaseRefused
            | DenyReason::NothingLeft
            | DenyReason::DelegationRefused
            | DenyReason::AgentTokenRefused
            | DenyReason::ConsentRequired,
        )
        | None => "policy does not permit this call".to_owned(),
    };
    format!(
        "denied: {why} (decision {}; `chancery why {}` tells more)",
        decision.id, decision.id
    )
}
