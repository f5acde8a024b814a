//! Clients: the ways in for an agent.

use crate::authorization_details::DetailType;
use crate::id::ClientId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::redirect;
use crate::uri::check_base_url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is specific to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// The agent that this is a way in for. Only a client that registered itself may be without one: it stays
    /// staged until somebody adopts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// How it proves itself.
    pub method: ClientAuthenticationMethod,
    /// Its public keys (a JWK set), for `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    /// Where its public keys are, for `private_key_jwt`, instead of `jwks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Where a person may be sent back to. Compared exactly; only the port of a loopback address is free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// The grants that it may use. Empty: those that its method allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant_types: Vec<ClientGrant>,
    /// The types of authorization details that it asks for (RFC 9396 §10). It may ask for no others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub authorization_details_types: BTreeSet<DetailType>,
    /// What it calls itself (`client_name`). Shown as its own words, never believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its web page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// The software that it is an instance of (RFC 7591 §2), as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Its `client_id`, when that is the URL of its metadata document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_uri: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub provenance: Provenance,
}

/// A client.
pub type Client = Record<ClientId, ClientSpec>;

/// How a client authenticates at the token endpoint (OpenID Connect Core §9; RFC 7523 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthenticationMethod {
    /// A secret in the `Authorization` header (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// A secret in the form body.
    ClientSecretPost,
    /// An assertion signed with the client's own key.
    PrivateKeyJwt,
    /// The signed token of the platform that runs it, through a runtime binding.
    Runtime,
    /// No proof: a public client (RFC 6749 §2.1). It works only with a signed-in person.
    None,
}

impl ClientAuthenticationMethod {
    /// The registered name of the method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::Runtime => "runtime",
            Self::None => "none",
        }
    }

    /// Whether the client proves itself with a generated secret.
    pub const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }

    /// Whether the client proves nothing.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::None)
    }
}

/// A grant that a client may be registered for, by its registered name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ClientGrant {
    /// RFC 6749 §4.1.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// RFC 6749 §6.
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// RFC 6749 §4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8693.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    /// RFC 8628.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// OpenID Connect CIBA.
    #[serde(rename = "urn:openid:params:grant-type:ciba")]
    Ciba,
    /// RFC 7523 §2.1.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

impl ClientGrant {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::TokenExchange,
        Self::DeviceCode,
        Self::Ciba,
        Self::JwtBearer,
    ];

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::Ciba => "urn:openid:params:grant-type:ciba",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// The grant that a registered name means.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }
}

/// How a client came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Somebody made it.
    #[default]
    Manual,
    /// A runtime binding made it.
    Runtime,
    /// It registered itself (RFC 7591).
    Registered,
    /// Its `client_id` is the URL of its metadata document.
    MetadataDocument,
    /// It is part of this server: a person's own hands, and no agent.
    BuiltIn,
}

impl Provenance {
    /// Whether the client made itself known, so that nobody vouches for what it says.
    pub const fn is_self_registered(self) -> bool {
        matches!(self, Self::Registered | Self::MetadataDocument)
    }
}

impl ClientSpec {
    /// A client that somebody makes for an agent.
    pub fn new(agent: Name, method: ClientAuthenticationMethod) -> Self {
        Self {
            agent: Some(agent),
            method,
            jwks: None,
            jwks_uri: None,
            redirect_uris: Vec::new(),
            grant_types: Vec::new(),
            authorization_details_types: BTreeSet::new(),
            display_name: None,
            client_uri: None,
            software_id: None,
            metadata_uri: None,
            provenance: Provenance::Manual,
        }
    }

    /// Whether it may use a grant. What a public client gets stands on a person, so that it never acts for itself.
    pub fn may_use(&self, grant: ClientGrant) -> bool {
        let allowed = grant != ClientGrant::ClientCredentials || !self.method.is_public();
        allowed && (self.grant_types.is_empty() || self.grant_types.contains(&grant))
    }

