//! The headers that repeat the body (2026-07-28 streamable HTTP, "Request Metadata"; SEP-2243).
//!
//! [`check`] compares what a client sent with the body; [`upstream`] makes the headers of the forwarded request from
//! the body. A client's own `Mcp-*` headers are never copied: where two readers take two sources for the truth, one
//! can be told something else than the other.
//!
//! `MCP-Protocol-Version` is compared where the era is found (`era`).

use crate::envelope::{Message, Object};
use crate::era::{Era, Revision};
use crate::header_parameter::HeaderParameters;
use crate::header_value::{decode, encode};
use crate::method::Method;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The headers of one request, as names and values.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    pairs: &'a [(&'a str, &'a [u8])],
}

/// Why headers and body do not say the same. All are -32020, with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A header that is required is missing.
    #[error("the header `{0}` is missing")]
    Missing(String),
    /// A header is there twice.
    #[error("the header `{0}` is repeated")]
    Repeated(String),
    /// A header has characters that it may not have, or broken base64.
    #[error("the header `{0}` cannot be read")]
    Unreadable(String),
    /// A header says something else than the body.
    #[error("the header `{0}` does not match the body")]
    Mismatch(String),
    /// A header repeats what is not in the body.
    #[error("the header `{0}` repeats nothing of the body")]
    Unexpected(String),
}

impl<'a> Headers<'a> {
    /// Headers in any order and case.
    pub const fn new(pairs: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { pairs }
    }

    /// The value of a header that is there at most once.
    ///
    /// # Errors
    /// It is repeated, or not visible ASCII.
    pub fn find(&self, name: &str) -> Result<Option<&'a str>, HeaderError> {
        let mut values = self
            .pairs
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(HeaderError::Repeated(name.to_owned()));
        }
        let text = std::str::from_utf8(value).ok();
        let visible = text.filter(|text| {
            text.bytes()
                .all(|byte| byte == b'\t' || (0x20..=0x7e).contains(&byte))
        });
        visible
            .map(Some)
            .ok_or_else(|| HeaderError::Unreadable(name.to_owned()))
    }

    fn find_decoded(&self, name: &str) -> Result<Option<Cow<'a, str>>, HeaderError> {
        let value = self.find(name)?;
        value
            .map(decode)
            .transpose()
            .map_err(|_| HeaderError::Unreadable(name.to_owned()))
    }
}

/// Values may hold credentials and are not printed.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.pairs.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Compares the headers of a message with its body. `parameters` are the annotations of the tool that is called, if
/// the tool is known. In the stateless era what is required must be there; in sessions headers may be missing, but
/// not say something else.
///
/// # Errors
/// The first header that is missing, unreadable, or says something else.
pub fn check(
    era: Era,
    message: &Message,
    headers: &Headers<'_>,
    parameters: Option<&HeaderParameters>,
) -> Result<(), HeaderError> {
    let is_required = era.is_stateless();
    match (headers.find(METHOD)?, message.method()) {
        (Some(header), Some(method)) if header == method => {}
        (Some(_), Some(_)) => return Err(HeaderError::Mismatch(METHOD.to_owned())),
        (Some(_), None) => return Err(HeaderError::Unexpected(METHOD.to_owned())),
        (None, Some(_)) if is_required => return Err(HeaderError::Missing(METHOD.to_owned())),
        (None, _) => {}
    }

    let name = mirrored_name(message);
    match (headers.find_decoded(NAME)?, name) {
        (Some(header), Some((_, name))) if header == name => {}
        (Some(_), Some(_)) => return Err(HeaderError::Mismatch(NAME.to_owned())),
        (Some(_), None) => return Err(HeaderError::Unexpected(NAME.to_owned())),
        (None, Some((true, _))) if is_required => return Err(HeaderError::Missing(NAME.to_owned())),
        (None, _) => {}
    }

    let Some(parameters) = parameters else {
        return Ok(());
    };
    let arguments = arguments(message);
    for parameter in parameters.iter() {
        let name = parameter.header();
        match (headers.find_decoded(name)?, parameter.text(arguments)?) {
            (Some(header), Some(text)) if parameter.says(&header, &text) => {}
            (Some(_), Some(_)) => return Err(HeaderError::Mismatch(name.to_owned())),
            (Some(_), None) => return Err(HeaderError::Unexpected(name.to_owned())),
            (None, Some(_)) if is_required => return Err(HeaderError::Missing(name.to_owned())),
            (None, _) => {}
        }
    }
    Ok(())
}

