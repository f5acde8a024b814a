//! A copy of the database, made while it serves. It holds every tenant's data, sealed credentials and sealed keys
//! included, and never the root key: without that it opens nothing.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::record as audit;
use crate::setup::SYSTEM_TENANT;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::Noun;
use chancery_policy::ManagementAction;
use chancery_store::DbError;
use std::path::{Path, PathBuf};

/// A copy on the server's own disk, deleted when this is dropped.
#[derive(Debug)]
pub struct Copy {
    path: PathBuf,
}

impl Copy {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a copy of the database could not be deleted");
        }
    }
}

/// Makes a copy. Only for somebody on the server's own machine, in the system tenant: it holds every tenant's data.
///
/// # Errors
/// A caller from elsewhere; PostgreSQL; policy's refusal; the database's. Nothing is copied before it is recorded.
pub async fn copy(app: &App, served: &Served, caller: &Caller) -> Result<Copy, Failure> {
    let (Actor::Local(_), SYSTEM_TENANT) = (&caller.actor, served.tenant.name.as_str()) else {
        let text = "a backup holds every tenant's data: it is made on the server's own machine, through the local socket, in the system tenant";
        return Err(Refusal::Invalid(text.to_owned()).into());
    };
    let subject = (Noun::Tenant, served.tenant.name.as_str(), None);
    change::permit(served, caller, ManagementAction::ReadAudit, subject)?;
    let place = app.backup_place.as_ref();
    let place = place.ok_or_else(|| Refusal::Invalid(DbError::NotCopied.to_string()))?;
    let event = Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant: served.tenant.id,
        time: caller.now,
        kind: EventKind::BackedUp,
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: Vec::new(),
        decision: None,
        parts: Vec::new(),
    };
    let statement = audit::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(caller.now).push(statement), &[]).await?;
    let path = place.join(format!("backup-{}.part", event.id));
    app.db.copy_to(&path).await?;
    Ok(Copy { path })
}
