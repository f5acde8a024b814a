//! Why something could not be sealed, opened or read as a key.

/// A failure of the vault's cryptography. No variant carries secret bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The text is not `chancery-root-key-v1:` and 32 bytes in base64url or hexadecimal.
    #[error("not a root key: expected `chancery-root-key-v1:` and 32 bytes in base64url or hex")]
    RootKeyFormat,
    /// The root key is not the one the check value or the sealed tenant key was made with.
    #[error("another root key: this one does not match the recorded check value or key id")]
    WrongRootKey,
    /// The record is sealed under another tenant key than the one given.
    #[error("another tenant key: the record is sealed under a different key id")]
    WrongTenantKey,
    /// The associated data names another tenant than the key belongs to.
    #[error("the tenant of the record is not the tenant of the key")]
    OtherTenant,
    /// The sealed bytes carry a format version that this release does not know.
    #[error("unknown sealed format version {0}")]
    UnknownVersion(u8),
    /// The sealed bytes are too short, or too long, for their format.
    #[error("the sealed bytes do not have the length of their format")]
    Length,
    /// The bytes or what they are bound to were changed, or the key is wrong.
    #[error("the sealed bytes are not authentic for this record")]
    NotAuthentic,
    /// The cryptographic library refused to work.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<aws_lc_rs::error::Unspecified> for VaultError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}
