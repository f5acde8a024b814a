//! One public key as a JSON Web Key (RFC 7517 §4; members from RFC 7518 §6.2, §6.3 and RFC 8037 §2)
//! and its thumbprint (RFC 7638).
//!
//! A [`Jwk`] is well formed and meant for verifying signatures. That an elliptic curve point lies on
//! its curve is only established when it becomes a `VerifyingKey`. Certificates in a key (`x5c`,
//! `x5t`, `x5u`) are neither read nor believed. Private and symmetric keys are never represented.

use super::algorithm::{Algorithm, KeyKind};
use super::base64url;
use super::rsa::{self, RsaKeyError};
use aws_lc_rs::digest;
use chancery_core::json::{self, JsonError, JsonLimits};
use serde_json::{Map, Value};

/// A public key for verifying signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    material: KeyMaterial,
    algorithm: Option<Algorithm>,
    kid: Option<String>,
}

impl Jwk {
    /// Parses one key from JSON text.
    ///
    /// # Errors
    /// Every rule of [`JwkError`].
    pub fn parse(text: &[u8]) -> Result<Self, JwkError> {
        Self::from_members(&json::parse_object(text, JsonLimits::of_bytes(MAX_BYTES))?)
    }

    /// Reads one key from an object that was parsed strictly.
    ///
    /// # Errors
    /// Every rule of [`JwkError`] but [`JwkError::Json`].
    pub fn from_members(members: &Map<String, Value>) -> Result<Self, JwkError> {
        Self::from_members_for(members, KeyUse::Signature)
    }

    /// Reads one key that is meant for `key_use`.
    pub(super) fn from_members_for(members: &Map<String, Value>, key_use: KeyUse) -> Result<Self, JwkError> {
        // Before all else, so that a secret in the wrong place is always called by its name.
        refuse_secrets(members)?;
        let material = KeyMaterial::from_members(members)?;
        check_use(members, key_use)?;
        check_operations(members)?;

        let algorithm = optional_string(members, "alg")?
            .map(|name| name.parse().map_err(|_| JwkError::UnsupportedAlgorithm))
            .transpose()?;
        if algorithm.is_some_and(|algorithm: Algorithm| algorithm.key_kind() != material.kind()) {
            return Err(JwkError::AlgorithmContradictsKey);
        }
        let kid = optional_string(members, "kid")?.map(str::to_owned);
        Ok(Self {
            material,
            algorithm,
            kid,
        })
    }

    /// Builds a key of our own.
    pub(super) fn new(material: KeyMaterial, algorithm: Algorithm) -> Self {
        Self {
            material,
            algorithm: Some(algorithm),
            kid: None,
        }
    }

    /// The same key under this name.
    #[must_use]
    pub fn with_kid(self, kid: impl Into<String>) -> Self {
        Self {
            kid: Some(kid.into()),
            ..self
        }
    }

    /// What kind of key it is.
    pub const fn kind(&self) -> KeyKind {
        self.material.kind()
    }

    /// The algorithms it may be used with: the one it names, or else all of its kind.
    pub fn algorithms(&self) -> &[Algorithm] {
        match &self.algorithm {
            Some(algorithm) => std::slice::from_ref(algorithm),
            None => self.kind().algorithms(),
        }
    }

    /// Its `kid`, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its SHA-256 thumbprint in base64url (RFC 7638 §3), as in `jkt` (RFC 9449 §6.1).
    pub fn thumbprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.material.canonical().as_bytes());
        base64url::encode(digest.as_ref())
    }

    /// The key as a JSON object, as published.
    pub fn to_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        for (name, value) in self.material.members() {
            members.insert(name.to_owned(), Value::from(value));
        }
        members.insert("use".to_owned(), Value::from("sig"));
        if let Some(algorithm) = self.algorithm {
            members.insert("alg".to_owned(), Value::from(algorithm.name()));
        }
        if let Some(kid) = &self.kid {
            members.insert("kid".to_owned(), Value::from(kid.as_str()));
        }
        members
    }

    pub(super) const fn material(&self) -> &KeyMaterial {
        &self.material
    }
}

impl serde::Serialize for Jwk {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_members().serialize(serializer)
    }
}

