//! Sealed records: envelope encryption with a random data key for every record.
//!
//! A sealed record has 97 bytes more than its plaintext:
//!
//! ```text
//! 0   1   format version, 1
//! 1   8   id of the tenant key
//! 9   12  nonce of the wrapped data key
//! 21  32  encrypted data key
//! 53  16  tag of the wrapped data key
//! 69  12  nonce of the record
//! 81  n   encrypted record
//! …   16  tag of the record
//! ```
//!
//! The data key is wrapped with the format version, `data-key` and the id of the tenant key as
//! associated data; the record is encrypted with [`AssociatedData`] as associated data. So the data
//! key can be wrapped anew without knowing what the record is, and the record cannot be moved.

use crate::associated::AssociatedData;
use crate::cipher::{self, KEY, NONCE, TAG};
use crate::error::VaultError;
use crate::field;
use crate::tenant::{TenantKey, TenantKeyId};
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use zeroize::Zeroizing;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    wrapped: WrappedKey,
    nonce: [u8; NONCE],
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`VaultError::UnknownVersion`], [`VaultError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let ([version], rest) = bytes.split_first_chunk().ok_or(VaultError::Length)?;
        if *version != VERSION {
            return Err(VaultError::UnknownVersion(*version));
        }
        let (tenant_key, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (wrap_nonce, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (wrapped, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        if ciphertext.len() < TAG {
            return Err(VaultError::Length);
        }
        Ok(Self {
            wrapped: WrappedKey {
                tenant_key: TenantKeyId::from_bytes(*tenant_key),
                nonce: *wrap_nonce,
                bytes: *wrapped,
            },
            nonce: *nonce,
            ciphertext: ciphertext.to_vec(),
        })
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            &[VERSION][..],
            self.wrapped.tenant_key.as_bytes(),
            &self.wrapped.nonce,
            &self.wrapped.bytes,
            &self.nonce,
            &self.ciphertext,
        ]
        .concat()
    }

    /// Which tenant key opens it.
    pub const fn tenant_key_id(&self) -> TenantKeyId {
        self.wrapped.tenant_key
    }
}

/// Seals a record.
///
/// # Errors
/// [`VaultError::OtherTenant`] if the key is not the tenant's; [`VaultError::Library`].
pub fn seal(
    key: &TenantKey,
    associated: &AssociatedData,
    plaintext: &Secret<Vec<u8>>,
    random: &dyn Random,
) -> Result<Sealed, VaultError> {
    check_tenant(key, associated)?;
    let data_key = Zeroizing::new(random.bytes::<KEY>());
    let nonce = random.bytes();
    let ciphertext = cipher::seal(
        data_key.as_slice(),
        nonce,
        &associated.encode(),
        plaintext.expose_secret(),
    )?;
    Ok(Sealed {
        wrapped: WrappedKey::wrap(key, data_key.as_slice(), random)?,
        nonce,
        ciphertext,
    })
}

/// Opens a record.
///
/// # Errors
/// [`VaultError::OtherTenant`] if the key is not the tenant's; [`VaultError::WrongTenantKey`] if the
/// record is sealed under another key; [`VaultError::NotAuthentic`] if the record was changed or
/// belongs to something else.
pub fn open(
    key: &TenantKey,
    associated: &AssociatedData,
    sealed: &Sealed,
) -> Result<Secret<Vec<u8>>, VaultError> {
    check_tenant(key, associated)?;
    let data_key = sealed.wrapped.unwrap(key)?;
    cipher::open(
        data_key.expose_secret(),
        sealed.nonce,
        &associated.encode(),
        &sealed.ciphertext,
    )
}

/// The same record with its data key wrapped under another key of the same tenant. The ciphertext
/// stays as it is.
///
/// # Errors
/// [`VaultError::OtherTenant`] if the keys belong to two tenants; [`VaultError::WrongTenantKey`] or
/// [`VaultError::NotAuthentic`] if `old` does not open the data key.
pub fn rewrap(
    old: &TenantKey,
    new: &TenantKey,
    sealed: &Sealed,
    random: &dyn Random,
) -> Result<Sealed, VaultError> {
    if old.tenant() != new.tenant() {
        return Err(VaultError::OtherTenant);
    }
    let data_key = sealed.wrapped.unwrap(old)?;
    Ok(Sealed {
        wrapped: WrappedKey::wrap(new, data_key.expose_secret(), random)?,
        nonce: sealed.nonce,
        ciphertext: sealed.ciphertext.clone(),
    })
}

/// A data key under a tenant key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WrappedKey {
    tenant_key: TenantKeyId,
    nonce: [u8; NONCE],
    bytes: [u8; KEY + TAG],
}

impl WrappedKey {
    fn wrap(key: &TenantKey, data_key: &[u8], random: &dyn Random) -> Result<Self, VaultError> {
        let nonce = random.bytes();
        let wrapped = cipher::seal(key.wrapping(), nonce, &wrap_associated(key.id()), data_key)?;
        Ok(Self {
            tenant_key: key.id(),
            nonce,
            bytes: wrapped.try_into().map_err(|_| VaultError::Length)?,
        })
    }

    fn unwrap(&self, key: &TenantKey) -> Result<Secret<Vec<u8>>, VaultError> {
        if self.tenant_key != key.id() {
            return Err(VaultError::WrongTenantKey);
        }
        cipher::open(
            key.wrapping(),
            self.nonce,
            &wrap_associated(key.id()),
            &self.bytes,
        )
    }
}

fn wrap_associated(key: TenantKeyId) -> Vec<u8> {
    field::join(&[&[VERSION], b"data-key", key.as_bytes()])
}

fn check_tenant(key: &TenantKey, associated: &AssociatedData) -> Result<(), VaultError> {
    if key.tenant() == associated.tenant() {
        Ok(())
    } else {
        Err(VaultError::OtherTenant)
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
