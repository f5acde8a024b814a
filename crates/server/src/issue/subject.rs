//! The subject of an exchange: a person by a trusted issuer's token, or one of our own tokens.

use crate::app::App;
use crate::error::Failure;
use crate::issue::own;
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::agent::Agent;
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{AgentId, EventId, Id as _, TenantId, UserId};
use chancery_core::issuer::IssuerPurpose;
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::proposal::Subject;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_core::user::{User, UserSpec};
use chancery_oauth::authentication::guard;
use chancery_oauth::claims::OwnToken;
use chancery_oauth::error::OAuthError;
use chancery_oauth::grant::VerifiedUser;
use chancery_oauth::grant::token_exchange::{OwnSubject, SubjectToken};
use chancery_oauth::jose::UnverifiedJwt;
use chancery_oauth::request::token::SubjectTokenType;
use chancery_oauth::user_token;
use chancery_store::{Statement, change, record, user_key};
use std::sync::Arc;

/// A subject, and what was learned of the person behind it.
#[derive(Debug)]
pub struct Found {
    /// The subject.
    pub subject: SubjectToken,
    /// The person's first record, or newer facts about them.
    pub learned: Option<Learned>,
}

/// What a token says of a person that was not known. It is written whatever becomes of the request, so that
/// a role that was lost is lost even if what was asked for is refused.
#[derive(Debug)]
pub struct Learned {
    /// The person as of now.
    pub user: Arc<User>,
    /// Whether the person is new.
    pub change: Change,
    /// What writes it, the news for other nodes included.
    pub statements: Vec<Statement>,
}

/// Verifies a subject token and loads what it refers to.
///
/// # Errors
/// `invalid_request` (RFC 8693 §2.2.2) for a token that is not acceptable, whatever the reason.
pub async fn find(
    app: &App,
    served: &Served,
    token: &Secret<String>,
    kind: SubjectTokenType,
    now: Timestamp,
) -> Result<Found, Failure> {
    let jwt = UnverifiedJwt::parse(token.expose_secret()).map_err(|_| UNACCEPTABLE)?;
    let claims = jwt.unverified_claims().map_err(|_| UNACCEPTABLE)?;
    let issuer = claims.unverified_issuer().ok_or(UNACCEPTABLE)?.to_owned();
    if issuer == served.tenant.spec.base_url {
        if kind == SubjectTokenType::IdToken {
            return Err(UNACCEPTABLE.into());
        }
        return own_subject(app, served, token.expose_secret(), now).await;
    }
    user_subject(app, served, &issuer, &jwt, kind, now).await
}

async fn user_subject(
    app: &App,
    served: &Served,
    issuer: &str,
    jwt: &UnverifiedJwt<'_>,
    kind: SubjectTokenType,
    now: Timestamp,
) -> Result<Found, Failure> {
    let tenant = served.tenant.id;
    let found = app
        .directory
        .issuers
        .find_by_key(tenant, chancery_store::issuer_key(issuer))
        .await?;
    let issuer = found
        .filter(|issuer| issuer.spec.serves(IssuerPurpose::Users) && issuer.state.is_active())
        .ok_or(UNACCEPTABLE)?;
    let profile = user_token::profile(&issuer, kind);
    let verified = app
        .verify_from(&served.tenant.name, &issuer, jwt, &profile, now)
        .await
        .map_err(|error| {
            tracing::warn!(%error, issuer = %issuer.name, "the keys of a trusted issuer could not be loaded");
            Failure::Stale("the keys of a trusted issuer could not be loaded")
        })?;
    let claims = verified.map_err(|error| {
        tracing::info!(%error, issuer = %issuer.name, "a subject token was refused");
        UNACCEPTABLE
    })?;
    let spec = user_token::user_spec(&issuer, &claims).ok_or(UNACCEPTABLE)?;
    let (user, learned) = current_user(app, tenant, spec, now).await?;
    if !user.user.state.is_active() {
        return Err(UNACCEPTABLE.into());
    }
    let expires_at = claims.expires_at().ok_or(UNACCEPTABLE)?;
    Ok(Found {
        subject: SubjectToken::User {
            user,
            issuer,
            expires_at,
        },
        learned,
    })
}

