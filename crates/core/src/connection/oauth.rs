//! OAuth 2 at a provider: where it is asked, as whom, for what, and in which places its answers carry what (RFC 6749
//! §3, §4.1, §5.1; RFC 7009; RFC 8414). What providers do otherwise than the standards is data here, and no code.
//!
//! Reading answers is done elsewhere; secrets stand elsewhere, sealed.

use super::{KeyPart, Placement};
use crate::issuer::SignInAuthentication;
use crate::noun::SpecError;
use crate::uri::check_base_url;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// How accounts are connected at an OAuth 2 provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OAuthSpec {
    /// The preset that whatever was left out was filled in from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How tokens come to be.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flow: OAuthFlow,
    /// The provider's issuer. Without `endpoints` they are what it says of itself (RFC 8414).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its endpoints, where it does not say them of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<OAuthEndpoints>,
    /// Our id there.
    pub client_id: String,
    /// How we prove ourselves there.
    #[serde(default)]
    pub authentication: SignInAuthentication,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// The parameter that asks for them.
    #[serde(default = "scope_word", skip_serializing_if = "is_scope_word")]
    pub scope_parameter: String,
    /// What stands between two of them: a space, or a comma.
    #[serde(default = "space", skip_serializing_if = "is_space")]
    pub scope_separator: String,
    /// Further parameters that the browser is sent there with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorization_parameters: BTreeMap<String, String>,
    /// Further parameters that the token endpoint is asked with: `audience`, `resource`. Only with client credentials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_parameters: BTreeMap<String, String>,
    /// Where in the answer to a code the token stands, as a JSON pointer; the answer itself if it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_at: String,
    /// What says whose account it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountSource>,
    /// Where in the answer stands which interface the account is at, as a JSON pointer. It must be one of the
    /// connection's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url_at: Option<String>,
    /// How a token is revoked there.
    #[serde(default)]
    pub revocation: RevocationCall,
    /// For how many seconds a token is used before it is refreshed, where the answer does not say how long it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed_lifetime_seconds: Option<u64>,
}

/// How tokens come to be at an OAuth 2 provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OAuthFlow {
    /// A person says yes there (RFC 6749 §4.1).
    #[default]
    AuthorizationCode,
    /// Whoever proves to be us gets one, with no person behind it (RFC 6749 §4.4).
    ClientCredentials,
}

/// The endpoints of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OAuthEndpoints {
    /// Where the browser goes. Not with client credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// Where codes and refresh tokens are redeemed.
    pub token: String,
    /// Where tokens are revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<String>,
    /// What says whose token it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo: Option<String>,
}

/// Where it stands whose account it is at the provider, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountSource {
    /// In which answer.
    pub of: AccountAnswer,
    /// What never passes to anybody else: an id, and no name.
    pub subject: String,
    /// What people know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// An answer that says whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountAnswer {
    /// The one that the token came in.
    Token,
    /// The one of the `userinfo` endpoint.
    Userinfo,
}

/// How a provider takes tokens back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RevocationCall {
    /// As RFC 7009 §2.1 says.
    #[default]
    Standard,
    /// By a POST that carries the token as its bearer.
    Bearer,
    /// By a DELETE with our id and secret, and the token in JSON.
    DeleteWithSecret,
}

impl RevocationCall {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Bearer => "bearer",
            Self::DeleteWithSecret => "delete_with_secret",
        }
    }
}

