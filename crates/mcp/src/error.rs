//! JSON-RPC errors that a gateway answers with (JSON-RPC 2.0 §5.1; 2026-07-28 basic protocol, "Error Codes";
//! 2025-11-25 elicitation, "URL Elicitation Required Error").
//!
//! One table from each rule to its code, message and HTTP status. Messages are fixed text, but for the name that the
//! caller sent, which the specification repeats. Errors of an upstream server are handed on and do not come here.

use crate::envelope::{EnvelopeError, EnvelopeFault};
use crate::era::{Era, EraError, Revision};
use crate::headers::HeaderError;
use crate::id::RequestId;
use crate::method::TargetError;
use crate::schema::ArgumentError;
use serde::Serialize;
use serde_json::{Value, json};

/// A code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The body is not JSON.
    ParseError,
    /// The body is not one message.
    InvalidRequest,
    /// The method is unknown.
    MethodNotFound,
    /// The parameters are wrong, or name what does not exist.
    InvalidParams,
    /// A fault of ours.
    InternalError,
    /// The resource does not exist: until 2025-11-25.
    ResourceNotFound,
    /// The headers do not repeat the body.
    HeaderMismatch,
    /// The client has not declared what the answer needs.
    MissingRequiredClientCapability,
    /// The revision is not supported.
    UnsupportedProtocolVersion,
    /// A person must visit a URL first: 2025-11-25 only.
    UrlElicitationRequired,
}

/// An error to answer with.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorResponse {
    id: Option<RequestId>,
    code: ErrorCode,
    message: String,
    data: Option<Value>,
    is_malformed: bool,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn as_i32(self) -> i32 {
        match self {
            Self::ParseError => -32_700,
            Self::InvalidRequest => -32_600,
            Self::MethodNotFound => -32_601,
            Self::InvalidParams => -32_602,
            Self::InternalError => -32_603,
            Self::ResourceNotFound => -32_002,
            Self::HeaderMismatch => -32_020,
            Self::MissingRequiredClientCapability => -32_021,
            Self::UnsupportedProtocolVersion => -32_022,
            Self::UrlElicitationRequired => -32_042,
        }
    }
}

