//! Workload federation: a cloud trusts Chancery as an OpenID Connect issuer and gives tokens for an assertion that says which
//! agent it is (RFC 8693 at Google Cloud, RFC 7523 §2.2 at Entra). No secret of the cloud's exists here.
//!
//! The cloud is told to trust the tenant's base URL as issuer, and exactly one subject.

use super::oauth::{is_endpoint, is_plain};
use crate::noun::SpecError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a cloud exchanges our assertions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FederationSpec {
    /// The preset that whatever was left out was filled in from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// For whom our assertion is (`aud`), as the cloud was told to expect it.
    pub audience: String,
    /// Where it is exchanged.
    pub token_endpoint: String,
    /// How.
    pub exchange: Exchange,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
}

/// How an assertion of ours is exchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Exchange {
    /// As the subject of a token exchange (RFC 8693 §2.1), as Google Cloud takes it.
    TokenExchange {
        /// The identity provider there that trusts us: the parameter `audience`.
        provider: String,
        /// Where the token is exchanged for that of a service account, if it is (`…:generateAccessToken`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        impersonation_url: Option<String>,
    },
    /// As the assertion of a client (RFC 7523 §2.2), as Entra takes it.
    ClientAssertion {
        /// The application there that trusts us.
        client_id: String,
    },
}

impl FederationSpec {
    /// What is asked for, in one text.
    pub fn scope(&self) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        scopes.join(" ")
    }

    /// What of it decides where assertions go, and whose token comes back.
    pub(super) fn destination(&self) -> Vec<&str> {
        let mut fields = vec!["workload_federation", &self.audience, &self.token_endpoint];
        match &self.exchange {
            Exchange::TokenExchange {
                provider,
                impersonation_url,
            } => fields.extend([
                "token_exchange",
                provider,
                impersonation_url.as_deref().unwrap_or_default(),
            ]),
            Exchange::ClientAssertion { client_id } => fields.extend(["client_assertion", client_id, ""]),
        }
        fields
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        let (whose, then) = match &self.exchange {
            Exchange::TokenExchange {
                provider,
                impersonation_url,
            } => (provider, impersonation_url.as_deref()),
            Exchange::ClientAssertion { client_id } => (client_id, None),
        };
        if !is_endpoint(&self.token_endpoint) || !then.is_none_or(is_endpoint) {
            return Err(SpecError::field(
                "credential.workload_federation.token_endpoint",
                "and `impersonation_url` are https URLs",
            ));
        }
        if !is_plain(&self.audience, 512) || !is_plain(whose, 512) {
            return Err(SpecError::field(
                "credential.workload_federation.audience",
                "`provider` and `client_id` have 1 to 512 bytes of visible ASCII",
            ));
        }
        if self.scopes.is_empty()
            || self.scopes.len() > 128
            || !self.scopes.iter().all(|scope| is_plain(scope, 256))
        {
            return Err(SpecError::field(
                "credential.workload_federation.scopes",
                "are 1 to 128 words of visible ASCII",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnectionSpec;
    use crate::noun::Spec as _;
    use serde_json::{Value, json};

    fn spec(changes: &Value) -> ConnectionSpec {
        let mut federation = json!({ "audience": "https://iam.example/pool", "token_endpoint": "https://sts.example/v1/token",
            "exchange": { "token_exchange": { "provider": "//iam.example/pool" } }, "scopes": ["cloud"] });
        for (field, value) in changes.as_object().unwrap() {
            federation[field] = value.clone();
        }
        let spec = json!({ "base_url": "https://storage.example", "owner_level": "agent",
            "credential": { "workload_federation": federation } });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_a_cloud_gives_and_to_whom_is_part_of_where_it_goes() {
        let base = spec(&json!({}));
        for change in [
            json!({ "audience": "https://iam.example/other" }),
            json!({ "token_endpoint": "https://evil.example/token" }),
            json!({ "exchange": { "client_assertion": { "client_id": "//iam.example/pool" } } }),
            json!({ "exchange": { "token_exchange": { "provider": "//iam.example/pool",
                "impersonation_url": "https://iam.example/sa:generateAccessToken" } } }),
        ] {
            assert_ne!(base.destination(), spec(&change).destination(), "{change}");
        }
    }

    #[test]
    fn an_assertion_is_for_somebody_and_goes_over_https() {
        let name = "gcp".parse().unwrap();
        assert_eq!(spec(&json!({})).check(&name), Ok(()));
        for change in [
            json!({ "audience": "" }),
            json!({ "token_endpoint": "http://sts.example/token" }),
            json!({ "scopes": [] }),
            json!({ "exchange": { "token_exchange": { "provider": "x", "impersonation_url": "http://x.example" } } }),
        ] {
            assert!(spec(&change).check(&name).is_err(), "{change}");
        }
        let mut of_people = spec(&json!({}));
        of_people.owner_level = super::super::OwnerLevel::User;
        assert!(of_people.check(&name).is_err());
    }
}