/// The headers of the forwarded message, by its body alone. Sessions of 2025-03-26 and `initialize` have none.
///
/// # Errors
/// An annotated argument has not its type.
pub fn upstream(
    era: Era,
    message: &Message,
    parameters: Option<&HeaderParameters>,
) -> Result<Vec<(String, String)>, HeaderError> {
    let mut list = Vec::new();
    let is_initialize = message.method() == Some(Method::Initialize.as_str());
    if era.revision() > Revision::V2025_03_26 && !is_initialize {
        list.push((PROTOCOL_VERSION.to_owned(), era.revision().as_str().to_owned()));
    }
    if !era.is_stateless() {
        return Ok(list);
    }

    if let Some(method) = message.method() {
        list.push((METHOD.to_owned(), method.to_owned()));
    }
    if let Some((_, name)) = mirrored_name(message) {
        list.push((NAME.to_owned(), encode(name).into_owned()));
    }
    let arguments = arguments(message);
    for parameter in parameters.into_iter().flat_map(HeaderParameters::iter) {
        if let Some(text) = parameter.text(arguments)? {
            list.push((parameter.header().to_owned(), encode(&text).into_owned()));
        }
    }
    Ok(list)
}

/// What `Mcp-Name` repeats, and whether it must. The tasks extension (SEP-2663) demands it for its methods.
fn mirrored_name(message: &Message) -> Option<(bool, &str)> {
    let Message::Request(request) = message else {
        return None;
    };
    let (is_required, parameter) = match Method::parse(&request.method)? {
        Method::ToolsCall | Method::PromptsGet => (true, "name"),
        Method::ResourcesRead => (true, "uri"),
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => (false, "uri"),
        Method::TasksGet | Method::TasksCancel | Method::TasksUpdate => (true, "taskId"),
        Method::TasksResult => (false, "taskId"),
        Method::CompletionComplete
        | Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::ResourcesTemplatesList
        | Method::Initialize
        | Method::Ping
        | Method::LoggingSetLevel
        | Method::ServerDiscover
        | Method::SubscriptionsListen
        | Method::TasksList => return None,
    };
    let name = request.param(parameter).and_then(Value::as_str)?;
    Some((is_required, name))
}

fn arguments(message: &Message) -> &Object {
    static NONE: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
    let is_call = message.method() == Some(Method::ToolsCall.as_str());
    let params = message.params().filter(|_| is_call);
    let arguments = params.and_then(|params| params.get("arguments"));
    arguments.and_then(Value::as_object).unwrap_or(&NONE)
}

/// The header that names the revision.
pub const PROTOCOL_VERSION: &str = "MCP-Protocol-Version";

/// The header that repeats the method.
pub const METHOD: &str = "Mcp-Method";

