//! What continuing one tenant from a backup changes, as statements of one batch.

use crate::error::Failure;
use crate::keys::TenantKeys;
use crate::record::{self as audit, EventSeal};
use crate::witness::newest;
use chancery_audit::Checkpoint;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::Record;
use chancery_core::random::Random;
use chancery_core::tenant::Tenant;
use chancery_core::time::Timestamp;
use chancery_store::event::{self, EventRow};
use chancery_store::log::{self, Head};
use chancery_store::restore::Restore;
use chancery_store::{Db, Statement, record};

/// How a tenant is to be continued.
#[derive(Debug)]
pub(super) struct Planned {
    /// The tenant as it was restored.
    pub(super) tenant: Tenant,
    keys: TenantKeys,
    /// The head of its log as it was restored.
    pub(super) head: Head,
    /// Events that were not in the tree yet.
    pending: Vec<EventRow>,
    /// The restore.
    pub(super) restore: Restore,
    /// How many entries the generation before is known to have had.
    pub(super) known_size: u64,
    known_root: [u8; 32],
    /// The tenant's generation from now on.
    pub(super) generation: u64,
}

/// Finds what is known of the log, and decides on the numbers that go on from it.
///
/// # Errors
/// A checkpoint that contradicts the database's; the database's.
pub(super) async fn plan(
    db: &Db,
    (tenant, keys): (Tenant, TenantKeys),
    notes: &[String],
    now: Timestamp,
) -> Result<Planned, Failure> {
    let head = log::find_head(db, tenant.id).await?;
    let head = head.ok_or_else(|| Failure::Internal(format!("tenant {} has no log", tenant.name)))?;
    let own = log::newest_checkpoint(db, tenant.id).await?;
    let own = newest(&keys, own.as_slice())?;
    let kept = newest(&keys, notes)?;
    let known = last_known(own, kept).map_err(|Contradiction| {
        Failure::Start(format!(
            "a kept checkpoint of `{}` contradicts the database: it was rewritten, not restored",
            tenant.name
        ))
    })?;
    let (previous_generation, known_size, known_root) = match &known {
        Some(known) => (known.origin.generation(), known.size, *known.root.as_bytes()),
        None => (
            head.log_generation,
            0,
            *chancery_audit::tree::empty_root().as_bytes(),
        ),
    };
    // INVARIANT: neither number was ever used. A backup does not know which came after it, and may be restored more
    // than once; seconds since 1970 are ahead of everything that counts by ones, and differ from restore to restore.
    let ahead = u64::try_from(now.as_seconds()).unwrap_or_default();
    let log_generation = ahead.max(head.log_generation.max(previous_generation) + 1);
    let generation = ahead.max(tenant.generation + 1);
    Ok(Planned {
        restore: Restore {
            log_generation,
            previous_generation,
            time: now,
            confirmed_at: None,
        },
        pending: event::pending_rows(db, tenant.id).await?,
        tenant,
        keys,
        head,
        known_size,
        known_root,
        generation,
    })
}

/// The statements: an empty tree under a new origin, its first leaf, the events that were not in the old tree yet, and
/// the tenant at a generation that nothing issued before has.
///
/// # Errors
/// An event that was changed before it was in the tree.
pub(super) fn statements(
    planned: &Planned,
    (now, random): (Timestamp, &dyn Random),
) -> Result<Vec<Statement>, Failure> {
    let tenant = planned.tenant.id;
    let head = Head {
        log_generation: planned.restore.log_generation,
        size: 0,
        root: *chancery_audit::tree::empty_root().as_bytes(),
        signed_size: 0,
    };
    let seal = EventSeal {
        log_generation: head.log_generation,
        ..planned.keys.seal()
    };
    // The old tree must not grow: elsewhere it may have grown otherwise. What was written for it is written for the new
    // one, with the same id, time and content.
    let pending = planned.pending.iter();
    let mut statements: Vec<Statement> = pending.map(|row| event::take_pending(tenant, row.id)).collect();
    statements.push(log::advance_head(tenant, &planned.head, &head));
    statements.push(audit::statement(seal, &restored(planned, now, random), random)?);
    for row in &planned.pending {
        statements.push(audit::carried(seal, &planned.keys, row)?);
    }
    let tenant_record = Record {
        generation: planned.generation,
        version: planned.tenant.version + 1,
        updated_at: now,
        ..planned.tenant.clone()
    };
    statements.push(record::update(tenant, &tenant_record));
    Ok(statements)
}

fn restored(planned: &Planned, now: Timestamp, random: &dyn Random) -> Event {
    let root = chancery_audit::Hash::from_bytes(planned.known_root);
    Event {
        id: EventId::generate(now, random),
        tenant: planned.tenant.id,
        time: now,
        kind: EventKind::LogRestored,
        outcome: EventOutcome::Ok,
        actor: Actor::System(SystemActor::Restore),
        ids: vec![
            (
                "previous_generation",
                planned.restore.previous_generation.to_string(),
            ),
            ("previous_size", planned.known_size.to_string()),
            ("previous_root", root.to_string()),
        ],
        decision: None,
        parts: Vec::new(),
    }
}

/// Two checkpoints of one size that differ.
struct Contradiction;

/// The later of two.
fn last_known(
    own: Option<Checkpoint>,
    kept: Option<Checkpoint>,
) -> Result<Option<Checkpoint>, Contradiction> {
    let (Some(own), Some(kept)) = (&own, &kept) else {
        return Ok(own.or(kept));
    };
    let place = |checkpoint: &Checkpoint| (checkpoint.origin.generation(), checkpoint.size);
    if place(own) == place(kept) && own.root != kept.root {
        return Err(Contradiction);
    }
    let later = if place(own) >= place(kept) { own } else { kept };
    Ok(Some(later.clone()))
}
