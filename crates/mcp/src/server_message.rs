//! What a server sends, as far as a gateway reads it: whose message it is (JSON-RPC 2.0 §5; streamable HTTP, "Receiving
//! Messages").
//!
//! A response must answer a request that was made on this very stream. A server, or another user of it, that answers
//! something else is reported before the caller sees it. Results are not read here (`list`), and nothing is changed.

use crate::id::RequestId;
use crate::members::{Members, MembersError};

/// One message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The answer to a request; an error may be without an id.
    Response {
        /// The id of the request.
        id: Option<RequestId>,
        /// Whether it is an error.
        is_error: bool,
    },
    /// A request to the client: in revisions with sessions only.
    Request {
        /// Its id.
        id: RequestId,
        /// Its method.
        method: String,
    },
    /// A notification.
    Notification {
        /// Its method.
        method: String,
    },
}

/// Why what a server sent is not handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerMessageError {
    /// It is not one unambiguous object.
    #[error(transparent)]
    Members(MembersError),
    /// It is a batch, in which answers to others could hide.
    #[error("the server sent a batch")]
    Batch,
    /// It is not a JSON-RPC 2.0 message.
    #[error("the server sent no json-rpc message")]
    Shape,
    /// It answers a request that was not made here.
    #[error("the server answered a request that was not made here")]
    ForeignResponse(RequestId),
}

impl ServerMessage {
    /// Reads a body or the data of an event.
    ///
    /// # Errors
    /// It is not one JSON-RPC message.
    pub fn read(text: &str) -> Result<Self, ServerMessageError> {
        if text.trim_start().starts_with('[') {
            return Err(ServerMessageError::Batch);
        }
        let members = Members::read_expecting(text, MEMBERS).map_err(ServerMessageError::Members)?;
        if members.find_text("jsonrpc").as_deref() != Some("2.0") {
            return Err(ServerMessageError::Shape);
        }
        let written = members.find("id");
        let id = written.and_then(RequestId::parse);
        let is_unreadable = id.is_none() && written.is_some_and(|written| written != "null");
        if is_unreadable {
            return Err(ServerMessageError::Shape);
        }
        let has = |name: &str| members.find(name).is_some();
        match (has("method"), has("result"), has("error")) {
            (true, false, false) => {
                let method = members.find_text("method").ok_or(ServerMessageError::Shape)?;
                match (id, written) {
                    (Some(id), _) => Ok(Self::Request { id, method }),
                    (None, None) => Ok(Self::Notification { method }),
                    (None, Some(_)) => Err(ServerMessageError::Shape),
                }
            }
            (false, true, false) if id.is_some() => Ok(Self::Response { id, is_error: false }),
            (false, false, true) => Ok(Self::Response { id, is_error: true }),
            _ => Err(ServerMessageError::Shape),
        }
    }

    /// Checks that a response answers one of the requests that were made on this stream.
    ///
    /// # Errors
    /// It answers another.
    pub fn check_asked(&self, asked: &[RequestId]) -> Result<(), ServerMessageError> {
        match self {
            Self::Response { id: Some(id), .. } if !asked.contains(id) => {
                Err(ServerMessageError::ForeignResponse(id.clone()))
            }
            Self::Response { .. } | Self::Request { .. } | Self::Notification { .. } => Ok(()),
        }
    }

    /// Whether it ends the request with this id.
    pub fn answers(&self, asked: &RequestId) -> bool {
        matches!(self, Self::Response { id: Some(id), .. } if id == asked)
    }
}

/// Members of an envelope.
const MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ServerMessage, ServerMessageError> {
        ServerMessage::read(text)
    }

    fn id(written: &str) -> RequestId {
        RequestId::parse(written).unwrap()
    }

    #[test]
    fn messages_of_a_server_are_told_apart() {
        let response = read(r#"{"jsonrpc":"2.0","id":1,"result":{"n":18446744073709551615}}"#).unwrap();
        assert_eq!(
            response,
            ServerMessage::Response {
                id: Some(id("1")),
                is_error: false
            }
        );
        let error = read(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).unwrap();
        assert_eq!(
            error,
            ServerMessage::Response {
                id: None,
                is_error: true
            }
        );
        let request =
            read(r#"{"jsonrpc":"2.0","id":"s","method":"elicitation/create","params":{}}"#).unwrap();
        assert_eq!(
            request,
            ServerMessage::Request {
                id: id("\"s\""),
                method: "elicitation/create".into()
            }
        );
        let notice = read(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#).unwrap();
        assert_eq!(
            notice,
            ServerMessage::Notification {
                method: "notifications/progress".into()
            }
        );
    }

    #[test]
    fn a_response_to_what_was_not_asked_is_foreign() {
        let response = read(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#).unwrap();
        assert_eq!(
            response.check_asked(&[id("1")]),
            Err(ServerMessageError::ForeignResponse(id("2")))
        );
        assert_eq!(
            response.check_asked(&[id("\"2\"")]),
            Err(ServerMessageError::ForeignResponse(id("2")))
        );
        assert_eq!(response.check_asked(&[id("1"), id("2")]), Ok(()));
        assert!(response.answers(&id("2")) && !response.answers(&id("1")));
        let request = read(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).unwrap();
        assert_eq!(request.check_asked(&[]), Ok(()));
        assert!(!request.answers(&id("2")));
    }

    #[test]
    fn what_could_be_two_messages_is_refused() {
        assert_eq!(read(" [{}]"), Err(ServerMessageError::Batch));
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"ID":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"id":1,"result":{}}"#,
            "{} {}",
            "",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
