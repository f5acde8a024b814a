//! A signing key of a sample issuer, made when the issuer starts, and its JWKS (RFC 7517).
//!
//! It is never written down: a restart makes a new key, and whoever cached the old JWKS has to fetch again.

use anyhow::Context as _;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

/// One signing key.
pub(crate) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    key_id: String,
    public: Jwk,
}

impl Signer {
    /// A new P-256 key.
    ///
    /// # Errors
    /// If the key cannot be made, which no input causes.
    pub(crate) fn es256() -> anyhow::Result<Self> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("cannot make an EC key")?;
        let document = pair.to_pkcs8v1().context("cannot write an EC key")?;
        Self::new(Algorithm::ES256, EncodingKey::from_ec_der(document.as_ref()))
    }

    /// A new RSA key of 2048 bits.
    ///
    /// # Errors
    /// If the key cannot be made, which no input causes.
    pub(crate) fn rs256() -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).context("cannot make an RSA key")?;
        let document: Pkcs8V1Der<'_> = pair.as_der().context("cannot write an RSA key")?;
        // The JWT library reads PKCS#8 only in its PEM form.
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(document.as_ref())
        );
        Self::new(Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())?)
    }

    /// A signer of a key made elsewhere. The key id is the key's thumbprint (RFC 7638).
    ///
    /// # Errors
    /// If the key is not one of the algorithm.
    pub(crate) fn new(algorithm: Algorithm, key: EncodingKey) -> anyhow::Result<Self> {
        let mut public = Jwk::from_encoding_key(&key, algorithm)?;
        let key_id = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(key_id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            algorithm,
            key,
            key_id,
            public,
        })
    }

    /// The name of the algorithm, as it stands in metadata.
    pub(crate) fn algorithm_name(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// The public half, as a key set.
    pub(crate) fn key_set(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// Signs claims; `token_type` is the header's `typ`.
    ///
    /// # Errors
    /// If the claims cannot be written as JSON.
    pub(crate) fn sign(&self, token_type: Option<&str>, claims: &impl Serialize) -> anyhow::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.typ = token_type.map(str::to_owned);
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }
}
