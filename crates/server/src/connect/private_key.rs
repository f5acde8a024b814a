//! A private key that proves us to a provider: read from what people have, PEM or the key file of a Google service account,
//! and signing the one assertion that its connection is for (RFC 7523 §3).
//!
//! It is stored where the secrets of providers are; what it is sealed for is there.

use crate::error::Failure;
use crate::keys::jose;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_oauth::jose::{HeaderTemplate, SigningKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::Value;

/// A key that signs assertions for one provider.
#[derive(Debug)]
pub(super) struct PrivateKey {
    key: SigningKey,
    header: HeaderTemplate,
}

/// What was given is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is no private key that this connection can sign with")]
pub(super) struct NoSuchKey;

impl PrivateKey {
    /// Reads what was given: PEM, or a Google key file, which names the key too. A name that the connection says goes before.
    ///
    /// # Errors
    /// [`NoSuchKey`], whatever is wrong. SECURITY: an error of a parser may show what it read.
    pub(super) fn read(
        text: &Secret<String>,
        algorithm: TokenAlgorithm,
        key_id: Option<&str>,
    ) -> Result<Self, NoSuchKey> {
        let text = text.expose_secret().trim();
        let file: Option<KeyFile> = serde_json::from_str(text).ok();
        let (pem, named) = match &file {
            Some(file) => (
                file.private_key.expose_secret().as_str(),
                file.private_key_id.as_deref(),
            ),
            None => (text, None),
        };
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| NoSuchKey)?;
        let key = SigningKey::from_der(jose(algorithm), der.secret_der()).map_err(|_| NoSuchKey)?;
        let kid = key_id.or(named);
        let header = HeaderTemplate::new(key.algorithm(), kid, Some("JWT"));
        let key = match kid {
            Some(kid) => key.with_kid(kid).map_err(|_| NoSuchKey)?,
            None => key,
        };
        Ok(Self { key, header })
    }

    /// Signs what its connection says, and nothing that a caller says.
    ///
    /// # Errors
    /// The crypto library's.
    pub(super) fn sign(&self, claims: &Value) -> Result<Secret<String>, Failure> {
        let signed = self.key.sign_compact(&self.header, claims);
        signed.map(Secret::new).map_err(Failure::internal)
    }
}

/// The members of a Google key file that matter.
#[derive(Deserialize)]
struct KeyFile {
    private_key: Secret<String>,
    #[serde(default)]
    private_key_id: Option<String>,
}
