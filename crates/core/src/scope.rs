//! Scopes (RFC 6749 §3.3) and authority: which scopes at which resources.

use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Why a text is not a scope or a list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Empty, too long (over 256 bytes), or a character outside the set of RFC 6749 §3.3.
    #[error("a scope is 1 to 256 printable ASCII characters without space, `\"` and `\\`")]
    Syntax,
    /// A scope appears twice in one list.
    #[error("a scope is listed twice")]
    Repeated,
    /// A qualified scope is not `resource:scope`.
    #[error("expected `resource:scope`")]
    Unqualified,
    /// More scopes than one request may name.
    #[error("more than 256 scopes")]
    TooMany,
}

/// One scope token.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(Arc<str>);

impl Scope {
    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || text.len() > 256 || !text.bytes().all(allowed) {
            return Err(ScopeError::Syntax);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of scopes, in order of their text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// Parses the `scope` parameter: scopes with exactly one space between them.
    ///
    /// # Errors
    /// A malformed or repeated scope, or more than 256 of them.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut scopes = BTreeSet::new();
        for part in text.split(' ') {
            if !scopes.insert(part.parse()?) {
                return Err(ScopeError::Repeated);
            }
            if scopes.len() > MAX_SCOPES {
                return Err(ScopeError::TooMany);
            }
        }
        Ok(Self(scopes))
    }

    /// Whether the set has no scope.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes the set has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has this scope.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether every scope of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The scopes that either set has.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Adds a scope.
    pub fn insert(&mut self, scope: Scope) {
        self.0.insert(scope);
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for ScopeSet {
    /// The form of the `scope` parameter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

/// Scopes at resources: the shape of ceilings, of what a token carries on, and of every limit.
///
/// Its text form is a list of qualified scopes, `resource:scope`. A resource's name has no colon
/// (the directory refuses it), so the first colon ends the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authority(BTreeMap<Name, ScopeSet>);

impl Authority {
    /// Authority at a single resource.
    pub fn at(resource: Name, scopes: ScopeSet) -> Self {
        Self(BTreeMap::from([(resource, scopes)]))
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(ScopeSet::is_empty)
    }

    /// The scopes at one resource; empty if it is not named.
    pub fn scopes_at(&self, resource: &Name) -> ScopeSet {
        self.0.get(resource).cloned().unwrap_or_default()
    }

    /// Whether this scope at this resource is allowed.
    pub fn allows(&self, resource: &Name, scope: &Scope) -> bool {
        self.0.get(resource).is_some_and(|scopes| scopes.contains(scope))
    }

    /// What both allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = |(name, scopes): (&Name, &ScopeSet)| {
            let shared = scopes.intersection(other.0.get(name)?);
            (!shared.is_empty()).then(|| (name.clone(), shared))
        };
        Self(self.0.iter().filter_map(both).collect())
    }

    /// Whether the other allows everything that this does.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.pairs()
            .all(|(resource, scope)| other.allows(resource, scope))
    }

    /// Every resource with its scopes.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &ScopeSet)> {
        self.0.iter()
    }

    /// Every single scope with its resource.
    pub fn pairs(&self) -> impl Iterator<Item = (&Name, &Scope)> {
        self.0
            .iter()
            .flat_map(|(name, scopes)| scopes.iter().map(move |scope| (name, scope)))
    }

    /// Adds a scope at a resource.
    pub fn insert(&mut self, resource: Name, scope: Scope) {
        self.0.entry(resource).or_default().insert(scope);
    }

    /// Parses qualified scopes with a space between them.
    ///
    /// # Errors
    /// A scope without its resource, a malformed one, or more than 256.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let mut authority = Self::default();
        for (position, part) in text.split(' ').enumerate() {
            if position >= MAX_SCOPES {
                return Err(ScopeError::TooMany);
            }
            let (resource, scope) = part.split_once(':').ok_or(ScopeError::Unqualified)?;
            let resource = resource.parse().map_err(|_| ScopeError::Unqualified)?;
            authority.insert(resource, scope.parse()?);
        }
        Ok(authority)
    }
}

impl FromIterator<(Name, ScopeSet)> for Authority {
    fn from_iter<I: IntoIterator<Item = (Name, ScopeSet)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (resource, scope)) in self.pairs().enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(f, "{space}{resource}:{scope}")?;
        }
        Ok(())
    }
}

const MAX_SCOPES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_parameter_has_single_spaces_and_no_repeats() {
        assert_eq!(ScopeSet::parse("read write").unwrap().to_string(), "read write");
        assert_eq!(ScopeSet::parse("read  write"), Err(ScopeError::Syntax));
        assert_eq!(ScopeSet::parse("read read"), Err(ScopeError::Repeated));
        assert_eq!(ScopeSet::parse("re\"ad"), Err(ScopeError::Syntax));
    }

    #[test]
    fn authority_prints_what_it_parses() {
        let text = "notes:read notes:write mail:send:draft";
        let authority = Authority::parse(text).unwrap();
        assert_eq!(authority.to_string(), "mail:send:draft notes:read notes:write");
        assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
        assert_eq!(Authority::parse("read"), Err(ScopeError::Unqualified));
    }

    #[test]
    fn intersection_is_a_subset_of_both() {
        let a = Authority::parse("notes:read notes:write mail:send").unwrap();
        let b = Authority::parse("notes:read mail:read").unwrap();
        let both = a.intersection(&b);
        assert_eq!(both.to_string(), "notes:read");
        assert!(both.is_subset(&a) && both.is_subset(&b) && !a.is_subset(&b));
    }
}