/// Why a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The text is not a strict JSON object.
    #[error("key is not acceptable json")]
    Json(#[from] JsonError),
    /// The key is symmetric: `kty` is `oct`, or a member `k` is present.
    #[error("key is symmetric")]
    Symmetric,
    /// The key holds a private member (RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2).
    #[error("key holds private material")]
    Private,
    /// A member that this kind of key must have is absent.
    #[error("key lacks the member `{0}`")]
    MemberMissing(&'static str),
    /// A member has the wrong JSON type or encoding.
    #[error("key has a malformed member `{0}`")]
    MemberMalformed(&'static str),
    /// `kty` is one that we do not have.
    #[error("key type is not supported")]
    UnsupportedKeyType,
    /// `crv` is one that we do not have.
    #[error("curve is not supported")]
    UnsupportedCurve,
    /// A coordinate does not have the full length of the curve's field (RFC 7518 §6.2.1.2).
    #[error("coordinate does not have the length of the curve")]
    CoordinateLength,
    /// The RSA numbers break a rule.
    #[error(transparent)]
    Rsa(#[from] RsaKeyError),
    /// `use` says that the key is for something else (RFC 7517 §4.2).
    #[error("key is not for signatures")]
    WrongUse,
    /// `key_ops` does not allow `verify` (RFC 7517 §4.3).
    #[error("key operations do not include `verify`")]
    WrongOperations,
    /// `alg` is one that we do not have.
    #[error("key is for an algorithm that is not supported")]
    UnsupportedAlgorithm,
    /// `alg` cannot be used with a key of this kind.
    #[error("key is of a kind that its `alg` cannot use")]
    AlgorithmContradictsKey,
}

/// What a key must say that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUse {
    /// `use` absent or `sig`.
    Signature,
    /// `use` exactly `jwt-svid` (SPIFFE Trust Domain and Bundle §4.2.2).
    JwtSvid,
}

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyMaterial {
    /// An uncompressed point of P-256: `04 || x || y`.
    P256(Vec<u8>),
    /// An uncompressed point of P-384: `04 || x || y`.
    P384(Vec<u8>),
    /// An Ed25519 public key.
    Ed25519(Vec<u8>),
    /// An RSA public key, big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl KeyMaterial {
    fn from_members(members: &Map<String, Value>) -> Result<Self, JwkError> {
        match required_string(members, "kty")? {
            "EC" => match required_string(members, "crv")? {
                "P-256" => Ok(Self::P256(point(members, 32)?)),
                "P-384" => Ok(Self::P384(point(members, 48)?)),
                _ => Err(JwkError::UnsupportedCurve),
            },
            "OKP" => match required_string(members, "crv")? {
                "Ed25519" => Ok(Self::Ed25519(coordinate(members, "x", 32)?)),
                _ => Err(JwkError::UnsupportedCurve),
            },
            "RSA" => {
                let (n, e) = (bytes(members, "n")?, bytes(members, "e")?);
                Self::rsa(n, e)
            }
            _ => Err(JwkError::UnsupportedKeyType),
        }
    }

    /// An RSA key that follows the rules.
    pub(super) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, JwkError> {
        rsa::check_public_key(&n, &e)?;
        Ok(Self::Rsa { n, e })
    }

    const fn kind(&self) -> KeyKind {
        match self {
            Self::P256(_) => KeyKind::P256,
            Self::P384(_) => KeyKind::P384,
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::Rsa { .. } => KeyKind::Rsa,
        }
    }

    /// The required members in the order of RFC 7638 §3.3: by name.
    fn members(&self) -> Vec<(&'static str, String)> {
        let text = |name: &'static str| name.to_owned();
        match self {
            Self::P256(point) => curve_members("P-256", point),
            Self::P384(point) => curve_members("P-384", point),
            Self::Ed25519(x) => {
                vec![
                    ("crv", text("Ed25519")),
                    ("kty", text("OKP")),
                    ("x", base64url::encode(x)),
                ]
            }
            Self::Rsa { n, e } => {
                vec![
                    ("e", base64url::encode(e)),
                    ("kty", text("RSA")),
                    ("n", base64url::encode(n)),
                ]
            }
        }
    }

    /// The text that is hashed for a thumbprint. No value needs escaping.
    fn canonical(&self) -> String {
        let members = self.members();
        let pairs: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        format!("{{{}}}", pairs.join(","))
    }
}

fn curve_members(curve: &str, point: &[u8]) -> Vec<(&'static str, String)> {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    vec![
        ("crv", curve.to_owned()),
        ("kty", "EC".to_owned()),
        ("x", base64url::encode(x)),
        ("y", base64url::encode(y)),
    ]
}

fn refuse_secrets(members: &Map<String, Value>) -> Result<(), JwkError> {
    if members.contains_key("k") || members.get("kty").and_then(Value::as_str) == Some("oct") {
        return Err(JwkError::Symmetric);
    }
    if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
        return Err(JwkError::Private);
    }
    Ok(())
}

