//! Connections: downstream providers, where their credentials go and how they are placed in a request.

use crate::glob::PathGlob;
use crate::id::ConnectionId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::upstream::{UpstreamUrl, is_authority};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod assertion;
mod credential;
mod federation;
mod installation;
mod oauth;

pub use assertion::{AssertionSpec, ScopePlace};
pub use credential::{CredentialFlow, CredentialKind, ProofKind};
pub use federation::{Exchange, FederationSpec};
pub use installation::{Access, InstallationSpec, Narrowed};
pub use oauth::{
    ACCESS_TOKEN, AccountAnswer, AccountSource, OAuthEndpoints, OAuthFlow, OAuthSpec, RevocationCall,
};

/// What is specific to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectionSpec {
    /// Where requests go: https, or http on loopback; no query.
    pub base_url: UpstreamUrl,
    /// What credential there is, and where it goes in a request.
    pub credential: CredentialKind,
    /// Whose credential it is: each user's, each agent's, or one for the tenant.
    pub owner_level: OwnerLevel,
    /// Whether the credential may ever leave Chancery.
    #[serde(default)]
    pub handling: Handling,
    /// Further hosts that may be called with it, as `host` or `host:port`, always https.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<String>,
    /// What may be requested. A deny wins; with no rule, everything; else only what an allow names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RequestRule>,
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
}

/// A connection.
pub type Connection = Record<ConnectionId, ConnectionSpec>;

/// Whose credentials a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OwnerLevel {
    /// One for each user, used when an agent acts for that user.
    User,
    /// One for each agent.
    Agent,
    /// One for the whole tenant.
    Tenant,
}

impl OwnerLevel {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Tenant => "tenant",
        }
    }
}

/// What may happen to a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// It is used here and never handed out.
    #[default]
    BrokerOnly,
    /// It may be handed to an agent that policy permits it to.
    Release,
}

impl Handling {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrokerOnly => "broker_only",
            Self::Release => "release",
        }
    }
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyPart {
    /// What it is called.
    pub name: Name,
    /// Where it goes.
    pub placement: Placement,
}

/// Where a part goes in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Placement {
    /// A header of its own.
    Header {
        /// The header's name.
        name: String,
        /// What stands before the value: `Bearer `, with its space.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
    /// A parameter of the query.
    Query {
        /// The parameter's name.
        name: String,
    },
    /// The user of basic authentication (RFC 7617 §2). Without this part the user is empty.
    BasicUsername,
    /// The password of basic authentication. Without this part the password is empty.
    BasicPassword,
}

impl Placement {
    /// What two parts may not share: each place takes one value.
    fn place(&self) -> String {
        match self {
            Self::Header { name, .. } => format!("header {}", name.to_ascii_lowercase()),
            Self::Query { name } => format!("query {name}"),
            Self::BasicUsername => "basic username".to_owned(),
            Self::BasicPassword => "basic password".to_owned(),
        }
    }

    /// Whether a value can stand there without ending the place or becoming something else.
    pub fn accepts(&self, value: &str) -> bool {
        let visible = |byte: u8| (0x20..=0x7e).contains(&byte);
        let fits = match self {
            Self::Header { .. } => value.bytes().all(visible) && value.trim() == value,
            Self::Query { .. } | Self::BasicPassword => !value.chars().any(char::is_control),
            Self::BasicUsername => !value.chars().any(char::is_control) && !value.contains(':'),
        };
        fits && (1..=MAX_VALUE).contains(&value.len())
    }

    fn check(&self) -> Result<(), SpecError> {
        match self {
            Self::Header { name, prefix } => {
                if !is_token(name) || is_reserved(name) {
                    return Err(SpecError::field(
                        "credential.parts.placement.header.name",
                        "is a header that a credential may use: none of the connection's, the body's or the protocol's own",
                    ));
                }
                let visible = |byte: u8| (0x20..=0x7e).contains(&byte);
                if prefix.len() > 64 || !prefix.bytes().all(visible) || prefix.starts_with(' ') {
                    return Err(SpecError::field(
                        "credential.parts.placement.header.prefix",
                        "is at most 64 visible characters, and does not start with a space",
                    ));
                }
                Ok(())
            }
            Self::Query { name } if name.is_empty() || name.len() > 128 || !is_plain(name) => {
                Err(SpecError::field(
                    "credential.parts.placement.query.name",
                    "is 1 to 128 characters of `A-Z a-z 0-9 . _ ~ - [ ]`",
                ))
            }
            Self::Query { .. } | Self::BasicUsername | Self::BasicPassword => Ok(()),
        }
    }
}

