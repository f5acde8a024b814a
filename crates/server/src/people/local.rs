//! Signing in with an account that Chancery itself keeps: by password, and changing it.
//!
//! Roles and groups are what an administrator wrote into the record. Whoever asks learns nothing about which accounts there
//! are: an unknown name takes the same way, and the same work, as a wrong password.

use super::offer;
use super::password::{self, Counted, PasswordError};
use super::session::{self, Proved, SignedIn};
use crate::app::App;
use crate::directory::change::{self, Work};
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::people::hashing;
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _, UserId};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::Guard;
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::session::Session;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::{LOCAL_ISSUER, User};
use chancery_oauth::authentication::guard;
use chancery_store::{Outcome, Statement, guard as guards, passkey, password as store, record};
use std::sync::Arc;

/// Whether anybody signs in here with an account of ours.
///
/// # Errors
/// The database's.
pub async fn is_offered(app: &App, served: &Served) -> Result<bool, Failure> {
    let tenant = served.tenant.id;
    Ok(store::is_any(&app.db, tenant).await? || passkey::is_any(&app.db, tenant).await?)
}

/// Whether a person's account is one of ours.
pub fn is_local(user: &User) -> bool {
    user.spec.issuer.as_str() == LOCAL_ISSUER
}

/// Signs somebody in by name and password: count the try → compare → session.
///
/// # Errors
/// Why nobody is signed in.
pub async fn sign_in(
    app: &App,
    served: &Served,
    (account, password): (&str, &Secret<String>),
    before: Option<&SignedIn>,
    arrival: Arrival,
) -> Result<Secret<String>, PasswordError> {
    let counted = Counted::of(account, arrival.source);
    counted.begin(app, served, arrival).await?;

    let person = prove(app, served, (account, password)).await?;
    let Some((person, hash)) = person else {
        note_failure(app, served, (None, "name or password is wrong"), arrival).await?;
        return Err(PasswordError::Wrong);
    };
    let mut statements = counted.succeeded(served.tenant.id, arrival.now).to_vec();
    if !hashing::is_current(&hash) {
        let hash = app.hashing.hash(password, &*app.random).await?;
        statements.push(store::put(served.tenant.id, person.id, &hash, arrival.now));
    }
    let entered = Entering {
        user: &person,
        issuer: None,
        guards: vec![guard(Noun::User, &person)],
        means: Means::password(),
        statements,
        work: Work::default(),
    };
    Ok(enter(app, served, entered, before, arrival.now).await?)
}

/// Changes the password of whoever is signed in. Everything that hangs on the person ends, and this browser goes on in a
/// new session.
///
/// # Errors
/// The present password is wrong; the new one may not be set; the database's.
pub async fn change_password(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (present, new): (&Secret<String>, &Secret<String>),
    arrival: Arrival,
) -> Result<Secret<String>, PasswordError> {
    let (tenant, now) = (served.tenant.id, arrival.now);
    let account = signed_in.user.spec.subject.as_str();
    password::check(&app.known_passwords, account, new)?;
    let counted = Counted::of(account, arrival.source);
    counted.begin(app, served, arrival).await?;
    let person = prove(app, served, (account, present)).await?;
    let Some((person, _)) = person.filter(|(person, _)| person.id == signed_in.user.id) else {
        let who = Some(signed_in.user.id);
        note_failure(app, served, (who, "the present password is wrong"), arrival).await?;
        return Err(PasswordError::Wrong);
    };

    let hash = app.hashing.hash(new, &*app.random).await?;
    let mut statements = counted.succeeded(tenant, now).to_vec();
    statements.push(store::put(tenant, person.id, &hash, now));
    statements.push(happened(app, served, (EventKind::PasswordSet, person.id), now)?);
    let (renewed, work) = renewed(app, served, &person, now)?;
    let entered = Entering {
        user: &renewed,
        issuer: None,
        guards: Vec::new(),
        means: Means::password(),
        statements,
        work,
    };
    Ok(enter(app, served, entered, Some(signed_in), now).await?)
}

