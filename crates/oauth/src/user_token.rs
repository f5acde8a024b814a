//! What a trusted issuer's token says about a person.

use crate::jose::{Profile, VerifiedClaims};
use crate::request::token::SubjectTokenType;
use crate::runtime::claim_at;
use chancery_core::issuer::TrustedIssuer;
use chancery_core::name::Name;
use chancery_core::user::{ADMINISTRATOR, AUDITOR, OWNER, UserSpec};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The profile that a user's token must fit.
pub fn profile(issuer: &TrustedIssuer, kind: SubjectTokenType) -> Profile<'_> {
    let (iss, audiences) = (issuer.spec.issuer.as_str(), issuer.spec.audiences.as_slice());
    match kind {
        SubjectTokenType::IdToken => Profile::id_token(iss, audiences),
        // SECURITY: an ID token must not pass as an access token; these claims only stand in ID tokens.
        SubjectTokenType::AccessToken => Profile::issuer_access_token(iss, audiences)
            .with_forbidden(&["events", "nonce", "at_hash", "c_hash"]),
        SubjectTokenType::Jwt => Profile::issuer_access_token(iss, audiences),
    }
}

/// The person that a verified token names, with roles, groups and attributes mapped.
pub fn user_spec(issuer: &TrustedIssuer, claims: &VerifiedClaims) -> Option<UserSpec> {
    let subject = claims
        .subject()
        .filter(|subject| !subject.is_empty() && subject.len() <= 255)?;
    let mapping = &issuer.spec.claims;
    let values = |path: &Option<String>| {
        path.as_deref()
            .map(|path| texts(claims.claims(), path))
            .unwrap_or_default()
    };
    let attribute = |(name, path): (&String, &String)| {
        let value = texts(claims.claims(), path).into_iter().next()?;
        Some((name.clone(), value))
    };
    Some(UserSpec {
        issuer: issuer.name.clone(),
        subject: subject.to_owned(),
        roles: roles(issuer, values(&mapping.roles)),
        groups: values(&mapping.groups).into_iter().take(MAX_GROUPS).collect(),
        attributes: mapping
            .attributes
            .iter()
            .filter_map(attribute)
            .collect::<BTreeMap<_, _>>(),
        as_of: claims.issued_at().unwrap_or_default(),
    })
}

/// Whether a token carries every claim that the issuer maps to roles or groups, so that what it does not list is lost.
pub fn says_all(issuer: &TrustedIssuer, claims: &VerifiedClaims) -> bool {
    let mapping = &issuer.spec.claims;
    let mut paths = mapping.roles.iter().chain(&mapping.groups);
    paths.all(|path| claim_at(claims.claims(), path).is_some())
}

/// SECURITY: an outside value becomes a built-in role only where the issuer's map says so.
fn roles(issuer: &TrustedIssuer, values: Vec<String>) -> BTreeSet<Name> {
    let map = &issuer.spec.claims.role_map;
    let role = |value: String| {
        if !map.is_empty() {
            return map.get(&value).cloned();
        }
        let name: Name = value.parse().ok()?;
        (![ADMINISTRATOR, AUDITOR, OWNER].contains(&name.as_str())).then_some(name)
    };
    values.into_iter().take(MAX_GROUPS).filter_map(role).collect()
}

fn texts(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    match claim_at(claims, path) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

const MAX_GROUPS: usize = 512;
