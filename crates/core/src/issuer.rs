//! Trusted issuers: outside parties whose signed tokens are verified.

use crate::id::IssuerId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::uri::check_base_url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is specific to a trusted issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuerSpec {
    /// The exact `iss` value of its tokens.
    pub issuer: String,
    /// Whose tokens it issues. Never both by accident: both only when both are listed.
    pub purposes: Vec<IssuerPurpose>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The `aud` values that a user token may carry to be accepted here. A token must have one.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// How claims become roles and groups.
    #[serde(default)]
    pub claims: ClaimMapping,
    /// Which assertions about people it may send as grants (RFC 7523 §2.1). Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionKind>,
    /// How people sign in there in a browser. Absent: they bring its tokens, and that is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInSpec>,
}

/// A trusted issuer.
pub type TrustedIssuer = Record<IssuerId, TrustedIssuerSpec>;

/// What an issuer's tokens may prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum IssuerPurpose {
    /// Its tokens identify people.
    Users,
    /// Its tokens identify what runs an agent.
    Runtimes,
}

/// A kind of assertion about a person that a client brings as a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AssertionKind {
    /// A plain assertion (RFC 7523 §2.1).
    JwtBearer,
    /// An identity assertion authorization grant, which names the client and may name resource and scope (ID-JAG).
    IdJag,
}

/// Where an issuer's public keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// From `{issuer}/.well-known/openid-configuration` (OpenID Connect Discovery §4).
    Discovery,
    /// From this URL of a JWK set (RFC 7517 §5).
    JwksUri(String),
    /// From this JWK set, for private clusters and air-gapped sites.
    Inline(serde_json::Value),
}

/// Which claims carry what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimMapping {
    /// The claim with the person's roles: a name, or a JSON pointer (RFC 6901) if it starts with `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// The claim with the person's groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// Outside values of the roles claim and the roles here that they give. Empty: values are taken as
    /// they are, except the built-in roles, which only an explicit entry can give.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub role_map: BTreeMap<String, Name>,
    /// Attributes that policies may read, and the claims they come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// How people sign in at an issuer in a browser: we are the relying party (OpenID Connect Core §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignInSpec {
    /// Our id there; the one audience of its ID tokens.
    pub client_id: String,
    /// How we prove ourselves at its token endpoint.
    #[serde(default)]
    pub authentication: SignInAuthentication,
    /// What we ask for besides `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// E-mail domains of the people who sign in here. With an address of one of them nobody needs to choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// What the button says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its endpoints, where it has no discovery document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<SignInEndpoints>,
}

/// How we prove ourselves to an issuer (OpenID Connect Core §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignInAuthentication {
    /// Not at all: PKCE alone binds the code to us.
    #[default]
    None,
    /// With a secret in the header.
    ClientSecretBasic,
    /// With a secret in the form.
    ClientSecretPost,
    /// With an assertion that the tenant's key signs; its public half is at `{base}/jwks`.
    PrivateKeyJwt,
}

impl SignInAuthentication {
    /// The word of the standards.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Whether a secret must be set.
    pub const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// An issuer's endpoints for signing in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignInEndpoints {
    /// Where the browser goes.
    pub authorization: String,
    /// Where the code is redeemed.
    pub token: String,
}

fn default_scopes() -> Vec<String> {
    ["profile", "email"].map(str::to_owned).to_vec()
}

impl SignInSpec {
    fn check(&self) -> Result<(), SpecError> {
        let is_plain = |text: &str, most: usize| {
            !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.client_id.is_empty()
            || self.client_id.len() > 512
            || self.client_id.contains(char::is_control)
        {
            return Err(SpecError::field(
                "sign_in.client_id",
                "has 1 to 512 bytes without controls",
            ));
        }
        if !self.scopes.iter().all(|scope| is_plain(scope, 128)) {
            return Err(SpecError::field("sign_in.scopes", "are words of visible ASCII"));
        }
        let is_domain = |domain: &String| {
            is_plain(domain, 253)
                && domain.contains('.')
                && !domain.contains(['@', '/', ':', '*'])
                && !domain.contains(|letter: char| letter.is_ascii_uppercase())
        };
        if !self.domains.iter().all(is_domain) {
            return Err(SpecError::field(
                "sign_in.domains",
                "are domain names in lower case",
            ));
        }
        let is_url = |url: &str| check_base_url(url.split('?').next().unwrap_or_default()).is_ok();
        let endpoints = self.endpoints.as_ref();
        if !endpoints.is_none_or(|endpoints| is_url(&endpoints.authorization) && is_url(&endpoints.token)) {
            return Err(SpecError::field("sign_in.endpoints", "are https URLs"));
        }
        if self
            .label
            .as_ref()
            .is_some_and(|label| label.is_empty() || label.len() > 60)
        {
            return Err(SpecError::field("sign_in.label", "has 1 to 60 bytes"));
        }
        Ok(())
    }
}

impl TrustedIssuerSpec {
    /// Whether its tokens may prove this.
    pub fn serves(&self, purpose: IssuerPurpose) -> bool {
        self.purposes.contains(&purpose)
    }
}

impl Spec for TrustedIssuerSpec {
    type Id = IssuerId;
    const NOUN: Noun = Noun::TrustedIssuer;

