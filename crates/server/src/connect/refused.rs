//! A provider's interface did not take the token of a call (RFC 6750 §3.1): it is over before its time, and is not used
//! again. The next call gets another, or the owner is asked to connect again.
//!
//! A token that is so new that it cannot be what is refused stays. Keys are nobody's to judge: what is answered to them is
//! handed on.

use super::installation;
use super::refresh::Refresh;
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::event::{EventKind, EventOutcome};
use chancery_core::time::Ttl;
use chancery_policy::UsePermit;
use chancery_store::provider_token as store;
use std::sync::Arc;

/// What the caller is told whose token the interface did not take; nothing where the credential is no token of a provider.
/// The caller's own token is not at fault, so the status of the interface is never the caller's.
pub async fn refused(app: &Arc<App>, served: &Arc<Served>, permit: &UsePermit) -> Option<Failure> {
    match over(app, served, permit).await {
        Ok(refusal) => refusal.map(Failure::from),
        Err(failure) => Some(failure),
    }
}

async fn over(app: &Arc<App>, served: &Arc<Served>, permit: &UsePermit) -> Result<Option<Refusal>, Failure> {
    let Some(work) = Refresh::of(app, served, permit).await? else {
        return Ok(None);
    };
    let (tenant, account, now) = (served.tenant.id, work.account.id, permit.plan().now);
    let before = now.minus(NEW_FOR);
    let event = work.event(EventKind::AccountRefused, EventOutcome::Ok, now, None)?;
    if let Some(wanted) = installation::wanted(permit, &work.connection)? {
        if installation::forget(app, &wanted, before) {
            let _ = app.commit(app.batch(now).push(event), &[]).await?;
        }
        return Ok(Some(work.unavailable()));
    }
    let over = store::refuse(tenant, account, (before, WHY), now);
    let batch = app.batch(now).push(over).push(event);
    if !app.commit(batch, &[]).await?.is_committed() {
        return Ok(Some(work.unavailable()));
    }
    let row = store::find(&app.db, tenant, account).await?;
    if row.is_some_and(|row| row.is_usable(now)) {
        // The next call refreshes it.
        return Ok(Some(work.unavailable()));
    }
    work.lack().await.map(Some)
}

/// How long a token is new: what an interface refuses then is not the token.
const NEW_FOR: Ttl = Ttl::from_minutes(1);
const WHY: &str = "the provider's interface did not take the token";
