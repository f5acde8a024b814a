//! Tokens on what a person agreed to: by the code of the agreement (RFC 6749 §4.1.3), by a device's own code (RFC 8628
//! §3.4), or by a refresh token (RFC 6749 §6).
//!
//! Both stand on a family. A second use of a code, or of a refresh token but for a lost reply, ends the family and all
//! that was issued in it (RFC 9700 §2.2.2, §4.14.2); what says so is in the batch of the first use.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::directory::lineage;
use crate::error::Failure;
use crate::issue::refresh;
use crate::issue::reuse::{again, ended};
use crate::issue::target;
use crate::issue::{details, device};
use crate::people::code::{self, CodeContent};
use crate::people::local;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::AgreementBasis;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::event::Change;
use chancery_core::grant::Principal;
use chancery_core::id::{Id as _, TenantId, TokenFamilyId};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::proposal::{GrantType, Proposal};
use chancery_core::scope::Authority;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::token_family::{TokenFamily, TokenFamilySpec};
use chancery_core::user::User;
use chancery_oauth::authentication::{AuthenticatedClient, link};
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::authorization_code::{
    Agreement, authorization_code, check_verifier, without_identity,
};
use chancery_oauth::grant::{Directory, RequestContext, Target, VerifiedUser};
use chancery_oauth::request::token::TargetRequest;
use chancery_policy::Manager;
use chancery_store::change::Changed;
use chancery_store::{Batch, Statement, authorization as store, record};
use std::sync::Arc;

/// What the client presents.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// A code.
    Code {
        /// The code.
        code: &'a Secret<String>,
        /// Where it was sent to, said again.
        redirect_uri: Option<&'a str>,
        /// What proves that the client began the request.
        code_verifier: Option<&'a str>,
    },
    /// A device's own code.
    Device(&'a Secret<String>),
    /// A refresh token.
    Refresh(&'a Secret<String>),
}

/// What a redemption changes beside issuing a token, and what the answer carries.
#[derive(Debug)]
pub struct Redeemed {
    /// The family that the token is issued in.
    pub family: Arc<TokenFamily>,
    /// Stands in the ID token.
    pub nonce: Option<String>,
    /// The client, as it names itself, if it is to get an ID token.
    pub id_token_for: Option<String>,
    /// The refresh token to answer with.
    pub refresh_token: Option<Secret<String>>,
    /// What is written with the token.
    pub statements: Vec<Statement>,
    /// What nodes must forget.
    pub changed: Vec<(TenantId, Changed)>,
    /// What is written instead when the code was redeemed by somebody else a moment ago.
    pub instead: Vec<Statement>,
}

/// What a request asks for by name: where, which scopes, which details.
type Wanted<'a> = (
    &'a TargetRequest,
    Option<&'a str>,
    Option<&'a AuthorizationDetails>,
);

/// What was presented, found good.
#[derive(Debug)]
pub struct Shown {
    /// What its redemption changes.
    pub redeemed: Redeemed,
    /// The rows that it relies on.
    relied: Vec<Guard>,
    grant_type: GrantType,
}

/// Looks at what the client presents.
///
/// # Errors
/// `invalid_grant` whatever is wrong with it.
pub async fn shown(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    presented: Presented<'_>,
    now: Timestamp,
) -> Result<Shown, Failure> {
    let (redeemed, relied, grant_type) = match presented {
        Presented::Code {
            code,
            redirect_uri,
            code_verifier,
        } => {
            let said = (redirect_uri, code_verifier);
            let (redeemed, relied) = by_code(app, served, client, (code.expose_secret(), said), now).await?;
            (redeemed, relied, GrantType::AuthorizationCode)
        }
        Presented::Device(code) => {
            let (redeemed, relied) = device::by_code(app, served, client, code, now).await?;
            (redeemed, relied, GrantType::DeviceCode)
        }
        Presented::Refresh(token) => {
            let (redeemed, relied) = refresh::by_token(app, served, client, token, now).await?;
            (redeemed, relied, GrantType::RefreshToken)
        }
    };
    Ok(Shown {
        redeemed,
        relied,
        grant_type,
    })
}

