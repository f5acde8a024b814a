//! Forgetting what has ended by itself (consumed assertions, revoked tokens, idempotency answers, old changes)
//! moving signing keys and rotations of the vault on, and telling how much was refused and not recorded one by one.

use crate::app::App;
use crate::connect::disconnect;
use crate::error::Failure;
use crate::govern::{destruction, keys, rotation};
use crate::issue::agreement::LONGEST;
use crate::issue::flood;
use crate::limits::refused;
use crate::people::password::FORGOTTEN_AFTER;
use crate::registration::overdue;
use chancery_core::session::ABSOLUTE;
use chancery_core::time::Ttl;
use chancery_store::{
    authorization, begun_connect, change, consumed, device_code, idempotency, invitation, passkey, password,
    refresh_token, sign_in,
};
use chancery_store::{prune_families, prune_sessions};

/// Runs once.
///
/// # Errors
/// The database's.
pub async fn run(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    flood::record_omitted(app).await?;
    refused::record(app).await?;
    // What began before this is over, with a day to look at it.
    let ended = |longest: Ttl| now.minus(longest).minus(Ttl::from_days(1));
    let batch = app
        .batch(now)
        .extend(consumed::prune(now))
        .push(idempotency::prune(now))
        .push(sign_in::prune(now))
        .push(begun_connect::prune(now))
        .push(invitation::prune(now))
        .push(password::prune(now.minus(FORGOTTEN_AFTER)))
        .push(passkey::prune_assertions())
        .extend(authorization::prune(now, now.minus(Ttl::from_days(1))))
        .push(device_code::prune(now, now.minus(Ttl::from_days(1))))
        .push(refresh_token::prune(now))
        .extend(prune_sessions(ended(ABSOLUTE)))
        .push(prune_families(ended(LONGEST)))
        .push(change::prune(now.minus(Ttl::from_days(1))));
    let _ = app.db.commit(batch).await?;
    app.db.prune_batches(now.minus(Ttl::from_days(1))).await?;
    crate::approve::expire::run(app).await?;
    for served in app.tenants.all() {
        keys::advance(app, &served, now).await?;
        disconnect::finish_left(app, &served, now).await?;
    }
    overdue::run(app, now).await?;
    // SECURITY: a token revoked while the list is read is not on it, and must not be forgotten for that.
    let known = app.directory.revoked_tokens();
    let revoked = change::revoked_tokens(&app.db, now).await?;
    let revoked = revoked.into_iter().map(|(tenant, token, _)| (tenant, token));
    app.directory.replace_revoked(&known, revoked);
    destruction::run(app, now).await?;
    rotation::settle_roots(app).await?;
    rotation::finish_all(app, now).await
}

pub(super) async fn run_logged(app: &App) {
    if let Err(error) = run(app).await {
        tracing::warn!(%error, "what has expired could not be removed");
    }
}
