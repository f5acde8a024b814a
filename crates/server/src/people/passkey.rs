//! Passkeys of people (WebAuthn Level 3 §7): registered, listed, named, removed; and signing in with one.
//!
//! Anybody who is signed in may have passkeys, to say yes with. Signing in with one is for local people: whoever comes from an
//! outside issuer signs in there, so that leaving there is leaving here.

use super::challenge::{self, Challenge, ChallengeError, Purpose};
use super::invitation::{self, InvitationError};
use super::local::{self, Entering, Means};
use super::session::SignedIn;
use super::webauthn::{Registered, RelyingParty, Verified, WebauthnError, credential_of};
use crate::app::App;
use crate::directory::change::Work;
use crate::error::{Failure, Refusal};
use crate::issue::arrival::Arrival;
use crate::tenants::Served;
use chancery_core::approval::AgentText;
use chancery_core::event::{EventKind, Part, PartClass};
use chancery_core::id::{Id as _, PasskeyId, UserId};
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_oauth::authentication::guard;
use chancery_store::passkey::{self as store, PasskeyRow};
use chancery_store::{Outcome, Statement, consumed, guard as guards};
use std::sync::Arc;

/// Why a passkey did nothing.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// This server has no host name that passkeys could be bound to.
    #[error("passkeys need a host name, and this server is reached by an address")]
    NoHost,
    /// The challenge is not taken.
    #[error(transparent)]
    Challenge(#[from] ChallengeError),
    /// The answer is not acceptable, or the passkey is unknown here.
    #[error(transparent)]
    Answer(#[from] WebauthnError),
    /// The challenge was answered before.
    #[error("this was answered before; reload the page")]
    Replayed,
    /// The passkey is registered already.
    #[error("this passkey is registered already")]
    Taken,
    /// The person has as many as anybody may have.
    #[error("nobody has more than {MOST} passkeys")]
    TooMany,
    /// The one-time code does nothing.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The node cannot tell.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What a page needs to ask a passkey for something.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Carried by the form.
    pub ticket: String,
    /// What the browser is asked, as JSON.
    pub options: String,
}

/// The relying party of a tenant.
///
/// # Errors
/// [`PasskeyError::NoHost`].
pub(crate) fn relying_party(served: &Served) -> Result<RelyingParty, PasskeyError> {
    RelyingParty::of(&served.tenant.spec.base_url).ok_or(PasskeyError::NoHost)
}

/// Passkeys of a person, the oldest first.
///
/// # Errors
/// The database's.
pub async fn list(app: &App, served: &Served, person: UserId) -> Result<Vec<PasskeyRow>, Failure> {
    Ok(store::of_person(&app.db, served.tenant.id, person).await?)
}

/// What a page needs to have whoever is signed in register a passkey.
///
/// # Errors
/// [`PasskeyError::NoHost`]; the database's.
pub async fn offer(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    now: Timestamp,
) -> Result<Offer, PasskeyError> {
    let purpose = Purpose::Register(signed_in.session.id);
    let challenge = challenge::make(served, &*app.random, purpose, now);
    creation(app, served, &signed_in.user, challenge).await
}

/// The same for whoever holds a one-time code.
///
/// # Errors
/// As [`offer`].
pub async fn offer_to_invited(
    app: &App,
    served: &Served,
    (user, code, browser): (&User, &Secret<String>, &[u8; 32]),
    now: Timestamp,
) -> Result<Offer, PasskeyError> {
    let digest = invitation::digest(code);
    let purpose = Purpose::Enrol(browser, &digest);
    let challenge = challenge::make(served, &*app.random, purpose, now);
    creation(app, served, user, challenge).await
}

async fn creation(
    app: &App,
    served: &Served,
    user: &User,
    challenge: Challenge,
) -> Result<Offer, PasskeyError> {
    let known = known(app, served, user.id).await?;
    let about = (user.id, user.name.as_str());
    let options = relying_party(served)?.creation(about, &known, &challenge.bytes)?;
    Ok(Offer {
        ticket: challenge.ticket,
        options: options.to_string(),
    })
}

/// What a form sends back about a new passkey.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The ticket that the page carried.
    pub ticket: &'a str,
    /// What the browser answered, as JSON.
    pub credential: &'a str,
    /// What its owner calls it.
    pub name: &'a str,
}

