//! Which authorization details a token may have (RFC 9396 §6, §7): a whole detail or none of it, never one that what it
//! stands on does not hold, and each only along with the scopes of its type.
//!
//! Whether their members fit the schema of their type is checked before; [`CheckedDetails`] carries that on.

use super::{Question, Target};
use crate::error::{ErrorCode, OAuthError};
use chancery_core::authorization_details::{
    AuthorizationDetail, AuthorizationDetails, DetailFacts, DetailType, DetailTypeSpec,
};
use chancery_core::grant::Grant;
use chancery_core::resource::Resource;
use chancery_core::scope::{Scope, ScopeSet};
use std::sync::Arc;

/// Details whose members fit their types, as they are signed and as policies see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedDetails {
    list: AuthorizationDetails,
    facts: Vec<DetailFacts>,
}

impl CheckedDetails {
    /// Details that were checked, in the order of their facts.
    pub const fn new(list: AuthorizationDetails, facts: Vec<DetailFacts>) -> Self {
        Self { list, facts }
    }

    /// As they are signed.
    pub const fn list(&self) -> &AuthorizationDetails {
        &self.list
    }

    /// As policies see them.
    pub fn facts(&self) -> &[DetailFacts] {
        &self.facts
    }
}

/// What decides which details a token may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound<'a> {
    /// Grants that name their types.
    Grants,
    /// Something that holds these and no others: a token, or what a person agreed to.
    Within(&'a AuthorizationDetails),
    /// A person who is shown each of them, and says yes to it or has said so.
    Person,
}

/// The details of a token whose request names none: those of what it stands on that the resource knows, that may hold
/// there, and that go with the scopes that are asked for (RFC 9396 §6).
#[must_use]
pub fn inherited(held: &AuthorizationDetails, target: &Target, scope: Option<&str>) -> AuthorizationDetails {
    let Target::Resource(resource) = target else {
        return AuthorizationDetails::default();
    };
    let asked = scope.map(|scope| ScopeSet::parse(scope).unwrap_or_default());
    let passes = |detail: &&AuthorizationDetail| {
        known(resource, detail)
            .is_ok_and(|spec| asked.as_ref().is_none_or(|asked| spec.scopes.is_subset(asked)))
    };
    held.filtered(passes)
}

/// What a resource knows of a detail.
///
/// # Errors
/// `invalid_authorization_details` for a type that it does not know, or a detail that is for another place.
pub fn known<'a>(
    resource: &'a Resource,
    detail: &AuthorizationDetail,
) -> Result<&'a DetailTypeSpec, OAuthError> {
    let spec = resource.spec.authorization_details_types.get(detail.kind());
    let spec = spec.ok_or(UNKNOWN)?;
    if detail.is_at(resource.spec.uri.as_str()) {
        Ok(spec)
    } else {
        Err(ELSEWHERE)
    }
}

/// The scopes that details ask for where none is named: those of their types.
pub(super) fn implied(target: &Target, details: &AuthorizationDetails) -> Result<Option<String>, OAuthError> {
    let Target::Resource(resource) = target else {
        return Ok(None);
    };
    let mut scopes = ScopeSet::default();
    for detail in details.iter() {
        scopes = scopes.union(&known(resource, detail)?.scopes);
    }
    Ok((!scopes.is_empty()).then(|| scopes.to_string()))
}

/// Whether a token may have the details.
///
/// # Errors
/// `invalid_authorization_details`.
pub(super) fn check(
    details: &AuthorizationDetails,
    bound: Bound<'_>,
    target: &Target,
    (question, grants): (&Question, &[&Arc<Grant>]),
) -> Result<(), OAuthError> {
    let Target::Resource(resource) = target else {
        return if details.is_empty() {
            Ok(())
        } else {
            Err(NO_RESOURCE)
        };
    };
    let considered = question.scopes.get(&resource.name).into_iter().flatten();
    for (scope, _) in considered {
        if needs_detail(resource, scope) && !has_detail(resource, details, scope) {
            return Err(MISSING);
        }
    }
    let asked = question
        .asked
        .as_ref()
        .map(|asked| asked.scopes_at(&resource.name));
    let asked = asked.unwrap_or_default();
    for detail in details.iter() {
        if !known(resource, detail)?.scopes.is_subset(&asked) {
            return Err(SCOPES);
        }
    }
    // INVARIANT: a child has no detail that its parent has not, nor one that nobody granted.
    match bound {
        Bound::Person => Ok(()),
        Bound::Within(held) if details.is_within(held) => Ok(()),
        Bound::Within(_) => Err(WIDER),
        Bound::Grants
            if details
                .iter()
                .all(|detail| is_granted(detail.kind(), resource, grants)) =>
        {
            Ok(())
        }
        Bound::Grants => Err(NOT_GRANTED),
    }
}

/// Whether a scope is given only along with a detail.
pub fn needs_detail(resource: &Resource, scope: &Scope) -> bool {
    let mut types = resource.spec.authorization_details_types.values();
    types.any(|spec| spec.required && spec.scopes.contains(scope))
}

/// Whether one of the details says more about a scope.
pub fn has_detail(resource: &Resource, details: &AuthorizationDetails, scope: &Scope) -> bool {
    let mut types = details
        .iter()
        .filter_map(|detail| resource.spec.authorization_details_types.get(detail.kind()));
    types.any(|spec| spec.scopes.contains(scope))
}

fn is_granted(kind: &DetailType, resource: &Resource, grants: &[&Arc<Grant>]) -> bool {
    grants.iter().any(|grant| {
        let is_here = grant
            .spec
            .at_resource()
            .is_some_and(|(name, _)| *name == resource.name);
        is_here && grant.spec.authorization_details_types.contains(kind)
    })
}

const CODE: ErrorCode = ErrorCode::InvalidAuthorizationDetails;
const UNKNOWN: OAuthError = OAuthError::new(
    CODE,
    "the resource does not know this type of authorization details",
);
const ELSEWHERE: OAuthError = OAuthError::new(
    CODE,
    "`locations` of a detail names another place than the resource",
);
const NO_RESOURCE: OAuthError = OAuthError::new(
    CODE,
    "authorization_details are for one resource: name it as `resource`",
);
const MISSING: OAuthError = OAuthError::new(
    CODE,
    "a scope is given here only along with authorization_details that say what for",
);
const SCOPES: OAuthError = OAuthError::new(
    CODE,
    "a detail goes with the scopes of its type: ask for them too, or for no scope",
);
const WIDER: OAuthError = OAuthError::new(
    CODE,
    "what the token stands on does not hold this detail: ask for the same ones, fewer or none",
);
const NOT_GRANTED: OAuthError = OAuthError::new(
    CODE,
    "no grant lets this agent have details of this type by itself; a person can agree to them, or an administrator \
     names the type in `authorization_details_types` of the grant",
);
