//! Sessions: a person's sign-in in one browser, until it ends by itself, the person signs out, or somebody revokes it.
//!
//! The browser holds the secret; here is its digest. When the session was last used is kept beside it, so that using
//! it is no change of the noun.

use crate::id::SessionId;
use crate::lineage::Lineage;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// What is specific to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    /// The person.
    pub user: Name,
    /// The issuer that vouched.
    pub issuer: Name,
    /// SHA-256 of the browser's secret, in hexadecimal digits.
    pub digest: String,
    /// When the person last proved who they are (`auth_time`, OpenID Connect Core §2).
    pub authenticated_at: Timestamp,
    /// How strongly, in the issuer's word (`acr`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By which means (`amr`, RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// What it hangs on: tenant, issuer and person, each with its generation.
    pub lineage: Lineage,
}

/// A session.
pub type Session = Record<SessionId, SessionSpec>;

/// How long a session lives, however much it is used.
pub const ABSOLUTE: Ttl = Ttl::from_minutes(12 * 60);
/// How long a session lives without being used.
pub const IDLE: Ttl = Ttl::from_minutes(30);

impl SessionSpec {
    /// Whether time lets it be used.
    pub fn is_open(&self, last_seen: Timestamp, now: Timestamp) -> bool {
        now < self.expires_at && now < last_seen.plus(IDLE)
    }
}

impl Spec for SessionSpec {
    type Id = SessionId;
    const NOUN: Noun = Noun::Session;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.digest.len() != 64 {
            return Err(SpecError::field("digest", "has 64 hexadecimal digits"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_unused_and_however_much_it_is_used() {
        let start = Timestamp::from_seconds(1_000_000);
        let spec = SessionSpec {
            user: "alice".parse().unwrap(),
            issuer: "corp".parse().unwrap(),
            digest: "0".repeat(64),
            authenticated_at: start,
            acr: None,
            amr: Vec::new(),
            expires_at: start.plus(ABSOLUTE),
            lineage: Lineage::default(),
        };
        let after = |minutes| start.plus(Ttl::from_minutes(minutes));
        assert!(spec.is_open(start, after(29)));
        assert!(!spec.is_open(start, after(30)));
        assert!(spec.is_open(after(719), after(719)) && !spec.is_open(after(720), after(720)));
    }
}
