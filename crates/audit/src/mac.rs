//! The authentication of event rows that are not yet in the tree (design, section 9): between the
//! commit of an event and its integration, a MAC stands for the signature that is still to come.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use chancery_core::id::{EventId, Id as _};

/// The MAC of an event row: HMAC-SHA256 over `chancery/event-mac/v1`, a zero byte, the 16 bytes of
/// the row's id and the leaf. The parts are covered through the leaf's commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMac([u8; 32]);

impl EventMac {
    /// The MAC of a row under a key that serves nothing else. `leaf` is the canonical text of its leaf.
    pub fn compute(key: &[u8; 32], row: EventId, leaf: &[u8]) -> Self {
        let mut context = Context::with_key(&Key::new(HMAC_SHA256, key));
        context.update(DOMAIN);
        context.update(row.as_bytes());
        context.update(leaf);
        // INVARIANT: HMAC-SHA256 gives 32 bytes.
        Self(context.sign().as_ref().try_into().unwrap_or([0; 32]))
    }

    /// Whether the row's MAC is the one recorded; in constant time. What it fits was written by a holder of the
    /// key, who writes canonical leaves only.
    #[must_use]
    pub fn matches(&self, key: &[u8; 32], row: EventId, leaf: &[u8]) -> bool {
        verify_slices_are_equal(&Self::compute(key, row, leaf).0, &self.0).is_ok()
    }

    /// The MAC that was recorded.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const DOMAIN: &[u8] = b"chancery/event-mac/v1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::Leaf;
    use crate::leaf::tests::content;

    #[test]
    fn mac_covers_key_row_and_leaf() {
        let leaf = Leaf::new(content()).unwrap();
        let leaf = leaf.as_bytes();
        let mut other = content();
        other.generation = 2;
        let other = Leaf::new(other).unwrap();
        let other = other.as_bytes();
        let (row, elsewhere) = (EventId::from_bytes([1; 16]), EventId::from_bytes([2; 16]));
        let mac = EventMac::compute(&[1; 32], row, leaf);
        assert!(mac.matches(&[1; 32], row, leaf));
        assert!(!mac.matches(&[2; 32], row, leaf));
        assert!(!mac.matches(&[1; 32], elsewhere, leaf));
        assert!(!mac.matches(&[1; 32], row, other));
    }
}
