//! The JSON-RPC 2.0 envelope of one POST body (MCP basic protocol, "Messages"; streamable HTTP, "Sending Messages").
//!
//! One body is one message: a request, a notification, or a client's response. The whole body is strict JSON, and the
//! envelope has the members of its kind and no other, so that no two readers see two messages in it. Batches, which
//! 2025-03-26 alone had, are refused.
//!
//! Says nothing about methods (`method`) or revisions (`era`), and changes nothing: what is forwarded is
//! [`Envelope::body`].

use crate::id::RequestId;
use crate::members::Members;
use chancery_core::json::{self, JsonError, JsonLimits};
use serde_json::{Map, Value};
use std::fmt;

/// The members of an object.
pub type Object = Map<String, Value>;

/// One message and the bytes that it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    body: &'a [u8],
    message: Message,
}

/// One message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A notification.
    Notification(Notification),
    /// The answer to a request of the server: in revisions with sessions only.
    Response(Response),
}

/// A request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Its method: 1 to 128 visible ASCII characters.
    pub method: String,
    /// Its parameters.
    pub params: Option<Object>,
}

/// A notification.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its method: 1 to 128 visible ASCII characters.
    pub method: String,
    /// Its parameters.
    pub params: Option<Object>,
}

/// A response of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The id of the server's request; an error may have none.
    pub id: Option<RequestId>,
    /// Whether it is an error.
    pub is_error: bool,
}

/// Why a body is not one message, and the id to answer with if it could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct EnvelopeError {
    /// The rule that broke.
    pub fault: EnvelopeFault,
    /// The id of the request.
    pub id: Option<RequestId>,
}

/// Which rule of the envelope broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// The body is not one unambiguous JSON text.
    #[error(transparent)]
    Json(JsonError),
    /// The body is a batch.
    #[error("a batch is not supported: send one message")]
    Batch,
    /// The body is neither an object nor an array.
    #[error("the body is not a json-rpc message")]
    NotAnObject,
    /// `jsonrpc` is missing or is not `"2.0"`.
    #[error("`jsonrpc` is not \"2.0\"")]
    Version,
    /// The envelope has a member that its kind does not have.
    #[error("the envelope has an unknown member")]
    UnknownMember,
    /// `id` is neither a string nor an integer, or is missing from a result.
    #[error("`id` is not a string or an integer")]
    Id,
    /// `method` is not a string of 1 to 128 visible ASCII characters.
    #[error("`method` is not a method name")]
    Method,
    /// `params` is not an object.
    #[error("`params` is not an object")]
    Params,
    /// A response has not exactly one of `result` and `error`, or it is not an object.
    #[error("a response has one object: `result` or `error`")]
    Outcome,
}

impl<'a> Envelope<'a> {
    /// Reads one body.
    ///
    /// # Errors
    /// The first rule of [`EnvelopeFault`] that the body breaks.
    pub fn parse(body: &'a [u8], limits: JsonLimits) -> Result<Self, EnvelopeError> {
        let without_id = |fault| EnvelopeError { fault, id: None };
        let value =
            json::parse_value(body, limits).map_err(|fault| without_id(EnvelopeFault::Json(fault)))?;
        let members = match value {
            Value::Object(members) => members,
            Value::Array(_) => return Err(without_id(EnvelopeFault::Batch)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(without_id(EnvelopeFault::NotAnObject));
            }
        };

        let id = WrittenId::read(body);
        let message = read_message(members, id.clone()).map_err(|fault| EnvelopeError {
            fault,
            id: id.readable(),
        })?;
        Ok(Self { body, message })
    }

    /// The bytes that were read.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// The message alone.
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Message {
    /// The id to answer with: that of a request.
    pub const fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::Request(request) => Some(&request.id),
            Self::Notification(_) | Self::Response(_) => None,
        }
    }

    /// The method of a request or a notification.
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Request(request) => Some(&request.method),
            Self::Notification(notification) => Some(&notification.method),
            Self::Response(_) => None,
        }
    }

    /// The parameters of a request or a notification.
    pub const fn params(&self) -> Option<&Object> {
        match self {
            Self::Request(request) => request.params.as_ref(),
            Self::Notification(notification) => notification.params.as_ref(),
            Self::Response(_) => None,
        }
    }
}