/// Registers a passkey of whoever is signed in.
///
/// # Errors
/// Why it was not.
pub async fn register(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    answered: Answered<'_>,
    now: Timestamp,
) -> Result<(), PasskeyError> {
    let purpose = Purpose::Register(signed_in.session.id);
    let challenge = challenge::take(served, purpose, answered.ticket, now)?;
    let (_, statements) = registered(app, served, &signed_in.user, (&challenge, answered), now).await?;
    let mut batch = app.batch(now);
    for statement in guards::statements(served.tenant.id, &signed_in.guards) {
        batch = batch.guard(statement);
    }
    match app.commit(batch.extend(statements), &[]).await? {
        Outcome::Committed => Ok(()),
        Outcome::Refused { label, .. } => Err(refused(label)),
    }
}

/// Uses a one-time code to register a passkey, and signs its holder in.
///
/// # Errors
/// Why it was not.
pub async fn enrol(
    app: &App,
    served: &Served,
    (code, browser): (&Secret<String>, &[u8; 32]),
    answered: Answered<'_>,
    before: Option<&SignedIn>,
    now: Timestamp,
) -> Result<Secret<String>, PasskeyError> {
    let user = invitation::find(app, served, code, now).await?;
    let digest = invitation::digest(code);
    let challenge = challenge::take(served, Purpose::Enrol(browser, &digest), answered.ticket, now)?;
    let (registered, statements) = registered(app, served, &user, (&challenge, answered), now).await?;
    let means = Means::passkey(registered.is_synced);
    Ok(invitation::accept(app, served, (&user, code), (statements, means), before, now).await?)
}

