//! A JSON Web Key Set (RFC 7517 §5): the keys of an issuer or a client, parsed once.
//!
//! Keys that we cannot use are skipped, as §5 asks, and remembered with the reason, so that an
//! operator can be told. A set that holds private or symmetric material is refused whole: its owner
//! has published a secret, and nothing such a set says deserves trust.
//!
//! Two keys may share a `kid` (§4.5). A key listed twice counts once; different keys that fit the
//! same `kid` and `alg` are refused when they are asked for, never tried in turn.

use super::algorithm::Algorithm;
use super::jwk::{Jwk, JwkError, KeyUse};
use super::key::{KeyError, KeyLookupError, KeySource, VerifyingKey};
use chancery_core::json::{self, JsonError, JsonLimits};
use serde_json::{Map, Value};

/// A set of public keys.
#[derive(Clone, Debug, Default)]
pub struct JwkSet {
    keys: Vec<VerifyingKey>,
    skipped: Vec<SkippedKey>,
}

impl JwkSet {
    /// A set of keys that are already parsed.
    pub fn from_keys(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let mut set = Self::default();
        keys.into_iter().for_each(|key| set.add(key));
        set
    }

    /// Parses a set from JSON text.
    ///
    /// # Errors
    /// Every rule of [`JwkSetError`].
    pub fn parse(text: &[u8], limits: JwkSetLimits) -> Result<Self, JwkSetError> {
        Self::from_members(&parse_text(text, limits)?, limits)
    }

    /// Reads a set from an object that was parsed strictly, such as a client's `jwks`.
    ///
    /// # Errors
    /// Every rule of [`JwkSetError`] but [`JwkSetError::Json`].
    pub fn from_members(members: &Map<String, Value>, limits: JwkSetLimits) -> Result<Self, JwkSetError> {
        Self::read(members, limits, KeyUse::Signature)
    }

    /// Parses a SPIFFE bundle and keeps the keys for JWT-SVIDs (SPIFFE Trust Domain and Bundle §4.2).
    ///
    /// # Errors
    /// Every rule of [`JwkSetError`].
    pub fn parse_spiffe_bundle(text: &[u8], limits: JwkSetLimits) -> Result<Self, JwkSetError> {
        Self::read(&parse_text(text, limits)?, limits, KeyUse::JwtSvid)
    }

    fn read(
        members: &Map<String, Value>,
        limits: JwkSetLimits,
        key_use: KeyUse,
    ) -> Result<Self, JwkSetError> {
        let Value::Array(entries) = members.get("keys").ok_or(JwkSetError::KeysMissing)? else {
            return Err(JwkSetError::KeysNotAnArray);
        };
        if entries.len() > limits.max_keys {
            return Err(JwkSetError::TooManyKeys {
                limit: limits.max_keys,
            });
        }

        let mut set = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let Value::Object(entry) = entry else {
                return Err(JwkSetError::KeyNotAnObject);
            };
            let key = Jwk::from_members_for(entry, key_use)
                .map_err(KeyError::from)
                .and_then(VerifyingKey::from_jwk);
            match key {
                Ok(key) => set.add(key),
                Err(KeyError::Jwk(JwkError::Private)) => return Err(JwkSetError::PrivateKey),
                Err(KeyError::Jwk(JwkError::Symmetric)) => return Err(JwkSetError::SymmetricKey),
                Err(reason) => set.skipped.push(SkippedKey { index, reason }),
            }
        }
        Ok(set)
    }

    /// The keys that can be used.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// The keys that cannot be used, and why.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    fn add(&mut self, key: VerifyingKey) {
        if !self.keys.iter().any(|known| known.jwk() == key.jwk()) {
            self.keys.push(key);
        }
    }
}

impl KeySource for JwkSet {
    /// By `kid` and `alg`; without a `kid` only if a single key can be used with `alg`.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&VerifyingKey, KeyLookupError> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.allows(algorithm) && (kid.is_none() || key.kid() == kid));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(KeyLookupError::Ambiguous),
            (None, _) if kid.is_none() => Err(KeyLookupError::NoKeyForAlgorithm),
            (None, _) if self.keys.iter().any(|key| key.kid() == kid) => {
                Err(KeyLookupError::AlgorithmNotForKey)
            }
            (None, _) => Err(KeyLookupError::UnknownKid),
        }
    }
}

impl serde::Serialize for JwkSet {
    /// The set as published at a `jwks_uri`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let keys: Vec<_> = self.keys.iter().map(VerifyingKey::jwk).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("keys", &keys)?;
        map.end()
    }
}

