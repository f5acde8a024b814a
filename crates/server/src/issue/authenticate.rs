//! Loading what a client's proof depends on, checking it, and recording a failure under a reference.

use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::issue::client_key;
use crate::record;
use crate::registration::document;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::client::Client;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{ClientId, EventId, Id as _, ReferenceId};
use chancery_core::issuer::{IssuerPurpose, TrustedIssuer};
use chancery_core::secret::{Secret, TokenDigest};
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::{AuthenticatedClient, AuthenticationError, ClientFacts};
use chancery_oauth::error::OAuthError;
use chancery_oauth::jose::{Profile, UnverifiedJwt, VerifiedClaims};
use chancery_oauth::registration::document::is_url;
use chancery_oauth::request::client::PresentedClient;
use chancery_oauth::runtime;
use std::sync::Arc;

/// Authenticates a client by what it presented.
///
/// # Errors
/// `invalid_client` with a reference, under which the reason is recorded.
pub async fn client(
    app: &App,
    served: &Served,
    presented: &PresentedClient,
    arrival: Arrival,
) -> Result<AuthenticatedClient, Failure> {
    let now = arrival.now;
    let outcome = match presented {
        PresentedClient::Secret {
            client_id, secret, ..
        } => by_secret(app, served, client_id, secret, arrival).await?,
        PresentedClient::Assertion { client_id, assertion } => {
            by_assertion(app, served, client_id.as_deref(), assertion, arrival).await?
        }
        PresentedClient::Public { client_id } => load(app, served, client_id, arrival)
            .await?
            .and_then(|facts| AuthenticatedClient::by_name(facts, now)),
    };
    match outcome {
        Ok(client) => Ok(client),
        Err(error) => Err(Failure::OAuth(
            record_failure(app, served, presented, &error, arrival).await?,
        )),
    }
}

/// The client as it names itself: what the `aud` of an ID token must be.
pub fn named(presented: &PresentedClient, client: &AuthenticatedClient) -> String {
    match presented {
        PresentedClient::Secret { client_id, .. } | PresentedClient::Public { client_id } => {
            client_id.clone()
        }
        PresentedClient::Assertion { client_id, .. } => client_id.clone().unwrap_or_else(|| {
            let facts = client.client();
            let uri = facts.spec.metadata_uri.clone();
            uri.unwrap_or_else(|| facts.id.to_string())
        }),
    }
}

/// The error for an assertion that was used before, recorded.
///
/// # Errors
/// The database's.
pub async fn replayed(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    arrival: Arrival,
) -> Result<OAuthError, Failure> {
    let named = Some(client.client().id.to_string());
    record_reference(app, served, named, &AuthenticationError::Replayed, arrival).await
}

type Checked = Result<AuthenticatedClient, AuthenticationError>;

async fn by_secret(
    app: &App,
    served: &Served,
    client_id: &str,
    secret: &Secret<String>,
    arrival: Arrival,
) -> Result<Checked, Failure> {
    let now = arrival.now;
    let facts = match load(app, served, client_id, arrival).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(Err(error)),
    };
    let stored = app
        .directory
        .secrets_of(served.tenant.id, &facts.client, now)
        .await?;
    let digest = TokenDigest::new(sha256(secret.expose_secret().as_bytes()));
    Ok(AuthenticatedClient::by_secret(facts, &digest, &stored, now))
}

/// An assertion is the client's own if it names itself as issuer; otherwise it is a platform's token.
async fn by_assertion(
    app: &App,
    served: &Served,
    client_id: Option<&str>,
    assertion: &Secret<String>,
    arrival: Arrival,
) -> Result<Checked, Failure> {
    let jwt = match UnverifiedJwt::parse(assertion.expose_secret()) {
        Ok(jwt) => jwt,
        Err(error) => return Ok(Err(error.into())),
    };
    let claims = match jwt.unverified_claims() {
        Ok(claims) => claims,
        Err(error) => return Ok(Err(error.into())),
    };
    let issuer = claims.unverified_issuer().unwrap_or_default();
    // A client that names itself by the URL of its metadata document is its own issuer and subject; a platform's
    // token is about something else than its issuer.
    let is_own =
        issuer.parse::<ClientId>().is_ok() || is_url(issuer) && claims.unverified_subject() == Some(issuer);
    if is_own {
        if client_id.is_some_and(|id| id != issuer) {
            return Ok(Err(AuthenticationError::ClientUnknown));
        }
        return by_own_key(app, served, issuer, &jwt, arrival).await;
    }
    by_runtime(app, served, issuer, client_id, &jwt, arrival).await
}