impl Request {
    /// A parameter.
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.params.as_ref()?.get(name)
    }
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Envelope").field(&self.message).finish()
    }
}

/// Parameters may hold secrets and are not printed.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The member `id`.
#[derive(Clone)]
enum WrittenId {
    Absent,
    Unreadable,
    Id(RequestId),
}

impl WrittenId {
    fn read(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let members = Members::read(text).ok();
        match members.as_ref().and_then(|members| members.find("id")) {
            None => Self::Absent,
            Some(written) => RequestId::parse(written).map_or(Self::Unreadable, Self::Id),
        }
    }

    fn readable(self) -> Option<RequestId> {
        match self {
            Self::Id(id) => Some(id),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

fn read_message(mut members: Object, id: WrittenId) -> Result<Message, EnvelopeFault> {
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(EnvelopeFault::Version);
    }
    if !members.contains_key("method") {
        return read_response(&members, id).map(Message::Response);
    }
    check_members(&members, &["jsonrpc", "id", "method", "params"])?;

    let method = match members.remove("method") {
        Some(Value::String(method)) if is_method_name(&method) => method,
        _ => return Err(EnvelopeFault::Method),
    };
    let params = match members.remove("params") {
        None => None,
        Some(Value::Object(params)) => Some(params),
        Some(_) => return Err(EnvelopeFault::Params),
    };
    match id {
        WrittenId::Absent => Ok(Message::Notification(Notification { method, params })),
        WrittenId::Id(id) => Ok(Message::Request(Request { id, method, params })),
        WrittenId::Unreadable => Err(EnvelopeFault::Id),
    }
}

fn read_response(members: &Object, id: WrittenId) -> Result<Response, EnvelopeFault> {
    check_members(members, &["jsonrpc", "id", "result", "error"])?;
    let is_error = match (members.get("result"), members.get("error")) {
        (Some(Value::Object(_)), None) => false,
        (None, Some(Value::Object(_))) => true,
        _ => return Err(EnvelopeFault::Outcome),
    };
    let is_null = members.get("id").is_none_or(Value::is_null);
    match id.readable() {
        Some(id) => Ok(Response {
            id: Some(id),
            is_error,
        }),
        None if is_error && is_null => Ok(Response { id: None, is_error }),
        None => Err(EnvelopeFault::Id),
    }
}

fn check_members(members: &Object, known: &[&str]) -> Result<(), EnvelopeFault> {
    if members.keys().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    Err(EnvelopeFault::UnknownMember)
}

// SECURITY: a method becomes the header `Mcp-Method` of the upstream request, so it has no line breaks.
fn is_method_name(method: &str) -> bool {
    (1..=MAX_METHOD).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The longest method.
const MAX_METHOD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JsonLimits = JsonLimits::of_bytes(4096);

    fn message(text: &str) -> Message {
        Envelope::parse(text.as_bytes(), LIMITS).unwrap().into_message()
    }

    fn fault(text: &str) -> EnvelopeFault {
        Envelope::parse(text.as_bytes(), LIMITS).expect_err(text).fault
    }

    #[test]
    fn a_request_keeps_its_id_its_parameters_and_its_bytes() {
        let text = r#" {"params":{"name":"x"}, "method":"tools/call","id":"\u0031","jsonrpc":"2.0"}"#;
        let envelope = Envelope::parse(text.as_bytes(), LIMITS).unwrap();
        assert_eq!(envelope.body(), text.as_bytes());
        let Message::Request(request) = envelope.into_message() else {
            panic!("not a request");
        };
        assert_eq!(request.id.as_json(), r#""\u0031""#);
        assert_eq!(request.method, "tools/call");
        assert_eq!(request.param("name"), Some(&Value::from("x")));
    }

    #[test]
    fn a_notification_has_no_id() {
        let notified = message(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert!(matches!(notified, Message::Notification(_)));
        assert_eq!(
            fault(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
            EnvelopeFault::Id
        );
    }

    #[test]
    fn a_response_is_a_result_or_an_error() {
        let result = message(r#"{"jsonrpc":"2.0","id":4,"result":{}}"#);
        assert!(matches!(
            result,
            Message::Response(Response {
                is_error: false,
                id: Some(_)
            })
        ));
        let error = message(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#);
        assert!(matches!(
            error,
            Message::Response(Response {
                is_error: true,
                id: None
            })
        ));
        for text in [
            r#"{"jsonrpc":"2.0","id":4}"#,
            r#"{"jsonrpc":"2.0","id":4,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":4,"result":[]}"#,
        ] {
            assert_eq!(fault(text), EnvelopeFault::Outcome);
        }
        assert_eq!(fault(r#"{"jsonrpc":"2.0","result":{}}"#), EnvelopeFault::Id);
    }

    #[test]
    fn a_message_that_is_a_request_and_a_response_is_refused() {
        let both = r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#;
        assert_eq!(fault(both), EnvelopeFault::UnknownMember);
    }

    #[test]
    fn a_batch_is_refused() {
        assert_eq!(fault("[]"), EnvelopeFault::Batch);
        assert_eq!(
            fault(r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete"}}]"#),
            EnvelopeFault::Batch
        );
        assert_eq!(fault("1"), EnvelopeFault::NotAnObject);
    }

    #[test]
    fn a_method_named_twice_is_refused_before_anything_else() {
        let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#;
        assert_eq!(fault(twice), EnvelopeFault::Json(JsonError::DuplicateMember));
        let deep = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#;
        assert_eq!(fault(deep), EnvelopeFault::Json(JsonError::DuplicateMember));
    }

    #[test]
    fn ambiguous_text_is_refused() {
        let surrogate = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}"#;
        assert!(matches!(
            fault(surrogate),
            EnvelopeFault::Json(JsonError::Malformed { .. })
        ));
        let number = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":9007199254740993}}"#;
        assert_eq!(fault(number), EnvelopeFault::Json(JsonError::NumberOutOfRange));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5000));
        assert_eq!(
            fault(&long),
            EnvelopeFault::Json(JsonError::TooLarge { limit: 4096 })
        );
    }

    #[test]
    fn unknown_members_of_the_envelope_are_refused() {
        for member in ["Method", "Params", "ID", "meta", "result"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{member}":{{}}}}"#);
            assert_eq!(fault(&text), EnvelopeFault::UnknownMember, "{member}");
        }
    }

    #[test]
    fn each_part_has_its_type() {
        assert_eq!(fault(r#"{"id":1,"method":"ping"}"#), EnvelopeFault::Version);
        assert_eq!(
            fault(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#),
            EnvelopeFault::Version
        );
        for params in ["[]", "null", "\"x\"", "1"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#);
            assert_eq!(fault(&text), EnvelopeFault::Params);
        }
        for method in ["\"\"", "1", "null", "\"a\\r\\nX-Evil: 1\"", "\"a b\"", "\"é\""] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method}}}"#);
            assert_eq!(fault(&text), EnvelopeFault::Method, "{method}");
        }
        for id in ["1.5", "true", "{}", "[]"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(fault(&text), EnvelopeFault::Id, "{id}");
        }
    }

    #[test]
    fn an_error_keeps_the_id_if_it_could_be_read() {
        let text = br#"{"jsonrpc":"2.0","id":"a","method":"ping","params":[]}"#;
        let error = Envelope::parse(text, LIMITS).unwrap_err();
        assert_eq!(error.id.unwrap().as_json(), "\"a\"");
        assert_eq!(Envelope::parse(b"{", LIMITS).unwrap_err().id, None);
    }

    #[test]
    fn parameters_do_not_print() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s3cr3t"}}"#;
        let envelope = Envelope::parse(text.as_bytes(), LIMITS).unwrap();
        assert!(!format!("{envelope:?}").contains("s3cr3t"));
    }
}