    /// Whether what its tokens stand on differs: its agent, how it proves itself, where answers go, or what it may
    /// ask for. What it only says about itself is not part of that.
    pub fn stands_otherwise(&self, other: &Self) -> bool {
        let stand = |spec: &Self| {
            (
                spec.agent.clone(),
                spec.method,
                spec.jwks.clone(),
                spec.jwks_uri.clone(),
                spec.redirect_uris.clone(),
                spec.grant_types.clone(),
                spec.authorization_details_types.clone(),
                spec.metadata_uri.clone(),
            )
        };
        stand(self) != stand(other)
    }

    fn check_keys(&self) -> Result<(), SpecError> {
        let sources = usize::from(self.jwks.is_some()) + usize::from(self.jwks_uri.is_some());
        let wanted = usize::from(self.method == ClientAuthenticationMethod::PrivateKeyJwt);
        if sources != wanted {
            return Err(SpecError::field(
                "jwks",
                "or `jwks_uri`, one of them, is given exactly when the method is `private_key_jwt`",
            ));
        }
        match &self.jwks_uri {
            Some(uri) if !is_page(uri) => Err(SpecError::field("jwks_uri", "is an https URL")),
            Some(_) | None => Ok(()),
        }
    }

    fn check_redirects(&self) -> Result<(), SpecError> {
        let distinct: BTreeSet<&String> = self.redirect_uris.iter().collect();
        if self.redirect_uris.len() > MAX_REDIRECTS || distinct.len() != self.redirect_uris.len() {
            return Err(SpecError::field("redirect_uris", "are at most 20, each once"));
        }
        if self.redirect_uris.iter().all(|uri| redirect::check(uri).is_ok()) {
            return Ok(());
        }
        Err(SpecError::field(
            "redirect_uris",
            "are https URLs, http on 127.0.0.1, [::1] or localhost, or have a private scheme with a dot; no fragment, \
             user name or wildcard",
        ))
    }

    fn check_words(&self) -> Result<(), SpecError> {
        let is_plain = |text: &Option<String>, longest| {
            text.as_ref()
                .is_none_or(|text| redirect::is_plain_text(text, longest))
        };
        if !is_plain(&self.display_name, MAX_DISPLAY_NAME) {
            return Err(SpecError::field(
                "display_name",
                "has 1 to 120 characters that can be seen",
            ));
        }
        if !is_plain(&self.software_id, MAX_SOFTWARE_ID) {
            return Err(SpecError::field(
                "software_id",
                "has 1 to 255 characters that can be seen",
            ));
        }
        if self.client_uri.as_ref().is_some_and(|uri| !is_page(uri)) {
            return Err(SpecError::field("client_uri", "is an https URL"));
        }
        Ok(())
    }
}

impl Spec for ClientSpec {
    type Id = ClientId;
    const NOUN: Noun = Noun::Client;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        self.check_keys()?;
        if (self.method == ClientAuthenticationMethod::Runtime) != (self.provenance == Provenance::Runtime) {
            return Err(SpecError::field(
                "method",
                "`runtime` belongs to clients that a runtime binding makes",
            ));
        }
        if self.agent.is_none() && !self.provenance.is_self_registered() {
            return Err(SpecError::field(
                "agent",
                "is missing; only a client that registered itself has none at first",
            ));
        }
        if self.metadata_uri.is_some() != (self.provenance == Provenance::MetadataDocument) {
            return Err(SpecError::field(
                "metadata_uri",
                "is given exactly when the provenance is `metadata_document`",
            ));
        }
        let grants: BTreeSet<&ClientGrant> = self.grant_types.iter().collect();
        if grants.len() != self.grant_types.len() {
            return Err(SpecError::field("grant_types", "are named once each"));
        }
        if self.grant_types.iter().any(|grant| !self.may_use(*grant)) {
            return Err(SpecError::field(
                "grant_types",
                "of a client without proof are those with a signed-in person, not `client_credentials`",
            ));
        }
        if self.authorization_details_types.len() > 64 {
            return Err(SpecError::field("authorization_details_types", "are at most 64"));
        }
        self.check_redirects()?;
        self.check_words()
    }
}

