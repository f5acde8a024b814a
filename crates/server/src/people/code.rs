//! Authorization codes: opaque, kept as digests, good for sixty seconds and once (RFC 6749 §4.1.2, RFC 9700 §2.1.1).

use super::authorize::{Pending, answered, asserted, location};
use super::offer;
use super::session::SignedIn;
use crate::app::App;
use crate::error::Failure;
use crate::record;
use crate::setup::sha256;
use crate::tenants::Served;
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
    /// The digest of the client's verifier.
    pub code_challenge: String,
    /// Stands in the ID token.
    pub nonce: Option<String>,
    /// Where the token will be used.
    pub resource: Option<ResourceUri>,
    /// What was agreed to, as tokens write it.
    pub scope: String,
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

/// Issues a code with whatever else the answer changes, in one batch, and gives where the browser goes with it.
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
    let code = generate(PREFIX, &*app.random);
    let content = content(app, served, signed_in, (client, pending), &agreed).await?;
    let content = serde_json::to_string(&content).map_err(Failure::internal)?;
    let family = TokenFamilyId::generate(now, &*app.random);
    let event = answered(app, served, signed_in, client, EventOutcome::Ok, now);
    let mut batch = app.batch(now);
    for guard in asserted(served, &agreed.guards) {
        batch = batch.guard(guard);
    }
    let batch = batch
        .extend(statements)
        .push(store::insert_code(
            tenant,
            &digest(code.expose_secret()),
            (family, &content),
            now.plus(LIFETIME),
        ))
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    match app.commit(batch, &changed).await? {
        Outcome::Committed => {}
        Outcome::Refused {
            label: store::ANSWERED,
            ..
        } => {
            return Err(Failure::Refused(crate::error::Refusal::Conflict(
                "this request".to_owned(),
            )));
        }
        Outcome::Refused { .. } => {
            for guard in &agreed.guards {
                app.directory.forget(tenant, guard.noun, guard.id);
            }
            app.tenants.reload_one(&app.db, tenant).await?;
            return Err(Failure::Stale("what was asked changed meanwhile; try again"));
        }
    }
    let request = &pending.request;
    let redirect = (request.redirect.uri.as_str(), request.state.as_deref());
    Ok(location(served, redirect, Ok(code.expose_secret())))
}

async fn content(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (client, pending): (&ClientFacts, &Pending),
    agreed: &Agreed,
) -> Result<CodeContent, Failure> {
    let request = &pending.request;
    let issuer = offer::issuer(app, served, signed_in).await?;
    let session = &signed_in.session;
    let mut lineage: Lineage = [
        link(Noun::Tenant, &served.tenant),
        link(Noun::Agent, &client.agent),
        link(Noun::Client, &client.client),
        link(Noun::TrustedIssuer, &issuer),
        link(Noun::User, &signed_in.user),
    ]
    .into_iter()
    .collect();
    if let Some(blueprint) = &client.blueprint {
        lineage.push(link(Noun::Blueprint, blueprint));
    }
    // What was asked for in the person's absence outlives the session (OpenID Connect Core §11).
    if !request.identity.iter().any(|scope| scope == OFFLINE) {
        lineage.push(link(Noun::Session, session));
    }
    let scope = match &agreed.target {
        Target::Resource(resource) => agreed.authority.scopes_at(&resource.name).to_string(),
        Target::Chancery | Target::Handover(_) => agreed.authority.to_string(),
    };
    Ok(CodeContent {
        client: client.client.id,
        client_id: pending.client_id.clone(),
        agent: client.agent.name.clone(),
        user: signed_in.user.name.clone(),
        issuer: issuer.name.clone(),
        session: session.id,
        redirect_uri: request.redirect.was_sent.then(|| request.redirect.uri.clone()),
        code_challenge: request.code_challenge.clone(),
        nonce: request.nonce.clone(),
        resource: request.resource.clone(),
        scope,
        identity: request.identity.clone(),
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
