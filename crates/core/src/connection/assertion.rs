//! Tokens for an assertion that a key of ours signs (RFC 7523 §2.1, §3): who signs, for whom, and where it goes. Google's
//! service accounts and Salesforce's JWT bearer flow are of this kind.
//!
//! The key stands elsewhere, sealed. For whom it acts is said here alone, and never by whoever calls.

use super::oauth::{is_default, is_endpoint, is_plain, is_pointer};
use crate::noun::SpecError;
use crate::resource::TokenAlgorithm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How tokens are asked for with an assertion that a key of ours signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AssertionSpec {
    /// The preset that whatever was left out was filled in from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Who asks: our id there, as it stands in `iss`.
    pub issuer: String,
    /// For whom, as it stands in `sub`. Without it there is no `sub`: so Google wants it of a service account that acts as
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// For whom the assertion is, as it stands in `aud`; the token endpoint if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Where it goes.
    pub token_endpoint: String,
    /// How it is signed.
    #[serde(default = "rs256")]
    pub algorithm: TokenAlgorithm,
    /// How the key is called there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// Where that is said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scopes_in: ScopePlace,
    /// Where in the answer stands which interface the token is for, as a JSON pointer. It must be one of the connection's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url_at: Option<String>,
    /// For how many seconds a token is used before a new one is asked for, where the answer does not say how long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed_lifetime_seconds: Option<u64>,
}

/// Where a request with an assertion says what is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScopePlace {
    /// In the parameter `scope` (RFC 7521 §4.1).
    #[default]
    Parameter,
    /// In the claim `scope` of the assertion, as Google wants it.
    Claim,
}

impl AssertionSpec {
    /// For whom the assertion is.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(&self.token_endpoint)
    }

    /// What is asked for, in one text.
    pub fn scope(&self) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        scopes.join(" ")
    }

    /// What of it decides where the key's assertions go, and for whom they speak. SECURITY: tokens and the key are sealed
    /// for the digest of this.
    pub(super) fn destination(&self) -> Vec<&str> {
        vec![
            "signed_assertion",
            &self.issuer,
            self.subject.as_deref().unwrap_or_default(),
            self.audience(),
            &self.token_endpoint,
        ]
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if !is_endpoint(&self.token_endpoint) {
            return Err(SpecError::field(
                "credential.signed_assertion.token_endpoint",
                "is an https URL",
            ));
        }
        let optional = [&self.subject, &self.audience, &self.key_id];
        if !is_plain(&self.issuer, 512) || !optional.into_iter().flatten().all(|text| is_plain(text, 512)) {
            return Err(SpecError::field(
                "credential.signed_assertion.issuer",
                "`subject`, `audience` and `key_id` have 1 to 512 bytes of visible ASCII",
            ));
        }
        if self.scopes.len() > 128 || !self.scopes.iter().all(|scope| is_plain(scope, 256)) {
            return Err(SpecError::field(
                "credential.signed_assertion.scopes",
                "are at most 128 words of visible ASCII",
            ));
        }
        if !self.api_url_at.as_deref().is_none_or(is_pointer) {
            return Err(SpecError::field(
                "credential.signed_assertion.api_url_at",
                "is a JSON pointer",
            ));
        }
        if self.assumed_lifetime_seconds.is_some_and(|seconds| seconds < 60) {
            return Err(SpecError::field(
                "credential.signed_assertion.assumed_lifetime_seconds",
                "is 60 or more",
            ));
        }
        Ok(())
    }
}

const fn rs256() -> TokenAlgorithm {
    TokenAlgorithm::Rs256
}

#[cfg(test)]
mod tests {
    use super::super::ConnectionSpec;
    use crate::noun::Spec as _;
    use serde_json::{Value, json};

    fn spec(changes: &Value) -> ConnectionSpec {
        let mut assertion =
            json!({ "issuer": "bot@p.iam.example", "token_endpoint": "https://id.example/token" });
        for (field, value) in changes.as_object().unwrap() {
            assertion[field] = value.clone();
        }
        let spec = json!({ "base_url": "https://api.example", "owner_level": "tenant",
            "credential": { "signed_assertion": assertion } });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn for_whom_a_key_speaks_is_part_of_where_it_goes() {
        let base = spec(&json!({}));
        for change in [
            json!({ "subject": "alice@acme.example" }),
            json!({ "issuer": "other@p.iam.example" }),
            json!({ "audience": "https://other.example" }),
            json!({ "token_endpoint": "https://evil.example/token" }),
        ] {
            let changed = spec(&change);
            assert_ne!(base.destination(), changed.destination(), "{change}");
            assert_ne!(
                base.secret_destination(),
                changed.secret_destination(),
                "{change}"
            );
        }
        assert_eq!(
            base.destination(),
            spec(&json!({ "scopes": ["x"] })).destination()
        );
    }

    #[test]
    fn an_assertion_goes_over_https_and_is_no_persons() {
        let name = "crm".parse().unwrap();
        assert_eq!(spec(&json!({})).check(&name), Ok(()));
        for change in [
            json!({ "token_endpoint": "http://id.example/token" }),
            json!({ "issuer": "" }),
            json!({ "subject": "a b" }),
            json!({ "scopes": ["a b"] }),
        ] {
            assert!(spec(&change).check(&name).is_err(), "{change}");
        }
        let mut of_people = spec(&json!({}));
        of_people.owner_level = super::super::OwnerLevel::User;
        assert!(of_people.check(&name).is_err());
    }
}
