//! Failed authentications are recorded one by one up to a bound for each tenant and source; past it they are
//! counted, and one event a minute says how many there were (ADR 0007). Nobody without a proof can fill the log.
//!
//! Successes, and denials by policy, are never left out: they do not come here.

use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::{Arrival, Source};
use crate::record;
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_core::time::{Timestamp, Ttl};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What each source has used of its bound, in this node's memory.
#[derive(Debug, Default)]
pub struct Flood {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

type Key = (TenantId, Source);

/// A bucket of [`BURST`] records that refills by one every [`PERIOD`], kept as the moment when it will be full.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Timestamp,
    omitted: u64,
    since: Timestamp,
}

/// Failures of one source that were not recorded one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Omitted {
    /// The tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: Source,
    /// How many.
    pub count: u64,
    /// Since when.
    pub since: Timestamp,
}

impl Flood {
    /// Whether one more failure is to be recorded. If not, it is counted.
    pub fn admits(&self, tenant: TenantId, arrival: Arrival) -> bool {
        let mut buckets = self.lock();
        let Arrival { now, source } = arrival;
        let mut key = (tenant, source);
        if buckets.len() >= MAX_SOURCES && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| bucket.is_in_use(now));
            if buckets.len() >= MAX_SOURCES {
                key.1 = Source::Others;
            }
        }
        let empty = Bucket {
            full_at: now,
            omitted: 0,
            since: now,
        };
        let bucket = buckets.entry(key).or_insert(empty);
        let full_at = bucket.full_at.max(now).plus(PERIOD);
        if full_at.since(now) > WINDOW {
            if bucket.omitted == 0 {
                bucket.since = now;
            }
            bucket.omitted += 1;
            return false;
        }
        bucket.full_at = full_at;
        true
    }

    /// Takes out what was counted, and forgets sources that are quiet again.
    fn take(&self, now: Timestamp) -> Vec<Omitted> {
        let mut buckets = self.lock();
        let mut taken = Vec::new();
        for ((tenant, source), bucket) in buckets.iter_mut().filter(|(_, bucket)| bucket.omitted > 0) {
            taken.push(Omitted {
                tenant: *tenant,
                source: *source,
                count: std::mem::take(&mut bucket.omitted),
                since: bucket.since,
            });
        }
        buckets.retain(|_, bucket| bucket.is_in_use(now));
        taken
    }

    /// Puts back what could not be recorded.
    fn put_back(&self, omitted: &Omitted, now: Timestamp) {
        let mut buckets = self.lock();
        let bucket = buckets.entry((omitted.tenant, omitted.source)).or_insert(Bucket {
            full_at: now,
            omitted: 0,
            since: omitted.since,
        });
        bucket.omitted += omitted.count;
        bucket.since = omitted.since;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn is_in_use(&self, now: Timestamp) -> bool {
        self.omitted > 0 || self.full_at > now
    }
}

/// Records how many failures were left out: one event for each source.
///
/// # Errors
/// The database's; what was not recorded is kept for the next time.
pub async fn record_omitted(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    let mut outcome = Ok(());
    for omitted in app.flood.take(now) {
        if let Err(error) = record_one(app, &omitted, now).await {
            app.flood.put_back(&omitted, now);
            outcome = Err(error);
        }
    }
    outcome
}

async fn record_one(app: &App, omitted: &Omitted, now: Timestamp) -> Result<(), Failure> {
    let Some(served) = app.tenants.find(omitted.tenant) else {
        return Ok(());
    };
    let content = serde_json::json!({
        "count": omitted.count,
        "source": omitted.source.to_string(),
        "since": omitted.since.to_string(),
    });
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: omitted.tenant,
        time: now,
        kind: EventKind::AuthenticationFailuresOmitted,
        outcome: EventOutcome::Denied,
        actor: Actor::Unknown,
        ids: Vec::new(),
        decision: None,
        parts: vec![Part {
            name: "omitted",
            class: PartClass::Personal,
            content: content.to_string(),
        }],
    };
    let statement = record::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(now).push(statement), &[]).await?;
    Ok(())
}

/// How many failures of a quiet source are recorded at once.
pub const BURST: u64 = 30;
/// After which time one more is.
pub const PERIOD: Ttl = Ttl::from_seconds(2);
/// How long an empty bucket takes to be full again: [`BURST`] times [`PERIOD`].
const WINDOW: Ttl = Ttl::from_minutes(1);
/// How many sources are told apart; those beyond share one bound in each tenant.
const MAX_SOURCES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_000_000);

    fn tenant(number: u8) -> TenantId {
        TenantId::from_bytes([number; 16])
    }

    fn at(now: Timestamp, address: [u8; 4]) -> Arrival {
        Arrival {
            now,
            source: Source::of(address.into()),
        }
    }

    fn admitted(flood: &Flood, tries: u64, of: TenantId, arrival: Arrival) -> u64 {
        (0..tries).map(|_| u64::from(flood.admits(of, arrival))).sum()
    }

    #[test]
    fn a_source_is_recorded_up_to_its_bound_and_counted_past_it() {
        let flood = Flood::default();
        let arrival = at(START, [192, 0, 2, 1]);
        assert_eq!(admitted(&flood, 100, tenant(1), arrival), BURST);
        let omitted = Omitted {
            tenant: tenant(1),
            source: arrival.source,
            count: 100 - BURST,
            since: START,
        };
        assert_eq!(flood.take(START), [omitted]);
        assert_eq!(flood.take(START), []);
    }

    #[test]
    fn the_bound_comes_back_with_time_and_no_further() {
        let flood = Flood::default();
        let later = |millis| at(START.plus(Ttl::from_millis(millis)), [192, 0, 2, 1]);
        admitted(&flood, 100, tenant(1), later(0));
        assert_eq!(admitted(&flood, 9, tenant(1), later(1_999)), 0);
        assert_eq!(admitted(&flood, 9, tenant(1), later(2_000)), 1);
        assert_eq!(admitted(&flood, 9, tenant(1), later(8_000)), 3);
        assert_eq!(admitted(&flood, 100, tenant(1), later(3_600_000)), BURST);
    }

    #[test]
    fn one_source_or_tenant_takes_nothing_from_another() {
        let flood = Flood::default();
        admitted(&flood, 100, tenant(1), at(START, [192, 0, 2, 1]));
        assert!(flood.admits(tenant(1), at(START, [192, 0, 2, 2])));
        assert!(flood.admits(tenant(2), at(START, [192, 0, 2, 1])));
    }

    #[test]
    fn memory_is_bounded_and_those_beyond_share_one_bound() {
        let flood = Flood::default();
        let address = |number: u32| at(START, number.to_be_bytes());
        let first = u32::try_from(MAX_SOURCES).unwrap();
        let admitted = (0..2 * first).filter(|number| flood.admits(tenant(1), address(*number)));
        assert_eq!(admitted.count(), MAX_SOURCES + usize::try_from(BURST).unwrap());
        assert_eq!(flood.lock().len(), MAX_SOURCES + 1);
        let omitted = flood.take(START);
        assert_eq!((omitted.len(), omitted[0].source), (1, Source::Others));
        // Quiet sources make room again.
        flood.take(START.plus(Ttl::from_minutes(2)));
        assert!(flood.lock().is_empty());
    }
}
