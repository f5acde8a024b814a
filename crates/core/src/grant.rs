//! Grants: what an agent was given for a principal at a resource, by whom, until when.

use crate::authorization_details::DetailType;
use crate::id::GrantId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::scope::ScopeSet;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is specific to a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// The agent that may use it.
    pub agent: Name,
    /// For whom the agent acts.
    pub principal: Principal,
    /// The resource where it may act; not with a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Name>,
    /// The connection that it may use; not with a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Name>,
    /// What it may do at the resource; a connection has no scopes.
    #[serde(default, skip_serializing_if = "ScopeSet::is_empty")]
    pub scopes: ScopeSet,
    /// The types of authorization details that it may ask for, any such detail (RFC 9396). A person's own consent names
    /// the very details instead, and they are not kept here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub authorization_details_types: BTreeSet<DetailType>,
    /// Who gave it.
    #[serde(default)]
    pub source: GrantSource,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many tokens may be issued on it, or calls be made.
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

/// Where a grant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted<'a> {
    /// At a resource: these scopes may be put into tokens.
    Resource(&'a Name, &'a ScopeSet),
    /// At a connection: its credential may be used. It never puts anything into a token.
    Connection(&'a Name),
}

impl GrantSpec {
    /// Where the grant holds; nowhere if it names both a resource and a connection, or neither.
    pub fn granted(&self) -> Option<Granted<'_>> {
        match (&self.resource, &self.connection) {
            (Some(resource), None) => Some(Granted::Resource(resource, &self.scopes)),
            (None, Some(connection)) => Some(Granted::Connection(connection)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// The scopes that the grant lets into tokens, with their resource. A connection's grant has none.
    pub fn at_resource(&self) -> Option<(&Name, &ScopeSet)> {
        match self.granted()? {
            Granted::Resource(resource, scopes) => Some((resource, scopes)),
            Granted::Connection(_) => None,
        }
    }

    /// The connection that the grant lets an agent use.
    pub fn at_connection(&self) -> Option<&Name> {
        match self.granted()? {
            Granted::Connection(connection) => Some(connection),
            Granted::Resource(..) => None,
        }
    }

    /// Where it holds, as stored and shown: a resource's name, or `connection:NAME`.
    pub fn place(&self) -> String {
        match (&self.resource, &self.connection) {
            (Some(resource), _) => resource.to_string(),
            (None, Some(connection)) => format!("connection:{connection}"),
            (None, None) => String::new(),
        }
    }

    /// Whether time limits let the grant be used now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end) && self.hours.is_none_or(|hours| hours.include(now))
    }
}

impl Spec for GrantSpec {
    type Id = GrantId;
    const NOUN: Noun = Noun::Grant;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        match self.granted() {
            None => {
                return Err(SpecError::field(
                    "resource",
                    "or `connection` is given, and not both",
                ));
            }
            Some(Granted::Resource(_, scopes)) if scopes.is_empty() => {
                return Err(SpecError::field("scopes", "has at least one scope"));
            }
            Some(Granted::Connection(_)) if !self.authorization_details_types.is_empty() => {
                return Err(SpecError::field(
                    "authorization_details_types",
                    "are empty: a connection has no tokens of ours",
                ));
            }
            Some(Granted::Connection(_)) if !self.scopes.is_empty() => {
                return Err(SpecError::field("scopes", "is empty: a connection has no scopes"));
            }
            Some(Granted::Resource(..) | Granted::Connection(_)) => {}
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

    fn read(text: &str) -> GrantSpec {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_grant_stored_before_there_were_connections_reads_and_writes_as_it_was() {
        let text = r#"{"agent":"bot","principal":"itself","resource":"notes","scopes":["read"],"source":"administrator"}"#;
        let grant = read(text);
        assert_eq!(grant.at_connection(), None);
        assert_eq!(grant.at_resource().map(|(name, _)| name.as_str()), Some("notes"));
        assert_eq!(serde_json::to_string(&grant).unwrap(), text);
    }

    #[test]
    fn a_grant_is_at_a_resource_or_a_connection_and_never_both() {
        let name: Name = "x".parse().unwrap();
        let connection = read(r#"{"agent":"bot","principal":"itself","connection":"github"}"#);
        assert_eq!(connection.check(&name), Ok(()));
        assert_eq!(connection.at_resource(), None);
        for text in [
            r#"{"agent":"bot","principal":"itself"}"#,
            r#"{"agent":"bot","principal":"itself","resource":"notes"}"#,
            r#"{"agent":"bot","principal":"itself","resource":"notes","connection":"github","scopes":["read"]}"#,
            r#"{"agent":"bot","principal":"itself","connection":"github","scopes":["read"]}"#,
        ] {
            let grant = read(text);
            assert!(grant.check(&name).is_err(), "{text}");
        }
        let both = read(
            r#"{"agent":"bot","principal":"itself","resource":"notes","connection":"github","scopes":["read"]}"#,
        );
        assert_eq!((both.at_resource(), both.at_connection()), (None, None));
    }
}