/// The header that repeats the name or URI.
pub const NAME: &str = "Mcp-Name";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use chancery_core::json::JsonLimits;
    use serde_json::json;

    const SESSION: Era = Era::Session(Revision::V2025_11_25);
    const STATELESS: Era = Era::Stateless(Revision::V2026_07_28);

    fn message(method: &str, params: &Value) -> Message {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        Envelope::parse(text.as_bytes(), JsonLimits::of_bytes(4096))
            .unwrap()
            .into_message()
    }

    fn call() -> Message {
        message(
            "tools/call",
            &json!({"name": "deploy", "arguments": {"region": "eu", "count": 42}}),
        )
    }

    fn parameters() -> HeaderParameters {
        HeaderParameters::of_schema(&json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
        }}))
        .unwrap()
    }

    fn checked(era: Era, message: &Message, pairs: &[(&str, &str)]) -> Result<(), HeaderError> {
        let pairs: Vec<(&str, &[u8])> = pairs
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        check(era, message, &Headers::new(&pairs), Some(&parameters()))
    }

    const GOOD: [(&str, &str); 4] = [
        ("mcp-method", "tools/call"),
        ("MCP-NAME", "deploy"),
        ("Mcp-Param-Region", "eu"),
        ("mcp-param-count", "42.0"),
    ];

    fn replaced(index: usize, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut pairs = GOOD.to_vec();
        pairs[index].1 = value;
        pairs
    }

    #[test]
    fn headers_that_repeat_the_body_pass() {
        assert_eq!(checked(STATELESS, &call(), &GOOD), Ok(()));
        assert_eq!(checked(SESSION, &call(), &GOOD), Ok(()));
        assert_eq!(
            checked(STATELESS, &call(), &replaced(1, "=?base64?ZGVwbG95?=")),
            Ok(())
        );
    }

    #[test]
    fn a_name_that_is_not_the_one_of_the_body_is_refused() {
        for era in [SESSION, STATELESS] {
            for (index, value, name) in [
                (0, "tools/list", "Mcp-Method"),
                (0, "Tools/Call", "Mcp-Method"),
                (1, "read", "Mcp-Name"),
                (1, "=?base64?cmVhZA==?=", "Mcp-Name"),
                (2, "us", "Mcp-Param-Region"),
                (3, "43", "Mcp-Param-Count"),
            ] {
                let found = checked(era, &call(), &replaced(index, value));
                assert_eq!(found, Err(HeaderError::Mismatch(name.into())), "{value}");
            }
        }
    }

    #[test]
    fn what_is_required_may_be_missing_in_sessions_only() {
        for (index, name) in ["Mcp-Method", "Mcp-Name", "Mcp-Param-Region", "Mcp-Param-Count"]
            .iter()
            .enumerate()
        {
            let mut pairs = GOOD.to_vec();
            pairs.remove(index);
            assert_eq!(checked(SESSION, &call(), &pairs), Ok(()));
            assert_eq!(
                checked(STATELESS, &call(), &pairs),
                Err(HeaderError::Missing((*name).into()))
            );
        }
    }

    #[test]
    fn repeated_or_unreadable_headers_are_refused() {
        let mut pairs = GOOD.to_vec();
        pairs.push(("mcp-name", "deploy"));
        assert_eq!(
            checked(SESSION, &call(), &pairs),
            Err(HeaderError::Repeated("Mcp-Name".into()))
        );
        for value in ["dépl", "=?base64?%%?=", "a\u{1}"] {
            let found = checked(STATELESS, &call(), &replaced(1, value));
            assert_eq!(found, Err(HeaderError::Unreadable("Mcp-Name".into())), "{value}");
        }
    }

    #[test]
    fn a_header_without_its_body_is_refused() {
        let list = message("tools/list", &json!({}));
        let pairs = [("mcp-method", "tools/list"), ("mcp-name", "deploy")];
        assert_eq!(
            checked(STATELESS, &list, &pairs),
            Err(HeaderError::Unexpected("Mcp-Name".into()))
        );
        let null = message(
            "tools/call",
            &json!({"name": "deploy", "arguments": {"region": null, "count": 42}}),
        );
        assert_eq!(
            checked(STATELESS, &null, &GOOD),
            Err(HeaderError::Unexpected("Mcp-Param-Region".into()))
        );
    }

    #[test]
    fn resources_and_tasks_have_names_too() {
        let read = message("resources/read", &json!({"uri": "file:///a b"}));
        let pairs = [("mcp-method", "resources/read"), ("mcp-name", "file:///a b")];
        assert_eq!(checked(STATELESS, &read, &pairs), Ok(()));
        let task = message("tasks/get", &json!({"taskId": "t1"}));
        let pairs = [("mcp-method", "tasks/get"), ("mcp-name", "t2")];
        assert_eq!(
            checked(STATELESS, &task, &pairs),
            Err(HeaderError::Mismatch("Mcp-Name".into()))
        );
    }

    #[test]
    fn forwarded_headers_are_made_from_the_body() {
        let body = message(
            "tools/call",
            &json!({"name": "päy", "arguments": {"region": "eu\r\nX: 1", "count": 7}}),
        );
        let list = upstream(STATELESS, &body, Some(&parameters())).unwrap();
        let expected = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "=?base64?cMOkeQ==?="),
            ("Mcp-Param-Region", "=?base64?ZXUNClg6IDE=?="),
            ("Mcp-Param-Count", "7"),
        ];
        assert_eq!(
            list,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn sessions_forward_their_revision_alone() {
        let version = |revision: &str| vec![("MCP-Protocol-Version".to_owned(), revision.to_owned())];
        assert_eq!(
            upstream(SESSION, &call(), Some(&parameters())),
            Ok(version("2025-11-25"))
        );
        let oldest = Era::Session(Revision::V2025_03_26);
        assert_eq!(upstream(oldest, &call(), None), Ok(Vec::new()));
        let initialize = message("initialize", &json!({"protocolVersion": "2025-11-25"}));
        assert_eq!(upstream(SESSION, &initialize, None), Ok(Vec::new()));
    }

    #[test]
    fn what_is_forwarded_passes_the_check() {
        let list = upstream(STATELESS, &call(), Some(&parameters())).unwrap();
        let pairs: Vec<(&str, &str)> = list
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(checked(STATELESS, &call(), &pairs), Ok(()));
    }

    #[test]
    fn values_of_headers_do_not_print() {
        let pairs: [(&str, &[u8]); 1] = [("authorization", b"Bearer s3cr3t")];
        assert_eq!(format!("{:?}", Headers::new(&pairs)), "[\"authorization\"]");
    }
}
