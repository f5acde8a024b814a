//! Giving an account up: it ends for good at once; then what is held of it is revoked at its provider (RFC 7009), and
//! whether it was is told; then it is deleted.
//!
//! What was not revoked there stays good there until it ends by itself. A death in between leaves the sealed tokens, and
//! a job goes on.

use super::provider::{AskError, ReadyProvider};
use super::tokens::HeldTokens;
use super::{bound_to, key, open};
use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::connected_account::{ConnectedAccount, ConnectedAccountSpec};
use chancery_core::connection::{ConnectionSpec, CredentialKind};
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::{connected_account as store, provider_token, record as records};
use chancery_vault::Sealed;
use serde::Serialize;
use serde_json::json;

/// An account that was given up.
#[derive(Debug, Serialize)]
pub struct Disconnected {
    /// The account.
    #[serde(flatten)]
    pub account: ConnectedAccount,
    /// What became of its tokens at the provider; nothing for a key, which nobody can take back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
}

/// What became of tokens at their provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Revocation {
    /// They are revoked there.
    Revoked,
    /// They are not, and stay good there until they end by themselves or are revoked there by hand.
    NotRevoked {
        /// Why.
        reason: String,
    },
}

/// Gives an account up.
///
/// # Errors
/// No such account; policy's refusal; the database's.
pub async fn disconnect(
    app: &App,
    served: &Served,
    caller: &Caller,
    named: &str,
) -> Result<Disconnected, Failure> {
    let old = change::load::<ConnectedAccountSpec>(app, served.tenant.id, named).await?;
    let planned = change::plan_step::<ConnectedAccountSpec>(app, served, caller, old, Change::Retired)?;
    end(app, served, caller, planned).await
}

async fn end(
    app: &App,
    served: &Served,
    caller: &Caller,
    (account, step): (ConnectedAccount, Work),
) -> Result<Disconnected, Failure> {
    let tenant = served.tenant.id;
    let held = provider_token::find(&app.db, tenant, account.id).await?;
    if held.is_none() {
        let delete = store::delete_sealed(tenant, account.id);
        let mut work = Work::on((Noun::ConnectedAccount, &account.name), vec![delete], Vec::new());
        work.extend(step);
        change::commit(app, caller, work).await?;
        return Ok(Disconnected {
            account,
            revocation: None,
        });
    }

    // 1. Nothing of it opens any more, here or on any other node.
    let begun = provider_token::begin_revocation(tenant, account.id, caller.now);
    let mut work = Work::on((Noun::ConnectedAccount, &account.name), vec![begun], Vec::new());
    work.extend(step);
    change::commit(app, caller, work).await?;

    // 2. There.
    let revocation = revoke(app, served, &account, caller.now).await?;
    Ok(Disconnected {
        account,
        revocation: Some(revocation),
    })
}

/// Gives up an account of the person's own: what a person connected, the person may take back.
///
/// # Errors
/// An account of somebody else is as unknown as one that does not exist.
pub async fn disconnect_own(
    app: &App,
    served: &Served,
    signed_in: &crate::people::session::SignedIn,
    named: &str,
    now: Timestamp,
) -> Result<Disconnected, Failure> {
    let old = change::load::<ConnectedAccountSpec>(app, served.tenant.id, named).await?;
    if !key::is_of(&old, &signed_in.user.name) || old.state == Lifecycle::Retired {
        return Err(Refusal::NotFound {
            noun: Noun::ConnectedAccount,
            name: named.to_owned(),
        }
        .into());
    }
    let account = ConnectedAccount {
        state: Lifecycle::Retired,
        generation: old.generation + 1,
        version: old.version + 1,
        updated_at: now,
        ..old
    };
    let caller = signed_in.caller(now);
    let written = (Change::Retired, records::update(served.tenant.id, &account));
    let step = change::recorded(app, served, &caller, &account, written)?;
    end(app, served, &caller, (account, step)).await
}

/// Goes on with what a node that died has left.
///
/// # Errors
/// The database's.
pub async fn finish_left(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let before = (now.minus(LEFT_AFTER), AT_ONCE);
    for id in provider_token::left_revoking(&app.db, tenant, before).await? {
        if let Some(account) = records::find_by_id::<ConnectedAccountSpec>(&app.db, tenant, id).await? {
            revoke(app, served, &account, now).await?;
        }
    }
    Ok(())
}

/// Revokes at the provider, records what came of it, and deletes what was held.
async fn revoke(
    app: &App,
    served: &Served,
    account: &ConnectedAccount,
    now: Timestamp,
) -> Result<Revocation, Failure> {
    let tenant = served.tenant.id;
    let revocation = match ask(app, served, account, now).await {
        Ok(()) => Revocation::Revoked,
        Err(error) => Revocation::NotRevoked {
            reason: error.to_string(),
        },
    };
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::AccountRevoked,
        outcome: match revocation {
            Revocation::Revoked => EventOutcome::Ok,
            Revocation::NotRevoked { .. } => EventOutcome::Failed,
        },
        actor: Actor::System(SystemActor::Connections),
        ids: vec![("account", account.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "revocation",
            class: PartClass::Operational,
            content: json!(revocation).to_string(),
        }],
    };
    let batch = app
        .batch(now)
        .push(store::delete_sealed(tenant, account.id))
        .push(provider_token::delete(tenant, account.id))
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    let _ = app.commit(batch, &[]).await?;
    Ok(revocation)
}

async fn ask(app: &App, served: &Served, account: &ConnectedAccount, now: Timestamp) -> Result<(), AskError> {
    let tenant = served.tenant.id;
    let name = account.spec.connection.as_str();
    let connection = change::load::<ConnectionSpec>(app, tenant, name).await?;
    if matches!(connection.spec.credential, CredentialKind::AppInstallation(_)) {
        return Err(AskError::EndByThemselves);
    }
    let found = provider_token::find_with_sealed(&app.db, tenant, account.id).await;
    let Some((_, sealed)) = found.map_err(Failure::from)? else {
        // Named, and never used: the provider gave nothing.
        return Ok(());
    };
    let spec = connection.spec.credential.oauth().ok_or(AskError::NoEndpoint)?;
    let owner = key::owner_id(app, served, &account.spec.owner).await?;
    // SECURITY: bound to where the connection goes now: if that was changed, nothing opens, and nothing is sent there.
    let fingerprint = super::destination_fingerprint(&connection.spec);
    let bound = bound_to(tenant, (account.id, owner), (connection.id, fingerprint));
    let sealed = Sealed::parse(&sealed).map_err(Failure::internal)?;
    let content = open::unseal(app, served, &bound, &sealed)
        .await
        .map_err(|_| AskError::Moved)?;
    let held = HeldTokens::read(&content)?;
    let provider = ReadyProvider::of(app, served, (&connection, spec), now).await?;
    provider.revoke(&held).await
}

/// How long a revocation may take before it is taken for left behind.
const LEFT_AFTER: Ttl = Ttl::from_minutes(1);
const AT_ONCE: u32 = 100;