impl ErrorResponse {
    /// An error with fixed text. Without an id it answers what had none that could be read.
    pub fn new(id: Option<&RequestId>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            id: id.cloned(),
            code,
            message: message.into(),
            data: None,
            is_malformed: false,
        }
    }

    /// The same with data.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The answer to a body that is not one message.
    pub fn of_envelope(error: &EnvelopeError) -> Self {
        let code = match error.fault {
            EnvelopeFault::Json(_) => ErrorCode::ParseError,
            EnvelopeFault::Batch
            | EnvelopeFault::NotAnObject
            | EnvelopeFault::Version
            | EnvelopeFault::UnknownMember
            | EnvelopeFault::Id
            | EnvelopeFault::Method
            | EnvelopeFault::Params
            | EnvelopeFault::Outcome => ErrorCode::InvalidRequest,
        };
        Self::new(error.id.as_ref(), code, error.fault.to_string()).malformed()
    }

    /// The answer to a message under no revision of ours.
    pub fn of_era(id: Option<&RequestId>, error: &EraError) -> Self {
        match error {
            EraError::Unsupported { requested, supported } => {
                Self::unsupported_version(id, requested, supported)
            }
            EraError::Header(header) => Self::of_header(id, header),
            EraError::MetaMissing | EraError::MetaType | EraError::InitializeVersion => {
                Self::new(id, ErrorCode::InvalidParams, error.to_string()).malformed()
            }
            EraError::Response => Self::new(id, ErrorCode::InvalidRequest, error.to_string()).malformed(),
        }
    }

    /// The answer to a revision that is not supported, with those that are.
    pub fn unsupported_version(id: Option<&RequestId>, requested: &str, supported: &[Revision]) -> Self {
        let supported: Vec<&str> = supported.iter().map(|revision| revision.as_str()).collect();
        Self::new(
            id,
            ErrorCode::UnsupportedProtocolVersion,
            "Unsupported protocol version",
        )
        .with_data(json!({ "supported": supported, "requested": requested }))
    }

    /// The answer to headers that do not repeat the body.
    pub fn of_header(id: Option<&RequestId>, error: &HeaderError) -> Self {
        Self::new(id, ErrorCode::HeaderMismatch, format!("Header mismatch: {error}"))
    }

    /// The answer to a method that does not exist.
    pub fn method_not_found(id: &RequestId) -> Self {
        Self::new(Some(id), ErrorCode::MethodNotFound, "Method not found")
    }

    /// The answer to parameters that do not say what the request is about.
    pub fn of_target(id: &RequestId, error: TargetError) -> Self {
        Self::new(Some(id), ErrorCode::InvalidParams, error.to_string())
    }

    /// The answer to arguments that the schema does not allow.
    pub fn of_arguments(id: &RequestId, error: &ArgumentError) -> Self {
        Self::new(Some(id), ErrorCode::InvalidParams, error.to_string())
    }

    /// The answer to a tool that does not exist, or that the caller may not know of: the two look the same.
    pub fn unknown_tool(id: &RequestId, name: &str) -> Self {
        Self::new(
            Some(id),
            ErrorCode::InvalidParams,
            format!("Unknown tool: {name}"),
        )
    }

    /// The same for a prompt.
    pub fn unknown_prompt(id: &RequestId, name: &str) -> Self {
        Self::new(
            Some(id),
            ErrorCode::InvalidParams,
            format!("Unknown prompt: {name}"),
        )
    }

    /// The same for a resource, whose code changed with 2026-07-28.
    pub fn unknown_resource(id: &RequestId, era: Era, uri: &str) -> Self {
        let code = if era.is_stateless() {
            ErrorCode::InvalidParams
        } else {
            ErrorCode::ResourceNotFound
        };
        Self::new(Some(id), code, "Resource not found").with_data(json!({ "uri": uri }))
    }

    /// The answer when something of ours failed.
    pub fn internal(id: Option<&RequestId>) -> Self {
        Self::new(id, ErrorCode::InternalError, "Internal error")
    }

    /// The code.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The HTTP status that it goes with. In sessions an error that names its request is a JSON-RPC answer like any
    /// other; the stateless era has statuses of its own.
    pub fn status(&self, era: Option<Era>) -> u16 {
        match self.code {
            ErrorCode::ParseError
            | ErrorCode::InvalidRequest
            | ErrorCode::HeaderMismatch
            | ErrorCode::MissingRequiredClientCapability
            | ErrorCode::UnsupportedProtocolVersion => 400,
            ErrorCode::InvalidParams if self.is_malformed => 400,
            ErrorCode::MethodNotFound if era.is_some_and(Era::is_stateless) => 404,
            ErrorCode::MethodNotFound
            | ErrorCode::InvalidParams
            | ErrorCode::InternalError
            | ErrorCode::ResourceNotFound
            | ErrorCode::UrlElicitationRequired => 200,
        }
    }

    /// The body. Without an id the member is left out, as the schema of MCP has it.
    pub fn to_body(&self) -> Vec<u8> {
        let error = Body {
            code: self.code.as_i32(),
            message: &self.message,
            data: self.data.as_ref(),
        };
        let error = serde_json::to_value(&error).unwrap_or_default();
        envelope(self.id.as_ref(), "error", &error)
    }

    const fn malformed(mut self) -> Self {
        self.is_malformed = true;
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// The bytes of a response with the id as it was written.
pub(crate) fn envelope(id: Option<&RequestId>, member: &str, value: &Value) -> Vec<u8> {
    let id = id
        .map(|id| format!("\"id\":{},", id.as_json()))
        .unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",{id}\"{member}\":{value}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::schema::ArgumentFault;
    use chancery_core::json::JsonLimits;

    const SESSION: Option<Era> = Some(Era::Session(Revision::V2025_11_25));
    const STATELESS: Option<Era> = Some(Era::Stateless(Revision::V2026_07_28));

    fn id() -> RequestId {
        RequestId::parse(r#""\u0031""#).unwrap()
    }

    fn body(error: &ErrorResponse) -> String {
        String::from_utf8(error.to_body()).unwrap()
    }

    fn of_body(text: &[u8]) -> ErrorResponse {
        ErrorResponse::of_envelope(&Envelope::parse(text, JsonLimits::of_bytes(1024)).unwrap_err())
    }

    #[test]
    fn an_error_echoes_the_id_as_it_was_written() {
        let error = ErrorResponse::method_not_found(&id());
        assert_eq!(
            body(&error),
            r#"{"jsonrpc":"2.0","id":"\u0031","error":{"code":-32601,"message":"Method not found"}}"#
        );
        assert_eq!((error.status(SESSION), error.status(STATELESS)), (200, 404));
    }

    #[test]
    fn what_is_no_json_is_a_parse_error_and_what_is_no_message_an_invalid_request() {
        assert_eq!(
            body(&of_body(b"{")),
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"malformed json at line 1, column 1"}}"#
        );
        for text in [
            &b"[]"[..],
            b"1",
            br#"{"jsonrpc":"2.0","id":7,"method":"x","params":1}"#,
        ] {
            let error = of_body(text);
            assert_eq!(
                (error.code(), error.status(None)),
                (ErrorCode::InvalidRequest, 400)
            );
        }
    }

    #[test]
    fn an_unsupported_version_names_those_that_are() {
        let error = ErrorResponse::of_era(
            Some(&id()),
            &EraError::Unsupported {
                requested: "1900-01-01".into(),
                supported: &Revision::SUPPORTED,
            },
        );
        let expected = r#"{"jsonrpc":"2.0","id":"\u0031","error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"requested":"1900-01-01"}}}"#;
        assert_eq!(body(&error), expected);
        assert_eq!(error.status(None), 400);
    }

    #[test]
    fn headers_that_contradict_are_32020() {
        let error = ErrorResponse::of_header(Some(&id()), &HeaderError::Mismatch("Mcp-Name".into()));
        assert!(body(&error).contains(
            r#""code":-32020,"message":"Header mismatch: the header `Mcp-Name` does not match the body""#
        ));
        assert_eq!(error.status(STATELESS), 400);
    }

    #[test]
    fn unknown_and_hidden_tools_look_the_same() {
        let error = ErrorResponse::unknown_tool(&id(), "a\"b");
        assert!(body(&error).ends_with(r#""error":{"code":-32602,"message":"Unknown tool: a\"b"}}"#));
        assert_eq!(error.status(STATELESS), 200);
    }

    #[test]
    fn a_missing_resource_has_the_code_of_its_era() {
        let code = |era: Option<Era>| {
            ErrorResponse::unknown_resource(&id(), era.unwrap(), "a:b")
                .code()
                .as_i32()
        };
        assert_eq!((code(SESSION), code(STATELESS)), (-32_002, -32_602));
    }

    #[test]
    fn a_request_without_its_meta_is_malformed() {
        let error = ErrorResponse::of_era(Some(&id()), &EraError::MetaMissing);
        assert_eq!((error.code().as_i32(), error.status(STATELESS)), (-32_602, 400));
    }

    #[test]
    fn wrong_arguments_are_answered_in_band() {
        let wrong = ArgumentError {
            path: "/a".into(),
            fault: ArgumentFault::Undeclared,
        };
        let error = ErrorResponse::of_arguments(&id(), &wrong);
        assert!(body(&error).contains("the argument `/a` is not declared"));
        assert_eq!(error.status(STATELESS), 200);
        let missing = ErrorResponse::of_target(&id(), TargetError::Missing("name"));
        assert!(body(&missing).contains("the parameter `name` is missing"));
    }
}
