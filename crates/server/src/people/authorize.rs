//! The authorization endpoint's use case (RFC 6749 §4.1, OpenID Connect Core §3.1.2): a request leads back to its
//! client, to signing in, or to the consent page.

use super::code::{self, Agreed};
use super::offer::{self, Asked, Offer, OfferError};
use super::pending::{self, Pending};
use super::session::SignedIn;
use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::issue::id_token;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::client::ClientGrant;
use chancery_core::decision::ScopeRow;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{AuthorizationRequestId, EventId, Id as _, UserId};
use chancery_core::lineage::Guard;
use chancery_core::name::Name;
use chancery_core::scope::Authority;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::token_family::TokenFamilySpec;
use chancery_oauth::authentication::{AuthenticationError, ClientFacts};
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::request::authorize::{AuthorizationRequest, OpenedRequest};
use chancery_oauth::sign_in::SignInWishes;
use chancery_store::{Statement, guard as guards, record as records};

/// Where the browser goes next.
#[derive(Debug)]
pub enum Next {
    /// Back to the client, with a code or an error.
    Client(String),
    /// To sign in, and back here.
    SignIn(SignInWishes),
    /// To the consent page.
    Consent(AuthorizationRequestId),
}

/// Why the browser is sent nowhere (RFC 6749 §4.1.2.1): whose request it is, or where the answer goes, is not certain.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// The request.
    #[error(transparent)]
    Request(OAuthError),
    /// The client is not known, or not in use.
    #[error("{0}")]
    Client(String),
    /// The client made itself known, and waits until somebody gives it to an agent.
    #[error("client `{0}` belongs to no agent yet")]
    Waits(Name),
    /// This node cannot answer.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// A request whose client and redirect URI are certain.
#[derive(Debug)]
struct Certain {
    client_id: String,
    client: ClientFacts,
    request: AuthorizationRequest,
    /// The person whom the client means, if it says so.
    meant: Option<UserId>,
}

/// Answers an authorization request. `asked_at` is when this very request began, if it led to signing in before.
///
/// # Errors
/// What is shown to the person.
pub async fn authorize(
    app: &App,
    served: &Served,
    opened: OpenedRequest,
    (signed_in, asked_at): (Option<&SignedIn>, Option<Timestamp>),
    arrival: Arrival,
) -> Result<Next, AuthorizeError> {
    let now = arrival.now;
    let certain = match certain(app, served, opened, arrival).await? {
        Ok(certain) => certain,
        Err(location) => return Ok(Next::Client(location)),
    };
    match decided(app, served, &certain, (signed_in, asked_at), now).await {
        Ok(next) => Ok(next),
        Err(OfferError::OAuth(error)) => Ok(Next::Client(error_location(served, &certain.request, &error))),
        Err(OfferError::Client(error)) => {
            tracing::info!(%error, client = %certain.client.client.name, "an authorization request was refused");
            let error = OAuthError::new(ErrorCode::UnauthorizedClient, "this client is not in use");
            Ok(Next::Client(error_location(served, &certain.request, &error)))
        }
        Err(OfferError::Failure(failure)) => Err(failure.into()),
    }
}

/// Client and redirect URI first; the inner error is where an error about the rest goes.
async fn certain(
    app: &App,
    served: &Served,
    mut opened: OpenedRequest,
    arrival: Arrival,
) -> Result<Result<Certain, String>, AuthorizeError> {
    let client_id = opened.client_id.clone();
    let client = match offer::client(app, served, &client_id, arrival).await {
        Ok(client) => client,
        Err(OfferError::Client(AuthenticationError::NotAdopted(name))) => {
            return Err(AuthorizeError::Waits(name));
        }
        Err(OfferError::Client(error)) => return Err(AuthorizeError::Client(error.to_string())),
        Err(OfferError::OAuth(error)) => return Err(AuthorizeError::Request(error)),
        Err(OfferError::Failure(failure)) => return Err(failure.into()),
    };
    if !client.client.state.is_active() {
        return Err(AuthorizeError::Client("this client is not in use".to_owned()));
    }
    let redirect = opened
        .redirect(&client.client.spec.redirect_uris)
        .map_err(AuthorizeError::Request)?;
    let state = opened.take_state();
    let hint = opened.take_id_token_hint();
    let refused = |error: &OAuthError| location(served, (&redirect.uri, state.as_deref()), Err(error));
    if !client.client.spec.may_use(ClientGrant::AuthorizationCode) {
        return Ok(Err(refused(&OAuthError::unauthorized_client())));
    }
    let request = match opened.read(redirect.clone(), state.clone()) {
        Ok(request) => request,
        Err(error) => return Ok(Err(refused(&error))),
    };
    let meant = hint.map(|hint| hinted(served, (&client_id, &client), &hint, arrival.now));
    // SECURITY: a hint that tells nobody is not left out: the request is about somebody, and nobody knows whom.
    if meant == Some(None) {
        let error = if request.prompt.none { LOGIN } else { HINT };
        return Ok(Err(refused(&error)));
    }
    Ok(Ok(Certain {
        client_id,
        client,
        request,
        meant: meant.flatten(),
    }))
}

