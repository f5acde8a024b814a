//! Sessions: begun by a sign-in, found by the browser's secret, ended by the person or an administrator.
//!
//! A session hangs on tenant, issuer and person with their generations: what ends one of them ends it on every node.

use crate::app::App;
use crate::directory::change;
use crate::directory::change::Caller;
use crate::directory::lineage;
use crate::error::{Failure, Refusal};
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::Change;
use chancery_core::id::{Id as _, SessionId};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::secret::{Secret, generate};
use chancery_core::session::{ABSOLUTE, Session, SessionSpec};
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_oauth::authentication::link;
use chancery_policy::{ManagementAction, Manager};
use chancery_store::{Page, is_worth_noting, record, see_session};
use std::sync::Arc;

/// A person with a session in use.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
    /// Everything that the session hangs on and the session itself, at the versions at which they were found in force.
    pub guards: Vec<Guard>,
}

impl SignedIn {
    /// The token that a form of this session carries.
    pub fn form_token(&self, served: &Served) -> String {
        let tag = served.keys.page_tag(&form_message(self.session.id));
        hexadecimal(&tag)
    }

    /// Whether this is the token of a form of this session, in constant time.
    pub fn is_form_token(&self, served: &Served, token: &str) -> bool {
        let Some(tag) = from_hexadecimal(token) else {
            return false;
        };
        served.keys.is_page_tag(&form_message(self.session.id), &tag)
    }

    /// The person as one who changes things.
    pub fn caller(&self, now: Timestamp) -> Caller {
        caller_of(&self.user, now)
    }
}

/// A person as one who changes things.
pub(super) fn caller_of(user: &User, now: Timestamp) -> Caller {
    Caller {
        actor: Actor::User(user.id),
        manager: Manager::User {
            name: user.name.clone(),
            roles: user.spec.roles.clone(),
            groups: user.spec.groups.clone(),
        },
        now,
        once: None,
    }
}

/// How a person proved who they are.
#[derive(Clone, Debug)]
pub struct Proved<'a> {
    /// The person.
    pub user: &'a User,
    /// Who vouched; nobody for an account of our own.
    pub issuer: Option<&'a TrustedIssuer>,
    /// When.
    pub authenticated_at: Timestamp,
    /// How strongly, in the issuer's word.
    pub acr: Option<String>,
    /// By which means.
    pub amr: Vec<String>,
}

/// The session of a browser's secret, if it is in use.
///
/// # Errors
/// The database's.
pub async fn find(
    app: &App,
    served: &Served,
    secret: &Secret<String>,
    now: Timestamp,
) -> Result<Option<SignedIn>, Failure> {
    let tenant = served.tenant.id;
    let found = app.directory.sessions.find_by_key(tenant, digest(secret)).await?;
    let Some(session) = found.filter(|session| session.state.is_active()) else {
        return Ok(None);
    };
    let last_seen = chancery_store::find_last_seen(&app.db, tenant, session.id).await?;
    let last_seen = last_seen.unwrap_or(session.created_at);
    if !session.spec.is_open(last_seen, now) {
        return Ok(None);
    }
    let mut hangs_on = session.spec.lineage.clone();
    hangs_on.push(link(Noun::Session, &session));
    let Some(guards) = lineage::check(app, tenant, &hangs_on).await? else {
        return Ok(None);
    };
    let user = app
        .directory
        .users
        .find_by_name(tenant, &session.spec.user)
        .await?;
    let Some(user) = user else {
        return Ok(None);
    };

    if is_worth_noting(last_seen, now) {
        let batch = app.batch(now).push(see_session(tenant, session.id, now));
        let _ = app.commit(batch, &[]).await?;
    }
    Ok(Some(SignedIn {
        user,
        session,
        guards,
    }))
}

/// A session that is about to begin, with the secret that the browser gets.
///
/// # Errors
/// The record does not fit an event.
pub fn begin(
    app: &App,
    served: &Served,
    proved: Proved<'_>,
    now: Timestamp,
) -> Result<(Secret<String>, change::Work), Failure> {
    let tenant = served.tenant.id;
    let secret = generate(PREFIX, &*app.random);
    let id = SessionId::generate(now, &*app.random);
    let mut lineage: Lineage = [link(Noun::Tenant, &served.tenant)].into_iter().collect();
    if let Some(issuer) = proved.issuer {
        lineage.push(link(Noun::TrustedIssuer, issuer));
    }
    lineage.push(link(Noun::User, proved.user));
    let session: Session = Record {
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
        spec: SessionSpec {
            user: proved.user.name.clone(),
            issuer: proved.user.spec.issuer.clone(),
            digest: digest(&secret),
            authenticated_at: proved.authenticated_at,
            acr: proved.acr,
            amr: proved.amr,
            expires_at: now.plus(ABSOLUTE),
            lineage,
        },
    };
    let caller = caller_of(proved.user, now);
    let statement = record::insert(tenant, &session);
    let mut work = change::recorded(app, served, &caller, &session, (Change::Created, statement))?;
    work.statements.push(see_session(tenant, session.id, now));
    Ok((secret, work))
}

