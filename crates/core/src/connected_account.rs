//! Connected accounts: one owner's stored credential at a connection. The credential itself is elsewhere, sealed;
//! here stand only the names of its parts and the destination it was sealed for.

use crate::connection::OwnerLevel;
use crate::id::{AgentId, ConnectedAccountId, Id as _, TenantId, UserId};
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is specific to a connected account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectedAccountSpec {
    /// The connection.
    pub connection: Name,
    /// Whose credential it is.
    pub owner: AccountOwner,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The destination it was sealed for: SHA-256 in hexadecimal. If the connection's is another now, the owner
    /// must consent again.
    pub fingerprint: String,
    /// The names of the parts that are set, never their values.
    #[serde(default)]
    pub parts: BTreeSet<Name>,
    /// Until when the credential is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whose account it is at the provider, where the provider says so. Another one is not put in its place unasked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_account: Option<ProviderAccount>,
    /// What the provider gave, where it says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
}

/// An account as the provider names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProviderAccount {
    /// Its id there.
    pub subject: String,
    /// What people know it by there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl ProviderAccount {
    /// What people are shown.
    pub fn shown(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.subject)
    }
}

/// A connected account.
pub type ConnectedAccount = Record<ConnectedAccountId, ConnectedAccountSpec>;

/// Whose credential a connected account is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountOwner {
    /// A person's.
    User(Name),
    /// An agent's.
    Agent(Name),
    /// The whole tenant's.
    Tenant,
}

impl AccountOwner {
    /// The text stored, indexed and shown.
    pub fn as_key(&self) -> String {
        match self {
            Self::User(name) => format!("user:{name}"),
            Self::Agent(name) => format!("agent:{name}"),
            Self::Tenant => "tenant".to_owned(),
        }
    }

    /// The level of connections that have such accounts.
    pub const fn level(&self) -> OwnerLevel {
        match self {
            Self::User(_) => OwnerLevel::User,
            Self::Agent(_) => OwnerLevel::Agent,
            Self::Tenant => OwnerLevel::Tenant,
        }
    }
}

/// The owner of a connected account by id: what its credential is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerId {
    /// A person.
    User(UserId),
    /// An agent.
    Agent(AgentId),
    /// The tenant.
    Tenant(TenantId),
}

impl std::fmt::Display for OwnerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "{id}"),
            Self::Agent(id) => write!(f, "{id}"),
            Self::Tenant(id) => write!(f, "{id}"),
        }
    }
}

impl ConnectedAccountSpec {
    /// The natural key: one account for each connection and owner.
    pub fn key(connection: &Name, owner: &AccountOwner) -> String {
        format!("{connection} {}", owner.as_key())
    }

    /// Whether the credential's time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// The name of an account that was given none: readable if it fits, else made of its id.
pub fn default_name(id: ConnectedAccountId, connection: &Name, owner: &AccountOwner) -> Option<Name> {
    let digits = id.to_string();
    let digits = digits.strip_prefix(ConnectedAccountId::PREFIX).unwrap_or(&digits);
    // The last characters of an id are its random ones: enough to tell apart what one owner had before.
    let tail = digits.get(16..).unwrap_or(digits);
    let readable = format!("{connection}:{}:{tail}", owner.as_key());
    readable
        .parse()
        .or_else(|_| format!("account-{digits}").parse())
        .ok()
}

impl Spec for ConnectedAccountSpec {
    type Id = ConnectedAccountId;
    const NOUN: Noun = Noun::ConnectedAccount;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.label.len() > 256 || self.label.chars().any(char::is_control) {
            return Err(SpecError::field("label", "is one line of at most 256 bytes"));
        }
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if self.fingerprint.len() != 64 || !self.fingerprint.bytes().all(hexadecimal) {
            return Err(SpecError::field("fingerprint", "is 64 hexadecimal digits"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_one_name_have_different_keys() {
        let name: Name = "alice".parse().unwrap();
        let connection: Name = "github".parse().unwrap();
        let keys: BTreeSet<String> = [
            AccountOwner::User(name.clone()),
            AccountOwner::Agent(name),
            AccountOwner::Tenant,
        ]
        .iter()
        .map(|owner| ConnectedAccountSpec::key(&connection, owner))
        .collect();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn a_generated_name_is_a_name_however_long_its_owner_is() {
        let id = ConnectedAccountId::from_bytes([7; 16]);
        let connection: Name = "github".parse().unwrap();
        let short = default_name(id, &connection, &AccountOwner::Tenant).unwrap();
        assert!(short.as_str().starts_with("github:tenant:"), "{short}");
        let long = AccountOwner::User("a".repeat(128).parse().unwrap());
        let name = default_name(id, &connection, &long).unwrap();
        assert!(name.as_str().starts_with("account-"), "{name}");
    }
}
