//! Blueprints: live parents of agents. A blueprint's ceiling bounds its agents' ceilings, and killing
//! it kills them.

use crate::id::BlueprintId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::Authority;
use serde::{Deserialize, Serialize};

/// What is specific to a blueprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BlueprintSpec {
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The most that any agent of this blueprint may ever be given.
    #[serde(default)]
    pub ceiling: Authority,
}

/// A blueprint.
pub type Blueprint = Record<BlueprintId, BlueprintSpec>;

impl Spec for BlueprintSpec {
    type Id = BlueprintId;
    const NOUN: Noun = Noun::Blueprint;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        if name.as_str().contains([':', '/', '@']) {
            return Err(SpecError::field("name", "of a blueprint has no `:`, `/` or `@`"));
        }
        Ok(())
    }
}
