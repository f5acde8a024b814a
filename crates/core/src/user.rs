//! Users: people, keyed by issuer and subject, never by e-mail.

use crate::id::UserId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is specific to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// The name of the trusted issuer, or `local` for an account of our own.
    pub issuer: Name,
    /// The `sub` that the issuer gives the person.
    pub subject: String,
    /// Roles held, after mapping.
    #[serde(default)]
    pub roles: BTreeSet<Name>,
    /// Groups the person is in.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Attributes that policies may read.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// When the issuer last vouched for roles, groups and attributes (the `iat` of its token).
    #[serde(default)]
    pub as_of: Timestamp,
}

/// A user.
pub type User = Record<UserId, UserSpec>;

/// The built-in role that may change the directory and policies.
pub const ADMINISTRATOR: &str = "administrator";
/// The built-in role that reads everything and changes nothing.
pub const AUDITOR: &str = "auditor";
/// The built-in role of somebody who answers for agents.
pub const OWNER: &str = "owner";
/// The issuer name of accounts that Chancery itself keeps.
pub const LOCAL_ISSUER: &str = "local";

impl UserSpec {
    /// The name that a user gets who is first seen in a token: issuer and subject where the subject is
    /// made of name characters, so that policies read well.
    pub fn default_name(&self) -> Option<Name> {
        format!("{}:{}", self.issuer, self.subject).parse().ok()
    }

    /// As of when roles, groups and attributes are known: those of an account of our own are what is stored, at any moment.
    pub fn known_at(&self, now: Timestamp) -> Timestamp {
        if self.issuer.as_str() == LOCAL_ISSUER {
            now
        } else {
            self.as_of
        }
    }

    /// Whether the person holds a role or group of this name. Groups are written `group:NAME`.
    pub fn holds(&self, role_or_group: &str) -> bool {
        match role_or_group.strip_prefix("group:") {
            Some(group) => self.groups.contains(group),
            None => self.roles.iter().any(|role| role.as_str() == role_or_group),
        }
    }
}

impl Spec for UserSpec {
    type Id = UserId;
    const NOUN: Noun = Noun::User;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        // A NUL: PostgreSQL has no text with it.
        if self.subject.is_empty() || self.subject.len() > 255 || self.subject.contains('\0') {
            return Err(SpecError::field(
                "subject",
                "has 1 to 255 bytes, none of them NUL",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_with_nul_is_refused() {
        let spec = |subject: &str| UserSpec {
            issuer: "corp".parse().unwrap(),
            subject: subject.to_owned(),
            roles: BTreeSet::new(),
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            as_of: Timestamp::default(),
        };
        let name = "corp:alice".parse().unwrap();
        assert_eq!(spec("alice").check(&name), Ok(()));
        assert!(spec("alice\0").check(&name).is_err() && spec("").check(&name).is_err());
    }
}
