//! The root keys that this node accepts: the recorded one, and while it is being replaced the one to come (design,
//! section 8). Which of them wraps a tenant's key is written beside the key. A root key is at hand, or a service holds it.

use crate::egress::{Egress, EgressConfig};
use crate::error::Failure;
use crate::kms::{KeyServiceError, KeyServiceFault, Patience, ServiceKey, ServiceSource};
use chancery_core::id::TenantId;
use chancery_core::random::Random;
use chancery_core::time::Clock;
use chancery_store::key::RootRow;
use chancery_store::{Db, key};
use chancery_vault::{Binding, CheckValue, RootKey, RootKeyId, SealedTenantKey, TenantKey, VaultError};
use std::sync::Arc;

/// Where a root key is, as an operator said.
#[derive(Debug)]
pub enum RootSource {
    /// At hand.
    Held(RootKey),
    /// In a service.
    Service(ServiceSource),
}

impl From<RootKey> for RootSource {
    fn from(key: RootKey) -> Self {
        Self::Held(key)
    }
}

/// A root key: what wraps tenants' keys.
#[derive(Debug)]
pub enum Root {
    /// At hand.
    Held(RootKey),
    /// In a service.
    Service(ServiceKey),
}

impl Root {
    /// The root key that is there. A service is not asked yet.
    ///
    /// # Errors
    /// The cryptographic library's.
    pub fn new(source: RootSource, egress: &Arc<Egress>) -> Result<Self, Failure> {
        Ok(match source {
            RootSource::Held(key) => Self::Held(key),
            RootSource::Service(source) => {
                Self::Service(ServiceKey::new(source, egress.clone()).map_err(Failure::internal)?)
            }
        })
    }

    /// Its id.
    pub const fn id(&self) -> RootKeyId {
        match self {
            Self::Held(key) => key.id(),
            Self::Service(service) => service.id(),
        }
    }

    /// A tenant's key, sealed to be stored.
    ///
    /// # Errors
    /// The service's; the cryptographic library's.
    pub async fn seal(&self, key: &TenantKey, random: &dyn Random) -> Result<SealedTenantKey, Failure> {
        match self {
            Self::Held(root) => key.seal(root, random).map_err(Failure::internal),
            Self::Service(service) => {
                let binding = Binding::Tenant(key.tenant());
                let (wrapping, wrapped) = service.wrap(binding, Patience::Usual, random).await?;
                let sealed = key.seal_with(service.id(), (&wrapping, &wrapped), random);
                sealed.map_err(Failure::internal)
            }
        }
    }

    /// A tenant's key that was sealed under this root key.
    ///
    /// # Errors
    /// The service's; a key that is another tenant's, was changed, or is under another root key.
    pub async fn open(
        &self,
        tenant: TenantId,
        sealed: &SealedTenantKey,
        patience: Patience,
    ) -> Result<TenantKey, Failure> {
        let service = match self {
            Self::Held(root) => return TenantKey::open(tenant, sealed, root).map_err(Failure::internal),
            Self::Service(service) => service,
        };
        let wrapped = sealed
            .by_service()
            .ok_or_else(|| Failure::internal(VaultError::WrongRootKey))?;
        let binding = Binding::Tenant(tenant);
        let wrapping = service.unwrap_key(wrapped, binding, patience).await?;
        // SECURITY: what the service gives is believed only where it opens exactly this tenant's row.
        TenantKey::open_with(tenant, sealed, &wrapping)
            .map_err(|_| service.faulty(KeyServiceError::AnotherKey).into())
    }

    /// What the database keeps of it.
    ///
    /// # Errors
    /// The service's; the cryptographic library's.
    pub async fn record(&self, random: &dyn Random) -> Result<RootRow, Failure> {
        let id = self.id().to_string();
        Ok(match self {
            Self::Held(key) => RootRow {
                id,
                check_value: key.check_value().as_bytes().to_vec(),
                source: None,
                wrapped: None,
            },
            Self::Service(service) => {
                let (probe, wrapped) = service.wrap(Binding::Probe, Patience::Usual, random).await?;
                let check = probe.check_value().map_err(Failure::internal)?;
                RootRow {
                    id,
                    check_value: check.as_bytes().to_vec(),
                    source: Some(service.source()),
                    wrapped: Some(wrapped),
                }
            }
        })
    }

