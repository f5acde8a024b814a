//! Keyed commitments to the parts of an event (design, section 9).
//!
//! A leaf stands for ever; what is personal in an event must not. So the leaf holds only
//! HMAC-SHA256 of each part under a key of its own, and part and key lie beside the log. Erasing both
//! leaves the leaf and every proof valid, and makes the part impossible to guess, however short.
//!
//! The message is `chancery/part/v1`, the length of the part's name as four bytes, big-endian, the
//! name, and the content.

use crate::leaf::Leaf;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::event::{Part, PartClass};
use chancery_core::random::Random;
use chancery_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The commitment to a part under a key.
pub fn commit(key: &[u8; 32], name: &str, content: &[u8]) -> Commitment {
    let mut hmac = Context::with_key(&Key::new(HMAC_SHA256, key));
    hmac.update(DOMAIN);
    // INVARIANT: names of parts have at most 64 bytes (`leaf`).
    hmac.update(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
    hmac.update(name.as_bytes());
    hmac.update(content);
    // INVARIANT: HMAC-SHA256 gives 32 bytes.
    Commitment(hmac.sign().as_ref().try_into().unwrap_or([0; 32]))
}

/// A commitment: what a leaf says about a part. Its text form is base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// The commitment that these bytes are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commitment({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for Commitment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// The key of one part's commitment. It protects nothing that its content beside it does not tell,
/// but must be unpredictable, and gone once the part is erased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PartKey([u8; 32]);

impl PartKey {
    /// A new key.
    pub fn generate(random: &dyn Random) -> Self {
        Self(random.bytes())
    }

    /// The key that was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartKey(..)")
    }
}

impl Serialize for PartKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for PartKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_bytes(deserializer).map(Self)
    }
}

/// A part as it is kept beside the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// What it is; the decision behind the event is the part named `decision`.
    pub name: String,
    /// How long it is kept.
    pub class: PartClass,
    /// Whether it is still there.
    pub state: PartState,
}

/// Whether a part is still there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PartState {
    /// It is.
    Present {
        /// The key of its commitment.
        key: PartKey,
        /// Its JSON text.
        content: String,
    },
    /// It was erased, and its key with it.
    Erased {
        /// When, in microseconds since 1970. Not covered by the tree: the erasure's own event is.
        at: Timestamp,
    },
}

impl fmt::Debug for PartState {
    /// Without the content, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present { content, .. } => write!(f, "Present({} bytes)", content.len()),
            Self::Erased { at } => write!(f, "Erased({at})"),
        }
    }
}

impl PartRecord {
    /// The record of a new part under a key of its own.
    pub fn new(part: &Part, random: &dyn Random) -> Self {
        Self {
            name: part.name.to_owned(),
            class: part.class,
            state: PartState::Present {
                key: PartKey::generate(random),
                content: part.content.clone(),
            },
        }
    }

    /// What the leaf says about the part; `None` once it is erased.
    pub fn commitment(&self) -> Option<Commitment> {
        match &self.state {
            PartState::Present { key, content } => {
                Some(commit(key.as_bytes(), &self.name, content.as_bytes()))
            }
            PartState::Erased { .. } => None,
        }
    }

    /// Erases content and key.
    pub fn erase(&mut self, at: Timestamp) {
        if matches!(self.state, PartState::Present { .. }) {
            self.state = PartState::Erased { at };
        }
    }
}

/// How the parts of a leaf disagree with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// The part, its key or its name is not the one that the leaf commits to.
    #[error("part `{0}` was changed")]
    Changed(String),
    /// The leaf commits to a part that is neither there nor recorded as erased.
    #[error("part `{0}` is missing and not recorded as erased")]
    Missing(String),
    /// There is a part to which the leaf does not commit.
    #[error("part `{0}` does not belong to the leaf")]
    Unexpected(String),
}

/// How many parts were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartsCount {
    /// Present and as the leaf says.
    pub present: u64,
    /// Erased.
    pub erased: u64,
}

