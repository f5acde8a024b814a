//! A small MCP server of the sample's own: a notebook that enforces for itself.
//!
//! It is an OAuth protected resource as MCP's authorization chapter asks (2025-06-18 and later): metadata by
//! RFC 9728, bearer tokens by RFC 6750, verified here by `access_token`. Every request needs a good token; calling
//! a tool needs the tool's scope besides. The two eras of MCP are served at one URL, without sessions. Notes live
//! in memory and are everybody's: who wrote one is remembered, not enforced.

use super::access_token::{Caller, Refusal, Verifier};
use super::listener::{Body, Bound, Serving, json, text};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, ErrorData};
use rmcp::schemars::JsonSchema;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// The running notes server.
pub(crate) struct NotesServer {
    base: String,
    serving: Serving,
}

impl NotesServer {
    /// Starts on a loopback port, 0 for any. Tokens of `authorization_server` are accepted.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn start(port: u16, authorization_server: String) -> anyhow::Result<Self> {
        let bound = Bound::to_loopback(port).await?;
        let base = bound.base();
        let server = Arc::new(Server::new(&base, authorization_server)?);
        let serving = bound.serve(move |request| {
            let server = Arc::clone(&server);
            async move { server.answer(request).await }
        });
        Ok(Self { base, serving })
    }

    /// The URL to connect to, which is also the resource URI: the audience of its tokens (RFC 8707).
    pub(crate) fn url(&self) -> String {
        format!("{}{MCP_PATH}", self.base)
    }

    /// The URL of its RFC 9728 metadata.
    #[cfg(test)]
    pub(crate) fn metadata_url(&self) -> String {
        format!("{}{METADATA_PATH}", self.base)
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}

struct Server {
    base: String,
    issuer: String,
    verifier: Verifier,
    mcp: StreamableHttpService<Notebook, NeverSessionManager>,
}

