//! AES-256-GCM (NIST SP 800-38D) over aws-lc-rs, with the nonce given by the caller.
//!
//! Nonces are random: one key must see fewer than 2³² messages (SP 800-38D §8.3). A data key sees
//! one; a tenant key sees one for each record sealed or re-wrapped.

use crate::error::VaultError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use chancery_core::secret::Secret;
use zeroize::Zeroizing;

/// The length of the authentication tag that follows the ciphertext.
pub(crate) const TAG: usize = 16;
/// The length of a nonce: 96 bits.
pub(crate) const NONCE: usize = NONCE_LEN;
/// The length of a key: 256 bits.
pub(crate) const KEY: usize = 32;

/// Ciphertext and tag.
pub(crate) fn seal(
    key: &[u8],
    nonce: [u8; NONCE],
    associated: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, VaultError> {
    // SECURITY: the capacity holds the tag too, so the buffer never moves and leaves no plaintext.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len().saturating_add(TAG)));
    buffer.extend_from_slice(plaintext);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(associated),
        &mut *buffer,
    )?;
    Ok(std::mem::take(&mut *buffer))
}

/// The plaintext, if ciphertext, tag and associated data are those that were sealed.
pub(crate) fn open(
    key: &[u8],
    nonce: [u8; NONCE],
    associated: &[u8],
    ciphertext: &[u8],
) -> Result<Secret<Vec<u8>>, VaultError> {
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            buffer.as_mut_slice(),
        )
        .map_err(|_| VaultError::NotAuthentic)?
        .len();
    buffer.truncate(length);
    Ok(Secret::new(std::mem::take(&mut *buffer)))
}
