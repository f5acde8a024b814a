//! What all nouns of the directory share: kind, lifecycle, and the record that carries them.

use crate::name::Name;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of thing that Chancery keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    /// An isolation boundary with one base URL.
    Tenant,
    /// An outside issuer whose tokens are verified.
    TrustedIssuer,
    /// A person.
    User,
    /// A software principal.
    Agent,
    /// One way in for an agent.
    Client,
    /// A live parent of agents.
    Blueprint,
    /// A rule that maps a platform's token to an agent.
    RuntimeBinding,
    /// A protected API or MCP server.
    Resource,
    /// What was granted to an agent for a principal at a resource.
    Grant,
    /// One hop from an agent to an agent.
    Delegation,
    /// A versioned set of policies.
    PolicySet,
    /// A downstream provider.
    Connection,
    /// A stored credential of one owner at a connection.
    ConnectedAccount,
    /// A person's sign-in in one browser.
    Session,
    /// Everything issued on one authorization code.
    TokenFamily,
    /// A rule that says whom a client that makes itself known belongs to.
    RegistrationRule,
    /// A secret that lets its bearer register clients of one agent.
    RegistrationToken,
}

impl Noun {
    /// The word used in events, tables and URLs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::TrustedIssuer => "trusted_issuer",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Blueprint => "blueprint",
            Self::RuntimeBinding => "runtime_binding",
            Self::Resource => "resource",
            Self::Grant => "grant",
            Self::Delegation => "delegation",
            Self::PolicySet => "policy_set",
            Self::Connection => "connection",
            Self::ConnectedAccount => "connected_account",
            Self::Session => "session",
            Self::TokenFamily => "token_family",
            Self::RegistrationRule => "registration_rule",
            Self::RegistrationToken => "registration_token",
        }
    }

    /// The noun that a word of [`Noun::as_str`] names.
    pub fn parse(word: &str) -> Option<Self> {
        ALL.iter().copied().find(|noun| noun.as_str() == word)
    }

    /// The noun whose ids start with this prefix.
    pub fn from_id_prefix(prefix: &str) -> Option<Self> {
        ALL.iter().copied().find(|noun| noun.id_prefix() == prefix)
    }

    /// The prefix of this noun's ids.
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::Tenant => "ten_",
            Self::TrustedIssuer => "iss_",
            Self::User => "usr_",
            Self::Agent => "agt_",
            Self::Client => "cli_",
            Self::Blueprint => "blu_",
            Self::RuntimeBinding => "bnd_",
            Self::Resource => "res_",
            Self::Grant => "grt_",
            Self::Delegation => "dlg_",
            Self::PolicySet => "pol_",
            Self::Connection => "con_",
            Self::ConnectedAccount => "acc_",
            Self::Session => "ses_",
            Self::TokenFamily => "fam_",
            Self::RegistrationRule => "rul_",
            Self::RegistrationToken => "rtk_",
        }
    }
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const ALL: [Noun; 17] = [
    Noun::Tenant,
    Noun::TrustedIssuer,
    Noun::User,
    Noun::Agent,
    Noun::Client,
    Noun::Blueprint,
    Noun::RuntimeBinding,
    Noun::Resource,
    Noun::Grant,
    Noun::Delegation,
    Noun::PolicySet,
    Noun::Connection,
    Noun::ConnectedAccount,
    Noun::Session,
    Noun::TokenFamily,
    Noun::RegistrationRule,
    Noun::RegistrationToken,
];

/// Where a noun stands in its life: `staged → active ⇄ suspended → retired`. Retired is final; the
/// row stays as a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Known, but not yet allowed to do anything.
    Staged,
    /// In use.
    Active,
    /// Stopped; may be resumed. What was issued before stays dead.
    Suspended,
    /// Ended for good.
    Retired,
}

impl Lifecycle {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }

    /// The state that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "staged" => Some(Self::Staged),
            "active" => Some(Self::Active),
            "suspended" => Some(Self::Suspended),
            "retired" => Some(Self::Retired),
            _ => None,
        }
    }

    /// Whether a noun in this state may be relied on.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether the lifecycle allows this step.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Staged, Self::Active | Self::Suspended | Self::Retired)
                | (Self::Active, Self::Suspended | Self::Retired)
                | (Self::Suspended, Self::Active | Self::Retired)
        )
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A noun as it is kept: identity, state, the two counters, and what is specific to its kind.
///
/// `generation` rises with every revocation (suspend, kill, secret reset, role loss) and is written
/// into everything issued; `version` rises with every change at all and is what a decision's guards
/// assert again when they commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<I, S> {
    /// The permanent identifier.
    pub id: I,
    /// The permanent name.
    pub name: Name,
    /// Where it stands in its life.
    pub state: Lifecycle,
    /// Raised by every revocation; never lowered.
    pub generation: u64,
    /// Raised by every change.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What is specific to the noun.
    pub spec: S,
}

/// The part of a noun that is specific to its kind, and what ties it to its id and table.
pub trait Spec: Clone + fmt::Debug + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// The noun's identifier.
    type Id: crate::id::Id + std::str::FromStr<Err = crate::id::IdError> + Serialize;
    /// Which noun it is.
    const NOUN: Noun;

    /// Rules that hold for one spec by itself; what depends on other nouns is checked elsewhere.
    ///
    /// # Errors
    /// The first rule that the spec breaks.
    fn check(&self, name: &Name) -> Result<(), SpecError>;
}

/// Why a spec is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A field has a value that its rule forbids.
    #[error("`{field}` {rule}")]
    Field {
        /// The field's path.
        field: &'static str,
        /// What must hold.
        rule: &'static str,
    },
}

impl SpecError {
    /// A field that breaks a rule.
    pub const fn field(field: &'static str, rule: &'static str) -> Self {
        Self::Field { field, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_is_final_and_nothing_becomes_staged() {
        let all = [
            Lifecycle::Staged,
            Lifecycle::Active,
            Lifecycle::Suspended,
            Lifecycle::Retired,
        ];
        for state in all {
            assert!(!Lifecycle::Retired.may_become(state));
            assert!(!state.may_become(Lifecycle::Staged));
            assert_eq!(Lifecycle::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn every_noun_has_its_own_word_and_prefix() {
        for noun in ALL {
            assert_eq!(Noun::parse(noun.as_str()), Some(noun));
            assert_eq!(Noun::from_id_prefix(noun.id_prefix()), Some(noun));
        }
    }
}