/// What a set may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwkSetLimits {
    /// The longest text, in bytes.
    pub max_bytes: usize,
    /// The most entries, usable or not.
    pub max_keys: usize,
}

impl Default for JwkSetLimits {
    /// 64 KiB and 128 keys: well above what the large issuers publish.
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024,
            max_keys: 128,
        }
    }
}

/// A key of a set that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, from zero.
    pub index: usize,
    /// Why it cannot be used.
    pub reason: KeyError,
}

/// Why a set is refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkSetError {
    /// The text is not a strict JSON object.
    #[error("key set is not acceptable json")]
    Json(#[from] JsonError),
    /// There is no member `keys`.
    #[error("key set lacks the member `keys`")]
    KeysMissing,
    /// `keys` is not an array.
    #[error("member `keys` is not an array")]
    KeysNotAnArray,
    /// The set has more entries than the limit.
    #[error("key set has more than {limit} keys")]
    TooManyKeys {
        /// The limit.
        limit: usize,
    },
    /// An entry of `keys` is not an object.
    #[error("an entry of `keys` is not an object")]
    KeyNotAnObject,
    /// A key holds private material.
    #[error("key set holds a private key")]
    PrivateKey,
    /// A key is symmetric.
    #[error("key set holds a symmetric key")]
    SymmetricKey,
}