fn check_use(members: &Map<String, Value>, key_use: KeyUse) -> Result<(), JwkError> {
    let allowed = match (key_use, optional_string(members, "use")?) {
        (KeyUse::Signature, None | Some("sig")) | (KeyUse::JwtSvid, Some("jwt-svid")) => true,
        (KeyUse::Signature | KeyUse::JwtSvid, _) => false,
    };
    if allowed { Ok(()) } else { Err(JwkError::WrongUse) }
}

fn check_operations(members: &Map<String, Value>) -> Result<(), JwkError> {
    let Some(operations) = members.get("key_ops") else {
        return Ok(());
    };
    let Value::Array(operations) = operations else {
        return Err(JwkError::MemberMalformed("key_ops"));
    };
    if operations
        .iter()
        .any(|operation| operation.as_str() == Some("verify"))
    {
        return Ok(());
    }
    Err(JwkError::WrongOperations)
}

fn point(members: &Map<String, Value>, length: usize) -> Result<Vec<u8>, JwkError> {
    let mut point = vec![UNCOMPRESSED];
    point.extend(coordinate(members, "x", length)?);
    point.extend(coordinate(members, "y", length)?);
    Ok(point)
}

fn coordinate(members: &Map<String, Value>, name: &'static str, length: usize) -> Result<Vec<u8>, JwkError> {
    let coordinate = bytes(members, name)?;
    if coordinate.len() != length {
        return Err(JwkError::CoordinateLength);
    }
    Ok(coordinate)
}

fn bytes(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    base64url::decode(required_string(members, name)?).map_err(|_| JwkError::MemberMalformed(name))
}

fn required_string<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, JwkError> {
    optional_string(members, name)?.ok_or(JwkError::MemberMissing(name))
}

fn optional_string<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(JwkError::MemberMalformed(name)),
    }
}

/// Members that only private keys have, of every registered key type.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// The first octet of an uncompressed point (SEC 1 §2.3.3).
pub(super) const UNCOMPRESSED: u8 = 0x04;

