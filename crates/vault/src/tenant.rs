//! Tenant keys: each wraps the data keys of one tenant's records and is itself kept sealed under the
//! root key.
//!
//! A sealed tenant key has 69 bytes:
//!
//! ```text
//! 0   1   format version, 1
//! 1   8   id of the root key
//! 9   12  nonce
//! 21  32  encrypted tenant key
//! 53  16  authentication tag
//! ```
//!
//! Its associated data are, each with its length before it: the format version, `tenant-key`, the
//! id of the root key, the id of the tenant, and the purpose (`vault`).

use crate::cipher::{self, KEY, NONCE, TAG};
use crate::derive::{Purpose, derive, key_id};
use crate::error::VaultError;
use crate::field;
use crate::root::{RootKey, RootKeyId};
use chancery_core::id::{Id as _, TenantId};
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use std::fmt;
use zeroize::Zeroize as _;

/// The key of one tenant.
#[derive(Debug)]
pub struct TenantKey {
    tenant: TenantId,
    id: TenantKeyId,
    wrapping: Secret<[u8; KEY]>,
    key: Secret<[u8; KEY]>,
}

impl TenantKey {
    /// A new key for a tenant.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn generate(tenant: TenantId, random: &dyn Random) -> Result<Self, VaultError> {
        let mut bytes = random.bytes();
        let key = Self::from_bytes(tenant, &bytes);
        bytes.zeroize();
        key
    }

    /// Opens a key that was sealed with [`TenantKey::seal`] for this tenant.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`] if it is sealed under another root key;
    /// [`VaultError::NotAuthentic`] if it is another tenant's or was changed.
    pub fn open(tenant: TenantId, sealed: &SealedTenantKey, root: &RootKey) -> Result<Self, VaultError> {
        if sealed.root != root.id() {
            return Err(VaultError::WrongRootKey);
        }
        let associated = associated(tenant, sealed.root);
        let bytes = cipher::open(root.wrapping(), sealed.nonce, &associated, &sealed.wrapped)?;
        let bytes: &[u8; KEY] = bytes
            .expose_secret()
            .as_slice()
            .try_into()
            .map_err(|_| VaultError::Length)?;
        Self::from_bytes(tenant, bytes)
    }

    /// Seals the key under the root key, to be stored.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn seal(&self, root: &RootKey, random: &dyn Random) -> Result<SealedTenantKey, VaultError> {
        let nonce = random.bytes();
        let associated = associated(self.tenant, root.id());
        let wrapped = cipher::seal(root.wrapping(), nonce, &associated, self.key.expose_secret())?;
        Ok(SealedTenantKey {
            root: root.id(),
            nonce,
            wrapped: wrapped.try_into().map_err(|_| VaultError::Length)?,
        })
    }

    /// A key for another purpose, and within it for a context: for instance the id of a family of
    /// refresh tokens. The same purpose and context give the same key as long as the tenant key is
    /// not rotated.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn derive(&self, purpose: Purpose, context: &[u8]) -> Result<Secret<[u8; KEY]>, VaultError> {
        let fields = [b"tenant-sub-key", purpose.label().as_bytes(), context];
        derive(self.key.expose_secret(), &fields)
    }

    /// The tenant whose key this is.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The name of this key, public; the same after the root key is rotated.
    pub const fn id(&self) -> TenantKeyId {
        self.id
    }

    /// The key that wraps data keys.
    pub(crate) fn wrapping(&self) -> &[u8; KEY] {
        self.wrapping.expose_secret()
    }

    fn from_bytes(tenant: TenantId, bytes: &[u8; KEY]) -> Result<Self, VaultError> {
        Ok(Self {
            tenant,
            id: TenantKeyId(key_id(bytes, "tenant-key-id")?),
            wrapping: derive(bytes, &[b"tenant-key-wrap"])?,
            key: Secret::new(*bytes),
        })
    }
}

/// The name of a tenant key: eight bytes derived from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKeyId([u8; 8]);

impl TenantKeyId {
    /// The id that these bytes are.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TenantKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TenantKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKeyId({self})")
    }
}

/// A tenant key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTenantKey {
    root: RootKeyId,
    nonce: [u8; NONCE],
    wrapped: [u8; KEY + TAG],
}

