//! Tenant keys: each wraps the data keys of one tenant's records and is itself kept sealed under the
//! root key.
//!
//! A sealed tenant key has 69 bytes, and after them, where a service holds the root key, what the service made of the
//! wrapping key that the tenant key is encrypted with:
//!
//! ```text
//! 0   1   format version: 1, or 2 where a service holds the root key
//! 1   8   id of the root key
//! 9   12  nonce
//! 21  32  encrypted tenant key
//! 53  16  authentication tag
//! 69      only in version 2: the wrapping key as the service wrapped it
//! ```
//!
//! Its associated data are, each with its length before it: the format version, `tenant-key`, the
//! id of the root key, the id of the tenant, and the purpose (`vault`).

use crate::cipher::{self, KEY, NONCE, TAG};
use crate::derive::{Purpose, derive, key_id};
use crate::error::VaultError;
use crate::field;
use crate::root::{RootKey, RootKeyId};
use crate::wrapping::WrappingKey;
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
        if sealed.root != root.id() || sealed.by_service.is_some() {
            return Err(VaultError::WrongRootKey);
        }
        Self::open_under(root.wrapping(), tenant, sealed)
    }

    /// Opens a key that was sealed with [`TenantKey::seal_with`] for this tenant, with the wrapping key that the service
    /// gave back.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`] if no service holds its root key;
    /// [`VaultError::NotAuthentic`] if it is another tenant's, was changed, or the service gave another key.
    pub fn open_with(
        tenant: TenantId,
        sealed: &SealedTenantKey,
        wrapping: &WrappingKey,
    ) -> Result<Self, VaultError> {
        if sealed.by_service.is_none() {
            return Err(VaultError::WrongRootKey);
        }
        Self::open_under(wrapping.bytes(), tenant, sealed)
    }

    fn open_under(
        wrapping: &[u8; KEY],
        tenant: TenantId,
        sealed: &SealedTenantKey,
    ) -> Result<Self, VaultError> {
        let associated = associated(sealed.version(), tenant, sealed.root);
        let bytes = cipher::open(wrapping, sealed.nonce, &associated, &sealed.wrapped)?;
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
        self.seal_under(VERSION, root.wrapping(), root.id(), random)
    }

    /// Seals the key under a wrapping key of its own, to be stored with what the service that holds the root key made of
    /// that wrapping key.
    ///
    /// # Errors
    /// [`VaultError::Length`] if the service's text is empty or longer than 4,096 bytes; [`VaultError::Library`].
    pub fn seal_with(
        &self,
        root: RootKeyId,
        (wrapping, by_service): (&WrappingKey, &[u8]),
        random: &dyn Random,
    ) -> Result<SealedTenantKey, VaultError> {
        if !(1..=MAX_BY_SERVICE).contains(&by_service.len()) {
            return Err(VaultError::Length);
        }
        let sealed = self.seal_under(VERSION_OF_SERVICE, wrapping.bytes(), root, random)?;
        Ok(SealedTenantKey {
            by_service: Some(by_service.to_vec()),
            ..sealed
        })
    }

    fn seal_under(
        &self,
        version: u8,
        wrapping: &[u8; KEY],
        root: RootKeyId,
        random: &dyn Random,
    ) -> Result<SealedTenantKey, VaultError> {
        let nonce = random.bytes();
        let associated = associated(version, self.tenant, root);
        let wrapped = cipher::seal(wrapping, nonce, &associated, self.key.expose_secret())?;
        Ok(SealedTenantKey {
            root,
            nonce,
            wrapped: wrapped.try_into().map_err(|_| VaultError::Length)?,
            by_service: None,
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
    by_service: Option<Vec<u8>>,
}

impl SealedTenantKey {
    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`VaultError::UnknownVersion`], [`VaultError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let ([version], rest) = bytes.split_first_chunk().ok_or(VaultError::Length)?;
        let (root, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let (wrapped, rest) = rest.split_first_chunk().ok_or(VaultError::Length)?;
        let by_service = match *version {
            VERSION if rest.is_empty() => None,
            VERSION_OF_SERVICE if (1..=MAX_BY_SERVICE).contains(&rest.len()) => Some(rest.to_vec()),
            VERSION | VERSION_OF_SERVICE => return Err(VaultError::Length),
            unknown => return Err(VaultError::UnknownVersion(unknown)),
        };
        Ok(Self {
            root: RootKeyId::from_bytes(*root),
            nonce: *nonce,
            wrapped: *wrapped,
            by_service,
        })
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let by_service = self.by_service.as_deref().unwrap_or_default();
        let version = [self.version()];
        [
            &version[..],
            self.root.as_bytes(),
            &self.nonce,
            &self.wrapped,
            by_service,
        ]
        .concat()
    }

    /// What a service must unwrap before the key opens; nothing where the root key is at hand.
    pub fn by_service(&self) -> Option<&[u8]> {
        self.by_service.as_deref()
    }

    const fn version(&self) -> u8 {
        if self.by_service.is_some() {
            VERSION_OF_SERVICE
        } else {
            VERSION
        }
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

fn associated(version: u8, tenant: TenantId, root: RootKeyId) -> Vec<u8> {
    field::join(&[
        &[version],
        b"tenant-key",
        root.as_bytes(),
        tenant.as_bytes(),
        b"vault",
    ])
}

const VERSION: u8 = 1;
const VERSION_OF_SERVICE: u8 = 2;
/// Services answer with a few hundred bytes.
const MAX_BY_SERVICE: usize = 4_096;

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

    const HELD: RootKeyId = RootKeyId::from_bytes([5; 8]);

    /// The attack: a service answers with another key than it was given, another tenant's for instance.
    #[test]
    fn a_tenant_key_opens_with_its_own_wrapping_key_only() {
        let random = DangerSeededRandom::new(5);
        let (own, others) = (WrappingKey::generate(&random), WrappingKey::generate(&random));
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let sealed = key.seal_with(HELD, (&own, b"vault:v1:text"), &random).unwrap();
        let sealed = SealedTenantKey::parse(&sealed.to_bytes()).unwrap();
        assert_eq!(sealed.by_service(), Some(&b"vault:v1:text"[..]));
        assert_eq!(sealed.root_key_id(), HELD);
        let open = |tenant, wrapping| TenantKey::open_with(tenant, &sealed, wrapping);
        assert_eq!(open(tenant(1), &own).unwrap().id(), key.id());
        assert_eq!(open(tenant(1), &others).err(), Some(VaultError::NotAuthentic));
        assert_eq!(open(tenant(2), &own).err(), Some(VaultError::NotAuthentic));
    }

    /// The attack: a row is edited so that a key of this machine opens what a service guards, or the other way round.
    #[test]
    fn a_key_of_a_service_and_a_key_at_hand_are_never_taken_for_each_other() {
        let random = DangerSeededRandom::new(6);
        let root = RootKey::from_bytes(&[1; 32]).unwrap();
        let wrapping = WrappingKey::from_bytes(root.wrapping()).unwrap();
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let held = key.seal_with(root.id(), (&wrapping, b"text"), &random).unwrap();
        assert_eq!(
            TenantKey::open(tenant(1), &held, &root).err(),
            Some(VaultError::WrongRootKey)
        );
        let mut cut = held.to_bytes();
        cut.truncate(69);
        cut[0] = 1;
        let cut = SealedTenantKey::parse(&cut).unwrap();
        assert_eq!(
            TenantKey::open(tenant(1), &cut, &root).err(),
            Some(VaultError::NotAuthentic)
        );
        let own = key.seal(&root, &random).unwrap();
        assert_eq!(
            TenantKey::open_with(tenant(1), &own, &wrapping).err(),
            Some(VaultError::WrongRootKey)
        );
    }

    #[test]
    fn what_a_service_made_is_there_and_bounded() {
        let random = DangerSeededRandom::new(7);
        let wrapping = WrappingKey::generate(&random);
        let key = TenantKey::generate(tenant(1), &random).unwrap();
        let seal = |text: &[u8]| key.seal_with(HELD, (&wrapping, text), &random);
        assert_eq!(seal(b"").err(), Some(VaultError::Length));
        assert_eq!(seal(&[1; 4_097]).err(), Some(VaultError::Length));
        let bytes = seal(&[1; 4_096]).unwrap().to_bytes();
        assert!(SealedTenantKey::parse(&bytes).is_ok());
        let longer = [bytes.as_slice(), &[1]].concat();
        assert_eq!(SealedTenantKey::parse(&longer), Err(VaultError::Length));
        assert_eq!(SealedTenantKey::parse(&bytes[..69]), Err(VaultError::Length));
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
