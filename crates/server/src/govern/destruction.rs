//! The end of a tenant's keys (design, section 8). Once the last event of a tenant that was retired is in its log, the key
//! that everything of it is sealed under is destroyed: no row of it opens any more, whoever has the root key.
//!
//! It does not reach copies of the database that were made before.

use crate::app::App;
use crate::error::Failure;
use crate::record as audit;
use crate::setup::SYSTEM_TENANT;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::change::{self as feed, Changed};
use chancery_store::{event, key};

/// Destroys the keys of tenants that ended.
///
/// # Errors
/// The database's.
pub async fn run(app: &App, now: Timestamp) -> Result<(), Failure> {
    for served in app.tenants.all() {
        let tenant = &served.tenant;
        let is_over = tenant.state == Lifecycle::Retired && now.since(tenant.updated_at) >= STRAGGLERS;
        if is_over && event::pending(&app.db, tenant.id, 1).await?.is_empty() {
            destroy(app, &served, now).await?;
        }
    }
    Ok(())
}

async fn destroy(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let system = app.tenants.find_by_name(SYSTEM_TENANT);
    let system = system.ok_or(Failure::Stale("the system tenant is gone"))?;
    let tenant = served.tenant.id;
    let destroyed = Event {
        id: EventId::generate(now, &*app.random),
        tenant: system.tenant.id,
        time: now,
        kind: EventKind::TenantKeyDestroyed,
        outcome: EventOutcome::Ok,
        actor: Actor::System(SystemActor::Expiry),
        ids: vec![
            ("tenant", tenant.to_string()),
            ("tenant_key", served.keys.tenant_key_id().to_string()),
        ],
        decision: None,
        parts: Vec::new(),
    };
    let (id, generation) = (*tenant.as_bytes(), served.tenant.generation);
    let batch = app
        .batch(now)
        .extend(key::destroy_keys(tenant))
        // Every node lets go of what it has open.
        .push(feed::insert(tenant, Noun::Tenant, id, generation, now))
        .push(audit::statement(system.keys.seal(), &destroyed, &*app.random)?);
    let changed = Changed::Noun {
        noun: Noun::Tenant,
        id,
        generation,
    };
    // Refused, another node was first.
    let _ = app.commit(batch, &[(tenant, changed)]).await?;
    Ok(())
}

/// How long events of requests that were under way when the tenant ended may still come.
const STRAGGLERS: Ttl = Ttl::from_minutes(1);
