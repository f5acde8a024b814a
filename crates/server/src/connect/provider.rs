//! A connection's provider, ready to be asked: its endpoints, and what proves us there.

use super::client_secret;
use super::tokens::HeldTokens;
use crate::app::App;
use crate::egress::EgressError;
use crate::egress::openid::{Provider, ProviderError};
use crate::egress::provider::{ClientProof, ProviderQuestion};
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::connected_account::ProviderAccount;
use chancery_core::connection::{AccountAnswer, Connection, OAuthSpec, RevocationCall};
use chancery_core::name::Name;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::provider::{Asked, ProviderAnswerError, ProviderTokens, read_account, read_revocation};
use chancery_oauth::urn;

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not say where its endpoints are.
    #[error(transparent)]
    Endpoints(#[from] ProviderError),
    /// It cannot be reached, or did not answer whole.
    #[error("the provider cannot be reached: {0}")]
    Egress(#[from] EgressError),
    /// Its answer is a no, or none.
    #[error(transparent)]
    Answer(#[from] ProviderAnswerError),
    /// The connection leads elsewhere than when the tokens were sealed.
    #[error("the connection leads elsewhere than when the account was connected")]
    Moved,
    /// It gives tokens that nobody takes back.
    #[error("its tokens are not taken back: they end by themselves within the hour")]
    EndByThemselves,
    /// It has no endpoint for this.
    #[error("the provider has no endpoint for this")]
    NoEndpoint,
    /// This node cannot ask.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl AskError {
    /// Whether it is certain that the provider did nothing. If not, what it was sent may be used up.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Endpoints(_)
            | Self::Moved
            | Self::EndByThemselves
            | Self::NoEndpoint
            | Self::Failure(_) => true,
            Self::Answer(error) => error.is_certain(),
            Self::Egress(error) => match error {
                EgressError::MalformedUrl
                | EgressError::UserInfo
                | EgressError::Fragment
                | EgressError::NotHttps
                | EgressError::AddressLiteral
                | EgressError::AddressNotAllowed { .. }
                | EgressError::Unresolved
                | EgressError::Connect { .. }
                | EgressError::Busy
                | EgressError::Header => true,
                EgressError::Transport { .. }
                | EgressError::Timeout
                | EgressError::Redirect
                | EgressError::Status(_)
                | EgressError::ContentType
                | EgressError::ContentEncoding
                | EgressError::TooLarge { .. } => false,
            },
        }
    }

    /// Whether only the owner can give again what we held.
    pub(super) fn is_grant_gone(&self) -> bool {
        matches!(self, Self::Answer(error) if error.is_grant_gone())
    }
}

/// A provider that can be asked.
#[derive(Debug)]
pub(super) struct ReadyProvider<'a> {
    app: &'a App,
    tenant: &'a Name,
    pub(super) spec: &'a OAuthSpec,
    pub(super) endpoints: Provider,
    proof: ClientProof,
}