/// What was learned of a person, with its record: every change of a noun is an event.
///
/// # Errors
/// The record does not fit an event.
pub fn written(
    app: &App,
    served: &Served,
    actor: &Actor,
    learned: Option<&Learned>,
    now: Timestamp,
) -> Result<Vec<Statement>, Failure> {
    let Some(learned) = learned else {
        return Ok(Vec::new());
    };
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::Changed(Noun::User, learned.change),
        outcome: EventOutcome::Ok,
        actor: actor.clone(),
        ids: Vec::new(),
        decision: None,
        parts: vec![Part {
            name: "state",
            class: PartClass::Personal,
            content: serde_json::to_string(&*learned.user).map_err(Failure::internal)?,
        }],
    };
    let mut statements = learned.statements.clone();
    statements.push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    Ok(statements)
}

/// The person as of this token. Facts move forward only: an older token never restores a role.
///
/// # Errors
/// A person who was retired; the database's.
pub async fn current_user(
    app: &App,
    tenant: TenantId,
    spec: UserSpec,
    now: Timestamp,
) -> Result<(VerifiedUser, Option<Learned>), Failure> {
    let key = user_key(&spec.issuer, &spec.subject);
    let Some(stored) = app.directory.users.find_by_key(tenant, key.clone()).await? else {
        // A retired person is a tombstone, and does not come back by signing in.
        if chancery_store::is_user_retired(&app.db, tenant, &key).await? {
            return Err(UNACCEPTABLE.into());
        }
        let user = first_seen(app, tenant, spec, now).await?;
        let insert = record::insert(tenant, &user);
        return Ok(learned(tenant, user, (Change::Created, insert)));
    };
    let stored_guard = Some(guard(Noun::User, &stored));
    let is_newer = spec.as_of > stored.spec.as_of;
    let says_the_same = UserSpec {
        as_of: stored.spec.as_of,
        ..spec.clone()
    } == stored.spec;
    if !is_newer || (says_the_same && spec.as_of.since(stored.spec.as_of) < REFRESH_FACTS) {
        return Ok((
            VerifiedUser {
                user: stored,
                guard: stored_guard,
            },
            None,
        ));
    }
    let user = renewed(&stored, spec, now);
    let update = record::update(tenant, &user);
    Ok(learned(tenant, user, (Change::Updated, update)))
}

/// The person as stored, if they are known.
///
/// # Errors
/// The database's.
pub(super) async fn stated(
    app: &App,
    tenant: TenantId,
    spec: &UserSpec,
) -> Result<Option<VerifiedUser>, Failure> {
    let key = user_key(&spec.issuer, &spec.subject);
    let stored = app.directory.users.find_by_key(tenant, key).await?;
    Ok(stored.map(|user| VerifiedUser {
        guard: Some(guard(Noun::User, &user)),
        user,
    }))
}

/// The statement itself asserts what was read; a guard on the same row would wait for itself.
fn learned(
    tenant: TenantId,
    user: User,
    (change, statement): (Change, Statement),
) -> (VerifiedUser, Option<Learned>) {
    let news = change::insert(
        tenant,
        Noun::User,
        *user.id.as_bytes(),
        user.generation,
        user.updated_at,
    );
    let user = Arc::new(user);
    let learned = Learned {
        user: user.clone(),
        change,
        statements: vec![statement, news],
    };
    (VerifiedUser { user, guard: None }, Some(learned))
}

