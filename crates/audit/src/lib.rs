//! The tamper-evident audit log (design, section 9): what a leaf is, how leaves become a tree, how
//! the tree is signed, and how anyone with an export and a public key checks all of it.
//!
//! ```text
//! event ─→ leaf (canonical text, commitments to its parts) ─→ leaf hash ─→ tiles ─→ root
//!                                                                                    │
//! export + public key + checkpoints kept elsewhere ─→ verify ←── signed checkpoint ←─┘
//! ```
//!
//! Hashing, proofs and their verification are those of RFC 9162 §2.1; tiles, checkpoints and signed
//! notes are those of C2SP (`tlog-tiles`, `tlog-checkpoint`, `signed-note`).
//!
//! Pure: nothing here stores, reads a clock or a file, or decides what is recorded. What is read
//! from a tree comes through [`Tiles`], what is verified comes as lines of text.

pub mod assertion;
pub mod bundle;
pub mod checkpoint;
pub mod commitment;
pub mod export;
pub mod finding;
pub mod key;
pub mod leaf;
pub mod mac;
pub mod note;
pub mod origin;
mod passkeys;
pub mod proof;
mod section;
pub mod tile;
pub mod tree;
pub mod verify;

pub use assertion::{Assertion, AssertionFault, PasskeyKey, Registered};
pub use bundle::{BundleError, ProofBundle, Proven};
pub use checkpoint::{Checkpoint, CheckpointError, UnverifiedCheckpoint};
pub use commitment::{Commitment, PartFault, PartKey, PartRecord, PartState, PartsCount, commit};
pub use export::{ExportError, Exporter, Line};
pub use finding::{Finding, Report, Source};
pub use key::{KeyError, NoteSigner, VerifierKey};
pub use leaf::{Leaf, LeafContent, LeafError, Restored};
pub use mac::EventMac;
pub use note::{NoteError, UnverifiedNote};
pub use origin::{Origin, OriginError};
pub use proof::{ConsistencyProof, InclusionProof, ProofError};
pub use tile::{Integrated, Tile, TileId, TileSet, Tiles, integrate};
pub use tree::{Frontier, Hash, TreeError};
pub use verify::{Verification, Verifier, verify};
