//! Delegations: one row for each hop from an agent to an agent, so that a hop can be revoked.

use crate::record::{Stored, Table, table};
use chancery_core::id::DelegationId;
use chancery_core::name::Name;
use chancery_core::noun::{Noun, Record, Spec, SpecError};
use chancery_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is specific to a delegation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationSpec {
    /// The agent that handed its token over.
    pub from: Name,
    /// The agent that received one.
    pub to: Name,
    /// The token that was handed over.
    pub parent: String,
    /// When everything issued under it has ended.
    pub expires_at: Timestamp,
}

/// A delegation.
pub type Delegation = Record<DelegationId, DelegationSpec>;

impl Spec for DelegationSpec {
    type Id = DelegationId;
    const NOUN: Noun = Noun::Delegation;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        Ok(())
    }
}

impl Stored for DelegationSpec {
    const TABLE: &'static Table = &table!("delegations");

    fn parent(&self) -> Option<String> {
        Some(self.from.to_string())
    }
}