/// Losing a role or a group is a revocation: it raises the generation, and with it ends what hangs on it.
fn renewed(stored: &User, spec: UserSpec, now: Timestamp) -> User {
    let lost = !stored.spec.roles.is_subset(&spec.roles) || !stored.spec.groups.is_subset(&spec.groups);
    User {
        generation: stored.generation + u64::from(lost),
        version: stored.version + 1,
        updated_at: now,
        spec,
        ..stored.clone()
    }
}

/// The person's first record. A name that somebody else has, or had, is not taken from them.
async fn first_seen(app: &App, tenant: TenantId, spec: UserSpec, now: Timestamp) -> Result<User, Failure> {
    let id = UserId::generate(now, &*app.random);
    let digits = id.to_string().replace('_', "-");
    let mut readable = spec.default_name();
    if let Some(name) = &readable
        && record::find_by_name::<UserSpec>(&app.db, tenant, name)
            .await?
            .is_some()
    {
        readable = None;
    }
    let name = match readable {
        Some(name) => name,
        None => format!("{}:{digits}", spec.issuer)
            .parse()
            .map_err(Failure::internal)?,
    };
    Ok(User {
        id,
        name,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    })
}

async fn own_subject(app: &App, served: &Served, text: &str, now: Timestamp) -> Result<Found, Failure> {
    let own = own::in_force(app, served, text, now).await?.ok_or(UNACCEPTABLE)?;
    let subject = of_own(app, served, own).await?;
    Ok(Found {
        subject: SubjectToken::Own(Box::new(subject)),
        learned: None,
    })
}

/// A token of ours in force as a subject, with what it refers to.
///
/// # Errors
/// As [`find`].
pub async fn of_own(app: &App, served: &Served, own: own::OwnInForce) -> Result<OwnSubject, Failure> {
    let tenant = served.tenant.id;
    let token = own.token;
    let audience = if token.audience == served.tenant.spec.base_url {
        None
    } else {
        Some(
            app.directory
                .resources
                .find_by_key(tenant, token.audience.clone())
                .await?
                .ok_or(UNACCEPTABLE)?,
        )
    };
    let audience_agent = match audience
        .as_ref()
        .and_then(|resource| resource.spec.agent.as_ref())
    {
        Some(name) => app
            .directory
            .agents
            .find_by_name(tenant, name)
            .await?
            .map(|agent| agent.id),
        None => None,
    };
    let user = match token.subject {
        Subject::User(id) => Some(stored_user(app, tenant, id, &own.guards).await?),
        Subject::Agent(_) => None,
    };
    let agents = agents(app, tenant, &token).await?;
    Ok(OwnSubject {
        token,
        audience,
        audience_agent,
        agents,
        user,
        guards: own.guards,
    })
}

async fn stored_user(
    app: &App,
    tenant: TenantId,
    id: UserId,
    guards: &[Guard],
) -> Result<VerifiedUser, Failure> {
    let user = app.directory.users.find(tenant, id).await?.ok_or(UNACCEPTABLE)?;
    let guard = guards
        .iter()
        .find(|guard| guard.noun == Noun::User && guard.id == *id.as_bytes())
        .copied();
    Ok(VerifiedUser { user, guard })
}

/// The agents behind a token, the current actor first; for an agent acting for itself, that agent.
async fn agents(app: &App, tenant: TenantId, token: &OwnToken) -> Result<Vec<Arc<Agent>>, Failure> {
    let mut ids: Vec<AgentId> = token.actors.clone();
    if let Subject::Agent(agent) = token.subject {
        ids.push(agent);
    }
    let mut agents = Vec::with_capacity(ids.len());
    for id in ids {
        agents.push(app.directory.agents.find(tenant, id).await?.ok_or(UNACCEPTABLE)?);
    }
    Ok(agents)
}

const UNACCEPTABLE: OAuthError = OAuthError::invalid_request("the subject_token is not acceptable here");
const REFRESH_FACTS: chancery_core::time::Ttl = chancery_core::time::Ttl::from_minutes(5);