/// The person whose password it is, and its hash.
async fn prove(
    app: &App,
    served: &Served,
    (account, password): (&str, &Secret<String>),
) -> Result<Option<(Arc<User>, String)>, PasswordError> {
    let tenant = served.tenant.id;
    let found = if is_subject(account) {
        store::find(&app.db, tenant, account)
            .await
            .map_err(Failure::from)?
    } else {
        None
    };
    let hash = found.as_ref().and_then(|found| found.hash.clone());
    // SECURITY: compared whether there is such a person or not, so that the answer takes as long.
    let is_right = app.hashing.verify(password, hash.clone()).await?;
    let (Some(found), Some(hash), true) = (found, hash, is_right) else {
        return Ok(None);
    };
    let user = app.directory.users.find(tenant, found.person).await?;
    Ok(user
        .filter(|user| user.state.is_active())
        .map(|user| (user, hash)))
}

/// How somebody proved who they are.
#[derive(Clone, Debug)]
pub struct Means {
    /// Authentication methods (RFC 8176).
    amr: Vec<String>,
    /// Authentication context class.
    acr: Option<String>,
    /// When, if not just now.
    at: Option<Timestamp>,
}

impl Means {
    /// A password alone.
    pub fn password() -> Self {
        Self {
            amr: vec!["pwd".to_owned()],
            acr: None,
            at: None,
        }
    }

    /// A passkey that verified its owner: something they have, and know or are. Whether its key is bound to one device
    /// decides between `hwk` and `swk` (RFC 8176 §2); no phishing reaches it (`phr`, OpenID EAP ACR values).
    pub fn passkey(is_synced: bool) -> Self {
        let key = if is_synced { "swk" } else { "hwk" };
        Self {
            amr: ["mfa", key, "user"].map(str::to_owned).to_vec(),
            acr: Some("phr".to_owned()),
            at: None,
        }
    }

    /// What a session began with.
    fn of(session: &Session) -> Self {
        Self {
            amr: session.spec.amr.clone(),
            acr: session.spec.acr.clone(),
            at: Some(session.spec.authenticated_at),
        }
    }
}

/// Somebody who has proved who they are, and what is written with the session.
#[derive(Debug)]
pub(super) struct Entering<'a> {
    pub(super) user: &'a User,
    pub(super) issuer: Option<Arc<TrustedIssuer>>,
    pub(super) guards: Vec<Guard>,
    pub(super) means: Means,
    pub(super) statements: Vec<Statement>,
    pub(super) work: Work,
}

/// Begins a session, and ends the one before in this browser.
pub(super) async fn enter(
    app: &App,
    served: &Served,
    entering: Entering<'_>,
    before: Option<&SignedIn>,
    now: Timestamp,
) -> Result<Secret<String>, Failure> {
    let tenant = served.tenant.id;
    let Entering {
        user,
        issuer,
        mut guards,
        means,
        statements,
        mut work,
    } = entering;
    let proved = Proved {
        user,
        issuer: issuer.as_deref(),
        authenticated_at: means.at.unwrap_or(now),
        acr: means.acr,
        amr: means.amr,
    };
    let (secret, begun) = session::begin(app, served, proved, now)?;
    work.extend(begun);
    if let Some(before) = before {
        work.extend(session::ended(app, served, &before.caller(now), &before.session)?);
    }
    guards.insert(0, guard(Noun::Tenant, &served.tenant));
    let mut batch = app.batch(now);
    for statement in guards::statements(tenant, &guards) {
        batch = batch.guard(statement);
    }
    let batch = batch.extend(statements).extend(work.statements);
    match app.commit(batch, &work.changed).await? {
        Outcome::Committed => Ok(secret),
        Outcome::Refused { .. } => {
            app.directory.forget(tenant, Noun::User, *user.id.as_bytes());
            Err(Failure::Stale("what the sign-in relies on changed just now"))
        }
    }
}