impl Server {
    fn new(base: &str, issuer: String) -> anyhow::Result<Self> {
        let verifier = Verifier::new(issuer.clone(), format!("{base}{MCP_PATH}"))?;
        let notebook = Notebook::default();
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_allowed_hosts(["127.0.0.1", "localhost"])
            .with_allowed_origins(["http://127.0.0.1:*", "http://localhost:*"]);
        let mcp = StreamableHttpService::new(
            move || Ok(notebook.clone()),
            Arc::new(NeverSessionManager::default()),
            config,
        );
        Ok(Self {
            base: base.to_owned(),
            issuer,
            verifier,
            mcp,
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, METADATA_PATH | METADATA_ROOT) => json(StatusCode::OK, &self.metadata()),
            (_, MCP_PATH) => self.guarded(request).await,
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// RFC 9728 §2.
    fn metadata(&self) -> Value {
        json!({
            "resource": format!("{}{MCP_PATH}", self.base),
            "resource_name": "Notes",
            "authorization_servers": [self.issuer],
            "scopes_supported": ["read", "write", "delete"],
            "bearer_methods_supported": ["header"],
        })
    }

    async fn guarded(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let caller = match self.caller(&parts.headers).await {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };

        let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long\n");
        };
        let body = body.to_bytes();
        if let Some(scope) = scope_of_call(&body)
            && !caller.scopes.contains(scope)
        {
            return self.insufficient_scope(scope);
        }

        parts.extensions.insert(caller);
        self.mcp.handle(Request::from_parts(parts, Full::new(body))).await
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Response<Body>> {
        let Some(token) = bearer_token(headers) else {
            return Err(self.challenge(StatusCode::UNAUTHORIZED, &[("scope", "read")]));
        };
        match self.verifier.verify(token).await {
            Ok(caller) => Ok(caller),
            Err(Refusal::Invalid(reason)) => Err(self.challenge(
                StatusCode::UNAUTHORIZED,
                &[
                    ("scope", "read"),
                    ("error", "invalid_token"),
                    ("error_description", reason),
                ],
            )),
            // Not the caller's fault, and not a reason to let anybody in.
            Err(unavailable @ Refusal::KeysUnavailable(_)) => {
                Err(text(StatusCode::SERVICE_UNAVAILABLE, format!("{unavailable}\n")))
            }
        }
    }

    fn insufficient_scope(&self, scope: &str) -> Response<Body> {
        self.challenge(
            StatusCode::FORBIDDEN,
            &[("scope", scope), ("error", "insufficient_scope")],
        )
    }

    /// RFC 6750 §3 with the parameter of RFC 9728 §5.1.
    fn challenge(&self, status: StatusCode, parameters: &[(&str, &str)]) -> Response<Body> {
        let mut challenge = format!(r#"Bearer resource_metadata="{}{METADATA_PATH}""#, self.base);
        for (name, value) in parameters {
            // Writing to a string cannot fail.
            let _written = write!(challenge, r#", {name}="{value}""#);
        }
        let mut response = text(status, format!("{status}\n"));
        if let Ok(value) = HeaderValue::try_from(challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// RFC 6750 §2.1: the token of exactly one `Authorization: Bearer`; never one from the query.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The scope that a message needs beyond a good token: that of the tool it calls. What is not a call of a known
/// tool needs none, and the MCP library answers it. The tools check once more by themselves.
fn scope_of_call(message: &[u8]) -> Option<&'static str> {
    let message: Value = serde_json::from_slice(message).ok()?;
    if message.get("method")?.as_str()? != "tools/call" {
        return None;
    }
    let tool = message.get("params")?.get("name")?.as_str()?;
    let (_, scope) = TOOL_SCOPES.iter().find(|(name, _)| *name == tool)?;
    Some(scope)
}

/// The tools, and the notes behind them.
#[derive(Clone, Default)]
struct Notebook {
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    notes: Vec<Note>,
    last: u64,
}

struct Note {
    number: u64,
    text: String,
    author: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct NewNote {
    /// What to write down.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct OldNote {
    /// The number of the note, as `list_notes` shows it.
    number: u64,
}

#[tool_router(server_handler)]
impl Notebook {
    #[tool(description = "List all notes. Needs the scope `read`.")]
    fn list_notes(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let reader = described(allowed(&parts, "list_notes")?);
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = match pages.notes.len() {
            0 => format!("no notes, listed by {reader}"),
            1 => format!("1 note, listed by {reader}"),
            many => format!("{many} notes, listed by {reader}"),
        };
        for note in &pages.notes {
            let line = format!("\n{}. {} (by {})", note.number, note.text, note.author);
            words.push_str(&line);
        }
        Ok(words)
    }

    #[tool(description = "Add a note. Needs the scope `write`.")]
    fn add_note(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(NewNote { text }): Parameters<NewNote>,
    ) -> Result<String, ErrorData> {
        let author = described(allowed(&parts, "add_note")?);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let number = pages.last.saturating_add(1);
        pages.last = number;
        let words = format!("note {number} added by {author}");
        pages.notes.push(Note { number, text, author });
        Ok(words)
    }

    #[tool(description = "Delete a note by its number. Needs the scope `delete`.")]
    fn delete_note(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(OldNote { number }): Parameters<OldNote>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = described(allowed(&parts, "delete_note")?);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pages.notes.len();
        pages.notes.retain(|note| note.number != number);
        let result = if pages.notes.len() < before {
            CallToolResult::success(vec![ContentBlock::text(format!(
                "note {number} deleted by {caller}"
            ))])
        } else {
            CallToolResult::error(vec![ContentBlock::text(format!("there is no note {number}"))])
        };
        Ok(result)
    }
}

/// The caller, who must hold the scope of the tool.
fn allowed<'a>(parts: &'a Parts, tool: &str) -> Result<&'a Caller, ErrorData> {
    let caller = parts.extensions.get::<Caller>();
    let scope = TOOL_SCOPES.iter().find(|(name, _)| *name == tool);
    caller
        .zip(scope)
        .filter(|(caller, (_, scope))| caller.scopes.contains(*scope))
        .map(|(caller, _)| caller)
        .ok_or_else(|| ErrorData::invalid_request("the token does not allow this tool", None))
}

/// Who acts, for whom, at whose request: the subject and the actors of RFC 8693 §4.1.
fn described(caller: &Caller) -> String {
    let subject = &caller.subject;
    let Some((current, earlier)) = caller.actors.split_first() else {
        return format!("agent {subject} for itself");
    };
    let mut words = format!("agent {current} for {subject}");
    for actor in earlier {
        words.push_str(", asked by agent ");
        words.push_str(actor);
    }
    words
}

/// What each tool needs.
const TOOL_SCOPES: [(&str, &str); 3] = [
    ("list_notes", "read"),
    ("add_note", "write"),
    ("delete_note", "delete"),
];

/// Where MCP is spoken.
const MCP_PATH: &str = "/mcp";

/// Where the metadata of that path is (RFC 9728 §3.1).
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource/mcp";

/// Where clients look that leave out the path.
const METADATA_ROOT: &str = "/.well-known/oauth-protected-resource";

/// The longest message accepted.
const BODY_LIMIT: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_refuses_what_the_guard_in_front_let_through() {
        let (mut parts, ()) = Request::new(()).into_parts();
        assert!(allowed(&parts, "list_notes").is_err());

        parts.extensions.insert(Caller {
            subject: "alice".to_owned(),
            actors: Vec::new(),
            scopes: ["read".to_owned()].into(),
        });
        assert!(allowed(&parts, "list_notes").is_ok());
        assert!(allowed(&parts, "add_note").is_err());
        assert!(allowed(&parts, "burn_notes").is_err());
    }
}