/// Proposes the token.
///
/// # Errors
/// `invalid_target` for another resource than was agreed to; `invalid_scope` and `invalid_authorization_details`.
pub async fn propose(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (shown, (wanted, scope, named)): (&Shown, Wanted<'_>),
    context: RequestContext<'_>,
) -> Result<(Proposal, Target), Failure> {
    let spec = &shown.redeemed.family.spec;
    let target = agreed_target(app, served, wanted, spec).await?;
    let user = app
        .directory
        .users
        .find_by_name(served.tenant.id, &spec.user)
        .await?;
    let user = user.ok_or(INVALID)?;
    let issuer = issuer(app, served, &user).await?;
    let directory = directory(app, served, (&spec.agent, &spec.user), (&target, &spec.scope)).await?;
    let mut hangs_on: Lineage = [link(Noun::TokenFamily, &shown.redeemed.family)]
        .into_iter()
        .collect();
    hangs_on.extend(&spec.lineage);
    let agreement = Agreement {
        grant_type: shown.grant_type,
        user: &VerifiedUser { user, guard: None },
        issuer: issuer.as_deref(),
        scope: &spec.scope,
        details: Some(&spec.authorization_details),
        lineage: hangs_on,
        guards: shown.relied.clone(),
        expires_at: spec.expires_at,
    };
    let scope = scope.map(|scope| without_identity(scope, &spec.identity));
    let scope = scope.as_deref();
    let details = (named, Some(&spec.authorization_details));
    let details = details::wanted(&target, client.client(), details, scope)?;
    let context = RequestContext {
        details: Some(&details),
        ..context
    };
    let proposal = authorization_code(context, client, agreement, &target, scope, &directory)?;
    Ok((proposal, target))
}

async fn by_code(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (code, (redirect_uri, verifier)): (&str, (Option<&str>, Option<&str>)),
    now: Timestamp,
) -> Result<(Redeemed, Vec<Guard>), Failure> {
    let tenant = served.tenant.id;
    let digest = code::digest(code);
    let stored = store::find_code(&app.db, tenant, &digest).await?.ok_or(INVALID)?;
    let content: CodeContent = serde_json::from_str(&stored.content).map_err(Failure::internal)?;
    // SECURITY: another client's code tells nothing, and another client cannot spend it.
    if content.client != client.client().id {
        return Err(INVALID.into());
    }
    if stored.is_redeemed {
        return again(app, served, client, stored.family, now).await;
    }
    if now >= stored.expires_at || content.redirect_uri.as_deref() != redirect_uri {
        return Err(INVALID.into());
    }
    check_verifier(content.code_challenge.as_deref().ok_or(INVALID)?, verifier)?;
    let spend = store::redeem_code(tenant, &digest, now);
    begin(app, served, client, (stored.family, content), spend, now).await
}

/// Begins the family of what was agreed to, if what it hangs on is as it was. `spend` redeems the code, once.
pub(super) async fn begin(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (id, content): (TokenFamilyId, CodeContent),
    spend: Statement,
    now: Timestamp,
) -> Result<(Redeemed, Vec<Guard>), Failure> {
    let tenant = served.tenant.id;
    let relied = lineage::check(app, tenant, &content.lineage)
        .await?
        .ok_or(INVALID)?;

    let instead = ended(app, served, client, id, now)?;
    let family = family(app, served, (id, &content), now).await?;
    let caller = Caller {
        actor: actor(client),
        manager: Manager::Agent {
            name: client.agent().name.clone(),
        },
        now,
        once: None,
    };
    let insert = record::insert(tenant, &family);
    let work = change::recorded(app, served, &caller, &family, (Change::Created, insert))?;
    let mut statements = vec![spend];
    statements.extend(work.statements);
    let refresh_token = refresh::begin(served, client, &family, now).map(|(token, statement)| {
        statements.push(statement);
        token
    });
    let wants_id_token = content.identity.iter().any(|scope| scope == "openid");
    let redeemed = Redeemed {
        family: Arc::new(family),
        nonce: content.nonce,
        id_token_for: wants_id_token.then_some(content.client_id),
        refresh_token,
        statements,
        changed: work.changed,
        instead,
    };
    Ok((redeemed, relied))
}

async fn family(
    app: &App,
    served: &Served,
    (id, content): (TokenFamilyId, &CodeContent),
    now: Timestamp,
) -> Result<TokenFamily, Failure> {
    let is_offline = content.identity.iter().any(|scope| scope == code::OFFLINE);
    let session = app
        .directory
        .sessions
        .find(served.tenant.id, content.session)
        .await?;
    let session_ends = session.map(|session| session.spec.expires_at);
    let longest = now.plus(LONGEST);
    Ok(Record {
        id,
        name: id
            .to_string()
            .replace('_', "-")
            .parse()
            .map_err(Failure::internal)?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: TokenFamilySpec {
            user: content.user.clone(),
            agent: content.agent.clone(),
            client: content.client,
            session: content.session,
            is_offline,
            resource: content.resource.clone(),
            scope: content.scope.clone(),
            authorization_details: content.authorization_details.clone(),
            identity: content.identity.clone(),
            authenticated_at: content.authenticated_at,
            acr: content.acr.clone(),
            amr: content.amr.clone(),
            expires_at: if is_offline {
                longest
            } else {
                session_ends.unwrap_or(longest).min(longest)
            },
            lineage: content.lineage.clone(),
        },
    })
}

/// Where the person agreed that it is used; a request may say it again and nothing else (RFC 8707 §2.2).
async fn agreed_target(
    app: &App,
    served: &Served,
    wanted: &TargetRequest,
    spec: &TokenFamilySpec,
) -> Result<Target, Failure> {
    let agreed = spec.resource.as_ref().map_or(TargetRequest::Chancery, |uri| {
        TargetRequest::Resource(uri.clone())
    });
    if *wanted != TargetRequest::Chancery && *wanted != agreed {
        return Err(OAuthError::invalid_target().into());
    }
    target::find(app, served.tenant.id, &agreed).await
}

/// The issuer that vouches for a person; none does for an account of our own.
async fn issuer(app: &App, served: &Served, user: &User) -> Result<Option<Arc<TrustedIssuer>>, Failure> {
    if local::is_local(user) {
        return Ok(None);
    }
    let name = &user.spec.issuer;
    let found = app.directory.issuers.find_by_name(served.tenant.id, name).await?;
    Ok(Some(found.ok_or(INVALID)?))
}

/// Resources that the agreement is about, and grants to the agent for the person.
async fn directory(
    app: &App,
    served: &Served,
    (agent, user): (&Name, &Name),
    (target, scope): (&Target, &str),
) -> Result<Directory, Failure> {
    let tenant = served.tenant.id;
    let mut resources = Vec::new();
    match target {
        Target::Resource(resource) => resources.push(resource.clone()),
        Target::Chancery | Target::Handover(_) => {
            for (name, _) in Authority::parse(scope).unwrap_or_default().iter() {
                let found = app.directory.resources.find_by_name(tenant, name).await?;
                resources.extend(found.filter(|resource| resource.state.is_active()));
            }
        }
    }
    let mut grants = app
        .directory
        .grants_of(tenant, agent, &Principal::User(user.clone()))
        .await?;
    grants.extend(app.directory.grants_of(tenant, agent, &Principal::Tenant).await?);
    Ok(Directory { resources, grants })
}

pub(super) fn actor(client: &AuthenticatedClient) -> Actor {
    Actor::Agent {
        agent: client.agent().id,
        client: client.client().id,
        user: None,
    }
}

impl Redeemed {
    /// What goes along with a token that waited for somebody's yes. What was redeemed was redeemed when it was asked for.
    pub(crate) fn awaited(
        served: &Served,
        client: &AuthenticatedClient,
        family: Arc<TokenFamily>,
        basis: &AgreementBasis,
    ) -> Self {
        Self {
            refresh_token: basis
                .is_first
                .then(|| refresh::first(served, client, &family))
                .flatten(),
            family,
            nonce: basis.nonce.clone(),
            id_token_for: basis.id_token_for.clone(),
            statements: Vec::new(),
            changed: Vec::new(),
            instead: Vec::new(),
        }
    }

    /// Whether the client is to get an ID token.
    pub(super) const fn has_id_token(&self) -> bool {
        self.id_token_for.is_some()
    }

    /// What must be known of it if somebody's yes is needed first.
    pub(super) fn basis(&self, is_first: bool) -> AgreementBasis {
        AgreementBasis {
            family: self.family.id,
            expires_at: self.family.spec.expires_at,
            is_first,
            id_token_for: self.id_token_for.clone(),
            nonce: self.nonce.clone(),
        }
    }

    /// The scope of an answer: what was given at the resource, and what was asked for about the person.
    pub(super) fn scope_with_identity(&self, given: String) -> String {
        let mut words = self.family.spec.identity.clone();
        if !given.is_empty() {
            words.push(given);
        }
        words.join(" ")
    }
}

/// The batch of a token with what its redemption changes.
pub(super) fn with(
    redeemed: Option<&Redeemed>,
    batch: Batch,
    mut changed: Vec<(TenantId, Changed)>,
) -> (Batch, Vec<(TenantId, Changed)>) {
    let Some(redeemed) = redeemed else {
        return (batch, changed);
    };
    changed.extend(redeemed.changed.iter().cloned());
    let batch = batch.extend(redeemed.statements.iter().cloned());
    let batch = if redeemed.instead.is_empty() {
        batch
    } else {
        batch.or_else(store::REDEEMED, redeemed.instead.clone())
    };
    (batch, changed)
}

/// The answer to a code that somebody redeemed a moment ago. The family has ended in the batch that was refused.
pub(super) fn replayed(app: &App, served: &Served, redeemed: Option<&Redeemed>) -> OAuthError {
    if let Some(redeemed) = redeemed {
        let family = redeemed.family.id;
        tracing::warn!(%family, "a code was used twice at once; what was issued on it ends");
        app.directory
            .forget(served.tenant.id, Noun::TokenFamily, *family.as_bytes());
    }
    INVALID
}

/// Always the same, whatever is wrong.
pub(super) const INVALID: OAuthError = OAuthError::new(
    ErrorCode::InvalidGrant,
    "the code or refresh token is not valid here: unknown, used, over, ended, or another client's",
);
/// How long tokens are issued on one agreement.
pub(crate) const LONGEST: Ttl = Ttl::from_days(30);
