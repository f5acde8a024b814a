//! How many clients may make themselves known from one source in an hour, on one node. Whoever has no proof must not
//! fill the directory; past the bound nothing is parsed, fetched or stored.

use super::{Limit, Limited, Limits};
use crate::issue::arrival::{Arrival, Source};
use chancery_core::id::TenantId;
use chancery_core::time::{Timestamp, Ttl};
use moka::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};

/// What each source has used of its hour.
#[derive(Debug)]
pub(super) struct Registrations {
    hours: Cache<(TenantId, Source), Arc<Mutex<Hour>>>,
}

#[derive(Debug, Default)]
struct Hour {
    began: Timestamp,
    count: u32,
}

impl Default for Registrations {
    fn default() -> Self {
        Self {
            hours: Cache::new(MAX_SOURCES),
        }
    }
}

impl Limits {
    /// Counts one more client that makes itself known.
    ///
    /// # Errors
    /// Its source, or the tenant as a whole, had its share of this hour.
    pub fn registration(&self, tenant: TenantId, arrival: Arrival) -> Result<(), Limited> {
        let Arrival { now, source } = arrival;
        let shares = [(source, MOST_OF_ONE), (Source::Others, MOST_OF_ALL)];
        for (source, most) in shares {
            if let Err(retry_after) = self.registrations.count(tenant, source, most, now) {
                self.metrics.limit_reached(Limit::Registration.as_str());
                return Err(Limited {
                    limit: Limit::Registration,
                    retry_after,
                });
            }
        }
        Ok(())
    }

    /// The answer when too many clients wait for an agent already.
    pub fn too_many_waiting(&self) -> Limited {
        self.metrics.limit_reached(Limit::Registration.as_str());
        Limited {
            limit: Limit::Registration,
            retry_after: HOUR,
        }
    }
}

impl Registrations {
    fn count(&self, tenant: TenantId, source: Source, most: u32, now: Timestamp) -> Result<(), Ttl> {
        let hour = self.hours.get_with((tenant, source), Arc::default);
        let mut hour = hour.lock().unwrap_or_else(PoisonError::into_inner);
        let end = hour.began.plus(HOUR);
        if now >= end {
            *hour = Hour { began: now, count: 0 };
        } else if hour.count >= most {
            return Err(end.since(now));
        }
        hour.count += 1;
        Ok(())
    }
}

const HOUR: Ttl = Ttl::from_minutes(60);
const MOST_OF_ONE: u32 = 60;
const MOST_OF_ALL: u32 = 600;
const MAX_SOURCES: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::id::Id as _;

    #[test]
    fn a_source_has_its_share_of_an_hour_and_takes_nothing_from_another() {
        let all = Registrations::default();
        let tenant = TenantId::from_bytes([1; 16]);
        let now = Timestamp::from_seconds(1_000_000);
        let of = |last: u8| Source::of([192, 0, 2, last].into());
        assert!((0..3).all(|_| all.count(tenant, of(1), 3, now).is_ok()));
        assert_eq!(all.count(tenant, of(1), 3, now), Err(HOUR));
        assert!(all.count(tenant, of(2), 3, now).is_ok());
        assert!(all.count(TenantId::from_bytes([2; 16]), of(1), 3, now).is_ok());
        assert!(all.count(tenant, of(1), 3, now.plus(HOUR)).is_ok());
    }
}
