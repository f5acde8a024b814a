//! Runtime bindings: which binding a platform's token matches, claim by claim.

use crate::jose::VerifiedClaims;
use chancery_core::binding::RuntimeBinding;
use chancery_core::name::Name;
use chancery_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a token proves no agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// No binding of the issuer has the token's audience and claims.
    #[error("no runtime binding matches this token; `chancery binding test --token FILE` shows what differs")]
    None,
    /// Two or more match: refused, never guessed.
    #[error("{} runtime bindings match this token: {}", .0.len(), list(.0))]
    Several(Vec<Name>),
    /// The token is older than the binding allows.
    #[error("the token is older than runtime binding `{0}` allows")]
    TooOld(Name),
}

/// One claim of a binding against a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimCheck {
    /// The claim: its name or JSON pointer.
    pub claim: String,
    /// The pinned value.
    pub expected: String,
    /// What the token has, if anything.
    pub found: Option<String>,
    /// Whether they are the same.
    pub matches: bool,
}

/// A binding against a token, claim by claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingReport {
    /// The binding.
    pub binding: Name,
    /// The agent it proves.
    pub agent: Name,
    /// Each claim.
    pub checks: Vec<ClaimCheck>,
}

impl BindingReport {
    /// Whether every claim matches.
    pub fn matches(&self) -> bool {
        self.checks.iter().all(|check| check.matches)
    }
}

/// The one binding that matches.
///
/// # Errors
/// None or several match.
pub fn find<'a>(
    bindings: &'a [Arc<RuntimeBinding>],
    claims: &Map<String, Value>,
) -> Result<&'a Arc<RuntimeBinding>, MatchError> {
    let is_match =
        |binding: &&Arc<RuntimeBinding>| binding.state.is_active() && report(binding, claims).matches();
    let found: Vec<&Arc<RuntimeBinding>> = bindings.iter().filter(is_match).collect();
    match found.as_slice() {
        [] => Err(MatchError::None),
        [binding] => Ok(binding),
        several => Err(MatchError::Several(
            several.iter().map(|binding| binding.name.clone()).collect(),
        )),
    }
}

/// Compares a binding with a token's claims.
pub fn report(binding: &RuntimeBinding, claims: &Map<String, Value>) -> BindingReport {
    let audiences = audiences(claims);
    let mut checks = vec![ClaimCheck {
        claim: "aud".to_owned(),
        expected: binding.spec.audience.clone(),
        matches: audiences
            .iter()
            .any(|audience| *audience == binding.spec.audience),
        found: (!audiences.is_empty()).then(|| audiences.join(", ")),
    }];
    for (claim, expected) in &binding.spec.claims {
        let found = claim_at(claims, claim).and_then(scalar);
        let matches = found.as_ref() == Some(expected);
        checks.push(ClaimCheck {
            claim: claim.clone(),
            expected: expected.clone(),
            found,
            matches,
        });
    }
    BindingReport {
        binding: binding.name.clone(),
        agent: binding.spec.agent.clone(),
        checks,
    }
}

/// Checks one binding fully: claims, audience and age.
pub(crate) fn check(
    binding: &RuntimeBinding,
    claims: &VerifiedClaims,
    now: Timestamp,
) -> Result<(), MatchError> {
    if !report(binding, claims.claims()).matches() {
        return Err(MatchError::None);
    }
    let issued_at = claims.issued_at().unwrap_or_default();
    if issued_at.plus(binding.spec.maximum_age()) <= now {
        return Err(MatchError::TooOld(binding.name.clone()));
    }
    Ok(())
}

/// The verified claims that name the instance, at most 16 of 256 bytes each.
pub(crate) fn instance(binding: &RuntimeBinding, claims: &VerifiedClaims) -> BTreeMap<String, String> {
    let value = |claim: &String| {
        claim_at(claims.claims(), claim)
            .and_then(scalar)
            .filter(|text| text.len() <= 256)
    };
    let pairs = binding.spec.instance.iter().take(16);
    pairs
        .filter_map(|claim| Some((claim.clone(), value(claim)?)))
        .collect()
}

/// A claim by its name, or by JSON pointer (RFC 6901) if the path starts with `/`.
pub fn claim_at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let Some(pointer) = path.strip_prefix('/') else {
        return claims.get(path);
    };
    let mut tokens = pointer
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"));
    let mut value = claims.get(&tokens.next()?)?;
    for token in tokens {
        value = match value {
            Value::Object(members) => members.get(&token)?,
            Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(value)
}

/// A claim's value as the text that a binding pins: strings, whole numbers and booleans.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::binding::RuntimeBindingSpec;
    use chancery_core::id::{BindingId, Id as _};
    use chancery_core::noun::Lifecycle;
    use serde_json::json;

    fn binding(name: &str, claims: &[(&str, &str)]) -> Arc<RuntimeBinding> {
        Arc::new(RuntimeBinding {
            id: BindingId::from_bytes([1; 16]),
            name: name.parse().unwrap(),
            state: Lifecycle::Active,
            generation: 0,
            version: 1,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            spec: RuntimeBindingSpec {
                issuer: "cluster".parse().unwrap(),
                audience: "chancery".to_owned(),
                claims: claims
                    .iter()
                    .map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned()))
                    .collect(),
                agent: "bot".parse().unwrap(),
                max_age: None,
                instance: vec!["/kubernetes.io/pod/name".to_owned()],
            },
        })
    }

    fn claims() -> Map<String, Value> {
        let value = json!({
            "aud": ["chancery", "other"],
            "sub": "system:serviceaccount:prod:bot",
            "kubernetes.io": { "namespace": "prod", "pod": { "name": "bot-1" } },
            "repository_id": 42,
        });
        value.as_object().unwrap().clone()
    }

    #[test]
    fn pinned_claims_are_found_by_name_and_by_pointer() {
        let good = binding(
            "good",
            &[("/kubernetes.io/namespace", "prod"), ("repository_id", "42")],
        );
        assert_eq!(find(std::slice::from_ref(&good), &claims()), Ok(&good));
    }

    #[test]
    fn two_matching_bindings_are_refused_never_guessed() {
        let both = [
            binding("a", &[("/kubernetes.io/namespace", "prod")]),
            binding("b", &[("repository_id", "42")]),
        ];
        assert!(matches!(find(&both, &claims()), Err(MatchError::Several(names)) if names.len() == 2));
    }

    #[test]
    fn a_report_says_what_differs() {
        let report = report(
            &binding("x", &[("sub", "system:serviceaccount:prod:other")]),
            &claims(),
        );
        assert!(!report.matches() && report.checks[0].matches && !report.checks[1].matches);
        assert_eq!(
            report.checks[1].found.as_deref(),
            Some("system:serviceaccount:prod:bot")
        );
        let mut foreign = claims();
        foreign.insert("aud".to_owned(), json!("https://kubernetes.default.svc"));
        assert_eq!(
            find(&[binding("x", &[("repository_id", "42")])], &foreign),
            Err(MatchError::None)
        );
    }
}
