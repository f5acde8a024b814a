//! A token exchange for the credential of a connection (RFC 8693 §2): what the vault's own address does, in standard form,
//! for agents that speak OAuth alone.
//!
//! | subject token | taken |
//! |---|---|
//! | our agent token whose current actor is the authenticated client's agent | yes |
//! | our agent token of another agent, handed over or not | no: it is exchanged for one of the agent's own first |
//! | our token for any resource | no |
//! | a token of a trusted issuer | no: as for another agent's |
//!
//! So a credential always hangs on one agent token, with its lineage, and on the client that asks.

use crate::app::App;
use crate::connect::release::{self, Asker, Rejection, Released};
use crate::error::{Failure, Refusal};
use crate::gateway::caller::push;
use crate::issue::arrival::{Arrival, Source};
use crate::issue::authenticate;
use crate::issue::token::{TokenResponse, consume};
use crate::tenants::Served;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::connection::{CredentialFlow, Placement};
use chancery_core::decision::{Decision, DenyReason};
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::request::token::{
    GrantRequest, RequestedTokenType, SubjectTokenType, TargetRequest, TokenRequest,
};
use chancery_oauth::urn;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The connection whose credential a request is for: `resource={base}/vault/NAME`, or `audience=connection:NAME`.
pub fn connection<'a>(served: &Served, request: &'a TokenRequest) -> Option<&'a str> {
    if !matches!(request.grant, GrantRequest::TokenExchange { .. }) {
        return None;
    }
    match &request.target {
        TargetRequest::Chancery => None,
        TargetRequest::Resource(uri) => uri
            .as_str()
            .strip_prefix(served.tenant.spec.base_url.as_str())?
            .strip_prefix("/vault/"),
        TargetRequest::Audience(name) => name.strip_prefix("connection:"),
    }
}

/// Exchanges an agent token for the credential of a connection.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub async fn exchange(
    app: &Arc<App>,
    served: &Arc<Served>,
    (request, connection): (&TokenRequest, &str),
    source: Source,
) -> Result<TokenResponse, Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };

    // 1. Who asks. SECURITY: a proof that may be used once is spent whatever comes of the request.
    let client = authenticate::client(app, served, &request.client, arrival).await?;
    app.limits
        .token((served.tenant.id, client.agent().id, client.client().id), now)?;
    spend(app, served, &client, arrival).await?;

    // 2. What is asked, and for whom. SECURITY: whatever cannot be answered is refused here: what is decided has left.
    let wanted = wanted(request, &client)?;
    let form = form(app, served, connection, &wanted).await?;
    let holder = release::holder_of(app, served, wanted.subject_token, now).await?;
    let mut holder = holder
        .filter(|holder| holder.agent.id == client.agent().id)
        .ok_or(UNACCEPTABLE)?;
    // The credential hangs on the client that asks, and not only on the one that the agent token went to.
    for guard in client.guards() {
        push(&mut holder.guards, guard);
    }
    holder.client = Arc::new(client.client().clone());
    let asker = Asker {
        assurance: client.assurance(),
        lineage: client.lineage(),
        holder,
    };

    // 3. The same as at the vault's own address.
    let released = release::release(app, served, &asker, connection, now).await;
    respond(form, released.map_err(answer)?)
}

/// What an exchange asks for.
struct Wanted<'a> {
    subject_token: &'a str,
    token_type: Option<RequestedTokenType>,
    scopes: BTreeSet<&'a str>,
}

fn wanted<'a>(request: &'a TokenRequest, client: &AuthenticatedClient) -> Result<Wanted<'a>, OAuthError> {
    if !client.client().spec.may_use(request.grant.registered()) {
        return Err(OAuthError::unauthorized_client());
    }
    let GrantRequest::TokenExchange {
        subject_token,
        subject_token_type: SubjectTokenType::AccessToken | SubjectTokenType::Jwt,
        requested_token_type,
    } = &request.grant
    else {
        return Err(UNACCEPTABLE);
    };
    if request.details.is_some() {
        return Err(OAuthError::new(
            ErrorCode::InvalidAuthorizationDetails,
            "a provider's credential takes no authorization_details",
        ));
    }
    let scope = request.scope.as_deref().unwrap_or_default();
    Ok(Wanted {
        subject_token: subject_token.expose_secret(),
        token_type: *requested_token_type,
        scopes: scope.split(' ').filter(|scope| !scope.is_empty()).collect(),
    })
}

/// How a credential stands in the answer.
#[derive(Clone, Copy)]
struct Form {
    token_type: &'static str,
    issued_token_type: &'static str,
}