impl<'a> ReadyProvider<'a> {
    /// The provider of a connection.
    ///
    /// # Errors
    /// It does not say where its endpoints are; nothing proves us there.
    pub(super) async fn of(
        app: &'a App,
        served: &'a Served,
        (connection, spec): (&Connection, &'a OAuthSpec),
        now: Timestamp,
    ) -> Result<Self, AskError> {
        let tenant = &served.tenant.name;
        let endpoints = app.providers.find_for_connection(tenant, spec).await?;
        let about = (connection, spec, endpoints.token_endpoint.as_str());
        let proof = client_secret::proof(app, served, about, now).await?;
        Ok(Self {
            app,
            tenant,
            spec,
            endpoints,
            proof,
        })
    }

    /// Tokens for a code.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn redeem(
        &self,
        (code, redirect_uri, verifier): (&str, &str, &str),
    ) -> Result<ProviderTokens, AskError> {
        let form = vec![
            ("grant_type", urn::AUTHORIZATION_CODE),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.tokens(form, Asked::Code).await
    }

    /// Tokens for a refresh token.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn refresh(&self, refresh_token: &Secret<String>) -> Result<ProviderTokens, AskError> {
        let form = vec![
            ("grant_type", urn::REFRESH_TOKEN),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        self.tokens(form, Asked::Refresh).await
    }

    /// A token with no person behind it (RFC 6749 §4.4.2).
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn client_credentials(&self) -> Result<ProviderTokens, AskError> {
        let scope = self.spec.scope();
        let mut form = vec![("grant_type", urn::CLIENT_CREDENTIALS)];
        if !scope.is_empty() {
            form.push((&self.spec.scope_parameter, &scope));
        }
        let more = self.spec.token_parameters.iter();
        form.extend(more.map(|(name, value)| (name.as_str(), value.as_str())));
        self.tokens(form, Asked::Machine).await
    }

    async fn tokens(&self, form: Vec<(&str, &str)>, asked: Asked) -> Result<ProviderTokens, AskError> {
        let question = ProviderQuestion::Form {
            form,
            client_id: &self.spec.client_id,
            proof: &self.proof,
        };
        let url = &self.endpoints.token_endpoint;
        let answer = self.app.egress.ask_provider(self.tenant, url, question).await?;
        Ok(ProviderTokens::read(answer.read(), self.spec, asked)?)
    }

    /// Whose account new tokens are for, where the provider says so.
    ///
    /// # Errors
    /// It says so by an endpoint that does not answer.
    pub(super) async fn account(&self, tokens: &ProviderTokens) -> Result<Option<ProviderAccount>, AskError> {
        let source = match &self.spec.account {
            Some(source) if source.of == AccountAnswer::Userinfo => source,
            Some(_) | None => return Ok(tokens.account.clone()),
        };
        let url = self.endpoints.userinfo_endpoint.as_deref();
        let question = ProviderQuestion::Whose(&tokens.access_token);
        let url = url.ok_or(AskError::NoEndpoint)?;
        let answer = self.app.egress.ask_provider(self.tenant, url, question).await?;
        Ok(Some(read_account(answer.read(), source)?))
    }

    /// Takes tokens back: the one that they are refreshed with, and with it what was issued on it (RFC 7009 §2.1); or
    /// the only one.
    ///
    /// # Errors
    /// Why they were not taken back.
    pub(super) async fn revoke(&self, held: &HeldTokens) -> Result<(), AskError> {
        // SECURITY: tokens go where they came from, and nowhere that the provider named since.
        let url = held.revocation_endpoint.as_deref();
        let url = url.ok_or(AskError::NoEndpoint)?;
        let question = match self.spec.revocation {
            RevocationCall::Standard => {
                let (token, hint) = match &held.refresh_token {
                    Some(token) => (token, "refresh_token"),
                    None => (&held.access_token, "access_token"),
                };
                ProviderQuestion::Form {
                    form: vec![("token", token.expose_secret()), ("token_type_hint", hint)],
                    client_id: &self.spec.client_id,
                    proof: &self.proof,
                }
            }
            RevocationCall::Bearer => ProviderQuestion::TakeBack(&held.access_token),
            RevocationCall::DeleteWithSecret => ProviderQuestion::DeleteWithSecret {
                client_id: &self.spec.client_id,
                proof: &self.proof,
                token: &held.access_token,
            },
        };
        let answer = self.app.egress.ask_provider(self.tenant, url, question).await?;
        Ok(read_revocation(answer.read())?)
    }

    /// Until when an access token of this answer is taken for good.
    pub(super) fn end_of(&self, tokens: &ProviderTokens, now: Timestamp) -> Option<Timestamp> {
        let assumed = self.spec.assumed_lifetime_seconds.map(Ttl::from_seconds);
        tokens.lifetime.or(assumed).map(|lifetime| now.plus(lifetime))
    }
}
