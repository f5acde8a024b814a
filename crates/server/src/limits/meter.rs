//! One meter: a rate, kept as the moment when its bucket will be full again, and how many are under way.

use chancery_core::time::{Timestamp, Ttl};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A rate and a count.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Microseconds since 1970.
    full_at: AtomicI64,
    under_way: AtomicU32,
}

impl Meter {
    /// Takes one of the bucket, which holds two seconds' worth.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn pass(&self, per_second: u32, now: Timestamp) -> Result<(), Ttl> {
        let now = now.as_micros();
        let cost = SECOND / i64::from(per_second.max(1));
        // A bucket of less than one would pass nobody.
        let window = (2 * SECOND).max(cost);
        let mut known = self.full_at.load(Ordering::Relaxed);
        loop {
            let full_at = known.max(now) + cost;
            let over = full_at - now - window;
            if over > 0 {
                return Err(Ttl::from_millis(
                    u64::try_from(over).unwrap_or_default().div_ceil(1_000),
                ));
            }
            match self
                .full_at
                .compare_exchange_weak(known, full_at, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(changed) => known = changed,
            }
        }
    }

    /// Counts one in, if there is room.
    pub(super) fn enter(&self, most: u32) -> bool {
        let one_more = |under_way: u32| (under_way < most).then(|| under_way + 1);
        self.under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Counts one out.
    pub(super) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

const SECOND: i64 = 1_000_000;