/// The form of what is asked for, if the connection has a credential that is one token of this type.
async fn form(app: &App, served: &Served, connection: &str, wanted: &Wanted<'_>) -> Result<Form, Failure> {
    let name = connection.parse().map_err(|_| OAuthError::invalid_target())?;
    let found = app
        .directory
        .connections
        .find_by_name(served.tenant.id, &name)
        .await?;
    let found = found
        .filter(|connection| connection.state.is_active())
        .ok_or_else(OAuthError::invalid_target)?;
    let credential = &found.spec.credential;
    let ([part], Some(flow)) = (credential.parts(), credential.flow()) else {
        return Err(NO_TOKEN.into());
    };
    let (issued_token_type, fits) = match flow {
        CredentialFlow::ApiKey => (urn::TOKEN_TYPE_API_KEY, RequestedTokenType::ApiKey),
        CredentialFlow::AuthorizationCode
        | CredentialFlow::ClientCredentials
        | CredentialFlow::SignedAssertion
        | CredentialFlow::AppInstallation
        | CredentialFlow::WorkloadFederation => {
            (urn::TOKEN_TYPE_ACCESS_TOKEN, RequestedTokenType::AccessToken)
        }
    };
    if wanted.token_type.is_some_and(|wanted| wanted != fits) {
        return Err(OTHER_TYPE.into());
    }
    // A provider's token carries what the person agreed to there; none is made for less.
    let known = credential.oauth().map(|oauth| &oauth.scopes);
    let is_known = |scope: &&str| known.is_some_and(|known| known.contains(*scope));
    if !wanted.scopes.iter().all(is_known) {
        return Err(OTHER_SCOPE.into());
    }
    // RFC 6750, or RFC 8693 §2.2.1 for what is used otherwise.
    let is_bearer = matches!(&part.placement, Placement::Header { name, prefix }
        if name.eq_ignore_ascii_case("authorization") && prefix.eq_ignore_ascii_case("bearer "));
    Ok(Form {
        token_type: if is_bearer { "Bearer" } else { "N_A" },
        issued_token_type,
    })
}

fn respond(form: Form, mut released: Released) -> Result<TokenResponse, Failure> {
    let part = released.parts.pop();
    let part = part.ok_or_else(|| Failure::Internal("a credential without a part".to_owned()))?;
    let scopes: Vec<&str> = released.scopes.iter().map(String::as_str).collect();
    Ok(TokenResponse {
        access_token: part.value.expose_secret().clone(),
        token_type: form.token_type,
        expires_in: released.expires_in.as_seconds(),
        scope: scopes.join(" "),
        authorization_details: AuthorizationDetails::default(),
        issued_token_type: Some(form.issued_token_type),
        refresh_token: None,
        id_token: None,
    })
}

/// The error that stands for a rejection (RFC 8693 §2.2.2).
fn answer(rejection: Rejection) -> Failure {
    let named = |error: OAuthError, decision: &Decision| OAuthError {
        decision: Some(decision.id),
        ..error
    };
    match rejection {
        Rejection::NoSuchConnection => OAuthError::invalid_target().into(),
        // The subject token was found good a moment ago.
        Rejection::Unauthenticated(_) => UNACCEPTABLE.into(),
        Rejection::BrokerOnly(decision) => named(BROKER_ONLY, &decision).into(),
        Rejection::Denied(decision) if decision.reason == Some(DenyReason::ConnectionNotGranted) => {
            named(NOT_GRANTED, &decision).into()
        }
        Rejection::Denied(decision) | Rejection::Unaskable(decision, _) => named(DENIED, &decision).into(),
        Rejection::Awaits(awaited) => OAuthError {
            approval: Some(Box::new(awaited.approval)),
            ..named(NEEDS_YES, &awaited.decision)
        }
        .into(),
        Rejection::Limited(limited) => limited.into(),
        Rejection::Failure(Failure::Refused(Refusal::NotConnected { url, decision, .. })) => OAuthError {
            decision: Some(decision),
            consent_uri: Some(url),
            ..NOT_CONNECTED
        }
        .into(),
        Rejection::Failure(Failure::Refused(Refusal::ProviderUnavailable { decision, .. })) => OAuthError {
            decision: Some(decision),
            ..NO_TOKEN_NOW
        }
        .into(),
        Rejection::Failure(failure) => failure,
    }
}

/// Spends an assertion that proves the client.
async fn spend(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    arrival: Arrival,
) -> Result<(), Failure> {
    let Some(single_use) = client.single_use() else {
        return Ok(());
    };
    let batch = app.batch(arrival.now).push(consume(served.tenant.id, single_use));
    if app.commit(batch, &[]).await?.is_committed() {
        return Ok(());
    }
    Err(authenticate::replayed(app, served, client, arrival).await?.into())
}

const UNACCEPTABLE: OAuthError = OAuthError::invalid_request(
    "the subject_token is not an agent token that this client's agent holds; exchange what you have for one first",
);
const OTHER_TYPE: OAuthError =
    OAuthError::invalid_request("the credential of this connection is not of the requested_token_type");
const NO_TOKEN: OAuthError = OAuthError::new(
    ErrorCode::InvalidTarget,
    "the credential of this connection is not one token; ask at {base}/vault/{connection}",
);
const OTHER_SCOPE: OAuthError = OAuthError::new(
    ErrorCode::InvalidScope,
    "a scope that this connection does not ask its provider for",
);
const BROKER_ONLY: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "the credentials of this connection are used here and never handed out (broker_only)",
);
const NOT_GRANTED: OAuthError = OAuthError::new(
    ErrorCode::ConsentRequired,
    "no grant lets this agent use the connection; `chancery why DECISION` tells more",
);
const DENIED: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "policy does not permit this credential to be handed out; `chancery why DECISION` tells why",
);
const NEEDS_YES: OAuthError = OAuthError::new(
    ErrorCode::ApprovalRequired,
    "a person must approve this at approval_uri; then make the same request again",
);
const NOT_CONNECTED: OAuthError = OAuthError::new(
    ErrorCode::ConsentRequired,
    "the person must connect an account at consent_uri; then make the same request again",
);
const NO_TOKEN_NOW: OAuthError = OAuthError::new(
    ErrorCode::TemporarilyUnavailable,
    "the provider gives no token now; try again later",
);
