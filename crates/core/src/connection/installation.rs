//! Tokens of a GitHub App's installation: what they may be for at most, and what one call needs of that.
//!
//! The narrower the token, the less is lost with it: a call that reads gets one that only reads, and a call about one
//! repository one for that repository. The key of the app stands elsewhere, sealed.

use super::oauth::{is_endpoint, is_plain};
use crate::noun::SpecError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An installation of a GitHub App.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InstallationSpec {
    /// The preset that whatever was left out was filled in from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The app: its client id, or its number.
    pub issuer: String,
    /// The installation's number.
    pub installation: u64,
    /// The interface that gives tokens.
    pub api_url: String,
    /// Whose repositories they are. With it, a call below `/repos/ACCOUNT/NAME` gets a token for that one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The repositories that a token may be for, by name; all of the installation if none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub repositories: BTreeSet<String>,
    /// What a token may do at most.
    pub permissions: BTreeMap<String, Access>,
}

/// How far a permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// To look.
    Read,
    /// To change.
    Write,
    /// To rule.
    Admin,
}

/// What one token is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Narrowed {
    /// The repositories; all of the installation if none is named.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub repositories: BTreeSet<String>,
    /// What it may do.
    pub permissions: BTreeMap<String, Access>,
}

impl InstallationSpec {
    /// What a call with this method and path below `base_url` needs of what tokens may be for; all of it for a call
    /// that is no such request.
    pub fn narrowed(&self, request: Option<(&str, &str)>) -> Narrowed {
        let reads = request.is_some_and(|(method, _)| ["GET", "HEAD"].contains(&method));
        let most = if reads { Access::Read } else { Access::Admin };
        let named = request.and_then(|(_, path)| self.repository_of(path));
        // SECURITY: one that is not listed narrows nothing: the token is for those that are, and opens it no more.
        let named = named.filter(|name| self.repositories.is_empty() || self.repositories.contains(*name));
        Narrowed {
            repositories: match named {
                Some(name) => BTreeSet::from([name.to_owned()]),
                None => self.repositories.clone(),
            },
            permissions: self
                .permissions
                .iter()
                .map(|(name, access)| (name.clone(), (*access).min(most)))
                .collect(),
        }
    }

    fn repository_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix("/repos/")?;
        let (owner, rest) = rest.split_once('/')?;
        let name = rest.split('/').next().filter(|name| is_repository(name))?;
        let is_theirs = self
            .account
            .as_deref()
            .is_some_and(|account| account.eq_ignore_ascii_case(owner));
        is_theirs.then_some(name)
    }

    /// Where tokens are asked for.
    pub fn token_endpoint(&self) -> String {
        format!(
            "{}/app/installations/{}/access_tokens",
            self.api_url.trim_end_matches('/'),
            self.installation
        )
    }

    /// What of it decides where the key's assertions go, and what they open. SECURITY: the key is sealed for this.
    pub(super) fn destination(&self) -> Vec<&str> {
        vec!["app_installation", &self.issuer, &self.api_url]
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if !is_endpoint(&self.api_url) || self.api_url.contains('?') {
            return Err(SpecError::field(
                "credential.app_installation.api_url",
                "is an https URL without a query",
            ));
        }
        let account = self.account.as_deref();
        if !is_plain(&self.issuer, 128) || !account.is_none_or(is_repository) {
            return Err(SpecError::field(
                "credential.app_installation.issuer",
                "and `account` are as GitHub writes them",
            ));
        }
        if self.repositories.len() > 500 || !self.repositories.iter().all(|name| is_repository(name)) {
            return Err(SpecError::field(
                "credential.app_installation.repositories",
                "are at most 500 names, without their owner",
            ));
        }
        let is_permission = |name: &String| {
            name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        // SECURITY: with none the token would have all that the app has.
        if self.permissions.is_empty() || !self.permissions.keys().all(is_permission) {
            return Err(SpecError::field(
                "credential.app_installation.permissions",
                "name at least one, as GitHub does: `contents = \"read\"`",
            ));
        }
        Ok(())
    }
}

impl Narrowed {
    /// Whether what was given is no more than this.
    pub fn holds(&self, given: &BTreeMap<String, Access>) -> bool {
        given.iter().all(|(name, access)| {
            // GitHub adds that an app may see what every repository shows.
            let most = self.permissions.get(name).copied();
            let most = most.or_else(|| (name == "metadata").then_some(Access::Read));
            most.is_some_and(|most| *access <= most)
        })
    }
}

fn is_repository(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(changes: &serde_json::Value) -> InstallationSpec {
        let mut spec = json!({ "issuer": "Iv1.app", "installation": 7, "api_url": "https://api.github.com",
            "permissions": { "contents": "write", "issues": "read" } });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn asked(spec: &InstallationSpec, method: &str, path: &str) -> serde_json::Value {
        serde_json::to_value(spec.narrowed(Some((method, path)))).unwrap()
    }

    #[test]
    fn a_call_that_reads_gets_a_token_that_reads() {
        let spec = spec(&json!({}));
        let reads = json!({ "permissions": { "contents": "read", "issues": "read" } });
        assert_eq!(asked(&spec, "GET", "/repos/acme/site/issues"), reads);
        let writes = json!({ "permissions": { "contents": "write", "issues": "read" } });
        assert_eq!(asked(&spec, "PUT", "/repos/acme/site/contents/a"), writes);
        assert_eq!(serde_json::to_value(spec.narrowed(None)).unwrap(), writes);
    }

    #[test]
    fn a_call_about_one_repository_gets_a_token_for_it_alone() {
        let spec = spec(&json!({ "account": "acme", "repositories": ["site", "docs"] }));
        let repositories = |path: &str| asked(&spec, "GET", path)["repositories"].clone();
        assert_eq!(repositories("/repos/Acme/site/issues"), json!(["site"]));
        // What is not listed, somebody else's, or no repository at all: those that are listed, and never all.
        for path in [
            "/repos/acme/secrets",
            "/repos/evil/site",
            "/orgs/acme",
            "/repos/acme",
            "/repos/acme/%2e",
        ] {
            assert_eq!(repositories(path), json!(["docs", "site"]), "{path}");
        }
    }

    #[test]
    fn more_than_was_asked_for_is_noticed() {
        let narrowed = spec(&json!({})).narrowed(Some(("GET", "/x")));
        let given =
            |text: serde_json::Value| serde_json::from_value::<BTreeMap<String, Access>>(text).unwrap();
        assert!(narrowed.holds(&given(json!({ "contents": "read", "metadata": "read" }))));
        assert!(narrowed.holds(&given(json!({}))));
        for more in [
            json!({ "contents": "write" }),
            json!({ "administration": "read" }),
            json!({ "metadata": "admin" }),
        ] {
            assert!(!narrowed.holds(&given(more.clone())), "{more}");
        }
    }

    #[test]
    fn a_token_is_never_for_all_that_the_app_may() {
        assert!(spec(&json!({})).check().is_ok());
        for change in [
            json!({ "permissions": {} }),
            json!({ "permissions": { "Contents": "read" } }),
            json!({ "repositories": ["acme/site"] }),
            json!({ "api_url": "http://api.github.example" }),
            json!({ "api_url": "https://api.github.com?x" }),
        ] {
            assert!(spec(&change).check().is_err(), "{change}");
        }
    }
}
