//! Opening a tenant's keys with a root key, which may be in a key service: what is open already is not opened again.

use super::TenantKeys;
use crate::error::Failure;
use crate::kms::Patience;
use crate::roots::Roots;
use chancery_core::id::TenantId;
use chancery_vault::{SealedTenantKey, TenantKey};
use std::sync::Arc;

/// What a tenant's keys are opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The root keys.
    pub roots: &'a Roots,
    /// The same tenant's keys as they were opened before, if they were.
    pub known: Option<&'a TenantKeys>,
    /// How long a key service is waited for.
    pub patience: Patience,
}

impl<'a> Opening<'a> {
    /// For the first time, and without haste.
    pub const fn first(roots: &'a Roots) -> Self {
        Self {
            roots,
            known: None,
            patience: Patience::Full,
        }
    }

    /// A tenant's key, with the root key that wraps it.
    pub(super) async fn open(self, tenant: TenantId, sealed: &[u8]) -> Result<Arc<TenantKey>, Failure> {
        // The very same bytes are the very same key.
        if let Some(open) = self.known.and_then(|known| known.opened_from(tenant, sealed)) {
            return Ok(open);
        }
        let sealed = SealedTenantKey::parse(sealed).map_err(Failure::internal)?;
        let root = self.roots.find(sealed.root_key_id())?;
        root.open(tenant, &sealed, self.patience).await.map(Arc::new)
    }
}

impl TenantKeys {
    /// The open key that these bytes are the sealed form of.
    fn opened_from(&self, tenant: TenantId, sealed: &[u8]) -> Option<Arc<TenantKey>> {
        if self.tenant_key.tenant() != tenant {
            return None;
        }
        if self.row.sealed == sealed {
            return Some(self.tenant_key.clone());
        }
        let is_previous = self.row.previous.as_deref() == Some(sealed);
        self.previous_key.clone().filter(|_| is_previous)
    }
}
