//! The leaf of an event: the canonical bytes that the tree hashes (design, section 9).
//!
//! A leaf is JSON text with exactly these members in exactly this order and no white space:
//!
//! ```text
//! {"v":1,"tenant":"ten_…","gen":1,"time":1700000000000000,"event":"evt_…","kind":"token.issued",
//!  "outcome":"ok","ids":[["agent","agt_…"]],"commitments":[["decision","<base64url>"]]}
//! ```
//!
//! (one line). Texts are limited to characters that JSON does not escape and numbers to integers, so
//! each content has one encoding, and only that one is read back. A leaf has at most 65,535 bytes,
//! as the entry bundles of C2SP `tlog-tiles` demand. Nothing in it is personal: ids are our own
//! pseudonyms, everything else is a commitment.

use crate::commitment::Commitment;
use crate::tree::{Hash, leaf_hash};
use chancery_core::event::EventOutcome;
use chancery_core::id::{EventId, TenantId};
use chancery_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a leaf cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// The kind is not 1 to 64 lower-case letters, digits, `_` and `.`.
    #[error("malformed kind of event")]
    Kind,
    /// A role is not 1 to 64 lower-case letters, digits, `_` and `.`, or an id is not 1 to 256 visible
    /// ASCII characters without `"` and `\`.
    #[error("malformed role or id")]
    Id,
    /// The name of a part is not 1 to 64 lower-case letters, digits, `_` and `.`, or stands twice.
    #[error("malformed or repeated name of a part")]
    PartName,
    /// The leaf exceeds 65,535 bytes.
    #[error("a leaf has at most 65,535 bytes")]
    TooLong,
    /// The bytes are not a leaf, or a leaf of an unknown version.
    #[error("not a leaf")]
    Format,
    /// The bytes are a leaf, but not as we write it.
    #[error("not the canonical form of a leaf")]
    NotCanonical,
}

/// What a leaf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafContent {
    /// The tenant.
    pub tenant: TenantId,
    /// The generation of the tenant's log, from 1.
    pub generation: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The event's id.
    pub event: EventId,
    /// What happened, as in `token.issued`.
    pub kind: String,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Pseudonymous ids in a fixed order: the role, then the id.
    pub ids: Vec<(String, String)>,
    /// A commitment to each part, in a fixed order: the part's name, then the commitment.
    pub commitments: Vec<(String, Commitment)>,
}

/// A leaf: content and canonical bytes, which always agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    content: LeafContent,
    bytes: Vec<u8>,
}

impl Leaf {
    /// The leaf with this content.
    ///
    /// # Errors
    /// [`LeafError`] if the content cannot be written canonically or is too long.
    pub fn new(content: LeafContent) -> Result<Self, LeafError> {
        check(&content)?;
        let bytes = serde_json::to_vec(&Wire::from(&content)).map_err(|_| LeafError::Format)?;
        if bytes.len() > MAX_LENGTH {
            return Err(LeafError::TooLong);
        }
        Ok(Self { content, bytes })
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// [`LeafError`]; in particular [`LeafError::NotCanonical`] for any other encoding than
    /// [`Leaf::encode`] gives.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        if bytes.len() > MAX_LENGTH {
            return Err(LeafError::TooLong);
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_| LeafError::Format)?;
        if wire.version != VERSION {
            return Err(LeafError::Format);
        }
        let leaf = Self::new(wire.into())?;
        if leaf.bytes == bytes {
            Ok(leaf)
        } else {
            Err(LeafError::NotCanonical)
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The canonical bytes, borrowed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The canonical bytes as the text that they are.
    pub fn as_text(&self) -> &str {
        // INVARIANT: the encoder writes UTF-8.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// What it says.
    pub const fn content(&self) -> &LeafContent {
        &self.content
    }

    /// Its hash in the tree.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }

    /// The first value with this role.
    pub fn find_id(&self, role: &str) -> Option<&str> {
        let mut ids = self.content.ids.iter();
        ids.find(|(name, _)| name == role).map(|(_, id)| id.as_str())
    }
}

/// What the first leaf of a generation that follows a restore says about the generation before: the
/// last checkpoint of it that is known, from wherever checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The generation before.
    pub generation: u64,
    /// The size of its last known checkpoint.
    pub size: u64,
    /// The root of its last known checkpoint.
    pub root: Hash,
}

impl Restored {
    /// The kind of the event.
    pub const KIND: &'static str = "log.restored";

    /// The ids of the event.
    pub fn to_ids(&self) -> Vec<(String, String)> {
        vec![
            (ROLE_GENERATION.to_owned(), self.generation.to_string()),
            (ROLE_SIZE.to_owned(), self.size.to_string()),
            (ROLE_ROOT.to_owned(), self.root.to_string()),
        ]
    }

    /// What the leaf says, if it is the leaf of a restore.
    pub fn find(leaf: &Leaf) -> Option<Self> {
        if leaf.content.kind != Self::KIND {
            return None;
        }
        Some(Self {
            generation: leaf.find_id(ROLE_GENERATION)?.parse().ok()?,
            size: leaf.find_id(ROLE_SIZE)?.parse().ok()?,
            root: leaf.find_id(ROLE_ROOT)?.parse().ok()?,
        })
    }
}

/// The members in their order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "v")]
    version: u8,
    tenant: TenantId,
    #[serde(rename = "gen")]
    generation: u64,
    time: Timestamp,
    event: EventId,
    kind: String,
    outcome: EventOutcome,
    ids: Vec<(String, String)>,
    commitments: Vec<(String, Commitment)>,
}

