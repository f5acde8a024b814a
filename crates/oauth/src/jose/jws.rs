//! Compact JWS as text from outside (RFC 7515 §7.1), taken apart but not yet believed.
//!
//! The header is parsed strictly: duplicate members, any `crit` (§4.1.11: we understand no
//! extension), `b64` (RFC 7797), and keys or addresses of keys that the sender chose (`jku`, `x5u`,
//! `x5c`) are refused. `x5t` and unknown members are ignored. An embedded `jwk` is kept aside; only a
//! profile that proves possession of a key lets it pass. Claims are not looked at until they are
//! asked for or the signature is proven.

use super::algorithm::Algorithm;
use super::base64url;
use super::jwk::{Jwk, JwkError};
use chancery_core::json::{self, JsonError, JsonLimits};
use serde_json::{Map, Value};
use std::fmt;

/// A token of the right form. Nothing it says is proven.
pub struct UnverifiedJwt<'a> {
    signing_input: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    embedded_key: Option<Map<String, Value>>,
}

impl<'a> UnverifiedJwt<'a> {
    /// The longest token that [`parse`](Self::parse) accepts, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Takes a token of at most 16 KiB apart.
    ///
    /// # Errors
    /// Every rule of [`JwtError`].
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        Self::parse_within(text, Self::MAX_BYTES)
    }

    /// Takes a token of at most `max_bytes` apart.
    ///
    /// # Errors
    /// Every rule of [`JwtError`].
    pub fn parse_within(text: &'a str, max_bytes: usize) -> Result<Self, JwtError> {
        if text.len() > max_bytes {
            return Err(JwtError::TooLarge { limit: max_bytes });
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(JwtError::NotThreeParts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwtError::NotThreeParts)?;
        if payload.contains('.') {
            return Err(JwtError::NotThreeParts);
        }
        if signature.is_empty() {
            return Err(JwtError::SignatureMissing);
        }

        let header = base64url::decode(header).map_err(|_| JwtError::NotBase64Url(JwtPart::Header))?;
        let signature =
            base64url::decode(signature).map_err(|_| JwtError::NotBase64Url(JwtPart::Signature))?;
        let mut header =
            json::parse_object(&header, JsonLimits::of_bytes(max_bytes)).map_err(JwtError::Header)?;
        refuse_dangerous_members(&header)?;

        let algorithm = take_string(&mut header, "alg")?.ok_or(JwtError::AlgorithmMissing)?;
        Ok(Self {
            signing_input,
            payload,
            signature,
            algorithm: algorithm.parse().map_err(|_| JwtError::AlgorithmRefused)?,
            kid: take_string(&mut header, "kid")?,
            typ: take_string(&mut header, "typ")?,
            embedded_key: take_object(&mut header, "jwk")?,
        })
    }

    /// The `alg` that the header claims.
    pub const fn unverified_algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` that the header claims.
    pub fn unverified_kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The `typ` that the header claims, as written.
    pub fn unverified_type(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The public key that the sender put into the header (RFC 9449 §4.2). Anyone can put any key
    /// there: it proves possession, never identity.
    ///
    /// # Errors
    /// [`JwkError`] if the key breaks a rule; `None` if there is none.
    pub fn danger_embedded_key(&self) -> Result<Option<Jwk>, JwkError> {
        self.embedded_key.as_ref().map(Jwk::from_members).transpose()
    }

    /// The claims before anything is proven: only to find the issuer or the client whose keys are to
    /// be used.
    ///
    /// # Errors
    /// [`JwtError::NotBase64Url`] or [`JwtError::Payload`] if they are not a strict JSON object.
    pub fn unverified_claims(&self) -> Result<UnverifiedClaims, JwtError> {
        self.decode_claims().map(UnverifiedClaims)
    }

    /// What the signature covers.
    pub(super) const fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// The signature.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the sender put a key into the header.
    pub(super) const fn has_embedded_key(&self) -> bool {
        self.embedded_key.is_some()
    }

    /// The payload as a claims set (RFC 7519 §7.2 step 10).
    pub(super) fn decode_claims(&self) -> Result<Map<String, Value>, JwtError> {
        let payload =
            base64url::decode(self.payload).map_err(|_| JwtError::NotBase64Url(JwtPart::Payload))?;
        json::parse_object(&payload, JsonLimits::of_bytes(payload.len())).map_err(JwtError::Payload)
    }
}

impl fmt::Debug for UnverifiedJwt<'_> {
    /// Shows no part of the token that could be replayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .field("typ", &self.typ)
            .finish_non_exhaustive()
    }
}

/// Claims that nothing proves yet.
pub struct UnverifiedClaims(Map<String, Value>);

impl UnverifiedClaims {
    /// The `iss` that the token claims, if it is a string.
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.unverified_string("iss")
    }

    /// The `sub` that the token claims, if it is a string.
    pub fn unverified_subject(&self) -> Option<&str> {
        self.unverified_string("sub")
    }

    /// Any claim that is a string. One with a NUL names nothing: no database key has one, and PostgreSQL
    /// fails on a question with one.
    pub fn unverified_string(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name).and_then(Value::as_str)?;
        (!text.contains('\0')).then_some(text)
    }
}

impl fmt::Debug for UnverifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedClaims(..)")
    }
}

/// Why a text is not an acceptable token, whatever its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The text is longer than the limit.
    #[error("token is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The text is not three parts with two dots between (RFC 7515 §7.1).
    #[error("token does not have three parts")]
    NotThreeParts,
    /// The signature is empty (RFC 7515 §A.5, RFC 8725 §3.2).
    #[error("token is not signed")]
    SignatureMissing,
    /// A part is not canonical base64url (RFC 7515 §2).
    #[error("{0} of the token is not base64url")]
    NotBase64Url(JwtPart),
    /// The header is not a strict JSON object.
    #[error("header of the token is not acceptable json")]
    Header(#[source] JsonError),
    /// The payload is not a strict JSON object.
    #[error("payload of the token is not acceptable json")]
    Payload(#[source] JsonError),
    /// `alg` is absent.
    #[error("token names no `alg`")]
    AlgorithmMissing,
    /// `alg` is `none`, symmetric, or unknown.
    #[error("`alg` of the token is unknown or refused")]
    AlgorithmRefused,
    /// A header member has the wrong JSON type.
    #[error("header member `{0}` has the wrong type")]
    HeaderMemberType(&'static str),
    /// `crit` is present: it names extensions, of which we understand none (RFC 7515 §4.1.11).
    #[error("token requires an extension by `crit`")]
    CriticalExtension,
    /// `b64` is present (RFC 7797 §3).
    #[error("token uses `b64`")]
    UnencodedPayload,
    /// `jku` is present: the sender would choose where keys come from (RFC 8725 §3.10).
    #[error("token points to a key set by `jku`")]
    KeySetUrl,
    /// `x5u` is present: the sender would choose where certificates come from (RFC 8725 §3.10).
    #[error("token points to a certificate by `x5u`")]
    CertificateUrl,
    /// `x5c` is present: the sender would choose the certificate.
    #[error("token carries a certificate by `x5c`")]
    CertificateChain,
}

/// A part of a compact token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtPart {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for JwtPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

fn refuse_dangerous_members(header: &Map<String, Value>) -> Result<(), JwtError> {
    let refused = [
        ("crit", JwtError::CriticalExtension),
        ("b64", JwtError::UnencodedPayload),
        ("jku", JwtError::KeySetUrl),
        ("x5u", JwtError::CertificateUrl),
        ("x5c", JwtError::CertificateChain),
    ];
    match refused.iter().find(|(name, _)| header.contains_key(*name)) {
        Some((_, error)) => Err(*error),
        None => Ok(()),
    }
}

fn take_string(header: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, JwtError> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtError::HeaderMemberType(name)),
    }
}

fn take_object(
    header: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<Map<String, Value>>, JwtError> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(JwtError::HeaderMemberType(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.AA", base64url::encode(header.as_bytes()))
    }

    fn error(text: &str) -> JwtError {
        UnverifiedJwt::parse(text).expect_err("should be refused")
    }

    #[test]
    fn header_is_read_and_unknown_members_are_ignored() {
        let text = token(r#"{"alg":"ES256","kid":"k","typ":"JWT","x5t":"AA","cty":"x","foo":{"bar":1}}"#);
        let jwt = UnverifiedJwt::parse(&text).expect("well formed");
        assert_eq!(jwt.unverified_algorithm(), Algorithm::Es256);
        assert_eq!(jwt.unverified_kid(), Some("k"));
        assert_eq!(jwt.unverified_type(), Some("JWT"));
        assert_eq!(
            jwt.signing_input(),
            text.rsplit_once('.').expect("dot").0.as_bytes()
        );
    }

    #[test]
    fn token_must_have_exactly_three_parts() {
        for text in ["", ".", "a", "a.b", "a.b.c.d", "a.b.c.", ".a.b.c", "a.b.c.d.e"] {
            assert_eq!(error(text), JwtError::NotThreeParts, "{text}");
        }
        assert_eq!(error(".."), JwtError::SignatureMissing);
        assert_eq!(error("e30.e30."), JwtError::SignatureMissing);
    }

    #[test]
    fn every_part_must_be_strict_base64url() {
        let good = token(r#"{"alg":"ES256"}"#);
        assert_eq!(
            error(&good.replacen('.', "=.", 1)),
            JwtError::NotBase64Url(JwtPart::Header)
        );
        assert_eq!(
            error(&format!("{good}=")),
            JwtError::NotBase64Url(JwtPart::Signature)
        );
        assert_eq!(
            error(&good.replace(".AA", ".AB")),
            JwtError::NotBase64Url(JwtPart::Signature)
        );
        let payload = good.replace("e30", " e30");
        let jwt = UnverifiedJwt::parse(&payload).expect("payload is looked at later");
        assert_eq!(
            jwt.unverified_claims().err(),
            Some(JwtError::NotBase64Url(JwtPart::Payload))
        );
    }

    #[test]
    fn algorithm_must_be_present_and_asymmetric() {
        assert_eq!(error(&token("{}")), JwtError::AlgorithmMissing);
        for name in ["none", "nOnE", "HS256", "HS512", "", "es256"] {
            assert_eq!(
                error(&token(&format!(r#"{{"alg":"{name}"}}"#))),
                JwtError::AlgorithmRefused,
                "{name}"
            );
        }
    }

    #[test]
    fn members_of_the_wrong_type_are_refused() {
        let cases = [
            ("alg", "1"),
            ("alg", "[\"ES256\"]"),
            ("kid", "1"),
            ("kid", "null"),
            ("typ", "{}"),
            ("jwk", "\"x\""),
        ];
        for (name, value) in cases {
            let header = match name {
                "alg" => format!(r#"{{"alg":{value}}}"#),
                _ => format!(r#"{{"alg":"ES256","{name}":{value}}}"#),
            };
            assert_eq!(
                error(&token(&header)),
                JwtError::HeaderMemberType(name),
                "{header}"
            );
        }
    }

    #[test]
    fn an_unverified_issuer_with_nul_is_none() {
        let claims = base64url::encode(br#"{"iss":"https://a.example\u0000","sub":"a"}"#);
        let text = token(r#"{"alg":"ES256"}"#).replace("e30", &claims);
        let claims = UnverifiedJwt::parse(&text)
            .expect("well formed")
            .unverified_claims();
        let claims = claims.expect("strict JSON");
        assert_eq!(
            (claims.unverified_issuer(), claims.unverified_subject()),
            (None, Some("a"))
        );
    }

    #[test]
    fn extensions_and_foreign_keys_are_refused() {
        let cases = [
            (r#""crit":["exp"]"#, JwtError::CriticalExtension),
            (r#""crit":[]"#, JwtError::CriticalExtension),
            (r#""crit":["b64"],"b64":false"#, JwtError::CriticalExtension),
            (r#""b64":false"#, JwtError::UnencodedPayload),
            (r#""b64":true"#, JwtError::UnencodedPayload),
            (r#""jku":"https://evil.example/jwks""#, JwtError::KeySetUrl),
            (r#""x5u":"https://evil.example/cert""#, JwtError::CertificateUrl),
            (r#""x5c":["AA"]"#, JwtError::CertificateChain),
        ];
        for (member, expected) in cases {
            assert_eq!(
                error(&token(&format!(r#"{{"alg":"ES256",{member}}}"#))),
                expected,
                "{member}"
            );
        }
    }

    #[test]
    fn duplicate_header_members_are_refused() {
        let text = token(r#"{"alg":"ES256","alg":"RS256"}"#);
        assert_eq!(error(&text), JwtError::Header(JsonError::DuplicateMember));
    }

    #[test]
    fn size_limit_is_enforced_before_anything_else() {
        let text = "a".repeat(UnverifiedJwt::MAX_BYTES + 1);
        assert_eq!(
            error(&text),
            JwtError::TooLarge {
                limit: UnverifiedJwt::MAX_BYTES
            }
        );
    }

    #[test]
    fn embedded_private_key_is_refused_when_asked_for() {
        let text = token(r#"{"alg":"ES256","jwk":{"kty":"EC","d":"AA"}}"#);
        let jwt = UnverifiedJwt::parse(&text).expect("well formed");
        assert_eq!(jwt.danger_embedded_key(), Err(JwkError::Private));
    }

    #[test]
    fn debug_shows_neither_claims_nor_signature() {
        let text = format!(
            "{}.{}.c2ln",
            base64url::encode(br#"{"alg":"ES256"}"#),
            base64url::encode(br#"{"a":"marker"}"#)
        );
        let jwt = UnverifiedJwt::parse(&text).expect("well formed");
        let shown = format!("{jwt:?} {:?}", jwt.unverified_claims());
        assert!(!shown.contains("marker") && !shown.contains("c2ln") && !shown.contains("115"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9._=-]{0,80}|.{0,40}") {
            if let Ok(jwt) = UnverifiedJwt::parse(&text) {
                let _ = jwt.unverified_claims();
            }
        }
    }
}