/// What writes a new passkey, once.
async fn registered(
    app: &App,
    served: &Served,
    user: &User,
    (challenge, answered): (&Challenge, Answered<'_>),
    now: Timestamp,
) -> Result<(Registered, Vec<Statement>), PasskeyError> {
    let tenant = served.tenant.id;
    let known = known(app, served, user.id).await?;
    if known.len() >= MOST {
        return Err(PasskeyError::TooMany);
    }
    let about = (user.id, user.name.as_str());
    let party = relying_party(served)?;
    let registered = party.register(about, &known, &challenge.bytes, answered.credential)?;
    let row = PasskeyRow {
        id: PasskeyId::generate(now, &*app.random),
        person: user.id,
        name: named(answered.name),
        credential: registered.credential.clone(),
        content: registered.content.clone(),
        signs_in: local::is_local(user),
        created_at: now,
        used_at: None,
    };
    let content = chancery_audit::Registered {
        credential: chancery_audit::assertion::Bytes(registered.credential.clone()),
        key: registered.key.clone(),
    };
    let part = Part {
        name: "passkey",
        class: PartClass::Personal,
        content: serde_json::to_string(&content).map_err(Failure::internal)?,
    };
    let kind = (EventKind::PasskeyAdded, (user.id, row.id));
    let statements = vec![
        challenge.spend(tenant),
        store::insert(tenant, &row),
        happened(app, served, kind, vec![part], now)?,
    ];
    Ok((registered, statements))
}

/// What a page needs to have somebody sign in with a passkey.
///
/// # Errors
/// [`PasskeyError::NoHost`].
pub fn offer_sign_in(
    app: &App,
    served: &Served,
    browser: &[u8; 32],
    now: Timestamp,
) -> Result<Offer, PasskeyError> {
    let challenge = challenge::make(served, &*app.random, Purpose::SignIn(browser), now);
    let options = relying_party(served)?.request(&[], &challenge.bytes)?;
    Ok(Offer {
        ticket: challenge.ticket,
        options: options.to_string(),
    })
}

/// Signs a local person in with a passkey.
///
/// # Errors
/// Why nobody is signed in. A passkey that is unknown is as one that does not fit.
pub async fn sign_in(
    app: &App,
    served: &Served,
    (ticket, credential): (&str, &str),
    (browser, before): (&[u8; 32], Option<&SignedIn>),
    arrival: Arrival,
) -> Result<Secret<String>, PasskeyError> {
    let now = arrival.now;
    let challenge = challenge::take(served, Purpose::SignIn(browser), ticket, now)?;
    let found = prove(app, served, &challenge, credential).await;
    let (user, row, verified) = match found {
        Ok(found) => found,
        Err(error @ PasskeyError::Answer(_)) => {
            local::note_failure(app, served, (None, "the passkey is not acceptable"), arrival).await?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    if verified.went_back {
        tracing::warn!(passkey = %row.id, "the counter of a passkey went back: there may be a copy of it");
    }
    let entering = Entering {
        user: &user,
        issuer: None,
        guards: vec![guard(Noun::User, &user)],
        means: Means::passkey(verified.is_synced),
        statements: vec![
            challenge.spend(served.tenant.id),
            store::note_use(served.tenant.id, row.id, &verified.content, now),
        ],
        work: Work::default(),
    };
    let entered = local::enter(app, served, entering, before, now).await;
    entered.map_err(|failure| match failure {
        Failure::Stale(_) => PasskeyError::Replayed,
        other @ (Failure::OAuth(_)
        | Failure::Refused(_)
        | Failure::Denied(_)
        | Failure::Database(_)
        | Failure::KeyService(_)
        | Failure::Limited(_)
        | Failure::Start(_)
        | Failure::Internal(_)) => PasskeyError::Failure(other),
    })
}

async fn prove(
    app: &App,
    served: &Served,
    challenge: &Challenge,
    credential: &str,
) -> Result<(Arc<User>, PasskeyRow, Verified), PasskeyError> {
    let tenant = served.tenant.id;
    let id = credential_of(credential)?;
    let row = store::find_by_credential(&app.db, tenant, &id)
        .await
        .map_err(Failure::from)?;
    let row = row.filter(|row| row.signs_in).ok_or(WebauthnError::Refused)?;
    let about = (row.person, row.content.as_str());
    let verified = relying_party(served)?.verify(about, &challenge.bytes, credential)?;
    let user = app.directory.users.find(tenant, row.person).await?;
    let user = user
        .filter(|user| user.state.is_active() && local::is_local(user))
        .ok_or(WebauthnError::Refused)?;
    Ok((user, row, verified))
}

/// Gives a passkey of whoever is signed in another name.
///
/// # Errors
/// It is gone; the database's.
pub async fn rename(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (id, name): (PasskeyId, &str),
    now: Timestamp,
) -> Result<(), Failure> {
    let person = signed_in.user.id;
    let kind = (EventKind::PasskeyRenamed, (person, id));
    let batch = app
        .batch(now)
        .push(store::rename(served.tenant.id, person, id, &named(name)))
        .push(happened(app, served, kind, Vec::new(), now)?);
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(()),
        Outcome::Refused { .. } => Err(unknown(id)),
    }
}

/// Removes a passkey of whoever is signed in. Everything that hangs on the person ends, and this browser goes on in a new
/// session.
///
/// # Errors
/// It is gone; the database's.
pub async fn remove(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    id: PasskeyId,
    now: Timestamp,
) -> Result<Secret<String>, Failure> {
    let (tenant, person) = (served.tenant.id, signed_in.user.id);
    if !list(app, served, person).await?.iter().any(|row| row.id == id) {
        return Err(unknown(id));
    }
    let kind = (EventKind::PasskeyRemoved, (person, id));
    let statements = vec![
        store::remove(tenant, person, id),
        happened(app, served, kind, Vec::new(), now)?,
    ];
    local::go_on(app, served, signed_in, statements, now).await
}

async fn known(app: &App, served: &Served, person: UserId) -> Result<Vec<Vec<u8>>, Failure> {
    let rows = list(app, served, person).await?;
    Ok(rows.into_iter().map(|row| row.credential).collect())
}

fn happened(
    app: &App,
    served: &Served,
    (kind, (person, passkey)): (EventKind, (UserId, PasskeyId)),
    parts: Vec<Part>,
    now: Timestamp,
) -> Result<Statement, Failure> {
    let ids = vec![("user", person.to_string()), ("passkey", passkey.to_string())];
    local::happened_with(app, served, (kind, person), (ids, parts), now)
}

/// What a passkey is called: one plain line.
fn named(name: &str) -> String {
    let clean = AgentText::clean(name).map(|text| text.as_str().chars().take(60).collect());
    clean.unwrap_or_else(|| "Passkey".to_owned())
}

fn refused(label: &'static str) -> PasskeyError {
    match label {
        consumed::REPLAYED => PasskeyError::Replayed,
        store::TAKEN => PasskeyError::Taken,
        _ => Failure::Stale("what the passkey relies on changed just now").into(),
    }
}

fn unknown(id: PasskeyId) -> Failure {
    Refusal::Unknown {
        what: "passkey",
        name: id.to_string(),
    }
    .into()
}

/// How many passkeys a person may have.
const MOST: usize = 20;