async fn by_own_key(
    app: &App,
    served: &Served,
    client_id: &str,
    jwt: &UnverifiedJwt<'_>,
    arrival: Arrival,
) -> Result<Checked, Failure> {
    let now = arrival.now;
    let facts = match load(app, served, client_id, arrival).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(Err(error)),
    };
    let profile = Profile::client_assertion(client_id, &served.tenant.spec.base_url);
    let claims = match client_key::verify(app, served, &facts.client, jwt, &profile, now).await {
        Ok(claims) => claims,
        Err(error) => return Ok(Err(error)),
    };
    // SECURITY: a restore forgets which proofs were used; those that may have been are not taken again.
    if served.may_be_used(claims.issued_at(), claims.expires_at()) {
        return Ok(Err(AuthenticationError::Replayed));
    }
    Ok(AuthenticatedClient::by_assertion(facts, &claims, now))
}

async fn by_runtime(
    app: &App,
    served: &Served,
    issuer: &str,
    client_id: Option<&str>,
    jwt: &UnverifiedJwt<'_>,
    arrival: Arrival,
) -> Result<Checked, Failure> {
    let now = arrival.now;
    let tenant = served.tenant.id;
    let (issuer, claims) = match verify_runtime_token(app, served, issuer, jwt, now).await? {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error)),
    };
    let bindings = app
        .directory
        .bindings
        .by_parent(tenant, issuer.name.to_string())
        .await?;
    let binding = match runtime::find(&bindings, claims.claims()) {
        Ok(binding) => binding.clone(),
        Err(error) => return Ok(Err(error.into())),
    };
    // A binding's client has the binding's name.
    let facts = match load(app, served, binding.name.as_str(), arrival).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(Err(error)),
    };
    if client_id.is_some_and(|id| id != facts.client.id.to_string() && id != facts.client.name.as_str()) {
        return Ok(Err(AuthenticationError::ClientUnknown));
    }
    Ok(AuthenticatedClient::by_runtime(
        facts, issuer, binding, &claims, now,
    ))
}

/// Verifies a platform's token against the one trusted issuer with its `iss`.
///
/// # Errors
/// The database's.
pub async fn verify_runtime_token(
    app: &App,
    served: &Served,
    issuer: &str,
    jwt: &UnverifiedJwt<'_>,
    now: Timestamp,
) -> Result<Result<(Arc<TrustedIssuer>, VerifiedClaims), AuthenticationError>, Failure> {
    let tenant = served.tenant.id;
    let found = app
        .directory
        .issuers
        .find_by_key(tenant, chancery_store::issuer_key(issuer))
        .await?;
    let Some(issuer) =
        found.filter(|issuer| issuer.spec.serves(IssuerPurpose::Runtimes) && issuer.state.is_active())
    else {
        return Ok(Err(AuthenticationError::IssuerUnknown));
    };
    let bindings = app
        .directory
        .bindings
        .by_parent(tenant, issuer.name.to_string())
        .await?;
    let audiences: Vec<String> = bindings
        .iter()
        .map(|binding| binding.spec.audience.clone())
        .collect();
    let profile = Profile::runtime_token(&issuer.spec.issuer, &audiences);
    match app
        .verify_from(&served.tenant.name, &issuer, jwt, &profile, now)
        .await
    {
        Ok(verified) => Ok(verified
            .map(|claims| (issuer, claims))
            .map_err(AuthenticationError::from)),
        Err(error) => {
            tracing::warn!(%error, issuer = %issuer.name, "the keys of a trusted issuer could not be loaded");
            Ok(Err(AuthenticationError::IssuerKeys(issuer.name.clone())))
        }
    }
}