impl OAuthSpec {
    /// The one part of its credential, and where it goes (RFC 6750 §2.1).
    pub(super) fn parts() -> &'static [KeyPart] {
        static PARTS: LazyLock<Vec<KeyPart>> = LazyLock::new(|| {
            let placement = Placement::Header {
                name: "Authorization".to_owned(),
                prefix: "Bearer ".to_owned(),
            };
            let part = |name| KeyPart { name, placement };
            ACCESS_TOKEN.parse().ok().map(part).into_iter().collect()
        });
        &PARTS
    }

    /// What is asked for, in one text.
    pub fn scope(&self) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        scopes.join(&self.scope_separator)
    }

    /// What of it decides where tokens go. SECURITY: they are sealed for the digest of this.
    pub(super) fn destination(&self) -> Vec<&str> {
        let endpoints = self.endpoints.as_ref();
        let of = |field: fn(&OAuthEndpoints) -> Option<&str>| endpoints.and_then(field).unwrap_or_default();
        let account = self.account.as_ref().map(|account| match account.of {
            AccountAnswer::Token => "token",
            AccountAnswer::Userinfo => "userinfo",
        });
        let mut fields = vec![
            self.issuer.as_deref().unwrap_or_default(),
            of(|endpoints| endpoints.authorization.as_deref()),
            of(|endpoints| Some(&endpoints.token)),
            of(|endpoints| endpoints.revocation.as_deref()),
            of(|endpoints| endpoints.userinfo.as_deref()),
            &self.client_id,
            self.authentication.as_str(),
            self.revocation.as_str(),
            account.unwrap_or_default(),
        ];
        match self.flow {
            // As it was before there were others.
            OAuthFlow::AuthorizationCode => {}
            OAuthFlow::ClientCredentials => fields.push("client_credentials"),
        }
        fields
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if !self.issuer.as_deref().is_none_or(is_endpoint) {
            return Err(SpecError::field("credential.oauth2.issuer", "is an https URL"));
        }
        let Some(endpoints) = &self.endpoints else {
            return match &self.issuer {
                Some(_) => self.check_asking(),
                None => Err(SpecError::field(
                    "credential.oauth2.issuer",
                    "or `endpoints` or `preset` says where the provider is",
                )),
            };
        };
        if endpoints.authorization.is_some() != (self.flow == OAuthFlow::AuthorizationCode) {
            return Err(SpecError::field(
                "credential.oauth2.endpoints.authorization",
                "is given where people connect accounts, and only there",
            ));
        }
        let mut urls = vec![&endpoints.token];
        urls.extend(&endpoints.authorization);
        urls.extend(&endpoints.revocation);
        urls.extend(&endpoints.userinfo);
        if !urls.into_iter().all(|url| is_endpoint(url)) {
            return Err(SpecError::field("credential.oauth2.endpoints", "are https URLs"));
        }
        self.check_asking()
    }

    fn check_asking(&self) -> Result<(), SpecError> {
        if !is_plain(&self.client_id, 512) {
            return Err(SpecError::field(
                "credential.oauth2.client_id",
                "has 1 to 512 bytes of visible ASCII",
            ));
        }
        if ![" ", ","].contains(&self.scope_separator.as_str()) {
            return Err(SpecError::field(
                "credential.oauth2.scope_separator",
                "is a space or a comma",
            ));
        }
        let is_scope = |scope: &String| is_plain(scope, 256) && !scope.contains(&self.scope_separator);
        if self.scopes.len() > 128 || !self.scopes.iter().all(is_scope) {
            return Err(SpecError::field(
                "credential.oauth2.scopes",
                "are at most 128 words of visible ASCII",
            ));
        }
        // SECURITY: what binds the answer to us is ours to say.
        let is_free = |name: &String| {
            is_plain(name, 64) && !OURS.contains(&name.as_str()) && *name != self.scope_parameter
        };
        let parameters = &self.authorization_parameters;
        if parameters.len() > 16
            || !parameters.keys().all(is_free)
            || parameters.values().any(|value| value.len() > 1024)
        {
            return Err(SpecError::field(
                "credential.oauth2.authorization_parameters",
                "are at most 16, none of them the protocol's own",
            ));
        }
        if !is_plain(&self.scope_parameter, 64) || OURS.contains(&self.scope_parameter.as_str()) {
            return Err(SpecError::field(
                "credential.oauth2.scope_parameter",
                "is a parameter's name",
            ));
        }
        self.check_flow(is_free)?;
        self.check_answers()
    }

    fn check_flow(&self, is_free: impl Fn(&String) -> bool) -> Result<(), SpecError> {
        let parameters = &self.token_parameters;
        match self.flow {
            OAuthFlow::AuthorizationCode if parameters.is_empty() => Ok(()),
            OAuthFlow::AuthorizationCode => Err(SpecError::field(
                "credential.oauth2.token_parameters",
                "are for client credentials",
            )),
            // SECURITY: whoever asked would be us (RFC 6749 §4.4: confidential clients alone).
            OAuthFlow::ClientCredentials if self.authentication == SignInAuthentication::None => {
                Err(SpecError::field(
                    "credential.oauth2.authentication",
                    "proves us where there is nobody else",
                ))
            }
            OAuthFlow::ClientCredentials if self.account.is_some() || !self.token_at.is_empty() => {
                Err(SpecError::field(
                    "credential.oauth2.account",
                    "and `token_at` are for accounts of people",
                ))
            }
            OAuthFlow::ClientCredentials
                if parameters.len() > 16
                    || !parameters.keys().all(is_free)
                    || parameters.values().any(|value| value.len() > 1024) =>
            {
                Err(SpecError::field(
                    "credential.oauth2.token_parameters",
                    "are at most 16, none of them the protocol's own",
                ))
            }
            OAuthFlow::ClientCredentials => Ok(()),
        }
    }

    fn check_answers(&self) -> Result<(), SpecError> {
        if !self.token_at.is_empty() && !is_pointer(&self.token_at) {
            return Err(SpecError::field(
                "credential.oauth2.token_at",
                "is a JSON pointer",
            ));
        }
        if !self.api_url_at.as_deref().is_none_or(is_pointer) {
            return Err(SpecError::field(
                "credential.oauth2.api_url_at",
                "is a JSON pointer",
            ));
        }
        if let Some(account) = &self.account
            && !(is_pointer(&account.subject) && account.label.as_deref().is_none_or(is_pointer))
        {
            return Err(SpecError::field("credential.oauth2.account", "has JSON pointers"));
        }
        if self.assumed_lifetime_seconds.is_some_and(|seconds| seconds < 60) {
            return Err(SpecError::field(
                "credential.oauth2.assumed_lifetime_seconds",
                "is 60 or more",
            ));
        }
        Ok(())
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// https, or http on this machine.
pub(super) fn is_endpoint(url: &str) -> bool {
    let base = url.split('?').next().unwrap_or_default().trim_end_matches('/');
    !url.contains('#') && check_base_url(base).is_ok()
}

pub(super) fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 128
}

