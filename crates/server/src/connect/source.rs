//! A new token for an account: with the refresh token that is held (RFC 6749 §6), or, where no person is behind it, by
//! proving who we are (RFC 6749 §4.4, RFC 7523 §2.1).
//!
//! When one is asked for, and what is recorded of it, is `refresh`'s.

use super::client_secret;
use super::federated::federated;
use super::private_key::PrivateKey;
use super::provider::{AskError, ReadyProvider};
use super::refresh::Refresh;
use super::tokens::HeldTokens;
use crate::egress::provider::ProviderQuestion;
use crate::error::Failure;
use chancery_core::connection::{AssertionSpec, CredentialKind, OAuthFlow, OAuthSpec, ScopePlace};
use chancery_core::id::{EventId, Id as _};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::provider::ProviderTokens;
use chancery_oauth::urn;
use serde_json::json;
use std::collections::BTreeSet;

/// A new token, as it is to be held.
pub(super) struct Fetched {
    /// What is sealed.
    pub(super) held: HeldTokens,
    /// Until when it is good, if that is known.
    pub(super) expires_at: Option<Timestamp>,
    /// What was given, if that is said.
    pub(super) scopes: Option<BTreeSet<String>>,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRefreshed {
    /// The provider did not do what it was asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// SECURITY: a refresh token goes where it came from, and nowhere that the provider named since.
    #[error("the provider names another token endpoint than the tokens came from")]
    Moved,
    /// The token is not for the account that is connected.
    #[error("the provider answered with another account's token")]
    OtherAccount,
    /// The token is for an interface that the connection does not go to.
    #[error("the provider answered with a token for another interface than the connection's")]
    OtherInterface,
}

/// Asks for a new token.
///
/// # Errors
/// Why there is none.
pub(super) async fn fetch(
    work: &Refresh,
    held: Option<&HeldTokens>,
    now: Timestamp,
) -> Result<Fetched, NotRefreshed> {
    match &work.connection.spec.credential {
        // Each token of an installation is for something else: see `installation`.
        CredentialKind::None | CredentialKind::ApiKey { .. } | CredentialKind::AppInstallation(_) => {
            Err(AskError::NoEndpoint.into())
        }
        CredentialKind::Oauth2(spec) => match spec.flow {
            OAuthFlow::AuthorizationCode => refreshed(work, spec, held, now).await,
            OAuthFlow::ClientCredentials => machine(work, spec, now).await,
        },
        CredentialKind::SignedAssertion(spec) => asserted(work, spec, now).await,
        CredentialKind::WorkloadFederation(spec) => federated(work, spec, now).await,
    }
}

/// With a refresh token: the account stays the one that was connected.
async fn refreshed(
    work: &Refresh,
    spec: &OAuthSpec,
    held: Option<&HeldTokens>,
    now: Timestamp,
) -> Result<Fetched, NotRefreshed> {
    let held = held.and_then(|held| Some((held.refresh_token.as_ref()?, &held.token_endpoint)));
    let (token, from) = held.ok_or(AskError::NoEndpoint)?;
    let about = (&*work.connection, spec);
    let provider = ReadyProvider::of(&work.app, &work.served, about, now).await?;
    if provider.endpoints.token_endpoint != *from {
        return Err(NotRefreshed::Moved);
    }
    let tokens = provider.refresh(token).await?;
    let known = work.stored().await?;
    let pinned = known.and_then(|account| account.spec.provider_account);
    if let (Some(pinned), Some(found)) = (&pinned, &tokens.account)
        && pinned.subject != found.subject
    {
        return Err(NotRefreshed::OtherAccount);
    }
    Ok(Fetched {
        expires_at: provider.end_of(&tokens, now),
        held: HeldTokens::new(tokens.access_token, tokens.refresh_token, &provider.endpoints),
        scopes: tokens.scopes,
    })
}

/// With nothing but what proves us. A refresh token is not kept (RFC 6749 §4.4.3): asking anew costs the same.
async fn machine(work: &Refresh, spec: &OAuthSpec, now: Timestamp) -> Result<Fetched, NotRefreshed> {
    let about = (&*work.connection, spec);
    let provider = ReadyProvider::of(&work.app, &work.served, about, now).await?;
    let tokens = provider.client_credentials().await?;
    if spec.api_url_at.is_some() && !work.connection.spec.is_interface(tokens.api_url.as_deref()) {
        return Err(NotRefreshed::OtherInterface);
    }
    Ok(Fetched {
        expires_at: provider.end_of(&tokens, now),
        held: HeldTokens::new(tokens.access_token, None, &provider.endpoints),
        scopes: tokens.scopes,
    })
}

/// With an assertion (RFC 7523 §2.1): who signs, for whom and where to is the connection's to say.
async fn asserted(work: &Refresh, spec: &AssertionSpec, now: Timestamp) -> Result<Fetched, NotRefreshed> {
    let (app, served) = (&*work.app, &*work.served);
    let opened = client_secret::open(app, served, &work.connection).await;
    let key = PrivateKey::read(
        &opened.map_err(AskError::from)?,
        spec.algorithm,
        spec.key_id.as_deref(),
    );
    let key = key.map_err(|error| AskError::Failure(Failure::internal(error)))?;
    let mut claims = json!({
        "iss": spec.issuer,
        "aud": spec.audience(),
        "jti": EventId::generate(now, &*app.random).to_string(),
        "iat": now.as_seconds(),
        "exp": now.plus(ASSERTION).as_seconds(),
    });
    let scope = spec.scope();
    if let Some(claims) = claims.as_object_mut() {
        let subject = spec.subject.as_ref();
        claims.extend(subject.map(|subject| ("sub".to_owned(), json!(subject))));
        if spec.scopes_in == ScopePlace::Claim && !scope.is_empty() {
            claims.insert("scope".to_owned(), json!(scope));
        }
    }
    let assertion = key.sign(&claims).map_err(AskError::from)?;
    let mut form = vec![
        ("grant_type", urn::JWT_BEARER),
        ("assertion", assertion.expose_secret().as_str()),
    ];
    if spec.scopes_in == ScopePlace::Parameter && !scope.is_empty() {
        form.push(("scope", &scope));
    }
    let question = ProviderQuestion::Assertion(form);
    let asked = app
        .egress
        .ask_provider(&served.tenant.name, &spec.token_endpoint, question);
    let answer = asked.await.map_err(AskError::from)?;
    let tokens = ProviderTokens::read_plain(answer.read(), spec.api_url_at.as_deref());
    let tokens = tokens.map_err(AskError::from)?;
    if spec.api_url_at.is_some() && !work.connection.spec.is_interface(tokens.api_url.as_deref()) {
        return Err(NotRefreshed::OtherInterface);
    }
    let assumed = spec.assumed_lifetime_seconds.map(Ttl::from_seconds);
    Ok(Fetched {
        expires_at: tokens.lifetime.or(assumed).map(|lifetime| now.plus(lifetime)),
        held: HeldTokens {
            access_token: tokens.access_token,
            refresh_token: None,
            token_endpoint: spec.token_endpoint.clone(),
            revocation_endpoint: None,
        },
        scopes: tokens.scopes,
    })
}

/// How long an assertion is good: less than any of these providers allows at most.
pub(super) const ASSERTION: Ttl = Ttl::from_minutes(1);
