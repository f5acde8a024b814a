//! Inviting a local person: an administrator makes a one-time code, and whoever holds it sets a password or registers a
//! passkey, and is signed in. The same resets an account: what the person signed in with before ends with the new code.
//!
//! The code is never part of an address: it is typed or pasted into a page.

use super::held_passkeys;
use super::local::{self, Entering, Means};
use super::password::{self, PasswordError, PasswordRule};
use super::session::SignedIn;
use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::people::hashing::HashingError;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::event::{Change, EventKind};
use chancery_core::noun::Noun;
use chancery_core::secret::{Secret, TokenDigest, generate};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::{User, UserSpec};
use chancery_oauth::authentication::guard;
use chancery_store::invitation::{self as store, OpenInvitation};
use chancery_store::{Statement, passkey, password as passwords};
use std::sync::Arc;

/// A code that was made.
#[derive(Debug)]
pub struct Invitation {
    /// Whose it is.
    pub user: User,
    /// The code, shown once. Somebody whom an outside issuer vouches for gets none.
    pub code: Option<Secret<String>>,
    /// Where it is used.
    pub page: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Ends whatever a person signed in with, and everything that hangs on them; a local person gets a code to begin anew.
///
/// # Errors
/// A person who is not active; policy's refusal; the database's.
pub async fn invite(app: &App, served: &Served, caller: &Caller, named: &str) -> Result<Invitation, Failure> {
    let (tenant, now) = (served.tenant.id, caller.now);
    let user = change::load::<UserSpec>(app, tenant, named).await?;
    if !user.state.is_active() {
        let text = format!("user `{}` is {}: chancery user activate", user.name, user.state);
        return Err(Refusal::Invalid(text).into());
    }
    let about = (Noun::User, &user.name.clone());
    let (user, work) = change::plan_step::<UserSpec>(app, served, caller, user, Change::SecretReset)?;

    let mut statements = vec![
        passwords::remove(tenant, user.id),
        passkey::remove_all(tenant, user.id),
        store::remove(tenant, user.id),
    ];
    // Each is gone by name, so that a yes that one of them signs later is found in the log.
    for row in passkey::of_person(&app.db, tenant, user.id).await? {
        statements.push(held_passkeys::removed(app, served, caller, (user.id, row.id))?);
    }
    let expires_at = now.plus(LIFETIME);
    let code = local::is_local(&user).then(|| generate(PREFIX, &*app.random));
    if let Some(code) = &code {
        let open = OpenInvitation {
            person: user.id,
            generation: user.generation,
        };
        statements.push(store::insert(tenant, &digest(code), &open, expires_at));
    }
    let mut all = Work::on(about, statements, Vec::new());
    all.extend(work);
    change::commit(app, caller, all).await?;
    Ok(Invitation {
        user,
        code,
        page: format!("{}/enrol", served.tenant.spec.base_url),
        expires_at,
    })
}

/// Why a code does nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// It is unknown, used or over.
    #[error("this code is unknown, was used, or is over")]
    Over,
    /// The password may not be set.
    #[error(transparent)]
    Password(#[from] PasswordRule),
    /// Too many people sign in at once.
    #[error("too many people sign in at once; try again")]
    Busy,
    /// The node cannot tell.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<HashingError> for InvitationError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Failure(failure) => Self::Failure(failure),
        }
    }
}

impl From<PasswordError> for InvitationError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Wrong | PasswordError::TooSoon(_) => Self::Over,
            PasswordError::Busy => Self::Busy,
            PasswordError::Rule(rule) => Self::Password(rule),
            PasswordError::Failure(failure) => Self::Failure(failure),
        }
    }
}

/// The person of a code that can be used now.
///
/// # Errors
/// [`InvitationError::Over`], whatever the reason.
pub async fn find(
    app: &App,
    served: &Served,
    code: &Secret<String>,
    now: Timestamp,
) -> Result<Arc<User>, InvitationError> {
    let tenant = served.tenant.id;
    let open = store::find(&app.db, tenant, &digest(code), now)
        .await
        .map_err(Failure::from)?;
    let open = open.ok_or(InvitationError::Over)?;
    let user = app.directory.users.find(tenant, open.person).await?;
    user.filter(|user| user.state.is_active() && user.generation == open.generation && local::is_local(user))
        .ok_or(InvitationError::Over)
}

/// Uses a code to set a password, and signs its holder in.
///
/// # Errors
/// Why it did nothing; the code can be used again unless it is over.
pub async fn set_password(
    app: &App,
    served: &Served,
    (code, password): (&Secret<String>, &Secret<String>),
    before: Option<&SignedIn>,
    now: Timestamp,
) -> Result<Secret<String>, InvitationError> {
    let tenant = served.tenant.id;
    let user = find(app, served, code, now).await?;
    password::check(&app.known_passwords, &user.spec.subject, password)?;
    let hash = app.hashing.hash(password, &*app.random).await?;
    let statements = vec![
        passwords::put(tenant, user.id, &hash, now),
        local::happened(app, served, (EventKind::PasswordSet, user.id), now)?,
    ];
    accept(
        app,
        served,
        (&user, code),
        (statements, Means::password()),
        before,
        now,
    )
    .await
}

/// Spends a code with what its holder signs in with from now on.
pub(super) async fn accept(
    app: &App,
    served: &Served,
    (user, code): (&User, &Secret<String>),
    (mut statements, means): (Vec<Statement>, Means),
    before: Option<&SignedIn>,
    now: Timestamp,
) -> Result<Secret<String>, InvitationError> {
    statements.insert(0, store::spend(served.tenant.id, &digest(code), now));
    let entering = Entering {
        user,
        issuer: None,
        guards: vec![guard(Noun::User, user)],
        means,
        statements,
        work: Work::default(),
    };
    let entered = local::enter(app, served, entering, before, now).await;
    entered.map_err(|failure| match failure {
        // Somebody else used it meanwhile, or the person changed: either way it is over.
        Failure::Stale(_) => InvitationError::Over,
        other @ (Failure::OAuth(_)
        | Failure::Refused(_)
        | Failure::Denied(_)
        | Failure::Database(_)
        | Failure::KeyService(_)
        | Failure::Limited(_)
        | Failure::Start(_)
        | Failure::Internal(_)) => InvitationError::Failure(other),
    })
}

/// The digest of a code, as it is stored.
pub(super) fn digest(code: &Secret<String>) -> TokenDigest {
    TokenDigest::new(sha256(code.expose_secret().trim().as_bytes()))
}

/// Lets secret scanners recognise a code.
const PREFIX: &str = "civ_";
/// How long a code can be used.
pub const LIFETIME: Ttl = Ttl::from_days(3);
