//! Grants: what an agent was given for a principal at a resource, by whom, until when.

use crate::id::GrantId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::ScopeSet;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is specific to a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// The agent that may use it.
    pub agent: Name,
    /// For whom the agent acts.
    pub principal: Principal,
    /// Where.
    pub resource: Name,
    /// What.
    pub scopes: ScopeSet,
    /// Who gave it.
    #[serde(default)]
    pub source: GrantSource,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many tokens may be issued on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// At which hours of the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// A grant.
pub type Grant = Record<GrantId, GrantSpec>;

/// For whom an agent acts under a grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// The agent itself, with nobody behind it.
    Itself,
    /// One person.
    User(Name),
    /// Any verified person of the tenant, each within what that person holds.
    Tenant,
}

impl Principal {
    /// The text stored and indexed.
    pub fn as_key(&self) -> String {
        match self {
            Self::Itself => "self".to_owned(),
            Self::User(name) => format!("user:{name}"),
            Self::Tenant => "tenant".to_owned(),
        }
    }
}

/// Who made a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GrantSource {
    /// An administrator.
    #[default]
    Administrator,
    /// The person's own consent.
    Consent,
    /// A pre-authorisation rule.
    Rule,
}

/// Hours of the day in UTC, from the first to before the second; may wrap midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The first hour, 0 to 23.
    pub from: u8,
    /// The hour before which it ends, 0 to 23.
    pub until: u8,
}

impl Hours {
    /// Whether a moment falls inside.
    pub fn include(self, at: Timestamp) -> bool {
        let hour = at.as_seconds().rem_euclid(86_400) / 3_600;
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        if from <= until {
            (from..until).contains(&hour)
        } else {
            hour >= from || hour < until
        }
    }
}

impl GrantSpec {
    /// Whether time limits let the grant be used now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end) && self.hours.is_none_or(|hours| hours.include(now))
    }
}

impl Spec for GrantSpec {
    type Id = GrantId;
    const NOUN: Noun = Noun::Grant;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.scopes.is_empty() {
            return Err(SpecError::field("scopes", "has at least one scope"));
        }
        if self
            .hours
            .is_some_and(|hours| hours.from > 23 || hours.until > 23)
        {
            return Err(SpecError::field("hours", "are 0 to 23"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_wrap_midnight() {
        let night = Hours { from: 22, until: 6 };
        let at = |hour: i64| Timestamp::from_seconds(hour * 3_600);
        assert!(
            night.include(at(23)) && night.include(at(5)) && !night.include(at(6)) && !night.include(at(12))
        );
        let day = Hours { from: 9, until: 17 };
        assert!(day.include(at(9)) && !day.include(at(17)));
    }
}
