//! Ending requests that nobody answered or used in time, and forgetting those that ended long ago.

use crate::app::App;
use crate::approve::request;
use crate::error::Failure;
use chancery_core::time::Ttl;
use chancery_store::{approval, outbox};

/// Ends what is over.
///
/// # Errors
/// The database's.
pub async fn run(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    for (tenant, row) in approval::overdue(&app.db, now, PORTION).await? {
        let Some(served) = app.tenants.find(tenant) else {
            continue;
        };
        let batch = app
            .batch(now)
            .push(approval::expire(tenant, row.id, row.state, now))
            .push(request::expired(app, &served, row.id, now)?);
        // Refused: somebody answered or used it at the last moment.
        let _ = app.commit(batch, &[]).await?;
    }
    let batch = app
        .batch(now)
        .extend(approval::prune(now.minus(KEPT)))
        .push(outbox::prune(now.minus(KEPT)));
    let _ = app.db.commit(batch).await?;
    Ok(())
}

const PORTION: u32 = 500;
/// How long a request that ended can be looked at outside of the log.
const KEPT: Ttl = Ttl::from_days(30);