/// What may be requested, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RequestRule {
    /// Whether it allows or denies.
    pub effect: RuleEffect,
    /// Methods in capitals; none means any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// The path that follows `base_url`; at a further host, the whole path.
    pub path: PathGlob,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// Lets a request through unless another rule denies it.
    Allow,
    /// Stops it.
    Deny,
}

impl RequestRule {
    fn matches(&self, method: &str, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method)) && self.path.matches(path)
    }
}

impl ConnectionSpec {
    /// Whether the rules let a request through. The path is normalised and follows `base_url`.
    pub fn allows(&self, method: &str, path: &str) -> bool {
        let has = |effect| {
            self.rules
                .iter()
                .any(|rule| rule.effect == effect && rule.matches(method, path))
        };
        !has(RuleEffect::Deny) && (self.rules.is_empty() || has(RuleEffect::Allow))
    }

    /// Whether the credential may go to this URL: below `base_url`, or at one of the further hosts.
    pub fn reaches(&self, url: &UpstreamUrl) -> bool {
        self.base_url.covers(url) || url.is_secure() && self.hosts.contains(url.authority())
    }

    /// Whether what a provider names as the interface of an account is one that the connection goes to. It may be named
    /// without a path, and the connection go below it.
    pub fn is_interface(&self, named: Option<&str>) -> bool {
        let url = named.and_then(|named| named.parse::<UpstreamUrl>().ok());
        url.is_some_and(|url| url.origin() == self.base_url.origin() || self.reaches(&url))
    }

    /// Where the credential goes, as bytes: the same bytes mean the same destination. Each field has its length
    /// before it as four bytes, big-endian: format, kind, every part in order of names with its placement, origin
    /// and path of `base_url`, and the further hosts in order; then, for OAuth 2, whatever decides where tokens go.
    ///
    /// SECURITY: a credential is sealed for the digest of these bytes, so what decides where it ends up is here.
    pub fn destination(&self) -> Vec<u8> {
        let mut fields: Vec<&str> = vec!["1", self.credential.as_str()];
        let parts: BTreeMap<&Name, &Placement> = self
            .credential
            .parts()
            .iter()
            .map(|part| (&part.name, &part.placement))
            .collect();
        let (parts_count, hosts_count) = (parts.len().to_string(), self.hosts.len().to_string());
        fields.push(&parts_count);
        for (name, placement) in &parts {
            fields.push(name.as_str());
            fields.extend(match placement {
                Placement::Header { name, prefix } => ["header", name, prefix],
                Placement::Query { name } => ["query", name, ""],
                Placement::BasicUsername => ["basic_username", "", ""],
                Placement::BasicPassword => ["basic_password", "", ""],
            });
        }
        fields.extend([self.base_url.origin(), self.base_url.path(), &hosts_count]);
        fields.extend(self.hosts.iter().map(String::as_str));
        fields.extend(self.credential.destination());
        joined(&fields)
    }

    /// Where the secret or key goes that proves us at a provider, as bytes of the same form.
    ///
    /// SECURITY: it is sealed for the digest of these bytes.
    pub fn secret_destination(&self) -> Option<Vec<u8>> {
        if !self.credential.is_token() {
            return None;
        }
        let mut fields = vec!["1", "client-secret"];
        fields.extend(self.credential.destination());
        Some(joined(&fields))
    }

    /// Whether going from `self` to `new` sends credentials or requests where they did not go before.
    pub fn widens(&self, new: &Self) -> bool {
        let released = self.handling == Handling::BrokerOnly && new.handling == Handling::Release;
        self.destination() != new.destination()
            || self.owner_level != new.owner_level
            || released
            || self.rules != new.rules && !is_stricter(&self.rules, &new.rules)
    }
}

