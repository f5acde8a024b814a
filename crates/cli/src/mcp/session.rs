//! What a bridge has to remember of a conversation: the session and its revision, how it was opened, and which arguments
//! of which tool are repeated in headers (MCP 2026-07-28, "Standard Headers").

use chancery_server::mcp::{Call, Envelope, Era, HeaderParameters, Message, Method, Revision, headers};
use hyper::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A message of the client, and what matters of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    /// As it is sent.
    pub(crate) text: String,
    /// The id of a request, as JSON.
    pub(crate) id: Option<String>,
    /// It opens a session.
    pub(crate) is_initialize: bool,
    /// The client is ready.
    pub(crate) is_initialized: bool,
    /// It belongs to no session.
    pub(crate) is_stateless: bool,
    /// The request that it cancels.
    pub(crate) cancels: Option<String>,
    method: String,
    mirrored: Vec<(String, String)>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Session(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    id: Option<HeaderValue>,
    revision: Option<Revision>,
    first: Option<Outgoing>,
    then: Option<Outgoing>,
    tools: HashMap<String, HeaderParameters>,
}

impl Session {
    /// Reads a message of the client.
    pub(crate) fn outgoing(&self, text: &str) -> Outgoing {
        let mut outgoing = Outgoing {
            text: text.trim().to_owned(),
            ..Outgoing::default()
        };
        let limits = chancery_core::json::JsonLimits::of_bytes(MAX_MESSAGE);
        // What is no message goes on all the same: the server says what is wrong with it.
        let Ok(envelope) = Envelope::parse(outgoing.text.as_bytes(), limits) else {
            return outgoing;
        };
        let message = envelope.into_message();
        outgoing.id = message
            .request_id()
            .filter(|_| message.method().is_some())
            .map(|id| id.as_json().to_owned());
        message
            .method()
            .unwrap_or_default()
            .clone_into(&mut outgoing.method);
        outgoing.is_initialize = outgoing.method == Method::Initialize.as_str();
        outgoing.is_initialized = outgoing.method == "notifications/initialized";
        let params = message.params();
        if outgoing.method == "notifications/cancelled" {
            let id = params.and_then(|params| params.get("requestId"));
            outgoing.cancels = id.map(Value::to_string);
        }
        let said = params
            .and_then(|params| {
                params
                    .get("_meta")?
                    .get(chancery_server::mcp::era::META_PROTOCOL_VERSION)?
                    .as_str()
            })
            .and_then(Revision::parse);
        let mut held = self.held();
        outgoing.is_stateless =
            said.is_some_and(Revision::is_stateless) || held.revision.is_some_and(Revision::is_stateless);
        if let Some(revision) = said.filter(|revision| revision.is_stateless()) {
            held.revision = Some(revision);
            outgoing.mirrored = mirrored(revision, &message, &held.tools);
        }
        if outgoing.is_initialize {
            held.first = Some(outgoing.clone());
        }
        if outgoing.is_initialized {
            held.then = Some(outgoing.clone());
        }
        outgoing
    }

    /// The headers of a message.
    pub(crate) fn headers(&self, message: &Outgoing) -> HeaderMap {
        let mut headers = if message.is_initialize || message.is_stateless {
            HeaderMap::new()
        } else {
            self.listening()
        };
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        for (name, value) in &message.mirrored {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// The headers of a request for a stream, or for the end of the session.
    pub(crate) fn listening(&self) -> HeaderMap {
        let held = self.held();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = &held.id {
            headers.insert("mcp-session-id", id.clone());
        }
        // Revision 2025-03-26 has no such header.
        let revision = held.revision.filter(|revision| *revision > Revision::UNNAMED);
        if let Some(revision) = revision {
            headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
        }
        headers
    }

    /// The server opened a session, or answered without one.
    pub(crate) fn opened(&self, answer: &str, id: Option<HeaderValue>) {
        self.held().id = id;
        self.understood(answer);
    }

    /// The revision that the server's answer to `initialize` names.
    pub(crate) fn understood(&self, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let said = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        if let Some(revision) = said.and_then(Revision::parse) {
            self.held().revision = Some(revision);
        }
    }

    /// Whether there is a session.
    pub(crate) fn is_open(&self) -> bool {
        self.held().id.is_some()
    }

    /// There is none any more.
    pub(crate) fn close(&self) {
        self.held().id = None;
    }

    /// What opens the session again: the client's own two messages.
    pub(crate) fn again(&self) -> Option<(Outgoing, Outgoing)> {
        let held = self.held();
        held.first.clone().zip(held.then.clone())
    }

    /// Learns from a list which arguments of a tool are repeated in headers.
    pub(crate) fn saw(&self, asked: &Outgoing, answer: &str) {
        if !asked.is_stateless || asked.method != Method::ToolsList.as_str() {
            return;
        }
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let tools = answer.pointer("/result/tools").and_then(Value::as_array);
        let mut held = self.held();
        for tool in tools.into_iter().flatten() {
            let name = tool.get("name").and_then(Value::as_str);
            let parameters = tool.get("inputSchema").map(HeaderParameters::of_schema);
            if let (Some(name), Some(Ok(parameters))) = (name, parameters) {
                held.tools.insert(name.to_owned(), parameters);
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request without a session repeats in headers.
fn mirrored(
    revision: Revision,
    message: &Message,
    tools: &HashMap<String, HeaderParameters>,
) -> Vec<(String, String)> {
    let era = Era::Stateless(revision);
    let tool = match message {
        Message::Request(request) => match Call::of_request(request, era) {
            Ok(_) => request.param("name").and_then(Value::as_str),
            Err(_) => None,
        },
        Message::Notification(_) | Message::Response(_) => None,
    };
    let parameters = tool.and_then(|tool| tools.get(tool));
    headers::upstream(era, message, parameters).unwrap_or_default()
}

const VERSION: &str = "mcp-protocol-version";
const MAX_MESSAGE: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_session_is_named_from_its_answer_on() {
        let session = Session::default();
        let first = session.outgoing(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#,
        );
        assert_eq!(header(&session.headers(&first), "mcp-session-id"), None);
        let answer = json!({ "result": { "protocolVersion": "2025-06-18" } }).to_string();
        session.opened(&answer, Some(HeaderValue::from_static("s-1")));
        let list = session.outgoing(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        let headers = session.headers(&list);
        assert_eq!(header(&headers, "mcp-session-id"), Some("s-1"));
        assert_eq!(header(&headers, VERSION), Some("2025-06-18"));
        assert_eq!(header(&headers, "mcp-method"), None);
        assert!(session.again().is_none(), "the client was not ready yet");
    }

    #[test]
    fn without_sessions_a_request_says_what_it_is() {
        let session = Session::default();
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
        let asked = session.outgoing(&list.to_string());
        let schema = json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
        let answer = json!({ "result": { "tools": [{ "name": "deploy", "inputSchema": schema }] } });
        session.saw(&asked, &answer.to_string());
        let params = json!({ "name": "deploy", "arguments": { "region": "eu" }, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
        let headers = session.headers(&session.outgoing(&call.to_string()));
        assert_eq!(header(&headers, VERSION), Some("2026-07-28"));
        assert_eq!(header(&headers, "mcp-method"), Some("tools/call"));
        assert_eq!(header(&headers, "mcp-name"), Some("deploy"));
        assert_eq!(header(&headers, "mcp-param-region"), Some("eu"));
    }
}
