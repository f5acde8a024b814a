//! What credential a connection has: none, a key, or a token of a provider (design, section 3).
//!
//! How each provider is asked for one is elsewhere, one file for each way.

use super::{AssertionSpec, FederationSpec, InstallationSpec, KeyPart, OAuthFlow, OAuthSpec};
use crate::noun::SpecError;
use crate::resource::TokenAlgorithm;
use serde::{Deserialize, Serialize};

/// What credential a connection has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialKind {
    /// None: the upstream is public.
    None,
    /// A key of one or more parts, put into every request.
    ApiKey {
        /// The parts.
        parts: Vec<KeyPart>,
    },
    /// Tokens of an OAuth 2 provider, for which each owner connects an account there.
    Oauth2(Box<OAuthSpec>),
    /// Tokens of a provider, for an assertion that a key of ours signs.
    SignedAssertion(Box<AssertionSpec>),
    /// Tokens of a GitHub App's installation, each as narrow as the call that it is for.
    AppInstallation(Box<InstallationSpec>),
    /// Tokens of a cloud, for an assertion that says which agent it is.
    WorkloadFederation(Box<FederationSpec>),
}

impl CredentialKind {
    /// The word of the kind.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ApiKey { .. } => "api_key",
            Self::Oauth2(_) => "oauth2",
            Self::SignedAssertion(_) => "signed_assertion",
            Self::AppInstallation(_) => "app_installation",
            Self::WorkloadFederation(_) => "workload_federation",
        }
    }

    /// How it is come by; nothing where there is none.
    pub const fn flow(&self) -> Option<CredentialFlow> {
        match self {
            Self::None => None,
            Self::ApiKey { .. } => Some(CredentialFlow::ApiKey),
            Self::Oauth2(oauth) => Some(match oauth.flow {
                OAuthFlow::AuthorizationCode => CredentialFlow::AuthorizationCode,
                OAuthFlow::ClientCredentials => CredentialFlow::ClientCredentials,
            }),
            Self::SignedAssertion(_) => Some(CredentialFlow::SignedAssertion),
            Self::AppInstallation(_) => Some(CredentialFlow::AppInstallation),
            Self::WorkloadFederation(_) => Some(CredentialFlow::WorkloadFederation),
        }
    }

    /// How accounts are connected, if that is by OAuth 2.
    pub fn oauth(&self) -> Option<&OAuthSpec> {
        match self {
            Self::Oauth2(oauth) => Some(oauth),
            Self::None
            | Self::ApiKey { .. }
            | Self::SignedAssertion(_)
            | Self::AppInstallation(_)
            | Self::WorkloadFederation(_) => None,
        }
    }

    /// Whether it is a token of a provider, which ends and is replaced.
    pub const fn is_token(&self) -> bool {
        match self {
            Self::None | Self::ApiKey { .. } => false,
            Self::Oauth2(_)
            | Self::SignedAssertion(_)
            | Self::AppInstallation(_)
            | Self::WorkloadFederation(_) => true,
        }
    }

    /// How a person connects an account on a page, if that is done.
    pub fn by_page(&self) -> Option<&OAuthSpec> {
        self.oauth().filter(|oauth| match oauth.flow {
            OAuthFlow::AuthorizationCode => true,
            OAuthFlow::ClientCredentials => false,
        })
    }

    /// Whether its tokens are fetched without any person: an account is one as soon as it is named.
    pub fn fetches_itself(&self) -> bool {
        self.is_token() && self.by_page().is_none()
    }

    /// The preset that whatever was left out was filled in from.
    pub fn preset(&self) -> Option<&str> {
        match self {
            Self::None | Self::ApiKey { .. } => None,
            Self::Oauth2(oauth) => oauth.preset.as_deref(),
            Self::SignedAssertion(assertion) => assertion.preset.as_deref(),
            Self::AppInstallation(installation) => installation.preset.as_deref(),
            Self::WorkloadFederation(federation) => federation.preset.as_deref(),
        }
    }

    /// What is set with the connection to prove us at its provider.
    pub fn proof(&self) -> ProofKind {
        match self {
            Self::Oauth2(oauth) if oauth.authentication.uses_secret() => ProofKind::Secret,
            Self::None | Self::ApiKey { .. } | Self::Oauth2(_) | Self::WorkloadFederation(_) => {
                ProofKind::None
            }
            Self::SignedAssertion(assertion) => ProofKind::PrivateKey(assertion.algorithm),
            Self::AppInstallation(_) => ProofKind::PrivateKey(TokenAlgorithm::Rs256),
        }
    }

    /// What of it decides where tokens go.
    pub(super) fn destination(&self) -> Vec<&str> {
        match self {
            Self::None | Self::ApiKey { .. } => Vec::new(),
            Self::Oauth2(oauth) => oauth.destination(),
            Self::SignedAssertion(assertion) => assertion.destination(),
            Self::AppInstallation(installation) => installation.destination(),
            Self::WorkloadFederation(federation) => federation.destination(),
        }
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        match self {
            Self::None | Self::ApiKey { .. } => Ok(()),
            Self::Oauth2(oauth) => oauth.check(),
            Self::SignedAssertion(assertion) => assertion.check(),
            Self::AppInstallation(installation) => installation.check(),
            Self::WorkloadFederation(federation) => federation.check(),
        }
    }

    /// The parts of the credential; none if there is no credential.
    pub fn parts(&self) -> &[KeyPart] {
        match self {
            Self::None => &[],
            Self::ApiKey { parts } => parts,
            Self::Oauth2(_)
            | Self::SignedAssertion(_)
            | Self::AppInstallation(_)
            | Self::WorkloadFederation(_) => OAuthSpec::parts(),
        }
    }
}

/// What is set with a connection to prove us at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// Nothing.
    None,
    /// A secret that we share with it.
    Secret,
    /// A private key that signs with this algorithm, whose public half the provider knows.
    PrivateKey(TokenAlgorithm),
}

/// How a credential is come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialFlow {
    /// Somebody set a key.
    ApiKey,
    /// A person agreed at an OAuth 2 provider (RFC 6749 §4.1).
    AuthorizationCode,
    /// We proved ourselves (RFC 6749 §4.4).
    ClientCredentials,
    /// A key of ours signed an assertion (RFC 7523 §2.1).
    SignedAssertion,
    /// An app is installed there.
    AppInstallation,
    /// A cloud trusts us.
    WorkloadFederation,
}

impl CredentialFlow {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::SignedAssertion => "signed_assertion",
            Self::AppInstallation => "app_installation",
            Self::WorkloadFederation => "workload_federation",
        }
    }
}