fn scope_word() -> String {
    "scope".to_owned()
}

fn is_scope_word(text: &str) -> bool {
    text == "scope"
}

fn space() -> String {
    " ".to_owned()
}

fn is_space(text: &str) -> bool {
    text == " "
}

/// The part of a credential that is a token of the provider.
pub const ACCESS_TOKEN: &str = "access_token";

/// Parameters of a request that are never a configuration's.
const OURS: &[&str] = &[
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "grant_type",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "state",
];

#[cfg(test)]
mod tests {
    use super::super::ConnectionSpec;
    use crate::noun::Spec as _;
    use serde_json::{Value, json};

    fn spec(changes: &Value) -> ConnectionSpec {
        let mut oauth = json!({
            "client_id": "chancery", "scopes": ["repo"],
            "endpoints": { "authorization": "https://id.example/authorize", "token": "https://id.example/token" },
        });
        for (field, value) in changes.as_object().unwrap() {
            oauth[field] = value.clone();
        }
        let spec = json!({
            "base_url": "https://api.example", "owner_level": "user", "credential": { "oauth2": oauth },
        });
        serde_json::from_value(spec).unwrap()
    }

    fn is_taken(changes: &Value) -> bool {
        spec(changes).check(&"github".parse().unwrap()).is_ok()
    }