/// The person whom an ID token of ours names, if it was made for this very client; it may be over.
fn hinted(
    served: &Served,
    (client_id, client): (&str, &ClientFacts),
    hint: &Secret<String>,
    now: Timestamp,
) -> Option<UserId> {
    let is_for = |aud: &str| aud == client_id || aud == client.client.id.to_string();
    id_token::hinted(served, hint, is_for, now)
}

async fn decided(
    app: &App,
    served: &Served,
    certain: &Certain,
    (signed_in, asked_at): (Option<&SignedIn>, Option<Timestamp>),
    now: Timestamp,
) -> Result<Next, OfferError> {
    let request = &certain.request;

    // 1. Who it is.
    let signed_in = match person(certain, (signed_in, asked_at), now)? {
        Ok(signed_in) => signed_in,
        Err(wishes) => return Ok(Next::SignIn(wishes)),
    };

    // 2. What may be offered of what is asked for.
    let asked = Asked {
        client: &certain.client,
        resource: request.resource.as_ref(),
        scope: request.scope.as_deref(),
        details: request.details.as_ref(),
    };
    let offer = offer::offer(app, served, signed_in, asked, now).await?;
    let asks_scopes = !offer.rows.is_empty();
    if offer.is_refused || (asks_scopes && offer.offered().next().is_none()) {
        return Err(OAuthError::new(
            ErrorCode::AccessDenied,
            "nothing of what is asked for may be given to this agent for this person",
        )
        .into());
    }

    // 3. Agreed to before, or to be asked.
    let is_agreed = if asks_scopes {
        offer.is_covered()
    } else {
        is_known(app, served, signed_in, certain).await?
    };
    if is_agreed && !request.prompt.consent {
        let pending = Pending::of_request(&certain.client_id, request);
        let agreed = agreed(&offer, granted(&offer), AuthorizationDetails::default());
        let about = (&certain.client, &pending);
        let issued = code::issue(
            app,
            served,
            signed_in,
            about,
            (agreed, Vec::new(), Vec::new()),
            now,
        )
        .await?;
        return Ok(Next::Client(issued));
    }
    if request.prompt.none {
        return Err(OAuthError::new(ErrorCode::ConsentRequired, "the person must agree").into());
    }
    let pending = Pending::of_request(&certain.client_id, request);
    Ok(Next::Consent(
        pending::wait(app, served, signed_in, &pending, now).await?,
    ))
}

/// Whoever is signed in, if it is whom the request is about and as it asks; else how they are to sign in.
fn person<'a>(
    certain: &Certain,
    (signed_in, asked_at): (Option<&'a SignedIn>, Option<Timestamp>),
    now: Timestamp,
) -> Result<Result<&'a SignedIn, SignInWishes>, OAuthError> {
    let request = &certain.request;
    let is_meant = |signed_in: &SignedIn| certain.meant.is_none_or(|person| signed_in.user.id == person);
    let found =
        signed_in.filter(|signed_in| is_meant(signed_in) && is_fresh(request, signed_in, asked_at, now));
    if let Some(found) = found {
        return Ok(Ok(found));
    }
    let is_another = signed_in.is_some_and(|signed_in| !is_meant(signed_in));
    // Who came back from signing in as somebody else is not asked again for ever.
    let came_back = signed_in.is_some_and(|signed_in| has_just_come(signed_in, asked_at));
    if request.prompt.none || (is_another && came_back) {
        return Err(LOGIN);
    }
    Ok(Err(SignInWishes {
        login_hint: request.login_hint.clone(),
        max_age: request.max_age,
        acr_values: request.acr_values.clone(),
        is_afresh: request.prompt.login || is_another,
    }))
}

