//! Tokens of a GitHub App's installation: one for each thing that calls need it for, as narrow as that, kept in memory and
//! sealed there, and asked for again ahead of its end (GitHub REST, "Create an installation access token for an app").
//!
//! Two nodes may each have one: they do not end each other. None of them can be taken back from here once its node has
//! forgotten it; each ends by itself within the hour.

use super::client_secret;
use super::find::guarded;
use super::open::unseal;
use super::private_key::PrivateKey;
use super::provider::AskError;
use super::refresh::{AHEAD, NOT_BEFORE, Refresh, Turns};
use super::source::{ASSERTION, NotRefreshed};
use super::tokens::HeldTokens;
use crate::app::App;
use crate::egress::provider::ProviderQuestion;
use crate::error::Failure;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::connection::{Connection, CredentialKind, InstallationSpec, Narrowed};
use chancery_core::event::{EventKind, EventOutcome};
use chancery_core::id::{ConnectedAccountId, Id as _, TenantId};
use chancery_core::noun::Noun;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_oauth::installation::InstallationToken;
use chancery_policy::UsePermit;
use chancery_store::provider_token as store;
use chancery_vault::{AssociatedData, Sealed};
use quick_cache::sync::Cache;
use serde_json::json;
use std::sync::Arc;

/// Tokens of installations as this node has them.
#[derive(Debug)]
pub(super) struct Tokens {
    kept: Cache<Key, Arc<Kept>>,
    turns: Turns<Key>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            kept: Cache::new(MAX_KEPT),
            turns: Turns::default(),
        }
    }
}

/// Tenant, account, and the digest of the versions that were decided on and what the token is for.
type Key = (TenantId, ConnectedAccountId, [u8; 32]);

/// What came of asking.
#[derive(Debug)]
enum Kept {
    /// Sealed, since when, until when.
    Token(Sealed, Timestamp, Timestamp),
    /// Nobody asks again before this.
    Failed(Timestamp),
}

/// What a permit needs of an installation.
#[derive(Debug)]
pub(super) struct Wanted {
    key: Key,
    spec: InstallationSpec,
    narrowed: Narrowed,
}

/// What a permit needs, if its connection is an installation.
///
/// # Errors
/// A permit that does not guard what it names.
pub(super) fn wanted(permit: &UsePermit, connection: &Connection) -> Result<Option<Wanted>, Failure> {
    let CredentialKind::AppInstallation(spec) = &connection.spec.credential else {
        return Ok(None);
    };
    let plan = permit.plan();
    let broken = || Failure::Internal("a permit does not guard its installation".to_owned());
    let account = plan.connection.as_ref().and_then(|usage| usage.account);
    let account = account.ok_or_else(broken)?.id;
    let version = |noun, id: &[u8; 16]| guarded(&plan.guards, noun, id).ok_or_else(broken);
    let call = permit.decision().facts.call.as_ref();
    let request = call.and_then(|call| Some((call.method.as_deref()?, call.path.as_deref()?)));
    let narrowed = spec.narrowed(request);
    let about = json!([
        version(Noun::Connection, connection.id.as_bytes())?,
        version(Noun::ConnectedAccount, account.as_bytes())?,
        narrowed,
    ]);
    Ok(Some(Wanted {
        key: (plan.tenant, account, sha256(about.to_string().as_bytes())),
        spec: (**spec).clone(),
        narrowed,
    }))
}

