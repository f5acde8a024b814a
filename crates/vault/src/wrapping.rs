//! A wrapping key: what a key service holds in our place (design, section 8). It wraps one tenant's key, once, and the
//! service wraps it. So the service never sees a tenant's key, and an answer of the service that is not the very key it
//! was given, another tenant's included, opens nothing: the tenant's key is authenticated here.
//!
//! It does not speak to the service: see [`crate::service`].

use crate::cipher::KEY;
use crate::derive::derive;
use crate::error::VaultError;
use crate::field;
use crate::root::CheckValue;
use chancery_core::id::{Id as _, TenantId};
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use zeroize::{Zeroize as _, Zeroizing};

/// A key that a service wraps.
#[derive(Debug)]
pub struct WrappingKey(Secret<[u8; KEY]>);

impl WrappingKey {
    /// A new one.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = random.bytes();
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        key
    }

    /// What a service gave back. The caller wipes `bytes`.
    ///
    /// # Errors
    /// [`VaultError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes: Zeroizing<[u8; KEY]> = Zeroizing::new(bytes.try_into().map_err(|_| VaultError::Length)?);
        Ok(Self(Secret::new(*bytes)))
    }

    /// What recognises it without telling it.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn check_value(&self) -> Result<CheckValue, VaultError> {
        let check = derive(self.bytes(), &[b"service-root-check"])?;
        Ok(CheckValue::from_bytes(*check.expose_secret()))
    }

    /// The bytes that the service gets, or that a tenant's key is sealed under.
    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        self.0.expose_secret()
    }
}

/// What a wrapping key is for: bound to it by the service too, where the service has a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The key of a tenant.
    Tenant(TenantId),
    /// Recognising the service's key: it seals nothing.
    Probe,
}

impl Binding {
    /// The bytes for services that take associated data.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Tenant(tenant) => field::join(&[&[VERSION], b"wrapping-key", tenant.as_bytes()]),
            Self::Probe => field::join(&[&[VERSION], b"probe"]),
        }
    }

    /// The text for services that take named values and write them into their own log.
    pub fn text(self) -> String {
        match self {
            Self::Tenant(tenant) => tenant.to_string(),
            Self::Probe => "probe".to_owned(),
        }
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::random::DangerSeededRandom;

    #[test]
    fn a_key_of_another_length_is_refused() {
        for length in [0, 16, 31, 33, 64] {
            let refused = WrappingKey::from_bytes(&vec![7; length]).err();
            assert_eq!(refused, Some(VaultError::Length), "{length}");
        }
    }

    #[test]
    fn the_check_value_tells_keys_apart_and_shows_nothing() {
        let random = DangerSeededRandom::new(1);
        let (one, two) = (WrappingKey::generate(&random), WrappingKey::generate(&random));
        assert_ne!(one.check_value().unwrap(), two.check_value().unwrap());
        assert_ne!(one.check_value().unwrap().as_bytes(), one.bytes());
        assert!(!format!("{one:?}").contains(&format!("{:?}", one.bytes())));
    }

    #[test]
    fn bindings_differ_by_tenant_and_kind() {
        let tenant = |byte| Binding::Tenant(TenantId::from_bytes([byte; 16]));
        assert_ne!(tenant(1).encode(), tenant(2).encode());
        assert_ne!(tenant(1).text(), tenant(2).text());
        assert_ne!(tenant(1).encode(), Binding::Probe.encode());
    }
}
