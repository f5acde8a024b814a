//! Resources: protected APIs and MCP servers, their scopes, and who holds what there.

use crate::id::ResourceId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::{Authority, Scope, ScopeSet};
use crate::time::Ttl;
use crate::uri::ResourceUri;
use crate::user::UserSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is specific to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResourceSpec {
    /// The resource URI (RFC 8707 §2): the `aud` of its tokens.
    pub uri: ResourceUri,
    /// Its scopes.
    pub scopes: BTreeMap<Scope, ScopeSpec>,
    /// What a client gets that asks for no scope.
    #[serde(default)]
    pub default_scopes: ScopeSet,
    /// Which scopes each tool needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, ScopeSet>,
    /// What a person holds and so may delegate: a role, or `group:NAME`, and the scopes it gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<String, ScopeSet>,
    /// How it is enforced.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The agent behind the resource, if it is one: only this agent may exchange tokens it received there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// Signature algorithm of its tokens. Default ES256.
    #[serde(default)]
    pub algorithm: TokenAlgorithm,
    /// Lifetime of its tokens. Default: 5 minutes where it verifies offline, else 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Ttl>,
}

/// A resource.
pub type Resource = Record<ResourceId, ResourceSpec>;

/// One scope of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScopeSpec {
    /// What it allows, in plain words.
    #[serde(default)]
    pub description: String,
    /// How much harm it can do.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// What the agent behind the resource may exchange a token with this scope for, within every other limit.
    #[serde(default, skip_serializing_if = "Authority::is_empty")]
    pub carries: Authority,
}

/// How much harm a scope can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Reads.
    Read,
    /// Changes things.
    #[default]
    Write,
    /// Destroys things, moves money, speaks for the person.
    Sensitive,
}

impl Sensitivity {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sensitive => "sensitive",
        }
    }
}

/// Who checks calls to a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The resource itself, offline, with any JWT library.
    #[default]
    #[serde(rename = "self")]
    Itself,
    /// A gateway that asks us for each call.
    External,
    /// Our own gateway.
    Gateway,
}

/// How a resource's tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl ResourceSpec {
    /// Every scope of the resource.
    pub fn all_scopes(&self) -> ScopeSet {
        self.scopes.keys().cloned().collect()
    }

    /// What a person may delegate here.
    pub fn held_by(&self, user: &UserSpec) -> ScopeSet {
        let mut held = ScopeSet::default();
        for (holder, scopes) in &self.holders {
            if user.holds(holder) {
                held = held.union(scopes);
            }
        }
        held
    }

    /// How long its tokens live: short where revocation cannot be seen, longer where each use is checked.
    pub fn token_lifetime(&self) -> Ttl {
        let default = match self.enforcement {
            Enforcement::Itself => Ttl::from_minutes(5),
            Enforcement::External | Enforcement::Gateway => Ttl::from_minutes(60),
        };
        self.lifetime.unwrap_or(default)
    }
}

impl Spec for ResourceSpec {
    type Id = ResourceId;
    const NOUN: Noun = Noun::Resource;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        if name.as_str().contains([':', '/', '@']) {
            return Err(SpecError::field("name", "of a resource has no `:`, `/` or `@`"));
        }
        let all = self.all_scopes();
        if all.is_empty() || all.len() > 256 {
            return Err(SpecError::field("scopes", "are 1 to 256"));
        }
        if !self.default_scopes.is_subset(&all) {
            return Err(SpecError::field("default_scopes", "are scopes of the resource"));
        }
        if !self
            .tools
            .values()
            .chain(self.holders.values())
            .all(|scopes| scopes.is_subset(&all))
        {
            return Err(SpecError::field(
                "holders",
                "and `tools` name only scopes of the resource",
            ));
        }
        let offline = self.enforcement == Enforcement::Itself;
        let longest = if offline {
            Ttl::from_minutes(60)
        } else {
            Ttl::from_days(1)
        };
        if self
            .lifetime
            .is_some_and(|lifetime| lifetime > longest || lifetime < Ttl::from_seconds(10))
        {
            return Err(SpecError::field(
                "lifetime",
                "is 10 seconds to 60 minutes (a day where each use is checked)",
            ));
        }
        Ok(())
    }
}
