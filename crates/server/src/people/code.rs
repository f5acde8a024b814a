//! What a person agreed to, for the client to redeem once: an authorization code, opaque, kept as its digest, good for
//! sixty seconds (RFC 6749 §4.1.2, RFC 9700 §2.1.1), or the device code that the client has already (RFC 8628 §3.5).

use super::authorize::{answered, asserted, location};
use super::device;
use super::offer;
use super::pending::{AnswerTo, Pending};
use super::session::SignedIn;
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::record;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::event::EventOutcome;
use chancery_core::id::{ClientId, Id as _, SessionId, TenantId, TokenFamilyId};
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::scope::Authority;
use chancery_core::secret::{TokenDigest, generate};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::uri::ResourceUri;
use chancery_oauth::authentication::{ClientFacts, link};
use chancery_oauth::grant::Target;
use chancery_store::change::Changed;
use chancery_store::{Outcome, Statement, authorization as store};
use serde::{Deserialize, Serialize};

/// What a person agreed to.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// Scopes by resource.
    pub authority: Authority,
    /// Authorization details, each with the scopes of its type.
    pub details: AuthorizationDetails,
    /// Where they are used.
    pub target: Target,
    /// Everything that was looked at.
    pub guards: Vec<Guard>,
}

/// What a code stands for, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeContent {
    /// The client.
    pub client: ClientId,
    /// The client, as it named itself.
    pub client_id: String,
    /// The agent.
    pub agent: Name,
    /// The person.
    pub user: Name,
    /// Who vouched for the person.
    pub issuer: Name,
    /// The session in which the person answered.
    pub session: SessionId,
    /// The redirect URI, if the token request must say it again.
    pub redirect_uri: Option<String>,
    /// The digest of the client's verifier; every authorization code has one.
    pub code_challenge: Option<String>,
    /// Stands in the ID token.
    pub nonce: Option<String>,
    /// Where the token will be used.
    pub resource: Option<ResourceUri>,
    /// What was agreed to, as tokens write it.
    pub scope: String,
    /// The authorization details that were agreed to.
    #[serde(default, skip_serializing_if = "AuthorizationDetails::is_empty")]
    pub authorization_details: AuthorizationDetails,
    /// What was asked for about the person.
    pub identity: Vec<String>,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// How strongly.
    pub acr: Option<String>,
    /// By which means.
    pub amr: Vec<String>,
    /// What it hangs on.
    pub lineage: Lineage,
}

/// Issues a code, or lets the device's own be redeemed, with whatever else the answer changes, in one batch; gives where
/// the browser goes then.
///
/// # Errors
/// A request that was answered before; a fact that changed; the database's.
pub async fn issue(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (client, pending): (&ClientFacts, &Pending),
    (agreed, statements, changed): (Agreed, Vec<Statement>, Vec<(TenantId, Changed)>),
    now: Timestamp,
) -> Result<String, Failure> {
    let tenant = served.tenant.id;
    let content = content(app, served, signed_in, (client, pending), &agreed).await?;
    let content = serde_json::to_string(&content).map_err(Failure::internal)?;
    let family = TokenFamilyId::generate(now, &*app.random);
    let (kept, onward) = match &pending.answer {
        AnswerTo::Redirect { redirect, state, .. } => {
            let code = generate(PREFIX, &*app.random);
            let digest = digest(code.expose_secret());
            let redirect = (redirect.uri.as_str(), state.as_deref());
            (
                store::insert_code(tenant, &digest, (family, &content), now.plus(LIFETIME)),
                location(served, redirect, Ok(code.expose_secret())),
            )
        }
        AnswerTo::Device(asks) => (
            device::agreed(served, asks, (family, &content), now),
            device::ALLOWED_PATH.to_owned(),
        ),
    };
    let event = answered(app, served, signed_in, client, EventOutcome::Ok, now);
    let mut batch = app.batch(now);
    for guard in asserted(served, &agreed.guards) {
        batch = batch.guard(guard);
    }
    let batch = batch.extend(statements).push(kept).push(record::statement(
        served.keys.seal(),
        &event,
        &*app.random,
    )?);
    match app.commit(batch, &changed).await? {
        Outcome::Committed => Ok(onward),
        Outcome::Refused {
            label: store::ANSWERED,
            ..
        } => Err(Refusal::Conflict("this request".to_owned()).into()),
        Outcome::Refused { .. } => {
            for guard in &agreed.guards {
                app.directory.forget(tenant, guard.noun, guard.id);
            }
            app.tenants.reload_one(&app.db, tenant).await?;
            Err(Failure::Stale("what was asked changed meanwhile; try again"))
        }
    }
}

async fn content(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (client, pending): (&ClientFacts, &Pending),
    agreed: &Agreed,
) -> Result<CodeContent, Failure> {
    let asked = &pending.asked;
    let issuer = offer::issuer(app, served, signed_in).await?;
    let session = &signed_in.session;
    let mut lineage: Lineage = [
        link(Noun::Tenant, &served.tenant),
        link(Noun::Agent, &client.agent),
        link(Noun::Client, &client.client),
    ]
    .into_iter()
    .collect();
    if let Some(issuer) = &issuer {
        lineage.push(link(Noun::TrustedIssuer, issuer));
    }
    lineage.push(link(Noun::User, &signed_in.user));
    if let Some(blueprint) = &client.blueprint {
        lineage.push(link(Noun::Blueprint, blueprint));
    }
    // What was asked for in the person's absence outlives the session (OpenID Connect Core §11).
    if !asked.identity.iter().any(|scope| scope == OFFLINE) {
        lineage.push(link(Noun::Session, session));
    }
    let scope = match &agreed.target {
        Target::Resource(resource) => agreed.authority.scopes_at(&resource.name).to_string(),
        Target::Chancery | Target::Handover(_) => agreed.authority.to_string(),
    };
    let (redirect_uri, code_challenge, nonce) = match &pending.answer {
        AnswerTo::Redirect {
            redirect,
            code_challenge,
            nonce,
            ..
        } => (
            redirect.was_sent.then(|| redirect.uri.clone()),
            Some(code_challenge.clone()),
            nonce.clone(),
        ),
        AnswerTo::Device(_) => (None, None, None),
    };
    Ok(CodeContent {
        client: client.client.id,
        client_id: pending.client_id.clone(),
        agent: client.agent.name.clone(),
        user: signed_in.user.name.clone(),
        issuer: signed_in.user.spec.issuer.clone(),
        session: session.id,
        redirect_uri,
        code_challenge,
        nonce,
        resource: asked.resource.clone(),
        scope,
        authorization_details: agreed.details.clone(),
        identity: asked.identity.clone(),
        authenticated_at: session.spec.authenticated_at,
        acr: session.spec.acr.clone(),
        amr: session.spec.amr.clone(),
        lineage,
    })
}

/// What is kept of a code.
pub(crate) fn digest(code: &str) -> TokenDigest {
    TokenDigest::new(sha256(code.as_bytes()))
}

/// The scope that outlives the session.
pub const OFFLINE: &str = "offline_access";
const LIFETIME: Ttl = Ttl::from_seconds(60);
const PREFIX: &str = "cac_";
