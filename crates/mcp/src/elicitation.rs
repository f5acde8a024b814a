//! How a caller is sent to a page of ours, by era (2025-11-25 elicitation, "URL Mode"; 2026-07-28 multi round-trip
//! requests).
//!
//! Until 2025-11-25 the answer is the error -32042; from 2026-07-28 it is a result that asks for input, and the client
//! repeats the call. Only a client that said it can open URLs is answered so; any other gets a tool error with the URL
//! in its text. The URL is an address and carries no credential; whoever opens it signs in.

use crate::envelope::Message;
use crate::era::{Era, META_CLIENT_CAPABILITIES, Revision};
use crate::error::{ErrorCode, ErrorResponse, envelope};
use crate::id::RequestId;
use serde_json::{Value, json};

/// A page that a person must visit before the call can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// What the client may name it by: unique for this request.
    pub id: String,
    /// The page.
    pub url: String,
    /// Why, in one sentence.
    pub message: String,
    /// What is missing.
    pub lack: Lack,
}

/// What a person gives on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A yes.
    Approval,
    /// An account at a provider.
    Account,
}

impl Lack {
    /// The stable reason, and the member with the page, where the answer is an error.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Approval => ("approval_required", "approval_uri"),
            Self::Account => ("account_not_connected", "connect_uri"),
        }
    }
}

/// Whether capabilities say that the client opens URLs.
pub fn opens_urls(capabilities: &Value) -> bool {
    let elicitation = capabilities.get("elicitation");
    elicitation
        .and_then(|elicitation| elicitation.get("url"))
        .is_some_and(Value::is_object)
}

/// What a message itself says of its client: in `_meta` of a stateless request, or in `initialize`.
pub fn declared_capabilities(message: &Message) -> Option<&Value> {
    let params = message.params()?;
    let in_meta = params
        .get("_meta")
        .and_then(|meta| meta.get(META_CLIENT_CAPABILITIES));
    in_meta.or_else(|| params.get("capabilities"))
}

impl Visit {
    /// The body that answers a call of a tool, and its HTTP status. `opens_urls` says what the client declared.
    pub fn answer(&self, id: &RequestId, era: Era, opens_urls: bool) -> (Vec<u8>, u16) {
        match era {
            Era::Session(Revision::V2025_11_25) if opens_urls => {
                let error = self.required(id);
                (error.to_body(), error.status(Some(era)))
            }
            Era::Stateless(_) if opens_urls => {
                let request = json!({
                    "method": "elicitation/create",
                    "params": { "mode": "url", "url": self.url, "message": self.message },
                });
                let mut requests = serde_json::Map::new();
                requests.insert(self.id.clone(), request);
                let result = json!({ "resultType": "input_required", "inputRequests": requests });
                (envelope(Some(id), "result", &result), 200)
            }
            Era::Session(_) | Era::Stateless(_) => (
                tool_error(id, era, &format!("{}: {}", self.message, self.url)),
                200,
            ),
        }
    }
}

impl Visit {
    /// The answer to what is no tool: its result has no place for an error, so a client that is not sent to the page in
    /// the way of its era gets a JSON-RPC error with the URL.
    pub fn error(&self, id: &RequestId, era: Era, opens_urls: bool) -> Option<ErrorResponse> {
        let is_sent = match era {
            Era::Session(Revision::V2025_11_25) | Era::Stateless(_) => opens_urls,
            Era::Session(_) => false,
        };
        (!is_sent).then(|| self.plain(id))
    }

    /// The answer to what opens a session or lists what is there: no result of these asks for input (2026-07-28 multi
    /// round-trip requests: only `tools/call`, `prompts/get` and `resources/read` do), so a client is sent to the page by
    /// the error of its era, or told of it in an error like any other.
    pub fn unopened(&self, id: &RequestId, era: Era, opens_urls: bool) -> ErrorResponse {
        match era {
            Era::Session(Revision::V2025_11_25) if opens_urls => self.required(id),
            Era::Session(_) | Era::Stateless(_) => self.plain(id),
        }
    }

    /// The error of 2025-11-25 that sends to the page.
    fn required(&self, id: &RequestId) -> ErrorResponse {
        let elicitation = json!({
            "mode": "url", "elicitationId": self.id, "url": self.url, "message": self.message,
        });
        ErrorResponse::new(Some(id), ErrorCode::UrlElicitationRequired, self.message.as_str())
            .with_data(json!({ "elicitations": [elicitation] }))
    }

    /// An error that any client understands.
    fn plain(&self, id: &RequestId) -> ErrorResponse {
        let text = format!("{}: {}", self.message, self.url);
        let (reason, uri) = self.lack.words();
        let data = json!({ "reason": reason, uri: self.url });
        ErrorResponse::new(Some(id), ErrorCode::InvalidParams, text).with_data(data)
    }
}