impl SealedTenantKey {
    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`VaultError::UnknownVersion`], [`VaultError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let ([version], rest) = bytes.split_first_chunk().ok_or(VaultError::Length)?;
        if *version != VERSION {
            return Err(VaultError::UnknownVersion(*version));
        }
        let (root, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        Ok(Self {
            root: RootKeyId::from_bytes(*root),
            nonce: *nonce,
            wrapped: rest.try_into().map_err(|_| VaultError::Length)?,
        })
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[VERSION][..], self.root.as_bytes(), &self.nonce, &self.wrapped].concat()
    }

    /// Which root key opens it.
    pub const fn root_key_id(&self) -> RootKeyId {
        self.root
    }

    /// The same tenant key under another root key: nothing below it has to be touched.
    ///
    /// # Errors
    /// Those of [`TenantKey::open`].
    pub fn rewrap(
        &self,
        tenant: TenantId,
        old: &RootKey,
        new: &RootKey,
        random: &dyn Random,
    ) -> Result<Self, VaultError> {
        TenantKey::open(tenant, self, old)?.seal(new, random)
    }
}

fn associated(tenant: TenantId, root: RootKeyId) -> Vec<u8> {
    field::join(&[
        &[VERSION],
        b"tenant-key",
        root.as_bytes(),
        tenant.as_bytes(),
        b"vault",
    ])
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::random::DangerSeededRandom;

    fn tenant(byte: u8) -> TenantId {
        TenantId::from_bytes([byte; 16])
    }

    #[test]
    fn sealed_tenant_key_opens_under_its_root_only() {
        let random = DangerSeededRandom::new(1);
        let root = RootKey::from_bytes(&[1; 32]).unwrap();
        let other = RootKey::from_bytes(&[2; 32]).unwrap();
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let sealed = SealedTenantKey::parse(&key.seal(&root, &random).unwrap().to_bytes()).unwrap();
        assert_eq!(TenantKey::open(tenant(1), &sealed, &root).unwrap().id(), key.id());
        let refused = TenantKey::open(tenant(1), &sealed, &other).err();
        assert_eq!(refused, Some(VaultError::WrongRootKey));
        let moved = TenantKey::open(tenant(2), &sealed, &root).err();
        assert_eq!(moved, Some(VaultError::NotAuthentic));
    }

    #[test]
    fn any_flipped_bit_of_a_sealed_tenant_key_is_refused() {
        let random = DangerSeededRandom::new(2);
        let root = RootKey::from_bytes(&[1; 32]).unwrap();
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let bytes = key.seal(&root, &random).unwrap().to_bytes();
        assert_eq!(bytes.len(), 69);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let opened = SealedTenantKey::parse(&changed)
                .and_then(|sealed| TenantKey::open(tenant(1), &sealed, &root));
            assert!(opened.is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(SealedTenantKey::parse(&bytes[..length]), Err(VaultError::Length));
        }
    }

    #[test]
    fn root_rotation_keeps_the_tenant_key() {
        let random = DangerSeededRandom::new(3);
        let old = RootKey::from_bytes(&[1; 32]).unwrap();
        let new = RootKey::from_bytes(&[2; 32]).unwrap();
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let sealed = key.seal(&old, &random).unwrap();
        let rewrapped = sealed.rewrap(tenant(1), &old, &new, &random).unwrap();
        assert_eq!(rewrapped.root_key_id(), new.id());
        let opened = TenantKey::open(tenant(1), &rewrapped, &new).unwrap();
        assert_eq!(opened.key.expose_secret(), key.key.expose_secret());
    }

    #[test]
    fn derived_keys_differ_by_purpose_context_and_tenant_key() {
        let random = DangerSeededRandom::new(4);
        let one = TenantKey::generate(tenant(1), &random).unwrap();
        let two = TenantKey::generate(tenant(1), &random).unwrap();
        let derive =
            |key: &TenantKey, purpose, context: &[u8]| *key.derive(purpose, context).unwrap().expose_secret();
        let key = derive(&one, Purpose::EventMac, b"a");
        assert_eq!(key, derive(&one, Purpose::EventMac, b"a"));
        assert_ne!(key, derive(&one, Purpose::EventMac, b"b"));
        assert_ne!(key, derive(&one, Purpose::Idempotency, b"a"));
        assert_ne!(key, derive(&two, Purpose::EventMac, b"a"));
    }
}
