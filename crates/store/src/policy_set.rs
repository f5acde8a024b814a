//! Policy sets: at most one active in a tenant; staged ones are candidates and shadows, retired ones the
//! past.

use crate::record::{Stored, Table, table};
use chancery_core::id::PolicySetId;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec, SpecError};
use serde::{Deserialize, Serialize};

/// What is specific to a policy set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySetSpec {
    /// The policies.
    pub text: String,
    /// The hash that decisions record.
    pub hash: String,
    /// One line for people.
    #[serde(default)]
    pub comment: String,
}

/// A policy set as stored.
pub type PolicySetRecord = Record<PolicySetId, PolicySetSpec>;

impl Spec for PolicySetSpec {
    type Id = PolicySetId;
    const NOUN: Noun = Noun::PolicySet;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.text.len() > 4 << 20 {
            return Err(SpecError::field("text", "is at most 4 MiB"));
        }
        Ok(())
    }
}

impl PolicySetSpec {
    /// The natural key of the set in force.
    pub const ACTIVE: &'static str = "active";
}

impl Stored for PolicySetSpec {
    const TABLE: &'static Table = &table!("policy_sets");

    fn natural_key(&self, state: Lifecycle) -> Option<String> {
        state.is_active().then(|| Self::ACTIVE.to_owned())
    }
}