/// Makes sure that there is a token for this.
///
/// # Errors
/// GitHub gives none; the database's.
pub(super) async fn ensure(work: &Refresh, wanted: &Wanted, now: Timestamp) -> Result<(), Failure> {
    let app = work.app.clone();
    let tokens = &app.refreshes.installations;
    let is_good = |kept: &Kept| match kept {
        Kept::Token(_, _, until) => now.plus(AHEAD) < *until,
        Kept::Failed(_) => false,
    };
    if tokens.kept.get(&wanted.key).is_some_and(|kept| is_good(&kept)) {
        return Ok(());
    }
    // One at a time for each, on this node: whoever waited finds what the first was given.
    let turn = tokens.turns.of(wanted.key);
    let _turn = turn.lock().await;
    match tokens.kept.get(&wanted.key).as_deref() {
        Some(kept) if is_good(kept) => return Ok(()),
        Some(Kept::Failed(before)) if now < *before => return Err(work.unavailable().into()),
        Some(Kept::Token(..) | Kept::Failed(_)) | None => {}
    }

    // Recorded before and after, as every token is.
    let what = Some(json!({ "asked": wanted.narrowed }).to_string());
    let begun = work.event(EventKind::AccountRefreshing, EventOutcome::Ok, now, what)?;
    if !app.commit(app.batch(now).push(begun), &[]).await?.is_committed() {
        return Err(work.unavailable().into());
    }
    let asked = ask(work, wanted, now).await;
    let (kept, error) = match asked {
        Ok((sealed, until)) => (Kept::Token(sealed, now, until), None),
        Err(error) => (Kept::Failed(now.plus(NOT_BEFORE)), Some(error.to_string())),
    };
    let (outcome, what) = match (&kept, &error) {
        (Kept::Token(_, _, until), _) => (EventOutcome::Ok, json!({ "expires_at": until })),
        (Kept::Failed(_), error) => (EventOutcome::Failed, json!({ "error": error })),
    };
    let ended = work.event(EventKind::AccountRefreshed, outcome, now, Some(what.to_string()))?;
    let note = store::note(wanted.key.0, wanted.key.1, error.as_deref(), now);
    if !app
        .commit(app.batch(now).push(note).push(ended), &[])
        .await?
        .is_committed()
    {
        // The account was given up meanwhile.
        return Err(Failure::Stale("the account was changed"));
    }
    tokens.kept.insert(wanted.key, Arc::new(kept));
    match error {
        None => Ok(()),
        Some(_) => Err(work.unavailable().into()),
    }
}

/// Opens the token for this.
///
/// # Errors
/// There is none any more; it was sealed for something else.
pub(super) async fn open(
    app: &App,
    served: &Served,
    wanted: &Wanted,
    bound: &AssociatedData,
) -> Result<Secret<Vec<u8>>, Failure> {
    match app.refreshes.installations.kept.get(&wanted.key).as_deref() {
        Some(Kept::Token(sealed, ..)) => {
            let opened = unseal(app, served, bound, sealed).await;
            // The tenant's key was replaced since: the next call asks for another.
            opened.map_err(|_| {
                app.refreshes.installations.kept.remove(&wanted.key);
                Failure::Stale("the installation's token was sealed with a key that is gone")
            })
        }
        Some(Kept::Failed(_)) | None => Err(Failure::Stale("the installation's token is gone")),
    }
}

/// Forgets a token that GitHub did not take, if it is from before a moment.
pub(super) fn forget(app: &App, wanted: &Wanted, before: Timestamp) -> bool {
    let kept = &app.refreshes.installations.kept;
    let is_older = |found: &Kept| matches!(found, Kept::Token(_, since, _) if *since <= before);
    kept.get(&wanted.key).is_some_and(|found| is_older(&found)) && kept.remove(&wanted.key).is_some()
}

/// Proves that we are the app (RFC 7519, RS256), and asks for a token for this and no more.
async fn ask(work: &Refresh, wanted: &Wanted, now: Timestamp) -> Result<(Sealed, Timestamp), NotRefreshed> {
    let (app, served) = (&*work.app, &*work.served);
    let opened = client_secret::open(app, served, &work.connection).await;
    let key = PrivateKey::read(&opened.map_err(AskError::from)?, TokenAlgorithm::Rs256, None);
    let key = key.map_err(|error| AskError::Failure(Failure::internal(error)))?;
    let assertion = key.sign(&json!({
        "iss": wanted.spec.issuer,
        // GitHub's clock may be behind ours.
        "iat": now.minus(ASSERTION).as_seconds(),
        "exp": now.plus(ASSERTION).as_seconds(),
    }));
    let assertion = assertion.map_err(AskError::from)?;
    let url = wanted.spec.token_endpoint();
    let question = ProviderQuestion::Json {
        bearer: &assertion,
        body: json!(wanted.narrowed),
    };
    let answer = app.egress.ask_provider(&served.tenant.name, &url, question).await;
    let answer = answer.map_err(AskError::from)?;
    let token = InstallationToken::read(answer.read(), &wanted.narrowed).map_err(AskError::from)?;
    let held = HeldTokens {
        access_token: token.access_token,
        refresh_token: None,
        token_endpoint: url,
        revocation_endpoint: None,
    };
    // Sealed with the key that the tenant has now: it may have been replaced meanwhile.
    let current = app.tenants.find(served.tenant.id);
    let sealed = held.seal(app, current.as_deref().unwrap_or(served), &work.bound());
    let sealed = Sealed::parse(&sealed.map_err(AskError::from)?);
    let sealed = sealed.map_err(|error| AskError::Failure(Failure::internal(error)))?;
    Ok((sealed, token.expires_at))
}

const MAX_KEPT: usize = 10_000;
