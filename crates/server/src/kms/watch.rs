//! Waiting for a key service that fails: it is asked again until it answers, and then what waited for it is opened.

use super::{Patience, ServiceKey};
use crate::app::App;
use crate::error::Failure;
use chancery_store::key;
use chancery_vault::Binding;

/// Asks key services that fail, and opens tenants' keys that wait. It does nothing where all is well.
///
/// # Errors
/// The database's.
pub async fn watch(app: &App) -> Result<(), Failure> {
    let roots = app.tenants.roots();
    for service in roots.services().filter(|service| service.is_failing()) {
        probe(app, service).await?;
    }
    if roots.services().any(ServiceKey::is_failing) {
        return Ok(());
    }
    for tenant in app.tenants.waiting() {
        app.tenants.reload_one(&app.db, tenant).await?;
    }
    Ok(())
}

/// SECURITY: outside of any turn, so that a service that hangs holds nobody up.
async fn probe(app: &App, service: &ServiceKey) -> Result<(), Failure> {
    let recorded = key::find_root(&app.db).await?;
    let recorded = recorded.filter(|row| row.id == service.id().to_string());
    // A key to come has no record yet: any wrapping shows whether it works.
    let _ = match recorded.and_then(|row| row.wrapped) {
        Some(wrapped) => service
            .unwrap_key(&wrapped, Binding::Probe, Patience::Full)
            .await
            .map(|_| ()),
        None => service
            .wrap(Binding::Probe, Patience::Full, &*app.random)
            .await
            .map(|_| ()),
    };
    Ok(())
}

pub(crate) async fn watch_logged(app: &App) {
    if let Err(error) = watch(app).await {
        tracing::warn!(%error, "what waits for a key service could not be opened");
    }
}