fn parse_text(text: &[u8], limits: JwkSetLimits) -> Result<Map<String, Value>, JwkSetError> {
    Ok(json::parse_object(text, JsonLimits::of_bytes(limits.max_bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningKey;

    fn jwk(algorithm: Algorithm, kid: Option<&str>) -> Map<String, Value> {
        let key = SigningKey::generate(algorithm).expect("generates");
        let mut members = key.public_jwk().to_members();
        members.remove("kid");
        if let Some(kid) = kid {
            members.insert("kid".to_owned(), Value::from(kid));
        }
        members
    }

    fn parse(keys: &[Map<String, Value>]) -> Result<JwkSet, JwkSetError> {
        let text = serde_json::json!({ "keys": keys }).to_string();
        JwkSet::parse(text.as_bytes(), JwkSetLimits::default())
    }

    #[test]
    fn key_is_found_by_kid_and_alg() {
        let set =
            parse(&[jwk(Algorithm::Es256, Some("a")), jwk(Algorithm::EdDsa, Some("b"))]).expect("valid");
        assert_eq!(
            set.find(Some("a"), Algorithm::Es256).expect("found").kid(),
            Some("a")
        );
        assert_eq!(
            set.find(Some("a"), Algorithm::EdDsa).err(),
            Some(KeyLookupError::AlgorithmNotForKey)
        );
        assert_eq!(
            set.find(Some("c"), Algorithm::Es256).err(),
            Some(KeyLookupError::UnknownKid)
        );
    }

    #[test]
    fn token_without_kid_needs_exactly_one_candidate() {
        let one = jwk(Algorithm::Es256, Some("a"));
        let set = parse(&[one.clone(), jwk(Algorithm::EdDsa, None)]).expect("valid");
        assert_eq!(set.find(None, Algorithm::Es256).expect("found").kid(), Some("a"));
        assert_eq!(
            set.find(None, Algorithm::Rs256).err(),
            Some(KeyLookupError::NoKeyForAlgorithm)
        );

        let set = parse(&[one, jwk(Algorithm::Es256, Some("b"))]).expect("valid");
        assert_eq!(
            set.find(None, Algorithm::Es256).err(),
            Some(KeyLookupError::Ambiguous)
        );
    }

    #[test]
    fn token_with_kid_never_matches_a_key_without_one() {
        let set = parse(&[jwk(Algorithm::Es256, None)]).expect("valid");
        assert_eq!(
            set.find(Some("a"), Algorithm::Es256).err(),
            Some(KeyLookupError::UnknownKid)
        );
    }

    #[test]
    fn different_keys_with_one_kid_and_alg_are_ambiguous_and_a_repeated_key_is_one() {
        let key = jwk(Algorithm::Es256, Some("a"));
        let set = parse(&[key.clone(), jwk(Algorithm::Es256, Some("a"))]).expect("valid");
        assert_eq!(
            set.find(Some("a"), Algorithm::Es256).err(),
            Some(KeyLookupError::Ambiguous)
        );

        let set = parse(&[key.clone(), key.clone()]).expect("valid");
        assert!(set.find(Some("a"), Algorithm::Es256).is_ok());

        let set = parse(&[key, jwk(Algorithm::EdDsa, Some("a"))]).expect("valid");
        assert!(
            set.find(Some("a"), Algorithm::Es256).is_ok() && set.find(Some("a"), Algorithm::EdDsa).is_ok()
        );
    }

    #[test]
    fn unusable_keys_are_skipped_with_their_reason() {
        let mut encryption = jwk(Algorithm::Es256, Some("e"));
        encryption.insert("use".to_owned(), Value::from("enc"));
        let mut off_curve = jwk(Algorithm::Es256, Some("o"));
        off_curve.insert("x".to_owned(), Value::from("A".repeat(43)));
        let mut future = Map::new();
        future.insert("kty".to_owned(), Value::from("AKP"));

        let set = parse(&[encryption, off_curve, future, jwk(Algorithm::Es256, Some("a"))]).expect("valid");
        assert_eq!(set.keys().len(), 1);
        let reasons: Vec<_> = set.skipped().iter().map(|skipped| skipped.reason).collect();
        let expected = [
            KeyError::Jwk(JwkError::WrongUse),
            KeyError::Rejected,
            KeyError::Jwk(JwkError::UnsupportedKeyType),
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn one_private_or_symmetric_key_refuses_the_whole_set() {
        let good = jwk(Algorithm::Es256, Some("a"));
        let mut private = jwk(Algorithm::Es256, Some("p"));
        private.insert("d".to_owned(), Value::from("AA"));
        assert_eq!(
            parse(&[good.clone(), private]).err(),
            Some(JwkSetError::PrivateKey)
        );

        let mut unknown = Map::new();
        unknown.insert("kty".to_owned(), Value::from("AKP"));
        unknown.insert("priv".to_owned(), Value::from("AA"));
        assert_eq!(
            parse(&[good.clone(), unknown]).err(),
            Some(JwkSetError::PrivateKey)
        );

        let mut symmetric = Map::new();
        symmetric.insert("kty".to_owned(), Value::from("oct"));
        assert_eq!(parse(&[good, symmetric]).err(), Some(JwkSetError::SymmetricKey));
    }

    #[test]
    fn limits_and_shape_are_enforced() {
        let limits = JwkSetLimits {
            max_bytes: 64,
            max_keys: 1,
        };
        let error = |text: &str| JwkSet::parse(text.as_bytes(), limits).err();
        assert_eq!(error("{}"), Some(JwkSetError::KeysMissing));
        assert_eq!(error(r#"{"keys":{}}"#), Some(JwkSetError::KeysNotAnArray));
        assert_eq!(error(r#"{"keys":[1]}"#), Some(JwkSetError::KeyNotAnObject));
        assert_eq!(
            error(r#"{"keys":[{},{}]}"#),
            Some(JwkSetError::TooManyKeys { limit: 1 })
        );
        assert_eq!(
            error(r#"{"keys":[],"keys":[]}"#),
            Some(JwkSetError::Json(JsonError::DuplicateMember))
        );
        assert_eq!(
            error(&" ".repeat(65)),
            Some(JwkSetError::Json(JsonError::TooLarge { limit: 64 }))
        );
    }

    #[test]
    fn spiffe_bundle_keeps_only_jwt_svid_keys() {
        let mut svid = jwk(Algorithm::Es256, Some("j"));
        svid.insert("use".to_owned(), Value::from("jwt-svid"));
        let mut x509 = jwk(Algorithm::Es256, Some("x"));
        x509.insert("use".to_owned(), Value::from("x509-svid"));
        let text = serde_json::json!({ "keys": [svid, x509, jwk(Algorithm::Es256, Some("s"))] }).to_string();

        let set = JwkSet::parse_spiffe_bundle(text.as_bytes(), JwkSetLimits::default()).expect("valid");
        assert_eq!(
            set.keys().iter().map(VerifyingKey::kid).collect::<Vec<_>>(),
            [Some("j")]
        );
    }

    #[test]
    fn printing_and_parsing_is_the_identity() {
        let set = parse(&[jwk(Algorithm::Es256, Some("a")), jwk(Algorithm::EdDsa, None)]).expect("valid");
        let printed = serde_json::to_vec(&set).expect("prints");
        let again = JwkSet::parse(&printed, JwkSetLimits::default()).expect("valid");
        let jwks = |set: &JwkSet| set.keys().iter().map(|key| key.jwk().clone()).collect::<Vec<_>>();
        assert_eq!(jwks(&set), jwks(&again));
    }
}