impl Spec for ConnectionSpec {
    type Id = ConnectionId;
    const NOUN: Noun = Noun::Connection;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        if name.as_str().contains([':', '/', '@']) {
            return Err(SpecError::field("name", "of a connection has no `:`, `/` or `@`"));
        }
        if self.hosts.len() > 64 || !self.hosts.iter().all(|host| is_authority(host)) {
            return Err(SpecError::field(
                "hosts",
                "are at most 64, each `host` or `host:port` in lower case",
            ));
        }
        // Its page would be that of the answer.
        if self.credential.oauth().is_some() && name.as_str() == "callback" {
            return Err(SpecError::field(
                "name",
                "of an OAuth 2 connection is not `callback`",
            ));
        }
        self.credential.check()?;
        self.check_owner_level()?;
        check_parts(&self.credential)?;
        check_rules(&self.rules)
    }
}

impl ConnectionSpec {
    /// SECURITY: a token that is everybody's is no person's own, whoever asks for it.
    fn check_owner_level(&self) -> Result<(), SpecError> {
        if self.credential.fetches_itself() && self.owner_level == OwnerLevel::User {
            return Err(SpecError::field(
                "owner_level",
                "is `agent` or `tenant` where no person connects an account",
            ));
        }
        Ok(())
    }
}

/// Fields, each with its length before it.
fn joined(fields: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        // PROOF: every field is bounded by its own rule, far below four gigabytes.
        bytes.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(field.as_bytes());
    }
    bytes
}

fn check_parts(credential: &CredentialKind) -> Result<(), SpecError> {
    let parts = match credential {
        CredentialKind::ApiKey { parts } => parts,
        CredentialKind::None
        | CredentialKind::Oauth2(_)
        | CredentialKind::SignedAssertion(_)
        | CredentialKind::AppInstallation(_)
        | CredentialKind::WorkloadFederation(_) => return Ok(()),
    };
    if parts.is_empty() || parts.len() > 8 {
        return Err(SpecError::field("credential.parts", "are 1 to 8"));
    }
    let names: BTreeSet<&Name> = parts.iter().map(|part| &part.name).collect();
    let places: BTreeSet<String> = parts.iter().map(|part| part.placement.place()).collect();
    if names.len() < parts.len() || places.len() < parts.len() {
        return Err(SpecError::field(
            "credential.parts",
            "have each a name and a place of its own",
        ));
    }
    let is_basic = places.contains("basic username") || places.contains("basic password");
    if is_basic && places.contains("header authorization") {
        return Err(SpecError::field(
            "credential.parts",
            "fill `Authorization` once: as a header or as basic authentication",
        ));
    }
    parts.iter().try_for_each(|part| part.placement.check())
}

fn check_rules(rules: &[RequestRule]) -> Result<(), SpecError> {
    let is_method = |method: &String| {
        (1..=32).contains(&method.len())
            && method
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    if rules.len() > 256 || !rules.iter().all(|rule| rule.methods.iter().all(is_method)) {
        return Err(SpecError::field(
            "rules",
            "are at most 256, with methods in capitals",
        ));
    }
    if !rules.is_empty() && !rules.iter().any(|rule| rule.effect == RuleEffect::Allow) {
        return Err(SpecError::field(
            "rules",
            "allow something: with a rule, only what an `allow` names may be requested",
        ));
    }
    Ok(())
}

/// Whether the new rules surely let through nothing that the old ones did not: the old denies are kept, and every
/// allow is an old one (or there was no rule, which let everything through).
fn is_stricter(old: &[RequestRule], new: &[RequestRule]) -> bool {
    let keeps_denies = old
        .iter()
        .filter(|rule| rule.effect == RuleEffect::Deny)
        .all(|rule| new.contains(rule));
    let adds_no_allow = new
        .iter()
        .filter(|rule| rule.effect == RuleEffect::Allow)
        .all(|rule| old.is_empty() || old.contains(rule));
    keeps_denies && adds_no_allow && !new.is_empty()
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._~-[]".contains(&byte))
}

/// Headers that route or frame a request, describe its body, speak MCP, or carry a browser's session.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "alt-used",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "origin",
    "referer",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const RESERVED_PREFIXES: &[&str] = &["content-", "mcp-", "proxy-", "sec-", "x-forwarded-"];
const MAX_VALUE: usize = 16 << 10;

#[cfg(test)]
mod tests;
