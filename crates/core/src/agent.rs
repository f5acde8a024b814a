//! Agents: software principals with an owner and a lifecycle.

use crate::id::AgentId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::Authority;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is specific to an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// The accountable person (a user's name) or group (`group:NAME`). Required to become active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Who asked for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sponsor: Option<Name>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Free labels that policies may read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The live parent, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<Name>,
    /// The most that the agent may ever be given.
    #[serde(default)]
    pub ceiling: Authority,
    /// When somebody must look at the agent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_at: Option<Timestamp>,
    /// When the agent stops by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An agent.
pub type Agent = Record<AgentId, AgentSpec>;

impl Spec for AgentSpec {
    type Id = AgentId;
    const NOUN: Noun = Noun::Agent;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        if name.as_str().contains([':', '/', '@']) {
            return Err(SpecError::field("name", "of an agent has no `:`, `/` or `@`"));
        }
        if self.tags.len() > 64 || self.description.len() > 1024 {
            return Err(SpecError::field(
                "tags",
                "are at most 64, and the description at most 1,024 bytes",
            ));
        }
        Ok(())
    }
}
