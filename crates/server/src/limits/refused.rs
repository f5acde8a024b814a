//! Requests that a limit refused are counted for each agent, and one event a minute tells how many there were: an agent
//! past its limit cannot fill the log with it (as ADR 0007 has it for failed authentications).

use super::Limit;
use crate::app::App;
use crate::error::Failure;
use crate::record;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{AgentId, EventId, Id as _, TenantId};
use chancery_core::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was refused and not recorded yet, in this node's memory.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Key, Counted>>);

/// `None` for agents beyond those that are told apart.
type Key = (TenantId, Option<AgentId>, Limit);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    count: u64,
    since: Timestamp,
}

impl Refusals {
    pub(super) fn count(&self, tenant: TenantId, agent: AgentId, limit: Limit, now: Timestamp) {
        let mut all = self.lock();
        let mut key = (tenant, Some(agent), limit);
        if all.len() >= MOST && !all.contains_key(&key) {
            key.1 = None;
        }
        let fresh = Counted { count: 0, since: now };
        all.entry(key).or_insert(fresh).count += 1;
    }

    fn put_back(&self, key: Key, counted: Counted) {
        let mut all = self.lock();
        let known = all.entry(key).or_insert(Counted { count: 0, ..counted });
        known.count += counted.count;
        known.since = counted.since;
    }

    fn take(&self) -> HashMap<Key, Counted> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records how many requests were refused: one event for each agent and limit.
///
/// # Errors
/// The database's; what was not recorded is kept for the next time.
pub async fn record(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for (key, counted) in app.limits.refusals.take() {
        if let Err(error) = record_one(app, key, counted, now).await {
            app.limits.refusals.put_back(key, counted);
            outcome = Err(error);
        }
    }
    outcome
}

async fn record_one(
    app: &App,
    (tenant, agent, limit): Key,
    counted: Counted,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(served) = app.tenants.find(tenant) else {
        return Ok(());
    };
    let content = serde_json::json!({
        "count": counted.count,
        "limit": limit.as_str(),
        "since": counted.since.to_string(),
    });
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::LimitReached,
        outcome: EventOutcome::Denied,
        actor: Actor::System(SystemActor::Gateway),
        ids: agent
            .map(|agent| ("agent", agent.to_string()))
            .into_iter()
            .collect(),
        decision: None,
        parts: vec![Part {
            name: "omitted",
            class: PartClass::Operational,
            content: content.to_string(),
        }],
    };
    let statement = record::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(now).push(statement), &[]).await?;
    Ok(())
}

/// How many agents and limits are told apart.
const MOST: usize = 10_000;