/// A client as it presents itself: by id, by name, or by the URL of its metadata document.
///
/// # Errors
/// The database's. The inner error says why no client is meant.
pub async fn find(
    app: &App,
    served: &Served,
    client_id: &str,
    arrival: Arrival,
) -> Result<Result<Arc<Client>, AuthenticationError>, Failure> {
    if is_url(client_id) {
        let found = document::find(app, served, client_id, arrival).await?;
        return Ok(found.map_err(|error| AuthenticationError::Document(error.to_string())));
    }
    let found = app
        .directory
        .clients
        .find_named(served.tenant.id, client_id)
        .await?;
    // SECURITY: a client with a metadata document goes by its URL alone, so that its document is always looked at.
    let found = found.filter(|client| client.spec.metadata_uri.is_none());
    Ok(found.ok_or(AuthenticationError::ClientUnknown))
}

/// A client with everything it depends on.
///
/// # Errors
/// The database's. The inner error says why there is none.
pub async fn load(
    app: &App,
    served: &Served,
    client: &str,
    arrival: Arrival,
) -> Result<Result<ClientFacts, AuthenticationError>, Failure> {
    let tenant = served.tenant.id;
    let client = match find(app, served, client, arrival).await? {
        Ok(client) => client,
        Err(error) => return Ok(Err(error)),
    };
    let Some(agent) = &client.spec.agent else {
        return Ok(Err(AuthenticationError::NotAdopted(client.name.clone())));
    };
    let Some(agent) = app.directory.agents.find_by_name(tenant, agent).await? else {
        return Ok(Err(AuthenticationError::ClientUnknown));
    };
    let blueprint = match &agent.spec.blueprint {
        None => None,
        Some(name) => match app.directory.blueprints.find_by_name(tenant, name).await? {
            Some(blueprint) => Some(blueprint),
            // A named parent that is missing must not widen what its absence would allow.
            None => return Ok(Err(AuthenticationError::ClientUnknown)),
        },
    };
    Ok(Ok(ClientFacts {
        tenant: served.tenant.clone(),
        client,
        agent,
        blueprint,
    }))
}

async fn record_failure(
    app: &App,
    served: &Served,
    presented: &PresentedClient,
    error: &AuthenticationError,
    arrival: Arrival,
) -> Result<OAuthError, Failure> {
    let named = match presented {
        PresentedClient::Secret { client_id, .. } | PresentedClient::Public { client_id } => {
            Some(client_id.clone())
        }
        PresentedClient::Assertion { client_id, .. } => client_id.clone(),
    };
    record_reference(app, served, named, error, arrival).await
}

fn may_name_a_client(text: &str) -> bool {
    text.parse::<ClientId>().is_ok()
        || text.parse::<chancery_core::name::Name>().is_ok()
        || text.starts_with("https://")
}

async fn record_reference(
    app: &App,
    served: &Served,
    named: Option<String>,
    error: &AuthenticationError,
    arrival: Arrival,
) -> Result<OAuthError, Failure> {
    let now = arrival.now;
    let reference = ReferenceId::generate(now, &*app.random);
    let refusal = OAuthError {
        reference: Some(reference),
        ..error.to_wire()
    };
    // Recorded or counted, the answer is the same.
    if !app.flood.admits(served.tenant.id, arrival) {
        return Ok(refusal);
    }
    // Whoever is not authenticated must not fill the log with text of their own.
    // SECURITY: nor with a secret that was sent in the place of the id, so what cannot be an id is left out.
    let named = named.filter(|text| may_name_a_client(text));
    let named = named.map(|text| text.chars().take(MAX_NAMED).collect::<String>());
    let content = serde_json::json!({ "reason": error.to_string(), "client_id": named }).to_string();
    let event = Event {
        id: EventId::from_bytes(*reference.as_bytes()),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::AuthenticationFailed,
        outcome: EventOutcome::Denied,
        actor: Actor::Unknown,
        ids: vec![("reference", reference.to_string())],
        decision: None,
        parts: vec![Part {
            name: "reason",
            class: PartClass::Operational,
            content,
        }],
    };
    let batch = app
        .batch(now)
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    let _ = app.commit(batch, &[]).await?;
    Ok(refusal)
}

/// How much is recorded of what a caller calls itself.
const MAX_NAMED: usize = 256;