/// Whether the session began after this very request did.
fn has_just_come(signed_in: &SignedIn, asked_at: Option<Timestamp>) -> bool {
    asked_at.is_some_and(|asked| signed_in.session.created_at >= asked)
}

/// Whether the person proved who they are as lately and as strongly as is asked. What was asked for once is not asked
/// for again: somebody who has just signed in has done what could be done.
fn is_fresh(
    request: &AuthorizationRequest,
    signed_in: &SignedIn,
    asked_at: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let session = &signed_in.session;
    if has_just_come(signed_in, asked_at) {
        return true;
    }
    let is_young = |age: Ttl| now.since(session.spec.authenticated_at) <= age;
    let has_class = |values: &str| {
        session
            .spec
            .acr
            .as_deref()
            .is_some_and(|acr| values.split(' ').any(|value| value == acr))
    };
    !request.prompt.login
        && request.max_age.is_none_or(is_young)
        && request.acr_values.as_deref().is_none_or(has_class)
}

/// Whether the person let this client know who they are before.
async fn is_known(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    certain: &Certain,
) -> Result<bool, Failure> {
    let tenant = served.tenant.id;
    let user = signed_in.user.name.as_str();
    let families = records::list_by_parent::<TokenFamilySpec>(&app.db, tenant, user).await?;
    Ok(families.iter().any(|family| {
        family.state.is_active()
            && family.spec.client == certain.client.client.id
            && certain
                .request
                .identity
                .iter()
                .all(|scope| family.spec.has_identity(scope))
    }))
}

/// Scopes that are granted now.
fn granted(offer: &Offer) -> Authority {
    let mut authority = Authority::default();
    let is_granted = |row: &&ScopeRow| row.given || (offer.is_awaited(row) && row.grant != Some(false));
    for row in offer.rows.iter().filter(is_granted) {
        authority.insert(row.resource.clone(), row.scope.clone());
    }
    authority
}

/// What a code stands for.
pub(super) fn agreed(offer: &Offer, authority: Authority, details: AuthorizationDetails) -> Agreed {
    Agreed {
        authority,
        details,
        target: offer.target.clone(),
        guards: offer.guards.clone(),
    }
}

/// Where an error goes.
fn error_location(served: &Served, request: &AuthorizationRequest, error: &OAuthError) -> String {
    location(
        served,
        (&request.redirect.uri, request.state.as_deref()),
        Err(error),
    )
}

/// The redirect URI with the answer (RFC 6749 §4.1.2, §4.1.2.1; RFC 9207 §2).
pub(super) fn location(
    served: &Served,
    (redirect_uri, state): (&str, Option<&str>),
    answer: Result<&str, &OAuthError>,
) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    match answer {
        Ok(code) => {
            query.append_pair("code", code);
        }
        Err(error) => {
            query.append_pair("error", error.code.as_str());
            query.append_pair("error_description", error.description);
        }
    }
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", &served.tenant.spec.base_url);
    let mark = if redirect_uri.contains('?') { '&' } else { '?' };
    format!("{redirect_uri}{mark}{}", query.finish())
}

/// The event of an answer to a client: a code, or the person's no.
pub(super) fn answered(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    client: &ClientFacts,
    outcome: EventOutcome,
    now: Timestamp,
) -> Event {
    Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::AuthorizationAnswered,
        outcome,
        actor: Actor::User(signed_in.user.id),
        ids: vec![
            ("agent", client.agent.id.to_string()),
            ("for_client", client.client.id.to_string()),
            ("session", signed_in.session.id.to_string()),
        ],
        decision: None,
        parts: Vec::new(),
    }
}

/// Guards as statements, each once.
pub(super) fn asserted(served: &Served, relied: &[Guard]) -> Vec<Statement> {
    let mut once: Vec<Guard> = Vec::with_capacity(relied.len());
    for guard in relied {
        if !once.contains(guard) {
            once.push(*guard);
        }
    }
    guards::statements(served.tenant.id, &once)
}

const LOGIN: OAuthError = OAuthError::new(
    ErrorCode::LoginRequired,
    "the person must sign in, and as the one whom id_token_hint names if there is one",
);
const HINT: OAuthError = OAuthError::invalid_request(
    "id_token_hint is no ID token of ours for this client, or is over for more than two days",
);
