//! The only writer of audit: an event becomes a canonical leaf with commitments, a MAC and its parts, as one
//! statement of the caller's batch.

use crate::error::Failure;
use crate::keys::TenantKeys;
use chancery_audit::{EventMac, Leaf, LeafContent, PartRecord};
use chancery_core::actor::Actor;
use chancery_core::event::Event;
use chancery_core::random::Random;
use chancery_store::Statement;
use chancery_store::event::{self, EventRow};

/// What binds an event's row to a tenant's log until the row is integrated.
#[derive(Clone, Copy)]
pub struct EventSeal<'a> {
    /// The key of the MAC.
    pub mac: &'a [u8; 32],
    /// The log.
    pub log_generation: u64,
}

/// The statement that records an event.
///
/// # Errors
/// The event does not fit a leaf.
pub fn statement(seal: EventSeal<'_>, event: &Event, random: &dyn Random) -> Result<Statement, Failure> {
    let parts: Vec<PartRecord> = event
        .parts
        .iter()
        .map(|part| PartRecord::new(part, random))
        .collect();
    let mut commitments = Vec::with_capacity(parts.len());
    for part in &parts {
        let commitment = part
            .commitment()
            .ok_or_else(|| Failure::Internal("a new part is erased".to_owned()))?;
        commitments.push((part.name.clone(), commitment));
    }
    let leaf = Leaf::new(LeafContent {
        tenant: event.tenant,
        generation: seal.log_generation,
        time: event.time,
        event: event.id,
        kind: event.kind.to_string(),
        outcome: event.outcome,
        ids: ids(event),
        commitments,
    })
    .map_err(Failure::internal)?;
    let row = EventRow {
        seq: 0,
        id: event.id,
        time: event.time,
        kind: event.kind.to_string(),
        outcome: event.outcome.as_str().to_owned(),
        log_generation: seal.log_generation,
        position: None,
        mac: EventMac::compute(seal.mac, event.id, leaf.as_bytes())
            .as_bytes()
            .to_vec(),
        leaf: leaf.as_text().to_owned(),
        parts: serde_json::to_string(&parts).map_err(Failure::internal)?,
    };
    Ok(event::insert(event.tenant, &row))
}

/// The statement that writes an event which is not in the tree yet for another log generation: what it says stays.
///
/// # Errors
/// The row was changed since it was written.
pub fn carried(seal: EventSeal<'_>, keys: &TenantKeys, row: &EventRow) -> Result<Statement, Failure> {
    let forged = || Failure::Start(format!("event {} was changed before it was in the log", row.id));
    let leaf = Leaf::parse(row.leaf.as_bytes()).map_err(|_| forged())?;
    let mac: [u8; 32] = row.mac.as_slice().try_into().map_err(|_| forged())?;
    if !keys.is_event_mac(EventMac::from_bytes(mac), row.id, leaf.as_bytes()) {
        return Err(forged());
    }
    let leaf = Leaf::new(LeafContent {
        generation: seal.log_generation,
        ..leaf.content().clone()
    })
    .map_err(Failure::internal)?;
    let tenant = leaf.content().tenant;
    let carried = EventRow {
        log_generation: seal.log_generation,
        mac: EventMac::compute(seal.mac, row.id, leaf.as_bytes())
            .as_bytes()
            .to_vec(),
        leaf: leaf.as_text().to_owned(),
        ..row.clone()
    };
    Ok(event::insert(tenant, &carried))
}

impl std::fmt::Debug for EventSeal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSeal")
            .field("log_generation", &self.log_generation)
            .finish_non_exhaustive()
    }
}

/// The ids of a leaf: the actor's first, then what the event is about.
fn ids(event: &Event) -> Vec<(String, String)> {
    let mut ids = Vec::with_capacity(event.ids.len() + 4);
    match &event.actor {
        Actor::Agent { agent, client, user } => {
            ids.push(("actor".to_owned(), agent.to_string()));
            ids.push(("client".to_owned(), client.to_string()));
            ids.extend(user.map(|user| ("user".to_owned(), user.to_string())));
        }
        Actor::User(_) | Actor::Local(_) | Actor::System(_) | Actor::Unknown => {
            ids.push(("actor".to_owned(), event.actor.to_string()));
        }
    }
    ids.extend(
        event
            .decision
            .map(|decision| ("decision".to_owned(), decision.to_string())),
    );
    ids.extend(
        event
            .ids
            .iter()
            .map(|(role, id)| ((*role).to_owned(), id.clone())),
    );
    ids
}