/// Compares the parts beside a leaf with its commitments.
///
/// # Errors
/// Every [`PartFault`].
pub fn check_parts(leaf: &Leaf, records: &[PartRecord]) -> Result<PartsCount, Vec<PartFault>> {
    let mut count = PartsCount::default();
    let mut faults = Vec::new();
    for (name, commitment) in &leaf.content().commitments {
        let mut named = records.iter().filter(|record| record.name == *name);
        let Some(record) = named.next() else {
            faults.push(PartFault::Missing(name.clone()));
            continue;
        };
        match record.commitment() {
            None => count.erased += 1,
            Some(found) if found == *commitment => count.present += 1,
            Some(_) => faults.push(PartFault::Changed(name.clone())),
        }
        if named.next().is_some() {
            faults.push(PartFault::Unexpected(name.clone()));
        }
    }
    for record in records {
        let is_committed = |(name, _): &(String, Commitment)| *name == record.name;
        if !leaf.content().commitments.iter().any(is_committed) {
            faults.push(PartFault::Unexpected(record.name.clone()));
        }
    }
    if faults.is_empty() { Ok(count) } else { Err(faults) }
}

fn deserialize_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
    let bytes = URL_SAFE_NO_PAD.decode(&*text).map_err(serde::de::Error::custom)?;
    bytes
        .try_into()
        .map_err(|_| serde::de::Error::custom("expected 32 bytes"))
}

const DOMAIN: &[u8] = b"chancery/part/v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::tests::content;
    use chancery_core::random::DangerSeededRandom;

    fn record(name: &'static str, content: &str) -> PartRecord {
        let part = Part {
            name,
            class: PartClass::Personal,
            content: content.to_owned(),
        };
        PartRecord::new(&part, &DangerSeededRandom::new(1))
    }

    fn leaf(records: &[PartRecord]) -> Leaf {
        let commitments = records
            .iter()
            .filter_map(|record| Some((record.name.clone(), record.commitment()?)))
            .collect();
        Leaf::new(crate::leaf::LeafContent {
            commitments,
            ..content()
        })
        .unwrap()
    }

    #[test]
    fn commitment_separates_key_name_and_content() {
        let commitment = commit(&[1; 32], "ab", b"c");
        assert_ne!(commitment, commit(&[2; 32], "ab", b"c"));
        assert_ne!(commitment, commit(&[1; 32], "a", b"bc"));
        assert_ne!(commitment, commit(&[1; 32], "ab", b"d"));
    }

    #[test]
    fn present_parts_must_match_and_erased_ones_are_counted() {
        let mut records = vec![record("request", "{}"), record("decision", "{}")];
        let leaf = leaf(&records);
        let count = |present, erased| Ok(PartsCount { present, erased });
        assert_eq!(check_parts(&leaf, &records), count(2, 0));
        records[0].erase(Timestamp::from_seconds(1));
        assert_eq!(check_parts(&leaf, &records), count(1, 1));
        records[1] = record("decision", "{ }");
        let changed = PartFault::Changed("decision".to_owned());
        assert_eq!(check_parts(&leaf, &records), Err(vec![changed]));
    }

    #[test]
    fn missing_and_foreign_parts_are_found() {
        let records = vec![record("request", "{}")];
        let leaf = leaf(&records);
        let missing = PartFault::Missing("request".to_owned());
        let unexpected = PartFault::Unexpected("other".to_owned());
        assert_eq!(
            check_parts(&leaf, &[record("other", "{}")]),
            Err(vec![missing, unexpected])
        );
        let twice = [records[0].clone(), records[0].clone()];
        assert_eq!(
            check_parts(&leaf, &twice),
            Err(vec![PartFault::Unexpected("request".to_owned())])
        );
    }

    #[test]
    fn debug_shows_neither_key_nor_content() {
        let shown = format!("{:?}", record("request", "marker-personal"));
        assert!(!shown.contains("marker") && shown.contains("15 bytes"), "{shown}");
    }
}
