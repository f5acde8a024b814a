//! The directory as a planned change sees it: what is stored, under what the same request is about to store.

use crate::app::App;
use crate::error::Failure;
use chancery_core::id::TenantId;
use chancery_core::name::Name;
use chancery_core::noun::{Noun, Record};
use chancery_store::{Stored, record};
use std::collections::HashMap;

/// Stored records under pending ones.
#[derive(Debug)]
pub struct View<'a> {
    app: &'a App,
    /// The tenant.
    pub tenant: TenantId,
    pending: HashMap<(Noun, Name), serde_json::Value>,
}

impl<'a> View<'a> {
    /// What is stored, with nothing pending.
    pub fn new(app: &'a App, tenant: TenantId) -> Self {
        Self {
            app,
            tenant,
            pending: HashMap::new(),
        }
    }

    /// Remembers a record that is about to be stored.
    pub fn add<S: Stored>(&mut self, record: &Record<S::Id, S>) {
        self.announce::<S>(&record.name, &record.spec);
    }

    /// Makes known what the same request will store.
    pub fn announce<S: Stored>(&mut self, name: &Name, spec: &S) {
        let spec = serde_json::to_value(spec).unwrap_or_default();
        self.pending.insert((S::NOUN, name.clone()), spec);
    }

    /// Whether a noun of this name is there and not retired.
    ///
    /// # Errors
    /// The database's.
    pub async fn has<S: Stored>(&self, name: &Name) -> Result<bool, Failure> {
        if self.pending.contains_key(&(S::NOUN, name.clone())) {
            return Ok(true);
        }
        let found = record::find_by_name::<S>(&self.app.db, self.tenant, name).await?;
        Ok(found.is_some_and(|record| record.state != chancery_core::noun::Lifecycle::Retired))
    }

    /// A noun's spec by its name.
    ///
    /// # Errors
    /// The database's.
    pub async fn spec<S: Stored>(&self, name: &Name) -> Result<Option<S>, Failure> {
        if let Some(spec) = self.pending.get(&(S::NOUN, name.clone())) {
            return serde_json::from_value(spec.clone())
                .map(Some)
                .map_err(Failure::internal);
        }
        let found = record::find_by_name::<S>(&self.app.db, self.tenant, name).await?;
        Ok(found.map(|record| record.spec))
    }

    /// The tenant's base URL.
    pub fn base_url(&self) -> String {
        let served = self.app.tenants.find(self.tenant);
        served
            .map(|served| served.tenant.spec.base_url.clone())
            .unwrap_or_default()
    }
}