impl From<&LeafContent> for Wire {
    fn from(content: &LeafContent) -> Self {
        let content = content.clone();
        Self {
            version: VERSION,
            tenant: content.tenant,
            generation: content.generation,
            time: content.time,
            event: content.event,
            kind: content.kind,
            outcome: content.outcome,
            ids: content.ids,
            commitments: content.commitments,
        }
    }
}

impl From<Wire> for LeafContent {
    fn from(wire: Wire) -> Self {
        Self {
            tenant: wire.tenant,
            generation: wire.generation,
            time: wire.time,
            event: wire.event,
            kind: wire.kind,
            outcome: wire.outcome,
            ids: wire.ids,
            commitments: wire.commitments,
        }
    }
}

fn check(content: &LeafContent) -> Result<(), LeafError> {
    if !is_name(&content.kind) {
        return Err(LeafError::Kind);
    }
    for (role, id) in &content.ids {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !is_name(role) || !(1..=256).contains(&id.len()) || !id.bytes().all(is_plain) {
            return Err(LeafError::Id);
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for (name, _) in &content.commitments {
        if !is_name(name) || !names.insert(name) {
            return Err(LeafError::PartName);
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(is_letter)
}

const VERSION: u8 = 1;
/// The longest entry of a bundle (C2SP `tlog-tiles`, Log entries).
const MAX_LENGTH: usize = 65_535;
const ROLE_GENERATION: &str = "previous_generation";
const ROLE_SIZE: &str = "previous_size";
const ROLE_ROOT: &str = "previous_root";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chancery_core::id::Id as _;

    pub(crate) fn content() -> LeafContent {
        LeafContent {
            tenant: TenantId::from_bytes([1; 16]),
            generation: 1,
            time: Timestamp::from_seconds(1_700_000_000),
            event: EventId::from_bytes([2; 16]),
            kind: "token.issued".to_owned(),
            outcome: EventOutcome::Ok,
            ids: vec![("agent".to_owned(), "agt_1".to_owned())],
            commitments: vec![("decision".to_owned(), Commitment::from_bytes([3; 32]))],
        }
    }

    #[test]
    fn encoding_is_the_documented_one() {
        let leaf = Leaf::new(content()).unwrap();
        let expected = concat!(
            r#"{"v":1,"tenant":"ten_010g2081040g2081040g208104","gen":1,"time":1700000000000000,"#,
            r#""event":"evt_020g2081040g2081040g208104","kind":"token.issued","outcome":"ok","#,
            r#""ids":[["agent","agt_1"]],"#,
            r#""commitments":[["decision","AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM"]]}"#,
        );
        let ids = |text: String| {
            let tenant = content().tenant.to_string();
            let event = content().event.to_string();
            text.replace("ten_010g2081040g2081040g208104", &tenant)
                .replace("evt_020g2081040g2081040g208104", &event)
        };
        assert_eq!(leaf.as_text(), ids(expected.to_owned()));
        assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
    }

    #[test]
    fn other_encodings_are_refused() {
        let text = Leaf::new(content()).unwrap().as_text().to_owned();
        for (changed, error) in [
            (text.replace("\"v\":1", "\"v\":2"), LeafError::Format),
            (text.replace("\"v\":1,", ""), LeafError::Format),
            (text.replace("{\"v\"", "{\"x\":1,\"v\""), LeafError::Format),
            (text.replace("{\"v\":1", "{\"v\":1,\"v\":1"), LeafError::Format),
            (format!("{text}x"), LeafError::Format),
            (format!("{text}\n"), LeafError::NotCanonical),
            (text.replace("\"gen\":1", "\"gen\": 1"), LeafError::NotCanonical),
            (text.replace("agt_1", "agt_\\u0031"), LeafError::NotCanonical),
            (text.replace("agt_1", "ågt_1"), LeafError::Id),
            (text.replace("issued", "Issued"), LeafError::Kind),
        ] {
            assert_eq!(Leaf::parse(changed.as_bytes()), Err(error), "{changed}");
        }
    }

    #[test]
    fn content_that_has_no_canonical_form_is_refused() {
        let with = |change: fn(&mut LeafContent)| {
            let mut content = content();
            change(&mut content);
            Leaf::new(content).map(|_| ())
        };
        assert_eq!(with(|content| content.kind.clear()), Err(LeafError::Kind));
        assert_eq!(with(|content| content.ids[0].1.push('"')), Err(LeafError::Id));
        assert_eq!(with(|content| content.ids[0].0.push(' ')), Err(LeafError::Id));
        let twice = with(|content| content.commitments.push(content.commitments[0].clone()));
        assert_eq!(twice, Err(LeafError::PartName));
        let long = with(|content| content.ids = vec![("role".to_owned(), "x".repeat(256)); 300]);
        assert_eq!(long, Err(LeafError::TooLong));
    }

    #[test]
    fn restore_round_trips() {
        let restored = Restored {
            generation: 1,
            size: 12,
            root: leaf_hash(b""),
        };
        let leaf = Leaf::new(LeafContent {
            kind: Restored::KIND.to_owned(),
            ids: restored.to_ids(),
            ..content()
        });
        assert_eq!(Restored::find(&leaf.unwrap()), Some(restored));
        let kind = chancery_core::event::EventKind::LogRestored;
        assert_eq!(kind.to_string(), Restored::KIND);
        assert_eq!(Restored::find(&Leaf::new(content()).unwrap()), None);
    }
}
