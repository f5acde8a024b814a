//! Keys derived from keys: HKDF-SHA256 (RFC 5869) with a label for every purpose.
//!
//! The keys of the parts of audit events are *not* derived: they are random, one for each part, so
//! that erasing the key erases what a short content could be guessed from.

use crate::cipher::KEY;
use crate::error::VaultError;
use crate::field;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use chancery_core::secret::Secret;
use zeroize::Zeroize as _;

/// What a key derived from a tenant key is for. Two purposes never share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Authenticating event rows until they are integrated into the audit tree (design, section 9).
    EventMac,
    /// Turning a person's identifier into a pseudonym for the audit tree (design, section 9).
    Pseudonym,
    /// Digests of requests kept for idempotency keys (design, section 10).
    Idempotency,
    /// Refresh token successors, so that a retry gets the same one (design, section 4, rule 7).
    RefreshSuccessor,
    /// Secret access keys of SigV4, derived rather than stored (design, section 4, rule 5).
    SigV4,
    /// Binding an upstream's session id to who opened it (design, section 5).
    Session,
    /// Binding forms and sign-ins of pages to the browser they were shown in (design, section 10).
    Page,
    /// Authenticating page cursors of the administration interface (design, section 10).
    Cursor,
}

impl Purpose {
    /// The label that separates this purpose from the others. Never reused, never changed.
    pub const fn label(self) -> &'static str {
        match self {
            Self::EventMac => "event-mac",
            Self::Pseudonym => "pseudonym",
            Self::Idempotency => "idempotency",
            Self::RefreshSuccessor => "refresh-successor",
            Self::SigV4 => "sigv4",
            Self::Session => "session",
            Self::Page => "page",
            Self::Cursor => "cursor",
        }
    }
}

/// The key for `fields` under `key`.
pub(crate) fn derive(key: &[u8; KEY], fields: &[&[u8]]) -> Result<Secret<[u8; KEY]>, VaultError> {
    let info = field::join(fields);
    let mut output = [0; KEY];
    Salt::new(HKDF_SHA256, SALT)
        .extract(key)
        .expand(&[&info], HKDF_SHA256)?
        .fill(&mut output)?;
    let secret = Secret::new(output);
    output.zeroize();
    Ok(secret)
}

/// The first eight bytes of the key for `label`: a name for the key that tells nothing about it.
pub(crate) fn key_id(key: &[u8; KEY], label: &str) -> Result<[u8; 8], VaultError> {
    let derived = derive(key, &[label.as_bytes()])?;
    let (id, _) = derived
        .expose_secret()
        .split_first_chunk()
        .ok_or(VaultError::Length)?;
    Ok(*id)
}

const SALT: &[u8] = b"chancery/vault/v1";