/// Enough for an RSA key of 8192 bits with a certificate chain beside it.
const MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1.
    const RFC_7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

    /// RFC 8037 §A.2.
    const RFC_8037: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    /// RFC 7515 §A.3.1, without its private member.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn with(key: &str, extra: &str) -> Result<Jwk, JwkError> {
        Jwk::parse(format!("{},{extra}}}", key.trim_end_matches('}')).as_bytes())
    }

    #[test]
    fn rfc_7638_thumbprint_of_an_rsa_key() {
        let key = Jwk::parse(RFC_7638.as_bytes()).expect("valid");
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.kid(), Some("2011-04-29"));
        assert_eq!(key.algorithms(), [Algorithm::Rs256]);
    }

    #[test]
    fn rfc_8037_thumbprint_of_an_ed25519_key() {
        let key = Jwk::parse(RFC_8037.as_bytes()).expect("valid");
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn printing_and_parsing_is_the_identity() {
        for text in [RFC_7638, RFC_8037, P256] {
            let key = Jwk::parse(text.as_bytes()).expect("valid").with_kid("k1");
            let printed = serde_json::to_vec(&key).expect("prints");
            assert_eq!(Jwk::parse(&printed), Ok(key));
        }
    }

    #[test]
    fn key_without_alg_allows_every_algorithm_of_its_kind_and_no_other() {
        assert_eq!(
            Jwk::parse(P256.as_bytes()).expect("valid").algorithms(),
            [Algorithm::Es256]
        );
        let rsa = RFC_7638.replace(r#""alg":"RS256","#, "");
        assert_eq!(
            Jwk::parse(rsa.as_bytes()).expect("valid").algorithms(),
            Algorithm::RSA
        );
    }

    #[test]
    fn private_members_are_refused() {
        for name in PRIVATE_MEMBERS {
            assert_eq!(
                with(P256, &format!(r#""{name}":"AA""#)),
                Err(JwkError::Private),
                "{name}"
            );
        }
    }

    #[test]
    fn symmetric_keys_are_refused() {
        assert_eq!(Jwk::parse(br#"{"kty":"oct","k":"AA"}"#), Err(JwkError::Symmetric));
        assert_eq!(Jwk::parse(br#"{"kty":"oct"}"#), Err(JwkError::Symmetric));
        assert_eq!(with(P256, r#""k":"AA""#), Err(JwkError::Symmetric));
    }

    #[test]
    fn use_must_be_absent_or_sig() {
        assert!(with(P256, r#""use":"sig""#).is_ok());
        assert_eq!(with(P256, r#""use":"enc""#), Err(JwkError::WrongUse));
        assert_eq!(with(P256, r#""use":"jwt-svid""#), Err(JwkError::WrongUse));
        assert_eq!(with(P256, r#""use":1"#), Err(JwkError::MemberMalformed("use")));
    }

    #[test]
    fn key_ops_must_include_verify() {
        assert!(with(P256, r#""key_ops":["verify"]"#).is_ok());
        assert_eq!(
            with(P256, r#""key_ops":["encrypt"]"#),
            Err(JwkError::WrongOperations)
        );
        assert_eq!(with(P256, r#""key_ops":[]"#), Err(JwkError::WrongOperations));
        assert_eq!(
            with(P256, r#""key_ops":"verify""#),
            Err(JwkError::MemberMalformed("key_ops"))
        );
    }

    #[test]
    fn alg_must_be_known_and_fit_the_key() {
        assert!(with(P256, r#""alg":"ES256""#).is_ok());
        assert!(with(RFC_8037, r#""alg":"Ed25519""#).is_ok());
        assert_eq!(
            with(P256, r#""alg":"ES384""#),
            Err(JwkError::AlgorithmContradictsKey)
        );
        assert_eq!(
            with(P256, r#""alg":"RS256""#),
            Err(JwkError::AlgorithmContradictsKey)
        );
        assert_eq!(
            with(P256, r#""alg":"HS256""#),
            Err(JwkError::UnsupportedAlgorithm)
        );
        assert_eq!(
            with(P256, r#""alg":"ECDH-ES""#),
            Err(JwkError::UnsupportedAlgorithm)
        );
    }

    #[test]
    fn missing_malformed_and_short_members_are_refused() {
        assert_eq!(Jwk::parse(b"{}"), Err(JwkError::MemberMissing("kty")));
        assert_eq!(
            Jwk::parse(br#"{"kty":"RSA","e":"AQAB"}"#),
            Err(JwkError::MemberMissing("n"))
        );
        assert_eq!(
            Jwk::parse(P256.replace("x_FE", "=_FE").as_bytes()),
            Err(JwkError::MemberMalformed("y"))
        );
        assert_eq!(
            Jwk::parse(P256.replace("x_FEzRu9", "").as_bytes()),
            Err(JwkError::CoordinateLength)
        );
        assert_eq!(
            Jwk::parse(P256.replace("P-256", "P-384").as_bytes()),
            Err(JwkError::CoordinateLength)
        );
        assert_eq!(
            Jwk::parse(P256.replace("P-256", "secp256k1").as_bytes()),
            Err(JwkError::UnsupportedCurve)
        );
        assert_eq!(
            Jwk::parse(P256.replace("EC", "AKP").as_bytes()),
            Err(JwkError::UnsupportedKeyType)
        );
        assert_eq!(
            with(P256, r#""kty":"EC""#),
            Err(JwkError::Json(JsonError::DuplicateMember))
        );
        assert_eq!(with(P256, r#""kid":7"#), Err(JwkError::MemberMalformed("kid")));
    }

    #[test]
    fn weak_rsa_keys_are_refused() {
        let small = RFC_7638.replace("AQAB", "AQ");
        assert_eq!(
            Jwk::parse(small.as_bytes()),
            Err(JwkError::Rsa(RsaKeyError::Exponent))
        );
    }
}