/// Ends a session of the person's own.
///
/// # Errors
/// A session of somebody else is as unknown as one that does not exist; the database's.
pub async fn end(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    session: &Session,
    now: Timestamp,
) -> Result<(), Failure> {
    if session.spec.user != signed_in.user.name {
        return Err(Refusal::NotFound {
            noun: Noun::Session,
            name: session.name.to_string(),
        }
        .into());
    }
    let caller = signed_in.caller(now);
    let work = ended(app, served, &caller, session)?;
    change::commit(app, &caller, work).await
}

/// A session as it is shown: without its digest.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub state: Lifecycle,
    /// The person.
    pub user: Name,
    /// The issuer that vouched.
    pub issuer: Name,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
}

/// One page of sessions, for those who may look at them.
///
/// # Errors
/// Policy's refusal; the database's.
pub async fn list(
    app: &App,
    served: &Served,
    caller: &Caller,
    page: &Page<'_>,
) -> Result<Vec<SessionView>, Failure> {
    change::permit(served, caller, ManagementAction::View, (Noun::Session, "*", None))?;
    let sessions = change::list::<SessionSpec>(app, served.tenant.id, page).await?;
    let mut views = Vec::with_capacity(sessions.len());
    for session in sessions {
        views.push(view(app, served, &session).await?);
    }
    Ok(views)
}

/// Sessions of a person that are in use, newest first.
///
/// # Errors
/// The database's.
pub async fn of_person(
    app: &App,
    served: &Served,
    user: &Name,
    now: Timestamp,
) -> Result<Vec<SessionView>, Failure> {
    let sessions = record::list_by_parent::<SessionSpec>(&app.db, served.tenant.id, user.as_str()).await?;
    let mut views = Vec::new();
    for session in sessions.iter().filter(|session| session.state.is_active()) {
        let view = view(app, served, session).await?;
        if session.spec.is_open(view.last_seen, now) {
            views.push(view);
        }
    }
    views.sort_by_key(|view| std::cmp::Reverse(view.created_at));
    Ok(views)
}

async fn view(app: &App, served: &Served, session: &Session) -> Result<SessionView, Failure> {
    let last_seen = chancery_store::find_last_seen(&app.db, served.tenant.id, session.id).await?;
    Ok(SessionView {
        id: session.id,
        name: session.name.clone(),
        state: session.state,
        user: session.spec.user.clone(),
        issuer: session.spec.issuer.clone(),
        created_at: session.created_at,
        authenticated_at: session.spec.authenticated_at,
        last_seen: last_seen.unwrap_or(session.created_at),
        expires_at: session.spec.expires_at,
    })
}

/// Ends anybody's session, for those who may.
///
/// # Errors
/// No such session; policy's refusal; the database's.
pub async fn revoke(app: &App, served: &Served, caller: &Caller, named: &str) -> Result<(), Failure> {
    let session = change::load::<SessionSpec>(app, served.tenant.id, named).await?;
    let (_, work) = change::plan_step::<SessionSpec>(app, served, caller, session, Change::Retired)?;
    change::commit(app, caller, work).await
}

/// What ends a session: its generation rises, and with it falls what hangs on it.
///
/// # Errors
/// The record does not fit an event.
pub fn ended(
    app: &App,
    served: &Served,
    caller: &Caller,
    session: &Session,
) -> Result<change::Work, Failure> {
    let over = Session {
        state: Lifecycle::Retired,
        generation: session.generation + 1,
        version: session.version + 1,
        updated_at: caller.now,
        ..session.clone()
    };
    let statement = record::update(served.tenant.id, &over);
    change::recorded(app, served, caller, &over, (Change::Retired, statement))
}

/// SHA-256 of a secret, in hexadecimal digits.
pub(super) fn digest(secret: &Secret<String>) -> String {
    hexadecimal(&sha256(secret.expose_secret().as_bytes()))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn form_message(session: SessionId) -> Vec<u8> {
    [b"form".as_slice(), session.as_bytes()].concat()
}

/// Lets secret scanners recognise the secret of a session.
const PREFIX: &str = "cse_";
