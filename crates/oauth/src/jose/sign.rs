//! Building a token: header and claims become the input of a signature, and the signature completes
//! the token (RFC 7515 §5.1, §7.1).
//!
//! The two halves are apart, so that the signature may come from this process or from a remote key
//! service. Whether a token may be signed at all is not decided here.

use super::algorithm::Algorithm;
use super::base64url;
use serde::Serialize;

/// The encoded header of all tokens of one type under one key: made once, copied per token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    encoded: String,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl HeaderTemplate {
    /// The header `{"alg", "kid", "typ"}`, without the members that are `None`.
    pub fn new(algorithm: Algorithm, kid: Option<&str>, typ: Option<&str>) -> Self {
        let mut header = serde_json::Map::new();
        header.insert("alg".to_owned(), algorithm.name().into());
        if let Some(kid) = kid {
            header.insert("kid".to_owned(), kid.into());
        }
        if let Some(typ) = typ {
            header.insert("typ".to_owned(), typ.into());
        }
        let text = serde_json::Value::Object(header).to_string();
        Self {
            encoded: base64url::encode(text.as_bytes()),
            algorithm,
            kid: kid.map(str::to_owned),
        }
    }

    /// The algorithm that the header names.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that the header names.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

/// `header.payload`: the bytes to sign.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningInput {
    text: String,
}

impl SigningInput {
    /// Encodes claims under a header.
    ///
    /// # Errors
    /// [`SignError::ClaimsNotSerializable`] or [`SignError::ClaimsNotAnObject`].
    pub fn new<C: Serialize + ?Sized>(header: &HeaderTemplate, claims: &C) -> Result<Self, SignError> {
        let claims = serde_json::to_vec(claims).map_err(|_| SignError::ClaimsNotSerializable)?;
        if claims.first() != Some(&b'{') {
            return Err(SignError::ClaimsNotAnObject);
        }
        let length = header.encoded.len() + base64url::encoded_length(claims.len()) + SIGNATURE_ROOM;
        let mut text = String::with_capacity(length);
        text.push_str(&header.encoded);
        text.push('.');
        base64url::encode_into(&claims, &mut text);
        Ok(Self { text })
    }

    /// The bytes that the signature must cover.
    pub const fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The finished token.
    pub fn assemble(self, signature: &[u8]) -> String {
        let mut text = self.text;
        text.push('.');
        base64url::encode_into(signature, &mut text);
        text
    }
}

impl std::fmt::Debug for SigningInput {
    /// Shows no claims: they are about people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningInput(..)")
    }
}

/// Why a token was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The claims could not be written as JSON.
    #[error("claims cannot be written as json")]
    ClaimsNotSerializable,
    /// The claims are not a JSON object (RFC 7519 §3).
    #[error("claims are not a json object")]
    ClaimsNotAnObject,
    /// The header names another algorithm or key than the one that was to sign.
    #[error("header was made for another key")]
    HeaderForAnotherKey,
    /// The crypto library failed.
    #[error("signing failed")]
    Failed,
}

/// Two dots and an ECDSA P-384 signature: with this reserve most tokens are allocated once.
const SIGNATURE_ROOM: usize = 2 + 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_holds_alg_kid_and_typ() {
        let header = HeaderTemplate::new(Algorithm::Es256, Some("k1"), Some("at+jwt"));
        let decoded = base64url::decode(&header.encoded).expect("base64url");
        assert_eq!(decoded, br#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#);
        let bare = HeaderTemplate::new(Algorithm::EdDsa, None, None);
        assert_eq!(bare.encoded, base64url::encode(br#"{"alg":"EdDSA"}"#));
    }

    #[test]
    fn token_is_header_payload_and_signature() {
        let header = HeaderTemplate::new(Algorithm::EdDsa, None, None);
        let input = SigningInput::new(&header, &serde_json::json!({"a": 1})).expect("encodes");
        assert_eq!(input.as_bytes(), b"eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ");
        assert_eq!(input.assemble(b"foo"), "eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ.Zm9v");
    }

    #[test]
    fn claims_must_be_an_object() {
        let header = HeaderTemplate::new(Algorithm::EdDsa, None, None);
        assert_eq!(
            SigningInput::new(&header, "text"),
            Err(SignError::ClaimsNotAnObject)
        );
        assert_eq!(
            SigningInput::new(&header, &[1]),
            Err(SignError::ClaimsNotAnObject)
        );
    }
}
