//! Verification keys, parsed once (RFC 7518 §3), and where a check finds them.

use super::algorithm::Algorithm;
use super::jwk::{Jwk, JwkError, KeyMaterial};
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use std::fmt;
use std::sync::Arc;

/// A public key, ready to check signatures. Cloning shares it.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Inner>);

struct Inner {
    jwk: Jwk,
    thumbprint: String,
    /// One parsed form for each algorithm that the key may be used with.
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

impl VerifyingKey {
    /// Parses a key and checks that it is a valid point or number.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] if the key is not a valid public key of its kind.
    pub fn from_jwk(jwk: Jwk) -> Result<Self, KeyError> {
        let parsed = jwk
            .algorithms()
            .iter()
            .map(|algorithm| Ok((*algorithm, parse(jwk.material(), *algorithm)?)))
            .collect::<Result<Vec<_>, KeyError>>()?;
        Ok(Self(Arc::new(Inner {
            thumbprint: jwk.thumbprint(),
            parsed,
            jwk,
        })))
    }

    /// Checks a signature with `algorithm`.
    ///
    /// This proves who signed these bytes and nothing else; tokens are checked by `verify`.
    ///
    /// # Errors
    /// [`KeyError::AlgorithmNotForKey`] if the key may not be used so, [`KeyError::SignatureInvalid`]
    /// if the signature is not of these bytes by this key.
    pub(super) fn check_signature(
        &self,
        algorithm: Algorithm,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        // SECURITY: the key decides what it can be used with; the header of a token only confirms it.
        let key = self
            .0
            .parsed
            .iter()
            .find(|(own, _)| *own == algorithm)
            .map(|(_, key)| key);
        key.ok_or(KeyError::AlgorithmNotForKey)?
            .verify_sig(input, signature)
            .map_err(|_| KeyError::SignatureInvalid)
    }

    /// Whether the key may be used with `algorithm`.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.0.jwk.algorithms().contains(&algorithm)
    }

    /// The key as published.
    pub fn jwk(&self) -> &Jwk {
        &self.0.jwk
    }

    /// Its `kid`, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.0.jwk.kid()
    }

    /// Its SHA-256 thumbprint in base64url (RFC 7638), computed once.
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid())
            .field("thumbprint", &self.thumbprint())
            .field("algorithms", &self.0.jwk.algorithms())
            .finish()
    }
}

/// Where a check finds the key that a token names.
pub trait KeySource {
    /// The one key that is called `kid` and may be used with `algorithm`.
    ///
    /// # Errors
    /// Why there is no such key, or more than one.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&VerifyingKey, KeyLookupError>;
}

impl KeySource for VerifyingKey {
    /// A pinned key answers to its own name, and to none if either side gives none.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&VerifyingKey, KeyLookupError> {
        if let (Some(asked), Some(own)) = (kid, self.kid())
            && asked != own
        {
            return Err(KeyLookupError::UnknownKid);
        }
        if !self.allows(algorithm) {
            return Err(KeyLookupError::AlgorithmNotForKey);
        }
        Ok(self)
    }
}

/// Why no single key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLookupError {
    /// No key has the `kid`: a reason to read the key set afresh, once.
    #[error("no key has the `kid` of the token")]
    UnknownKid,
    /// The token names no `kid`, and no key can be used with its `alg`.
    #[error("no key can be used with the `alg` of the token")]
    NoKeyForAlgorithm,
    /// The key that is called `kid` cannot be used with the `alg` of the token.
    #[error("the key named by the token cannot be used with its `alg`")]
    AlgorithmNotForKey,
    /// More than one key fits.
    #[error("more than one key fits the token")]
    Ambiguous,
}

/// Why a key cannot be had or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key breaks a rule for public keys.
    #[error(transparent)]
    Jwk(#[from] JwkError),
    /// The bytes are not a valid key of the kind that the algorithm needs.
    #[error("not a valid key for this algorithm")]
    Rejected,
    /// The key may not be used with the algorithm.
    #[error("key cannot be used with this algorithm")]
    AlgorithmNotForKey,
    /// The signature is not by this key over these bytes.
    #[error("signature is invalid")]
    SignatureInvalid,
    /// The system could not make a key.
    #[error("key generation failed")]
    GenerationFailed,
    /// The private key could not be written out.
    #[error("key export failed")]
    ExportFailed,
}

fn parse(material: &KeyMaterial, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
    match material {
        KeyMaterial::P256(point) => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point),
        KeyMaterial::P384(point) => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point),
        KeyMaterial::Ed25519(x) => ParsedPublicKey::new(&signature::ED25519, x),
        KeyMaterial::Rsa { n, e } => {
            let parameters = rsa_parameters(algorithm).ok_or(KeyError::AlgorithmNotForKey)?;
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)
        }
    }
    .map_err(|_| KeyError::Rejected)
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn key(text: &str) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_jwk(Jwk::parse(text.as_bytes())?)
    }

    #[test]
    fn point_off_the_curve_is_refused() {
        assert!(key(P256).is_ok());
        assert_eq!(key(&P256.replace("x_FE", "x_FF")).err(), Some(KeyError::Rejected));
    }

    #[test]
    fn key_refuses_an_algorithm_of_another_kind() {
        let key = key(P256).expect("valid");
        for algorithm in Algorithm::ALL
            .iter()
            .filter(|algorithm| **algorithm != Algorithm::Es256)
        {
            assert_eq!(
                key.check_signature(*algorithm, b"", b""),
                Err(KeyError::AlgorithmNotForKey)
            );
            assert_eq!(
                key.find(None, *algorithm).err(),
                Some(KeyLookupError::AlgorithmNotForKey)
            );
        }
    }

    #[test]
    fn pinned_key_answers_only_to_its_own_kid() {
        let key = key(P256).expect("valid");
        assert!(key.find(None, Algorithm::Es256).is_ok());
        assert!(key.find(Some("a"), Algorithm::Es256).is_ok());
        assert_eq!(
            key.find(Some("b"), Algorithm::Es256).err(),
            Some(KeyLookupError::UnknownKid)
        );
    }

    #[test]
    fn debug_shows_names_only() {
        let text = format!("{:?}", key(P256).expect("valid"));
        assert!(text.contains("kid: Some(\"a\")") && text.contains("Es256") && !text.contains("f83OJ3D2"));
    }
}