    fn check(&self, name: &Name) -> Result<(), SpecError> {
        // SECURITY: people are keyed by issuer and subject; an outside issuer of this name could vouch for local people.
        if name.as_str() == crate::user::LOCAL_ISSUER {
            return Err(SpecError::field(
                "name",
                "is not `local`: that is the issuer of accounts kept here",
            ));
        }
        // Not a URL where keys are given inline; but PostgreSQL has no text with a NUL.
        if self.issuer.is_empty() || self.issuer.len() > 2048 || self.issuer.contains('\0') {
            return Err(SpecError::field(
                "issuer",
                "has 1 to 2,048 bytes, none of them NUL",
            ));
        }
        let is_url = check_base_url(self.issuer.trim_end_matches('/')).is_ok();
        if !is_url && self.keys == KeySource::Discovery {
            return Err(SpecError::field(
                "issuer",
                "is an https URL when keys come from discovery",
            ));
        }
        if self.purposes.is_empty() {
            return Err(SpecError::field("purposes", "names `users`, `runtimes` or both"));
        }
        if self.serves(IssuerPurpose::Users) && self.audiences.is_empty() {
            return Err(SpecError::field(
                "audiences",
                "names at least one audience when the issuer is for users",
            ));
        }
        if self.audiences.iter().any(|audience| audience.contains('*')) {
            return Err(SpecError::field("audiences", "has no wildcard"));
        }
        let (sends, once) = (!self.assertions.is_empty(), self.assertions.as_slice());
        let is_repeated = matches!(once, [first, second, ..] if first == second) || once.len() > 2;
        if is_repeated || (sends && !self.serves(IssuerPurpose::Users)) {
            return Err(SpecError::field(
                "assertions",
                "are `jwt_bearer` and `id_jag`, each once, of an issuer for users",
            ));
        }
        if let Some(sign_in) = &self.sign_in {
            if !self.serves(IssuerPurpose::Users) {
                return Err(SpecError::field("sign_in", "belongs to an issuer for users"));
            }
            sign_in.check()?;
        }
        if let KeySource::JwksUri(uri) = &self.keys
            && check_base_url(uri.split('?').next().unwrap_or_default()).is_err()
        {
            return Err(SpecError::field("keys.jwks_uri", "is an https URL"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_with_nul_is_refused() {
        let spec = |issuer: &str| TrustedIssuerSpec {
            issuer: issuer.to_owned(),
            purposes: vec![IssuerPurpose::Runtimes],
            keys: KeySource::Inline(serde_json::json!({ "keys": [] })),
            audiences: Vec::new(),
            claims: ClaimMapping::default(),
            assertions: Vec::new(),
            sign_in: None,
        };
        let name = "cluster".parse().unwrap();
        assert_eq!(spec("cluster").check(&name), Ok(()));
        assert!(spec("cluster\0").check(&name).is_err() && spec("").check(&name).is_err());
    }

    #[test]
    fn assertions_are_of_an_issuer_for_users_and_each_once() {
        let with = |purpose, assertions: &[AssertionKind]| {
            TrustedIssuerSpec {
                issuer: "https://idp.example".to_owned(),
                purposes: vec![purpose],
                keys: KeySource::Discovery,
                audiences: vec!["chancery".to_owned()],
                claims: ClaimMapping::default(),
                assertions: assertions.to_vec(),
                sign_in: None,
            }
            .check(&"idp".parse().unwrap())
            .is_ok()
        };
        let (plain, jag) = (AssertionKind::JwtBearer, AssertionKind::IdJag);
        assert!(with(IssuerPurpose::Users, &[plain, jag]) && with(IssuerPurpose::Runtimes, &[]));
        assert!(!with(IssuerPurpose::Users, &[jag, jag]) && !with(IssuerPurpose::Runtimes, &[jag]));
    }
}
