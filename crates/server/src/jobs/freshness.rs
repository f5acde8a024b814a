//! The freshness lease: when this node last read the whole revocation feed. Past the bound it refuses to
//! answer rather than guess.

use crate::error::Failure;
use chancery_core::time::{Timestamp, Ttl};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// How long a node answers on what it last read: the bound within which a revocation reaches every node.
pub const BOUND: Ttl = Ttl::from_seconds(2);
/// How far a node's clock may be from the database's.
pub const MAX_SKEW: Ttl = Ttl::from_seconds(1);

/// This node's lease.
#[derive(Debug, Default)]
pub struct Freshness {
    read_at: AtomicI64,
    clock_is_off: AtomicBool,
    is_ended: AtomicBool,
}

impl Freshness {
    /// The feed was read completely, in a read that began at this moment.
    pub fn renew(&self, began: Timestamp) {
        self.read_at.fetch_max(began.as_micros(), Ordering::SeqCst);
    }

    /// Whether this node's clock agrees with the database's.
    pub fn set_clock_is_off(&self, is_off: bool) {
        self.clock_is_off.store(is_off, Ordering::SeqCst);
    }

    /// Whether this node may answer.
    ///
    /// # Errors
    /// [`Failure::Stale`].
    pub fn check(&self, now: Timestamp) -> Result<(), Failure> {
        if self.is_ended.load(Ordering::SeqCst) {
            return Err(Failure::Stale(
                "the database lacks what this node has signed: it was restored from a backup",
            ));
        }
        if self.clock_is_off.load(Ordering::SeqCst) {
            return Err(Failure::Stale(
                "its clock is more than a second off the database's",
            ));
        }
        let read_at = Timestamp::from_micros(self.read_at.load(Ordering::SeqCst));
        if now.since(read_at) > BOUND {
            return Err(Failure::Stale("the revocation feed was not read for two seconds"));
        }
        Ok(())
    }

    /// How long ago the feed was read whole.
    pub fn age(&self, now: Timestamp) -> Ttl {
        now.since(Timestamp::from_micros(self.read_at.load(Ordering::SeqCst)))
    }

    /// Takes the node out of service for good: the database is not the one that it served.
    pub fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
    }

    /// Whether the lease has run out, so that changes may have been missed.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        now.since(Timestamp::from_micros(self.read_at.load(Ordering::SeqCst))) > BOUND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_a_node_does_not_answer() {
        let freshness = Freshness::default();
        let start = Timestamp::from_seconds(1_000);
        assert!(freshness.check(start).is_err());
        freshness.renew(start);
        assert!(freshness.check(start.plus(BOUND)).is_ok());
        assert!(freshness.check(start.plus(Ttl::from_millis(2_001))).is_err());
        freshness.renew(start.plus(BOUND));
        freshness.set_clock_is_off(true);
        assert!(freshness.check(start.plus(BOUND)).is_err());
    }
}
