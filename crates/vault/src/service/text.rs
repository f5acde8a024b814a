//! JSON with keys in it, written and read so that what held a key is wiped.

use super::{ServiceAnswer, ServiceError};
use crate::error::VaultError;
use crate::wrapping::WrappingKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::secret::Secret;
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

/// `{"name": "base64 of the key", …}`: the key, then the other members, which are plain words and base64.
pub(super) fn with_key(name: &str, key: &WrappingKey, others: &[(&str, Value)]) -> Secret<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(key.bytes()));
    let rest = members(others);
    // SECURITY: enough room from the start, so that the buffer never moves and leaves the key behind.
    let mut body = Vec::with_capacity(encoded.len() + name.len() + rest.len() + 8);
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":\"");
    body.extend_from_slice(encoded.as_bytes());
    body.push(b'"');
    if !others.is_empty() {
        body.push(b',');
    }
    body.extend_from_slice(rest.as_bytes());
    body.push(b'}');
    Secret::new(body)
}

/// `{"name": …}` without any key in it.
pub(super) fn object(all: &[(&str, Value)]) -> Secret<Vec<u8>> {
    Secret::new(format!("{{{}}}", members(all)).into_bytes())
}

fn members(all: &[(&str, Value)]) -> String {
    let written = all
        .iter()
        .map(|(name, value)| format!("{}:{value}", Value::from(*name)));
    written.collect::<Vec<_>>().join(",")
}

/// The object that an answer is.
pub(super) fn answered(answer: &ServiceAnswer) -> Result<Map<String, Value>, ServiceError> {
    parse_object(answer.body.expose_secret(), JsonLimits::of_bytes(MAX_ANSWER))
        .map_err(|_| ServiceError::Malformed("it is no JSON object"))
}

/// The key in a member that was taken out of an answer.
pub(super) fn key_in(member: Option<Value>) -> Result<WrappingKey, ServiceError> {
    let Some(Value::String(mut encoded)) = member else {
        return Err(ServiceError::Malformed("there is no plaintext in it"));
    };
    let decoded = STANDARD.decode(&encoded).map(Zeroizing::new);
    encoded.zeroize();
    let decoded = decoded.map_err(|_| ServiceError::Malformed("the plaintext is not base64"))?;
    WrappingKey::from_bytes(&decoded)
        .map_err(|_: VaultError| ServiceError::Malformed("the plaintext is not a key of ours"))
}

/// Longer than any answer to what is asked.
const MAX_ANSWER: usize = 64 * 1_024;
