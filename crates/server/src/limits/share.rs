//! Shares: how often one source, or one signed-in person, may do something within a time, on one node. Where whoever
//! asks proves nothing, or may guess, what is past the share is refused before anything is parsed, fetched or stored.

use super::{Limit, Limited, Limits};
use crate::issue::arrival::{Arrival, Source};
use chancery_core::id::{SessionId, TenantId};
use chancery_core::time::{Timestamp, Ttl};
use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

/// What everybody has used of their shares.
#[derive(Debug)]
pub(super) struct Shares {
    used: Cache<(Limit, TenantId, Who), Arc<Mutex<Used>>>,
}

/// Who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Source(Source),
    Session(SessionId),
    Tenant,
}

/// So many within this time.
#[derive(Clone, Copy, Debug)]
struct Share(u32, Ttl);

#[derive(Debug, Default)]
struct Used {
    began: Timestamp,
    count: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            used: Cache::new(MOST),
        }
    }
}

impl Limits {
    /// Counts one more client that makes itself known.
    ///
    /// # Errors
    /// Its source, or the tenant as a whole, had its share of this hour.
    pub fn registration(&self, tenant: TenantId, arrival: Arrival) -> Result<(), Limited> {
        let shares = [
            (Who::Source(arrival.source), Share(60, HOUR)),
            (Who::Tenant, Share(600, HOUR)),
        ];
        self.share(Limit::Registration, tenant, &shares, arrival.now)
    }

    /// The answer when too many clients wait for an agent already.
    pub fn too_many_waiting(&self) -> Limited {
        self.metrics.limit_reached(Limit::Registration.as_str());
        Limited {
            limit: Limit::Registration,
            retry_after: HOUR,
        }
    }

    /// Counts one more request of a device. The more wait at once, the easier is one of their codes guessed.
    ///
    /// # Errors
    /// Its source, or the tenant as a whole, had its share of these ten minutes.
    pub fn device(&self, tenant: TenantId, arrival: Arrival) -> Result<(), Limited> {
        let shares = [
            (Who::Source(arrival.source), Share(60, TEN_MINUTES)),
            (Who::Tenant, Share(1_000, TEN_MINUTES)),
        ];
        self.share(Limit::Device, tenant, &shares, arrival.now)
    }

    /// Counts one more user code that somebody tries (RFC 8628 §5.1).
    ///
    /// # Errors
    /// The person, their source, or the tenant as a whole had its share of these ten minutes.
    pub fn user_code(
        &self,
        (tenant, session): (TenantId, SessionId),
        arrival: Arrival,
    ) -> Result<(), Limited> {
        let shares = [
            (Who::Session(session), Share(10, TEN_MINUTES)),
            (Who::Source(arrival.source), Share(50, TEN_MINUTES)),
            (Who::Tenant, Share(1_000, TEN_MINUTES)),
        ];
        self.share(Limit::UserCode, tenant, &shares, arrival.now)
    }

    /// Counts one more sign-in that is begun at an outside issuer: each is a row until it is over. A whole company may
    /// come from one address.
    ///
    /// # Errors
    /// The source, or the tenant as a whole, had its share of these ten minutes.
    pub fn sign_in(&self, tenant: TenantId, arrival: Arrival) -> Result<(), Limited> {
        let shares = [
            (Who::Source(arrival.source), Share(300, TEN_MINUTES)),
            (Who::Tenant, Share(10_000, TEN_MINUTES)),
        ];
        self.share(Limit::SignIn, tenant, &shares, arrival.now)
    }

    fn share(
        &self,
        limit: Limit,
        tenant: TenantId,
        shares: &[(Who, Share)],
        now: Timestamp,
    ) -> Result<(), Limited> {
        for (who, share) in shares {
            if let Err(retry_after) = self.shares.count((limit, tenant, *who), *share, now) {
                self.metrics.limit_reached(limit.as_str());
                return Err(Limited { limit, retry_after });
            }
        }
        Ok(())
    }
}

impl Shares {
    fn count(
        &self,
        key: (Limit, TenantId, Who),
        Share(most, within): Share,
        now: Timestamp,
    ) -> Result<(), Ttl> {
        let Ok(used) = self
            .used
            .get_or_insert_with(&key, || Ok::<_, Infallible>(Arc::default()));
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        let end = used.began.plus(within);
        if now >= end {
            *used = Used { began: now, count: 0 };
        } else if used.count >= most {
            return Err(end.since(now));
        }
        used.count += 1;
        Ok(())
    }
}

const HOUR: Ttl = Ttl::from_minutes(60);
const TEN_MINUTES: Ttl = Ttl::from_minutes(10);
/// Whom more are told apart than this, the least used are forgotten and begin anew.
const MOST: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::id::Id as _;

    #[test]
    fn a_source_has_its_share_of_an_hour_and_takes_nothing_from_another() {
        let all = Shares::default();
        let tenant = TenantId::from_bytes([1; 16]);
        let now = Timestamp::from_seconds(1_000_000);
        let of = |last: u8| Who::Source(Source::of([192, 0, 2, last].into()));
        let count = |tenant, who, now| all.count((Limit::Registration, tenant, who), Share(3, HOUR), now);
        assert!((0..3).all(|_| count(tenant, of(1), now).is_ok()));
        assert_eq!(count(tenant, of(1), now), Err(HOUR));
        assert!(count(tenant, of(2), now).is_ok());
        assert!(count(TenantId::from_bytes([2; 16]), of(1), now).is_ok());
        assert!(
            all.count((Limit::Device, tenant, of(1)), Share(3, HOUR), now)
                .is_ok()
        );
        assert!(count(tenant, of(1), now.plus(HOUR)).is_ok());
    }
}