/// Goes on in this browser after everything that hung on the person has ended, proved as before.
pub(super) async fn go_on(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    statements: Vec<Statement>,
    now: Timestamp,
) -> Result<Secret<String>, Failure> {
    let issuer = offer::issuer(app, served, signed_in).await?;
    let (renewed, work) = renewed(app, served, &signed_in.user, now)?;
    let entering = Entering {
        user: &renewed,
        guards: issuer
            .iter()
            .map(|issuer| guard(Noun::TrustedIssuer, issuer))
            .collect(),
        issuer,
        means: Means::of(&signed_in.session),
        statements,
        work,
    };
    enter(app, served, entering, Some(signed_in), now).await
}

/// The person with a generation that ends everything which hangs on them, and what writes it.
fn renewed(app: &App, served: &Served, user: &User, now: Timestamp) -> Result<(User, Work), Failure> {
    let user = User {
        generation: user.generation + 1,
        version: user.version + 1,
        updated_at: now,
        ..user.clone()
    };
    let caller = session::caller_of(&user, now);
    let statement = record::update(served.tenant.id, &user);
    let work = change::recorded(app, served, &caller, &user, (Change::SecretReset, statement))?;
    Ok((user, work))
}

/// The record of something that a person did with what they sign in with.
pub(super) fn happened(
    app: &App,
    served: &Served,
    (kind, person): (EventKind, UserId),
    now: Timestamp,
) -> Result<Statement, Failure> {
    let ids = vec![("user", person.to_string())];
    happened_with(app, served, (kind, person), (ids, Vec::new()), now)
}

/// The same with what it is about, and parts.
pub(super) fn happened_with(
    app: &App,
    served: &Served,
    (kind, person): (EventKind, UserId),
    (ids, parts): (Vec<(&'static str, String)>, Vec<Part>),
    now: Timestamp,
) -> Result<Statement, Failure> {
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind,
        outcome: EventOutcome::Ok,
        actor: Actor::User(person),
        ids,
        decision: None,
        parts,
    };
    audit::statement(served.keys.seal(), &event, &*app.random)
}

/// Records that nobody was proved, up to the bound of failures. The name that was typed is not in it: people type passwords
/// into the wrong field.
pub(super) async fn note_failure(
    app: &App,
    served: &Served,
    (person, reason): (Option<UserId>, &str),
    arrival: Arrival,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    if !app.flood.admits(tenant, arrival) {
        return Ok(());
    }
    let reason: String = reason.chars().take(LONGEST_REASON).collect();
    let content =
        serde_json::json!({ "at": "sign-in", "source": arrival.source.to_string(), "reason": reason });
    let event = Event {
        id: EventId::generate(arrival.now, &*app.random),
        tenant,
        time: arrival.now,
        kind: EventKind::AuthenticationFailed,
        outcome: EventOutcome::Denied,
        actor: Actor::Unknown,
        ids: person
            .map(|person| ("user", person.to_string()))
            .into_iter()
            .collect(),
        decision: None,
        parts: vec![Part {
            name: "request",
            class: PartClass::Personal,
            content: content.to_string(),
        }],
    };
    let statement = audit::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(arrival.now).push(statement), &[]).await?;
    Ok(())
}

/// Whether a text can be an account's name.
fn is_subject(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.contains('\0')
}

/// Whether the person proved who they are lately enough to change what they sign in with.
pub fn is_fresh(signed_in: &SignedIn, now: Timestamp) -> bool {
    now.since(signed_in.session.spec.authenticated_at) <= FRESH
}

/// How much of a reason is kept: an issuer's own words may be in it.
const LONGEST_REASON: usize = 200;
/// How lately.
pub const FRESH: Ttl = Ttl::from_minutes(5);