    /// What the database keeps of it, made anew by a service: so that nothing needs an old version of the service's key.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn renewed(&self, random: &dyn Random) -> Result<Option<RootRow>, Failure> {
        match self {
            Self::Held(_) => Ok(None),
            Self::Service(_) => self.record(random).await.map(Some),
        }
    }

    /// Whether it is the recorded root key.
    async fn is_recorded(&self, row: &RootRow) -> Result<bool, KeyServiceFault> {
        let check: Result<[u8; 32], _> = row.check_value.as_slice().try_into();
        let Ok(check) = check.map(CheckValue::from_bytes) else {
            return Ok(false);
        };
        if self.id().to_string() != row.id {
            return Ok(false);
        }
        match (self, &row.wrapped) {
            (Self::Held(key), None) => Ok(key.verify(&check).is_ok()),
            (Self::Service(service), Some(wrapped)) => match service.verify(&check, wrapped).await {
                Ok(()) => Ok(true),
                Err(fault) if fault.error.is_not_ours() => Ok(false),
                Err(fault) => Err(fault),
            },
            (Self::Held(_), Some(_)) | (Self::Service(_), None) => Ok(false),
        }
    }

    /// For messages.
    fn name(&self) -> String {
        match self {
            Self::Held(key) => format!("root key {}", key.id()),
            Self::Service(service) => format!("root key {} ({})", service.id(), service.source()),
        }
    }
}

impl From<RootKey> for Root {
    fn from(key: RootKey) -> Self {
        Self::Held(key)
    }
}

/// One root key, or two while one replaces the other.
#[derive(Clone, Debug)]
pub struct Roots {
    current: Arc<Root>,
    next: Option<Arc<Root>>,
}

impl Roots {
    /// What an operator gave: the root key, and the one that is to replace it.
    pub fn new(current: Root, next: Option<Root>) -> Self {
        Self {
            current: Arc::new(current),
            next: next.map(Arc::new),
        }
    }

    /// One root key, for work that is done without a node.
    ///
    /// # Errors
    /// The way out cannot be set up; the cryptographic library's.
    pub fn alone(source: RootSource, outside: EgressConfig, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let egress = Egress::new(outside, clock).map_err(Failure::start)?;
        Ok(Self::new(Root::new(source, &Arc::new(egress))?, None))
    }

    /// The recorded root key: new tenants' keys are wrapped under it.
    pub fn current(&self) -> &Arc<Root> {
        &self.current
    }

    /// The one to come.
    pub fn next(&self) -> Option<&Arc<Root>> {
        self.next.as_ref()
    }

    /// Those that a service holds.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        let all = std::iter::once(&self.current).chain(&self.next);
        all.filter_map(|root| match &**root {
            Root::Held(_) => None,
            Root::Service(service) => Some(service),
        })
    }

    /// The key with this id.
    ///
    /// # Errors
    /// It was not given.
    pub fn find(&self, id: RootKeyId) -> Result<&Root, Failure> {
        let mut all = std::iter::once(&self.current).chain(&self.next);
        let found = all.find(|key| key.id() == id);
        found.map(|key| &**key).ok_or_else(|| {
            Failure::Start(format!(
                "a tenant's key is wrapped under root key {id}, which was not given: the root key is being replaced; \
                 start with both, --root-key-file OLD --next-root-key-file NEW"
            ))
        })
    }

    /// The same with a key to come.
    #[must_use]
    pub fn with_next(&self, next: Root) -> Self {
        Self {
            current: self.current.clone(),
            next: Some(Arc::new(next)),
        }
    }

    /// The keys as the database's record has them: once the key to come is recorded, the one before is dropped.
    ///
    /// # Errors
    /// Neither is the recorded one; a key service's; the database's.
    pub async fn settled(&self, db: &Db) -> Result<Self, Failure> {
        let row = key::find_root(db)
            .await?
            .ok_or_else(|| Failure::Internal("the root key's id is gone".to_owned()))?;
        if self.current.is_recorded(&row).await? {
            return Ok(self.clone());
        }
        if let Some(next) = &self.next
            && next.is_recorded(&row).await?
        {
            return Ok(Self {
                current: next.clone(),
                next: None,
            });
        }
        Err(Failure::Start(mismatch(&row, &self.current)))
    }
}

/// Which key the data was sealed under, which was given, and what to do.
fn mismatch(row: &RootRow, given: &Root) -> String {
    let RootRow { id, source, .. } = row;
    let (recorded, hint) = match source {
        None => (
            format!("root key {id}"),
            "--root-key-file must name the file with that key".to_owned(),
        ),
        Some(source) if given.id().to_string() == *id => (
            format!("another key of the service, which was at {source}"),
            "is this the server that the data was made with, and may the key still decrypt what its old versions \
             encrypted?"
                .to_owned(),
        ),
        Some(source) => (
            format!("root key {id} ({source})"),
            format!("--root-key-file {source}, or where that service is now"),
        ),
    };
    let given = given.name();
    format!("the data is sealed under {recorded}, but {given} was given\nhint: {hint}")
}
