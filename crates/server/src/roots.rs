//! The root keys that this node accepts: the recorded one, and while it is being replaced the one to come (design,
//! section 8). Which of them wraps a tenant's key is written beside the key.

use crate::error::Failure;
use chancery_store::{Db, key};
use chancery_vault::{CheckValue, RootKey, RootKeyId};
use std::sync::Arc;

/// One root key, or two while one replaces the other.
#[derive(Clone, Debug)]
pub struct Roots {
    current: Arc<RootKey>,
    next: Option<Arc<RootKey>>,
}

impl Roots {
    /// What an operator gave: the root key, and the one that is to replace it.
    pub fn new(current: RootKey, next: Option<RootKey>) -> Self {
        Self {
            current: Arc::new(current),
            next: next.map(Arc::new),
        }
    }

    /// The recorded root key: new tenants' keys are wrapped under it.
    pub fn current(&self) -> &Arc<RootKey> {
        &self.current
    }

    /// The one to come.
    pub fn next(&self) -> Option<&Arc<RootKey>> {
        self.next.as_ref()
    }

    /// The key with this id.
    ///
    /// # Errors
    /// It was not given.
    pub fn find(&self, id: RootKeyId) -> Result<&RootKey, Failure> {
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
    pub fn with_next(&self, next: RootKey) -> Self {
        Self {
            current: self.current.clone(),
            next: Some(Arc::new(next)),
        }
    }

    /// The keys as the database's record has them: once the key to come is recorded, the one before is dropped.
    ///
    /// # Errors
    /// Neither is the recorded one; the database's.
    pub async fn settled(&self, db: &Db) -> Result<Self, Failure> {
        let (id, check) = key::find_root(db)
            .await?
            .ok_or_else(|| Failure::Internal("the root key's id is gone".to_owned()))?;
        let is_recorded = |key: &RootKey| {
            let check: Result<[u8; 32], _> = check.as_slice().try_into();
            key.id().to_string() == id
                && check.is_ok_and(|check| key.verify(&CheckValue::from_bytes(check)).is_ok())
        };
        if is_recorded(&self.current) {
            return Ok(self.clone());
        }
        match &self.next {
            Some(next) if is_recorded(next) => Ok(Self {
                current: next.clone(),
                next: None,
            }),
            Some(_) | None => Err(Failure::Start(format!(
                "the data is sealed under root key {id}, but root key {} was given\nhint: --root-key-file must name the \
                 file with that key",
                self.current.id()
            ))),
        }
    }
}
