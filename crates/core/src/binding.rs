//! Runtime bindings: which of a platform's signed tokens prove which agent.

use crate::id::BindingId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::Ttl;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is specific to a runtime binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RuntimeBindingSpec {
    /// The trusted issuer of the platform.
    pub issuer: Name,
    /// The exact `aud` that the platform's token must carry.
    pub audience: String,
    /// Claims and the exact values they must have. A key is a claim's name, or a JSON pointer
    /// (RFC 6901) if it starts with `/`. At least one.
    pub claims: BTreeMap<String, String>,
    /// The agent that a matching token proves.
    pub agent: Name,
    /// How old a token may be, whatever its own expiry says. Default 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Ttl>,
    /// Claims that name the instance (pod, run): recorded, never compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance: Vec<String>,
}

/// A runtime binding.
pub type RuntimeBinding = Record<BindingId, RuntimeBindingSpec>;

impl RuntimeBindingSpec {
    /// The age past which a token is refused.
    pub fn maximum_age(&self) -> Ttl {
        self.max_age.unwrap_or(Ttl::from_days(1))
    }
}

impl Spec for RuntimeBindingSpec {
    type Id = BindingId;
    const NOUN: Noun = Noun::RuntimeBinding;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.audience.is_empty() {
            return Err(SpecError::field("audience", "is not empty"));
        }
        if self.claims.is_empty() {
            return Err(SpecError::field("claims", "pins at least one claim"));
        }
        let wild = |text: &String| text.contains('*') || text.is_empty();
        if wild(&self.audience) || self.claims.values().any(wild) {
            return Err(SpecError::field(
                "claims",
                "are exact: no wildcard and no empty value",
            ));
        }
        Ok(())
    }
}
