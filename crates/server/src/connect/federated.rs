//! A cloud's token for an assertion of ours that says which agent it is (OpenID Connect Core §2 for the assertion; RFC 8693
//! §2.1, RFC 7523 §2.2 for the exchange). A key of the tenant signs it that signs nothing else.

use super::provider::AskError;
use super::refresh::Refresh;
use super::source::{Fetched, NotRefreshed};
use super::tokens::HeldTokens;
use crate::egress::provider::ProviderQuestion;
use crate::error::Failure;
use crate::govern::keys;
use crate::keys::{KeyUse, Mandate};
use crate::tenants::Served;
use chancery_core::connected_account::OwnerId;
use chancery_core::connection::{Exchange, FederationSpec};
use chancery_core::id::{EventId, Id as _};
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::installation::ImpersonationToken;
use chancery_oauth::provider::ProviderTokens;
use chancery_oauth::urn;
use serde_json::json;
use std::sync::Arc;

/// Exchanges an assertion for a token.
///
/// # Errors
/// Why there is none.
pub(super) async fn federated(
    work: &Refresh,
    spec: &FederationSpec,
    now: Timestamp,
) -> Result<Fetched, NotRefreshed> {
    let assertion = assertion(work, spec, now).await.map_err(AskError::from)?;
    let scope = spec.scope();
    let form = form(spec, &assertion, &scope);
    let answer = ask(work, &spec.token_endpoint, ProviderQuestion::Assertion(form)).await?;
    let tokens = ProviderTokens::read_plain(answer.read(), None).map_err(AskError::from)?;
    let (access_token, expires_at) = match impersonation_url(spec) {
        None => (
            tokens.access_token,
            tokens.lifetime.map(|lifetime| now.plus(lifetime)),
        ),
        Some(url) => {
            let question = ProviderQuestion::Json {
                bearer: &tokens.access_token,
                body: json!({ "scope": spec.scopes }),
            };
            let answer = ask(work, url, question).await?;
            let token = ImpersonationToken::read(answer.read()).map_err(AskError::from)?;
            (token.access_token, Some(token.expires_at))
        }
    };
    Ok(Fetched {
        held: HeldTokens {
            access_token,
            refresh_token: None,
            token_endpoint: spec.token_endpoint.clone(),
            revocation_endpoint: None,
        },
        expires_at,
        scopes: tokens.scopes,
    })
}

/// What the cloud is asked with.
fn form<'a>(
    spec: &'a FederationSpec,
    assertion: &'a Secret<String>,
    scope: &'a str,
) -> Vec<(&'a str, &'a str)> {
    let assertion = assertion.expose_secret().as_str();
    match &spec.exchange {
        Exchange::TokenExchange { provider, .. } => {
            // What is exchanged once more needs to be good for that alone.
            let is_last = impersonation_url(spec).is_none();
            vec![
                ("grant_type", urn::TOKEN_EXCHANGE),
                ("audience", provider),
                ("scope", if is_last { scope } else { CLOUD_PLATFORM }),
                ("requested_token_type", urn::TOKEN_TYPE_ACCESS_TOKEN),
                ("subject_token_type", urn::TOKEN_TYPE_JWT),
                ("subject_token", assertion),
            ]
        }
        Exchange::ClientAssertion { client_id } => vec![
            ("grant_type", urn::CLIENT_CREDENTIALS),
            ("client_id", client_id),
            ("scope", scope),
            ("client_assertion_type", urn::JWT_BEARER_ASSERTION),
            ("client_assertion", assertion),
        ],
    }
}

/// Where the token is exchanged once more, if it is.
fn impersonation_url(spec: &FederationSpec) -> Option<&str> {
    match &spec.exchange {
        Exchange::TokenExchange {
            impersonation_url, ..
        } => impersonation_url.as_deref(),
        Exchange::ClientAssertion { .. } => None,
    }
}

async fn ask(
    work: &Refresh,
    url: &str,
    question: ProviderQuestion<'_>,
) -> Result<crate::egress::provider::ProviderAnswer, AskError> {
    let tenant = &work.served.tenant.name;
    Ok(work.app.egress.ask_provider(tenant, url, question).await?)
}

/// What says to the cloud who asks. SECURITY: the subject is the account's owner, which no caller says.
async fn assertion(work: &Refresh, spec: &FederationSpec, now: Timestamp) -> Result<Secret<String>, Failure> {
    let served = with_key(work, now).await?;
    let tenant = &served.tenant;
    let agent = match work.account.owner {
        OwnerId::Agent(id) => {
            let agent = work.app.directory.agents.find(tenant.id, id).await?;
            Some(agent.ok_or(Failure::Stale("the agent is gone"))?)
        }
        OwnerId::Tenant(_) => None,
        OwnerId::User(_) => return Err(Failure::Internal("no person is federated".to_owned())),
    };
    let subject = match &agent {
        Some(agent) => format!("tenant:{}:agent:{}", tenant.name, agent.name),
        None => format!("tenant:{}", tenant.name),
    };
    let claims = json!({
        "iss": tenant.spec.base_url,
        "sub": subject,
        "aud": spec.audience,
        "jti": EventId::generate(now, &*work.app.random).to_string(),
        "iat": now.as_seconds(),
        "nbf": now.as_seconds(),
        "exp": now.plus(ASSERTION).as_seconds(),
    });
    served
        .keys
        .sign_for(Mandate::FederateWorkload, &claims)
        .map(Secret::new)
}

/// The tenant with its key for this; the first assertion makes it.
async fn with_key(work: &Refresh, now: Timestamp) -> Result<Arc<Served>, Failure> {
    let (app, tenant) = (&work.app, work.served.tenant.id);
    let has_key = |served: &Arc<Served>| served.keys.has_active(KeyUse::Federation, TokenAlgorithm::Rs256);
    let current = app.tenants.find(tenant).unwrap_or_else(|| work.served.clone());
    if has_key(&current) {
        return Ok(current);
    }
    keys::ensure(app, &current, &[(KeyUse::Federation, TokenAlgorithm::Rs256)], now).await?;
    app.tenants.reload_one(&app.db, tenant).await?;
    let current = app.tenants.find(tenant);
    current
        .filter(has_key)
        .ok_or(Failure::Stale("the tenant has no key for this yet"))
}

/// How long a cloud may take it.
const ASSERTION: Ttl = Ttl::from_minutes(5);
/// What a token is good for that is exchanged for a service account's.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
