//! How clients that make themselves known come to an agent: rules that a tenant writes (RFC 7591 §1.3, and the
//! domain policy of draft-ietf-oauth-client-id-metadata-document §6), and initial access tokens (RFC 7591 §3).

use crate::client::Provenance;
use crate::id::{RegistrationRuleId, RegistrationTokenId};
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What is specific to a registration rule. Where no rule speaks, a client is staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegistrationRuleSpec {
    /// What becomes of a client that it matches.
    pub outcome: RegistrationOutcome,
    /// The agent that the client then belongs to, for `adopt`: its owner and ceiling hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// The ways of registration that it speaks of. Empty: every way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<RegistrationWay>,
    /// Hosts: of the metadata document's URL, or of every redirect URI of a client that registers. `*.example.com`
    /// is every host below it. Empty, with no `software_ids`: every client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Only clients that say they are this software. A claim that nobody proves, so that it never stands alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub software_ids: Vec<String>,
}

/// A registration rule.
pub type RegistrationRule = Record<RegistrationRuleId, RegistrationRuleSpec>;

/// What becomes of a client that makes itself known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RegistrationOutcome {
    /// It belongs to the rule's agent and is active at once.
    Adopt,
    /// It waits for somebody to adopt it.
    Stage,
    /// It is not taken. An initial access token still registers one.
    Refuse,
    /// This way is closed, whatever other rules or tokens say.
    Off,
}

/// A way in which a client makes itself known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RegistrationWay {
    /// Dynamic client registration (RFC 7591).
    Registered,
    /// A metadata document whose URL is the `client_id`.
    MetadataDocument,
}

impl RegistrationWay {
    /// What is recorded of a client that came this way.
    pub const fn provenance(self) -> Provenance {
        match self {
            Self::Registered => Provenance::Registered,
            Self::MetadataDocument => Provenance::MetadataDocument,
        }
    }
}

/// What is specific to an initial access token: a secret that lets its bearer register clients of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationTokenSpec {
    /// The agent that the clients will belong to.
    pub agent: Name,
    /// SHA-256 of the token, in hexadecimal. The token itself was shown once.
    pub digest: String,
    /// How often it may still be used.
    pub uses: u64,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An initial access token.
pub type RegistrationToken = Record<RegistrationTokenId, RegistrationTokenSpec>;

impl RegistrationRuleSpec {
    /// Whether it speaks of this way.
    pub fn covers(&self, way: RegistrationWay) -> bool {
        self.ways.is_empty() || self.ways.contains(&way)
    }

    /// Whether it speaks of every client of its ways.
    pub fn is_general(&self) -> bool {
        self.hosts.is_empty() && self.software_ids.is_empty()
    }
}

impl Spec for RegistrationRuleSpec {
    type Id = RegistrationRuleId;
    const NOUN: Noun = Noun::RegistrationRule;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if (self.outcome == RegistrationOutcome::Adopt) != self.agent.is_some() {
            return Err(SpecError::field(
                "agent",
                "is given exactly when the outcome is `adopt`",
            ));
        }
        if self.outcome == RegistrationOutcome::Adopt && self.hosts.is_empty() {
            return Err(SpecError::field(
                "hosts",
                "names at least one host when the outcome is `adopt`: what a client only says of itself proves nothing",
            ));
        }
        if self.outcome == RegistrationOutcome::Off && !self.is_general() {
            return Err(SpecError::field(
                "hosts",
                "are not given when the outcome is `off`",
            ));
        }
        if self.hosts.len() > MAX_HOSTS || !self.hosts.iter().all(|host| is_host(host)) {
            return Err(SpecError::field(
                "hosts",
                "are at most 100 host names in lower case, or `*.` and one with a dot",
            ));
        }
        let is_plain = |text: &String| crate::redirect::is_plain_text(text, 255);
        if self.software_ids.len() > MAX_HOSTS || !self.software_ids.iter().all(is_plain) {
            return Err(SpecError::field(
                "software_ids",
                "are at most 100, each of 1 to 255 characters that can be seen",
            ));
        }
        Ok(())
    }
}

impl Spec for RegistrationTokenSpec {
    type Id = RegistrationTokenId;
    const NOUN: Noun = Noun::RegistrationToken;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if self.digest.len() == 64 && self.uses <= MAX_USES {
            return Ok(());
        }
        Err(SpecError::field("uses", "are at most 1,000"))
    }
}

/// A host name, or every one below a name that has a dot itself.
fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.");
    let host = name.unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(is_label) && (name.is_none() || host.contains('.'))
}

const MAX_HOSTS: usize = 100;
/// How often one initial access token may be used at most.
pub const MAX_USES: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: serde_json::Value) -> bool {
        let spec: RegistrationRuleSpec = serde_json::from_value(spec).unwrap();
        spec.check(&"rule".parse().unwrap()).is_err()
    }

    #[test]
    fn a_rule_that_adopts_stands_on_a_host() {
        let rule = serde_json::json!({ "outcome": "adopt", "agent": "bot", "software_ids": ["x"] });
        assert!(refused(rule), "a software_id alone is a claim");
        let rule = serde_json::json!({ "outcome": "adopt", "hosts": ["app.example"] });
        assert!(refused(rule), "adopted by whom");
        let rule = serde_json::json!({ "outcome": "adopt", "agent": "bot", "hosts": ["*.app.example"] });
        assert!(!refused(rule));
    }

    #[test]
    fn hosts_are_names_and_no_patterns() {
        for host in [
            "*",
            "*.com",
            "App.example",
            "app.example:443",
            "https://app.example",
            "a*.example",
            "",
            "a..b",
        ] {
            let rule = serde_json::json!({ "outcome": "refuse", "hosts": [host] });
            assert!(refused(rule), "{host}");
        }
        let off = serde_json::json!({ "outcome": "off", "hosts": ["app.example"] });
        assert!(refused(off));
    }
}