    #[test]
    fn what_binds_an_answer_to_us_is_no_configuration() {
        assert!(is_taken(
            &json!({ "authorization_parameters": { "prompt": "consent" } })
        ));
        for name in ["state", "redirect_uri", "code_challenge", "scope", ""] {
            assert!(
                !is_taken(&json!({ "authorization_parameters": { name: "x" } })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_provider_is_reached_over_https_and_somewhere() {
        assert!(is_taken(
            &json!({ "issuer": "https://id.example", "endpoints": null })
        ));
        assert!(!is_taken(&json!({ "endpoints": null })));
        for url in ["http://id.example/token", "id.example", "https://id.example/#x"] {
            let endpoints = json!({ "authorization": "https://id.example/a", "token": url });
            assert!(!is_taken(&json!({ "endpoints": endpoints })), "{url}");
        }
    }

    #[test]
    fn a_token_with_nobody_behind_it_is_no_persons() {
        let machine = |changes: &Value| {
            let mut oauth = json!({ "flow": "client_credentials", "authentication": "client_secret_basic",
                "endpoints": { "token": "https://id.example/token" } });
            for (field, value) in changes.as_object().unwrap() {
                oauth[field] = value.clone();
            }
            let mut spec = spec(&oauth);
            spec.owner_level = super::super::OwnerLevel::Tenant;
            spec
        };
        let is_taken = |spec: &ConnectionSpec| spec.check(&"crm".parse().unwrap()).is_ok();
        assert!(is_taken(&machine(
            &json!({ "token_parameters": { "audience": "https://api.example" } })
        )));
        let mut of_people = machine(&json!({}));
        of_people.owner_level = super::super::OwnerLevel::User;
        assert!(!is_taken(&of_people));
        for change in [
            json!({ "authentication": "none" }),
            json!({ "token_parameters": { "grant_type": "password" } }),
            json!({ "token_parameters": { "client_assertion": "x" } }),
            json!({ "endpoints": { "authorization": "https://id.example/a", "token": "https://id.example/token" } }),
            json!({ "account": { "of": "token", "subject": "/id" } }),
        ] {
            assert!(!is_taken(&machine(&change)), "{change}");
        }
        assert!(!self::is_taken(
            &json!({ "endpoints": { "token": "https://id.example/token" } })
        ));
        assert!(!self::is_taken(
            &json!({ "token_parameters": { "audience": "x" } })
        ));
        let (person, nobody) = (spec(&json!({})), spec(&json!({ "flow": "client_credentials" })));
        assert_ne!(person.destination(), nobody.destination());
    }

    #[test]
    fn tokens_are_sealed_for_every_place_where_they_go() {
        let base = spec(&json!({})).destination();
        let endpoints = |field: &str| {
            let mut endpoints = json!({ "authorization": "https://id.example/authorize", "token": "https://id.example/token" });
            endpoints[field] = json!("https://evil.example/x");
            json!({ "endpoints": endpoints })
        };
        for change in [
            endpoints("authorization"),
            endpoints("token"),
            endpoints("revocation"),
            endpoints("userinfo"),
            json!({ "issuer": "https://evil.example" }),
            json!({ "client_id": "another" }),
            json!({ "authentication": "client_secret_post" }),
            json!({ "revocation": "bearer" }),
        ] {
            assert_ne!(base, spec(&change).destination(), "{change}");
        }
        assert_eq!(
            base,
            spec(&json!({ "scopes": [], "preset": "github" })).destination()
        );
    }

    #[test]
    fn the_secret_of_a_client_goes_to_its_own_provider_alone() {
        let secret = |changes: &Value| spec(changes).secret_destination();
        let base = secret(&json!({}));
        assert!(base.is_some());
        assert_eq!(base, secret(&json!({ "scopes": ["x"] })));
        assert_ne!(base, secret(&json!({ "client_id": "another" })));
        let elsewhere =
            json!({ "authorization": "https://id.example/authorize", "token": "https://evil.example" });
        assert_ne!(base, secret(&json!({ "endpoints": elsewhere })));
    }

    #[test]
    fn no_connection_hides_the_callback() {
        assert!(spec(&json!({})).check(&"callback".parse().unwrap()).is_err());
    }
}