fn is_page(uri: &str) -> bool {
    let path = uri.split('?').next().unwrap_or_default();
    uri.len() <= MAX_PAGE && check_base_url(path.trim_end_matches('/')).is_ok() && !uri.contains('#')
}

const MAX_REDIRECTS: usize = 20;
const MAX_DISPLAY_NAME: usize = 120;
const MAX_SOFTWARE_ID: usize = 255;
const MAX_PAGE: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> ClientSpec {
        ClientSpec::new("bot".parse().unwrap(), ClientAuthenticationMethod::None)
    }

    fn refused(spec: &ClientSpec) -> &'static str {
        let SpecError::Field { field, .. } = spec.check(&"client".parse().unwrap()).unwrap_err();
        field
    }

    #[test]
    fn a_public_client_never_acts_for_itself() {
        let spec = public();
        assert_eq!(spec.check(&"client".parse().unwrap()), Ok(()));
        assert!(!spec.may_use(ClientGrant::ClientCredentials));
        assert!(spec.may_use(ClientGrant::AuthorizationCode) && spec.may_use(ClientGrant::TokenExchange));
        let named = ClientSpec {
            grant_types: vec![ClientGrant::ClientCredentials],
            ..public()
        };
        assert_eq!(refused(&named), "grant_types");
    }

    #[test]
    fn a_client_uses_only_the_grants_it_is_registered_for() {
        let spec = ClientSpec {
            grant_types: vec![ClientGrant::AuthorizationCode],
            ..public()
        };
        assert!(spec.may_use(ClientGrant::AuthorizationCode));
        assert!(!spec.may_use(ClientGrant::TokenExchange));
        for grant in ClientGrant::ALL {
            assert_eq!(ClientGrant::parse(grant.as_str()), Some(grant));
            assert_eq!(serde_json::to_value(grant).unwrap(), grant.as_str());
        }
    }

    #[test]
    fn only_a_self_registered_client_is_without_agent() {
        let mut spec = ClientSpec {
            agent: None,
            ..public()
        };
        assert_eq!(refused(&spec), "agent");
        spec.provenance = Provenance::Registered;
        assert_eq!(spec.check(&"client".parse().unwrap()), Ok(()));
        spec.provenance = Provenance::MetadataDocument;
        assert_eq!(refused(&spec), "metadata_uri");
    }

    #[test]
    fn keys_come_from_one_place() {
        let key = |jwks: bool, uri: Option<&str>| ClientSpec {
            jwks: jwks.then(|| serde_json::json!({ "keys": [] })),
            jwks_uri: uri.map(str::to_owned),
            ..ClientSpec::new("bot".parse().unwrap(), ClientAuthenticationMethod::PrivateKeyJwt)
        };
        let name = "client".parse().unwrap();
        assert_eq!(key(true, None).check(&name), Ok(()));
        assert_eq!(key(false, Some("https://app.example/jwks")).check(&name), Ok(()));
        assert_eq!(refused(&key(false, None)), "jwks");
        assert_eq!(refused(&key(true, Some("https://app.example/jwks"))), "jwks");
        assert_eq!(refused(&key(false, Some("http://app.example/jwks"))), "jwks_uri");
    }

    #[test]
    fn deceptive_names_and_redirects_are_refused() {
        let named = |name: &str| ClientSpec {
            display_name: Some(name.to_owned()),
            ..public()
        };
        assert_eq!(refused(&named("Bank\u{202e}toB")), "display_name");
        let redirecting = |uris: &[&str]| ClientSpec {
            redirect_uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            ..public()
        };
        assert_eq!(refused(&redirecting(&["http://evil.example/"])), "redirect_uris");
        let twice = ["https://a.example/", "https://a.example/"];
        assert_eq!(refused(&redirecting(&twice)), "redirect_uris");
    }
}
