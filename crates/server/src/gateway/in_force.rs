//! Whether a call that is under way is still allowed: asked again and again while its answer is handed on, by gateway
//! and broker alike. It decides nothing anew; what was decided ends when what it hangs on ends.

use crate::app::App;
use crate::directory::lineage;
use crate::gateway::relay::Fault;
use crate::tenants::Served;
use chancery_oauth::claims::OwnToken;
use chancery_policy::UsePermit;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// INVARIANT: an open stream ends when anything that its call hangs on is revoked, within the bound of the
/// revocation feed and one look.
///
/// # Errors
/// [`Fault::Revoked`]: nothing more is handed on.
pub async fn check(app: &App, served: &Served, token: &OwnToken, permit: &UsePermit) -> Result<(), Fault> {
    let now = app.serving_now().map_err(|_| Fault::Revoked)?;
    let tenant = served.tenant.id;
    let is_over = token.expires_at <= now;
    let is_revoked = app.directory.is_revoked(tenant, token.id).unwrap_or(true);
    if is_over || is_revoked {
        return Err(Fault::Revoked);
    }
    match lineage::check(app, tenant, &permit.plan().lineage).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => Err(Fault::Revoked),
    }
}

/// When to look: at once, and then every second.
pub fn looks() -> Interval {
    let mut looks = interval(RECHECK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// How often an open stream looks whether it is still allowed.
const RECHECK: Duration = Duration::from_secs(1);
