//! Tenants: isolation boundaries with one immutable base URL each.

use crate::id::TenantId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::uri::check_base_url;
use serde::{Deserialize, Serialize};

/// What is specific to a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TenantSpec {
    /// The issuer URL under which everything of the tenant lives. Never changes.
    pub base_url: String,
}

/// Where a tenant's administration interface lies below its base.
pub const INTERFACE_PATH: &str = "/api/v1";

/// A tenant.
pub type Tenant = Record<TenantId, TenantSpec>;

impl Spec for TenantSpec {
    type Id = TenantId;
    const NOUN: Noun = Noun::Tenant;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        check_base_url(&self.base_url).map(drop).map_err(|_| {
            SpecError::field(
                "base_url",
                "is an https URL without query, fragment or final slash",
            )
        })
    }
}