/// The result of a tool that failed, with a text for the model.
pub fn tool_error(id: &RequestId, era: Era, text: &str) -> Vec<u8> {
    let content = json!([{ "type": "text", "text": text }]);
    let result = if era.is_stateless() {
        json!({ "resultType": "complete", "content": content, "isError": true })
    } else {
        json!({ "content": content, "isError": true })
    };
    envelope(Some(id), "result", &result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use chancery_core::json::JsonLimits;

    const OLD: Era = Era::Session(Revision::V2025_06_18);
    const SESSION: Era = Era::Session(Revision::V2025_11_25);
    const STATELESS: Era = Era::Stateless(Revision::V2026_07_28);

    fn answer(era: Era, opens_urls: bool) -> Value {
        let visit = Visit {
            id: "apr_1".into(),
            url: "https://id.example/approvals/1".into(),
            message: "Approval is needed".into(),
            lack: Lack::Approval,
        };
        let (body, status) = visit.answer(&RequestId::parse("7").unwrap(), era, opens_urls);
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn each_era_sends_to_a_page_in_its_way() {
        let error = answer(SESSION, true);
        assert_eq!(error["error"]["code"], -32042);
        assert_eq!(
            error["error"]["data"]["elicitations"],
            json!([{"mode": "url", "elicitationId": "apr_1", "url": "https://id.example/approvals/1", "message": "Approval is needed"}])
        );
        let result = answer(STATELESS, true);
        assert_eq!(result["result"]["resultType"], "input_required");
        assert_eq!(
            result["result"]["inputRequests"]["apr_1"],
            json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://id.example/approvals/1", "message": "Approval is needed"}})
        );
    }

    #[test]
    fn a_client_that_opens_no_urls_gets_a_tool_error() {
        for (era, opens_urls) in [(OLD, true), (SESSION, false), (STATELESS, false)] {
            let result = answer(era, opens_urls);
            assert_eq!(result["result"]["isError"], true);
            assert_eq!(
                result["result"]["content"][0]["text"],
                "Approval is needed: https://id.example/approvals/1"
            );
            assert_eq!(result["result"].get("resultType").is_some(), era.is_stateless());
        }
    }

    #[test]
    fn what_is_no_tool_is_answered_with_an_error_where_no_url_is_opened() {
        let visit = Visit {
            id: "apr_1".into(),
            url: "https://id.example/approvals/1".into(),
            message: "Approval is needed".into(),
            lack: Lack::Approval,
        };
        let id = RequestId::parse("7").unwrap();
        for (era, opens_urls) in [(OLD, true), (SESSION, false), (STATELESS, false)] {
            let error = visit.error(&id, era, opens_urls).unwrap();
            let body: Value = serde_json::from_slice(&error.to_body()).unwrap();
            assert_eq!(body["error"]["code"], -32602);
            assert_eq!(body["error"]["data"]["approval_uri"], visit.url);
        }
        for era in [SESSION, STATELESS] {
            assert_eq!(visit.error(&id, era, true), None);
        }
    }

    #[test]
    fn what_a_client_can_do_is_read_from_its_own_words() {
        let message = |params: &Value| {
            let text =
                json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
            Envelope::parse(text.as_bytes(), JsonLimits::of_bytes(1024))
                .unwrap()
                .into_message()
        };
        let url = json!({"elicitation": {"url": {}}});
        let stateless = message(&json!({"_meta": {META_CLIENT_CAPABILITIES: url}}));
        assert!(opens_urls(declared_capabilities(&stateless).unwrap()));
        let initialize = message(&json!({"capabilities": {"elicitation": {"form": {}}}}));
        assert!(!opens_urls(declared_capabilities(&initialize).unwrap()));
        assert_eq!(declared_capabilities(&message(&json!({}))), None);
    }

    #[test]
    fn a_list_asks_for_no_input_and_still_says_where_to_go() {
        let visit = Visit {
            id: "dec_1".into(),
            url: "https://id.example/connect/drive".into(),
            message: "Connect".into(),
            lack: Lack::Account,
        };
        let id = RequestId::parse("7").unwrap();
        let body = |era, opens_urls| -> Value {
            serde_json::from_slice(&visit.unopened(&id, era, opens_urls).to_body()).unwrap()
        };
        assert_eq!(body(SESSION, true)["error"]["code"], -32042);
        for (era, opens_urls) in [
            (OLD, true),
            (SESSION, false),
            (STATELESS, true),
            (STATELESS, false),
        ] {
            let error = &body(era, opens_urls)["error"];
            assert_eq!(
                (&error["code"], &error["data"]["reason"]),
                (&json!(-32602), &json!("account_not_connected"))
            );
            assert_eq!(error["data"]["connect_uri"], visit.url);
        }
    }
}
