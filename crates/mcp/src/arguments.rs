//! The canonical form of a call (RFC 8785, JSON Canonicalization Scheme), which is hashed, shown, and sent.
//!
//! Where policy or approval reads arguments, the request that goes upstream is made from the very bytes that were
//! hashed (design, invariant 11), so that what was decided on is what arrives. Everything else is forwarded as it
//! came.

use crate::digest::Digest;
use crate::envelope::{Object, Request};
use crate::method::{TargetError, arguments};
use serde_json::Value;
use std::fmt;

/// The canonical form of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalRequest {
    body: Vec<u8>,
    params: Digest,
    arguments: Digest,
}

/// Why a request has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number that the canonical form does not have.
    #[error("a number has no canonical form")]
    Number,
    /// `arguments` is not an object.
    #[error(transparent)]
    Arguments(TargetError),
}

impl CanonicalRequest {
    /// Rebuilds a request from its canonical parameters. The id stays as it was written.
    ///
    /// # Errors
    /// The request has no canonical form.
    pub fn of(request: &Request) -> Result<Self, CanonicalError> {
        let arguments = arguments(request).map_err(CanonicalError::Arguments)?;
        let params = match &request.params {
            None => None,
            Some(params) => Some(canonical_object(params)?),
        };
        let method = canonical(&Value::from(request.method.as_str()))?;

        let mut body = Vec::new();
        body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        body.extend_from_slice(request.id.as_json().as_bytes());
        body.extend_from_slice(br#","method":"#);
        body.extend_from_slice(&method);
        if let Some(params) = &params {
            body.extend_from_slice(br#","params":"#);
            body.extend_from_slice(params);
        }
        body.push(b'}');
        Ok(Self {
            body,
            params: Digest::of(params.as_deref().unwrap_or(b"{}")),
            arguments: Digest::of(&canonical_object(&arguments)?),
        })
    }

    /// The request to send.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The digest of the canonical parameters, `_meta` and all.
    pub const fn params_digest(&self) -> Digest {
        self.params
    }

    /// The digest of the canonical arguments alone, which is the same for every attempt at the same call.
    pub const fn arguments_digest(&self) -> Digest {
        self.arguments
    }
}

/// Arguments may hold secrets and are not printed.
impl fmt::Debug for CanonicalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanonicalRequest")
            .field("params", &self.params)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

/// The canonical bytes of a value.
///
/// # Errors
/// A number is neither finite nor exact.
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value).map_err(|_| CanonicalError::Number)
}

fn canonical_object(object: &Object) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(object).map_err(|_| CanonicalError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Envelope, Message};
    use chancery_core::json::{JsonLimits, parse_value};

    fn request(text: &str) -> Request {
        let envelope = Envelope::parse(text.as_bytes(), JsonLimits::of_bytes(1 << 16)).unwrap();
        let Message::Request(request) = envelope.into_message() else {
            panic!("not a request");
        };
        request
    }

    fn text(json: &str) -> String {
        let value = parse_value(json.as_bytes(), JsonLimits::of_bytes(4096)).unwrap();
        String::from_utf8(canonical(&value).unwrap()).unwrap()
    }

    #[test]
    fn rfc_8785_numbers_and_strings() {
        let json = r#"{"numbers":[1E1,4.50,2e-3,0.000000000000000000000000001,-0,-0.0,1.0],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let expected = "{\"literals\":[null,true,false],\"numbers\":[10,4.5,0.002,1e-27,0,0,1],\
            \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(text(json), expected);
    }

    #[test]
    fn rfc_8785_members_are_sorted_by_utf_16() {
        let json = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
            "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"o"}"#;
        let names: Vec<String> = serde_json::from_str::<Object>(&text(json))
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(names, ["\r", "1", "\u{80}", "ö", "€", "😀", "\u{fb33}"]);
    }

    #[test]
    fn the_request_is_made_from_what_was_hashed() {
        let request = request(
            r#" {"method":"tools/call","params":{"name":"pay","arguments":{"b":1.0,"a":"\u0078"}},"id":"\u0031","jsonrpc":"2.0"}"#,
        );
        let canonical = CanonicalRequest::of(&request).unwrap();
        let params = r#"{"arguments":{"a":"x","b":1},"name":"pay"}"#;
        let body = format!(r#"{{"jsonrpc":"2.0","id":"\u0031","method":"tools/call","params":{params}}}"#);
        assert_eq!(String::from_utf8_lossy(canonical.body()), body);
        assert_eq!(canonical.params_digest(), Digest::of(params.as_bytes()));
        assert_eq!(canonical.arguments_digest(), Digest::of(br#"{"a":"x","b":1}"#));
    }

    #[test]
    fn calls_that_mean_the_same_have_one_digest_and_others_have_not() {
        let digest = |text: &str| CanonicalRequest::of(&request(text)).unwrap().arguments_digest();
        let call = |arguments: &str, meta: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{arguments}{meta}}}}}"#
            )
        };
        let one = digest(&call(r#"{"a":1,"b":2}"#, ""));
        assert_eq!(
            one,
            digest(&call(
                r#"{ "b":2.0, "\u0061":1e0 }"#,
                r#","_meta":{"progressToken":7}"#
            ))
        );
        assert_ne!(one, digest(&call(r#"{"a":1,"b":3}"#, "")));
        assert_ne!(one, digest(&call(r#"{"a":1,"b":"2"}"#, "")));
    }

    #[test]
    fn a_request_without_parameters_stays_so() {
        let canonical =
            CanonicalRequest::of(&request(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#)).unwrap();
        assert_eq!(
            canonical.body(),
            br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#
        );
    }
}
