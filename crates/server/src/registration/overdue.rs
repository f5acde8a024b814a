//! Ending what nobody adopted: a client that registered itself and still waits after its time is retired. One from a
//! metadata document only leaves the count of those that wait; its URL must not become a tombstone for that.

use super::manage;
use crate::app::App;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::client::{ClientSpec, Provenance};
use chancery_core::noun::Lifecycle;
use chancery_core::time::Timestamp;
use chancery_store::record;

/// Ends what has waited too long, of every tenant.
///
/// # Errors
/// The database's.
pub async fn run(app: &App, now: Timestamp) -> Result<(), Failure> {
    for served in app.tenants.all() {
        of_one(app, &served, now).await?;
    }
    Ok(())
}

async fn of_one(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    for id in chancery_store::list_overdue(&app.db, tenant, now).await? {
        let client = record::find_by_id::<ClientSpec>(&app.db, tenant, id).await?;
        let waits = |state| state == Lifecycle::Staged;
        let client =
            client.filter(|client| waits(client.state) && client.spec.provenance == Provenance::Registered);
        let Some(client) = client else {
            let settled = chancery_store::settle_registration(tenant, id);
            let _ = app.commit(app.batch(now).push(settled), &[]).await?;
            continue;
        };
        match manage::retire(app, served, client, now).await {
            // Another node, or whoever adopts it meanwhile, may be first.
            Err(Failure::Refused(_)) | Ok(()) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
