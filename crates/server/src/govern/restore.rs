//! Continuing from a backup (ADR 0008): each tenant's log goes on in a new generation whose first leaf names the last
//! known checkpoint of the one before, everything that was ever issued ends, and nothing is issued until somebody
//! confirms that what was lost has been looked at.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::govern::restoring::{self, Planned};
use crate::keys::{Opening, TenantKeys};
use crate::record as audit;
use crate::roots::Roots;
use crate::setup;
use crate::tenants::Served;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{BatchId, EventId, Id as _};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::random::Random;
use chancery_core::tenant::Tenant;
use chancery_core::time::Timestamp;
use chancery_policy::ManagementAction;
use chancery_store::change::{self as feed, Changed};
use chancery_store::db::Batch;
use chancery_store::restore::{self, Restore};
use chancery_store::{Db, Outcome};

/// What became of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continued {
    /// Its name.
    pub tenant: Name,
    /// The log generation that began.
    pub log_generation: u64,
    /// The generation before, and how many entries it is known to have had.
    pub previous: (u64, u64),
    /// How many entries of it this database has.
    pub kept: u64,
}

/// Continues every tenant of a database that was restored from a backup. `notes` are checkpoints that were kept
/// elsewhere. No node may use the database meanwhile. Each tenant is continued in one batch; run again after an
/// interruption, it begins one generation more.
///
/// # Errors
/// The root key's, a checkpoint that contradicts the database, or an event that was changed; the database's.
pub async fn run(
    db: &Db,
    roots: Roots,
    notes: &[String],
    (now, random): (Timestamp, &dyn Random),
) -> Result<Vec<Continued>, Failure> {
    let roots = setup::prepare(db, roots, now, random).await?;
    let mut all = Vec::new();
    for tenant in chancery_store::all_tenants(db).await? {
        if crate::tenants::is_over(db, &tenant).await? {
            continue;
        }
        let keys = TenantKeys::load(db, Opening::first(&roots), &tenant).await?;
        let planned = restoring::plan(db, (tenant, keys), notes, now).await?;
        all.push(continue_one(db, planned, (now, random)).await?);
    }
    Ok(all)
}

async fn continue_one(
    db: &Db,
    planned: Planned,
    (now, random): (Timestamp, &dyn Random),
) -> Result<Continued, Failure> {
    let tenant = planned.tenant.id;
    let mut batch = Batch::new(BatchId::generate(now, random));
    for statement in restoring::statements(&planned, (now, random))? {
        batch = batch.push(statement);
    }
    batch = batch
        .extend(restore::forget())
        .push(restore::insert(tenant, &planned.restore))
        .push(feed::insert(
            tenant,
            Noun::Tenant,
            *tenant.as_bytes(),
            planned.generation,
            now,
        ));
    if !db.commit(batch).await?.is_committed() {
        return Err(Failure::Start(format!(
            "tenant `{}` changed while it was being continued: stop every node first",
            planned.tenant.name
        )));
    }
    Ok(Continued {
        tenant: planned.tenant.name.clone(),
        log_generation: planned.restore.log_generation,
        previous: (planned.restore.previous_generation, planned.known_size),
        kept: planned.head.size,
    })
}

/// Confirms that what a restore lost has been looked at: the tenant issues again.
///
/// # Errors
/// Nothing to confirm; policy's refusal; the database's.
pub async fn confirm(app: &App, served: &Served, caller: &Caller) -> Result<Restore, Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::Activate,
        (Noun::Tenant, served.tenant.name.as_str(), None),
    )?;
    let nothing = || Refusal::Invalid("there is no restore to confirm".to_owned());
    let waiting = served.restore.filter(|restore| restore.confirmed_at.is_none());
    let waiting = waiting.ok_or_else(nothing)?;
    let tenant = served.tenant.id;
    let event = Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant,
        time: caller.now,
        kind: EventKind::RestoreConfirmed,
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![("log_generation", waiting.log_generation.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    let generation = served.tenant.generation;
    let batch = app
        .batch(caller.now)
        .push(restore::confirm(tenant, waiting.log_generation, caller.now))
        .push(feed::insert(
            tenant,
            Noun::Tenant,
            *tenant.as_bytes(),
            generation,
            caller.now,
        ))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    let changed = Changed::Noun {
        noun: Noun::Tenant,
        id: *tenant.as_bytes(),
        generation,
    };
    match app.commit(batch, &[(tenant, changed)]).await? {
        Outcome::Committed => Ok(Restore {
            confirmed_at: Some(caller.now),
            ..waiting
        }),
        Outcome::Refused { .. } => Err(nothing().into()),
    }
}

/// The restore that a tenant's data last went through.
///
/// # Errors
/// Policy's refusal.
pub fn state(served: &Served, caller: &Caller) -> Result<Option<Restore>, Failure> {
    let tenant: &Tenant = &served.tenant;
    change::permit(
        served,
        caller,
        ManagementAction::ReadAudit,
        (Noun::Tenant, tenant.name.as_str(), None),
    )?;
    Ok(served.restore)
}
