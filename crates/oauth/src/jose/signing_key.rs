//! Private keys that are held in this process.
//!
//! A key never prints itself and is written out only as a [`Secret`]. Keys in a remote key service
//! are not represented here: they sign a [`SigningInput`] at the edge.
//!
//! [`SigningInput`]: super::SigningInput

use super::algorithm::Algorithm;
use super::jwk::{Jwk, JwkError, KeyMaterial};
use super::key::{KeyError, VerifyingKey};
use super::rsa;
use super::sign::{HeaderTemplate, SignError, SigningInput};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use chancery_core::secret::Secret;
use std::fmt;

/// A private key and the one algorithm that it signs with.
pub struct SigningKey {
    pair: KeyPair,
    algorithm: Algorithm,
    public: VerifyingKey,
}

enum KeyPair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl SigningKey {
    /// Makes a new key with the random source of the crypto library; RSA keys have 2048 bits. The
    /// thumbprint of the key is its `kid`.
    ///
    /// # Errors
    /// [`KeyError::GenerationFailed`] if the random source fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match scheme(algorithm) {
            Scheme::Ecdsa(parameters) => EcdsaKeyPair::generate(parameters).map(KeyPair::Ecdsa),
            Scheme::Ed25519 => Ed25519KeyPair::generate().map(KeyPair::Ed25519),
            Scheme::Rsa(encoding) => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| KeyPair::Rsa(pair, encoding))
            }
        };
        Self::new(pair.map_err(|_| KeyError::GenerationFailed)?, algorithm)
    }

    /// Reads a key from PKCS#8 (RFC 5208; for Ed25519 also RFC 5958). The thumbprint of the key is
    /// its `kid`.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] if the bytes are not a private key that `algorithm` can use,
    /// [`KeyError::Jwk`] if its public half breaks a rule.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = match scheme(algorithm) {
            Scheme::Ecdsa(parameters) => EcdsaKeyPair::from_pkcs8(parameters, pkcs8).map(KeyPair::Ecdsa),
            Scheme::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).map(KeyPair::Ed25519),
            Scheme::Rsa(encoding) => RsaKeyPair::from_pkcs8(pkcs8).map(|pair| KeyPair::Rsa(pair, encoding)),
        };
        Self::new(pair.map_err(|_| KeyError::Rejected)?, algorithm)
    }

    /// Reads a key as tools write it: PKCS#8, or the form that its kind had before (RFC 8017 §A.1.2 for RSA, RFC 5915 for
    /// elliptic curves). The thumbprint of the key is its `kid`.
    ///
    /// # Errors
    /// As [`Self::from_pkcs8`].
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = Self::from_pkcs8(algorithm, der) {
            return Ok(key);
        }
        let pair = match scheme(algorithm) {
            Scheme::Ecdsa(parameters) => {
                EcdsaKeyPair::from_private_key_der(parameters, der).map(KeyPair::Ecdsa)
            }
            Scheme::Ed25519 => return Err(KeyError::Rejected),
            Scheme::Rsa(encoding) => RsaKeyPair::from_der(der).map(|pair| KeyPair::Rsa(pair, encoding)),
        };
        Self::new(pair.map_err(|_| KeyError::Rejected)?, algorithm)
    }

    fn new(pair: KeyPair, algorithm: Algorithm) -> Result<Self, KeyError> {
        let jwk = Jwk::new(public_material(&pair, algorithm)?, algorithm);
        let kid = jwk.thumbprint();
        let public = VerifyingKey::from_jwk(jwk.with_kid(kid))?;
        Ok(Self {
            pair,
            algorithm,
            public,
        })
    }

    /// The private key as PKCS#8, to be sealed.
    ///
    /// # Errors
    /// [`KeyError::ExportFailed`] if the crypto library fails.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::ExportFailed;
        let bytes = match &self.pair {
            KeyPair::Ecdsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            KeyPair::Ed25519(pair) => pair.to_pkcs8().map_err(failed)?.as_ref().to_vec(),
            KeyPair::Rsa(pair, _) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
        };
        Ok(Secret::new(bytes))
    }

    /// The algorithm it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The same key under another `kid`.
    ///
    /// # Errors
    /// None in practice: its public half was accepted before.
    pub fn with_kid(self, kid: impl Into<String>) -> Result<Self, KeyError> {
        let public = VerifyingKey::from_jwk(self.public.jwk().clone().with_kid(kid))?;
        Ok(Self { public, ..self })
    }

    /// Its `kid`: the thumbprint of its public half (RFC 7638), unless it was given another.
    pub fn kid(&self) -> &str {
        self.public.kid().unwrap_or_else(|| self.public.thumbprint())
    }

    /// Its public half, to publish.
    pub fn public_jwk(&self) -> &Jwk {
        self.public.jwk()
    }

    /// Its public half, ready to check signatures.
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs bytes; the form of the signature is that of JWS (RFC 7518 §3.4: `r || s`).
    ///
    /// # Errors
    /// [`SignError::Failed`] if the crypto library fails.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError::Failed;
        let random = SystemRandom::new();
        match &self.pair {
            KeyPair::Ecdsa(pair) => Ok(pair.sign(&random, input).map_err(failed)?.as_ref().to_vec()),
            KeyPair::Ed25519(pair) => Ok(pair.try_sign(input).map_err(failed)?.as_ref().to_vec()),
            KeyPair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, input, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }

    /// Encodes claims under a header made for this key, signs them, and gives the whole token.
    ///
    /// # Errors
    /// [`SignError`]: the header is for another key, the claims are not an object, or signing failed.
    pub fn sign_compact<C: serde::Serialize + ?Sized>(
        &self,
        header: &HeaderTemplate,
        claims: &C,
    ) -> Result<String, SignError> {
        if header.algorithm() != self.algorithm || header.kid().is_some_and(|kid| kid != self.kid()) {
            return Err(SignError::HeaderForAnotherKey);
        }
        let input = SigningInput::new(header, claims)?;
        let signature = self.sign(input.as_bytes())?;
        Ok(input.assemble(&signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

enum Scheme {
    Ecdsa(&'static EcdsaSigningAlgorithm),
    Ed25519,
    Rsa(&'static dyn RsaEncoding),
}

const fn scheme(algorithm: Algorithm) -> Scheme {
    match algorithm {
        Algorithm::Es256 => Scheme::Ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Scheme::Ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDsa => Scheme::Ed25519,
        Algorithm::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Scheme::Rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => Scheme::Rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => Scheme::Rsa(&signature::RSA_PSS_SHA512),
    }
}

fn public_material(pair: &KeyPair, algorithm: Algorithm) -> Result<KeyMaterial, KeyError> {
    match pair {
        KeyPair::Ecdsa(pair) => {
            let point = pair.public_key().as_ref().to_vec();
            Ok(if algorithm == Algorithm::Es384 {
                KeyMaterial::P384(point)
            } else {
                KeyMaterial::P256(point)
            })
        }
        KeyPair::Ed25519(pair) => Ok(KeyMaterial::Ed25519(pair.public_key().as_ref().to_vec())),
        KeyPair::Rsa(pair, _) => {
            let (n, e) = rsa::read_public_key_der(pair.public_key().as_ref()).ok_or(KeyError::Rejected)?;
            KeyMaterial::rsa(n.to_vec(), e.to_vec()).map_err(|error: JwkError| KeyError::Jwk(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_public_half_accepts() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(*algorithm).expect("generates");
            let signature = key.sign(b"input").expect("signs");
            let public = VerifyingKey::from_jwk(key.public_jwk().clone()).expect("valid");
            assert_eq!(
                public.check_signature(*algorithm, b"input", &signature),
                Ok(()),
                "{algorithm}"
            );
            assert_eq!(
                public.check_signature(*algorithm, b"other", &signature),
                Err(KeyError::SignatureInvalid),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn pkcs8_round_trip_keeps_the_key() {
        for algorithm in [
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::EdDsa,
            Algorithm::Rs256,
        ] {
            let key = SigningKey::generate(algorithm).expect("generates");
            let pkcs8 = key.to_pkcs8().expect("exports");
            let again = SigningKey::from_pkcs8(algorithm, pkcs8.expose_secret()).expect("reads");
            assert_eq!(again.public_jwk(), key.public_jwk(), "{algorithm}");
            assert_eq!(again.kid(), key.kid());
        }
    }

    #[test]
    fn pkcs8_of_another_kind_is_refused() {
        let pkcs8 = SigningKey::generate(Algorithm::Es256)
            .and_then(|key| key.to_pkcs8())
            .expect("exports");
        for algorithm in [Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256] {
            let error = SigningKey::from_pkcs8(algorithm, pkcs8.expose_secret()).err();
            assert_eq!(error, Some(KeyError::Rejected), "{algorithm}");
        }
        assert_eq!(
            SigningKey::from_pkcs8(Algorithm::Es256, b"").err(),
            Some(KeyError::Rejected)
        );
    }

    #[test]
    fn header_of_another_key_is_refused() {
        let key = SigningKey::generate(Algorithm::EdDsa).expect("generates");
        let claims = serde_json::json!({});
        for header in [
            HeaderTemplate::new(Algorithm::Es256, Some(key.kid()), None),
            HeaderTemplate::new(Algorithm::EdDsa, Some("other"), None),
        ] {
            assert_eq!(
                key.sign_compact(&header, &claims),
                Err(SignError::HeaderForAnotherKey)
            );
        }
    }

    #[test]
    fn debug_shows_algorithm_and_kid_only() {
        let key = SigningKey::generate(Algorithm::Es256).expect("generates");
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey {{ algorithm: Es256, kid: {:?}, .. }}", key.kid())
        );
    }
}
