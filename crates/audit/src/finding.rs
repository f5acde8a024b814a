//! What a verification finds wrong, and what it reports when nothing is.

use crate::assertion::AssertionFault;
use crate::commitment::PartFault;
use crate::export::End;
use crate::origin::Origin;
use crate::tree::Hash;
use chancery_core::id::TenantId;

/// Where a checkpoint came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It stands in the export.
    Exported,
    /// The verifier kept it.
    Kept,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exported => "a checkpoint in the export",
            Self::Kept => "a checkpoint that you kept",
        })
    }
}

/// One thing that is wrong. Its text is a plain sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A line is not of the format, or not at its place.
    #[error("line {line} is not a line that an export has at this place")]
    Malformed {
        /// The line, from 1.
        line: u64,
    },
    /// The export has no last line.
    #[error("the export is cut off: it has no last line")]
    EndMissing,
    /// The counts of the last line are not those of the export.
    #[error(
        "the last line counts {} entries and {} checkpoints, but {} and {} are there",
        counted.entries, counted.checkpoints, found.entries, found.checkpoints
    )]
    EndMismatch {
        /// What the last line says.
        counted: End,
        /// What was found.
        found: End,
    },
    /// A leaf is not in its one encoding.
    #[error("entry {index} of `{origin}` is not a leaf in its canonical form")]
    LeafMalformed {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
    },
    /// A leaf belongs to another tenant.
    #[error("entry {index} of `{origin}` belongs to another tenant")]
    WrongTenant {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
    },
    /// A leaf belongs to another generation of the log.
    #[error("entry {index} of `{origin}` says that it belongs to generation {generation}")]
    WrongGeneration {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
        /// What the leaf says.
        generation: u64,
    },
    /// Entries were dropped.
    #[error("entries {from} to {to} of `{origin}` are missing")]
    EntriesMissing {
        /// The log.
        origin: Origin,
        /// The first missing entry.
        from: u64,
        /// The last missing entry.
        to: u64,
    },
    /// An entry stands after one that follows it.
    #[error("entry {index} of `{origin}` is out of order")]
    EntryReordered {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
    },
    /// An index stands twice.
    #[error("entry {index} of `{origin}` stands there twice")]
    EntryRepeated {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
    },
    /// The entries are not those that were signed.
    #[error(
        "entries {from} to {to} of `{origin}` are not those that were signed: at least one was changed, exchanged, added or removed"
    )]
    EntriesChanged {
        /// The log.
        origin: Origin,
        /// The first entry that may be wrong: those before it agree with a checkpoint.
        from: u64,
        /// The last entry that the checkpoint covers.
        to: u64,
    },
    /// Part of an event does not agree with the leaf.
    #[error("entry {index} of `{origin}`: {fault}")]
    Part {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
        /// What is wrong.
        fault: PartFault,
    },
    /// What a passkey signed with a yes does not hold.
    #[error("entry {index} of `{origin}`: {fault}")]
    Assertion {
        /// The log.
        origin: Origin,
        /// The entry.
        index: u64,
        /// What is wrong.
        fault: AssertionFault,
    },
    /// The entries end before a checkpoint does.
    #[error(
        "`{origin}` ends after {present} entries, but {against} covers {size}: the tail was cut off, or the export is older than the checkpoint"
    )]
    Truncated {
        /// The log.
        origin: Origin,
        /// How many entries there are.
        present: u64,
        /// How many the checkpoint covers.
        size: u64,
        /// Where the checkpoint came from.
        against: Source,
    },
    /// A kept checkpoint contradicts entries that the log signed.
    #[error(
        "the first {size} entries of `{origin}` are not those of the checkpoint that you kept: the log was rolled back or rewritten, and signed again"
    )]
    HistoryRewritten {
        /// The log.
        origin: Origin,
        /// The size of the kept checkpoint.
        size: u64,
    },
    /// A kept checkpoint is of a log that is not in the export.
    #[error("the export has nothing of `{origin}`, of which you kept a checkpoint over {size} entries")]
    LogMissing {
        /// The log.
        origin: Origin,
        /// The size of the kept checkpoint.
        size: u64,
    },
    /// A note does not have the form of a checkpoint.
    #[error("{source_of} is not a signed checkpoint")]
    CheckpointMalformed {
        /// Where it came from.
        source_of: Source,
    },
    /// A signature under the name of a trusted key is not that key's.
    #[error("the signature of {source_of} over {size} entries of `{origin}` is forged")]
    ForgedSignature {
        /// The log that the checkpoint names.
        origin: Origin,
        /// The size that the checkpoint names.
        size: u64,
        /// Where it came from.
        source_of: Source,
    },
    /// No trusted key signed a checkpoint.
    #[error("{source_of} over {size} entries of `{origin}` is not signed by a key that you trust")]
    UntrustedCheckpoint {
        /// The log that the checkpoint names.
        origin: Origin,
        /// The size that the checkpoint names.
        size: u64,
        /// Where it came from.
        source_of: Source,
    },
    /// A log or a checkpoint is of another log than expected.
    #[error("`{found}` is another log than `{expected}`")]
    WrongOrigin {
        /// The log that was expected.
        expected: String,
        /// The log that was named.
        found: String,
    },
    /// A checkpoint does not stand after the entries that it covers.
    #[error("the checkpoint over {size} entries of `{origin}` stands at the wrong place")]
    CheckpointMisplaced {
        /// The log.
        origin: Origin,
        /// Its size.
        size: u64,
    },
    /// No checkpoint covers the last entries.
    #[error("entries {from} to {to} of `{origin}` are not covered by any checkpoint")]
    Unsigned {
        /// The log.
        origin: Origin,
        /// The first entry that is not covered.
        from: u64,
        /// The last entry that is not covered.
        to: u64,
    },
    /// A generation does not begin as one must: with a leaf that names the one before.
    #[error("`{origin}` does not begin by naming the last checkpoint of the generation before it")]
    ContinuityBroken {
        /// The log.
        origin: Origin,
    },
    /// A restore disowns entries that are known.
    #[error(
        "`{origin}` was restored as if its predecessor had {named} entries, but {against} covers {known}"
    )]
    RestoreForgets {
        /// The generation that began with the restore.
        origin: Origin,
        /// How many entries the restore names.
        named: u64,
        /// How many a known checkpoint covers.
        known: u64,
        /// Where that checkpoint came from.
        against: Source,
    },
    /// More was found than is listed.
    #[error("there are more findings than are listed")]
    More,
}

/// Entries that a restore lost, as the log itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The log that lost them.
    pub origin: Origin,
    /// The first lost entry.
    pub from: u64,
    /// The last lost entry.
    pub to: u64,
}

/// One generation of the log, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// Its origin.
    pub origin: Origin,
    /// The index of the first entry.
    pub first_index: u64,
    /// The index after the last entry.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
}

/// What was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The tenant whose log it is.
    pub tenant: Option<TenantId>,
    /// The generations of the log.
    pub logs: Vec<LogReport>,
    /// How many entries there are.
    pub entries: u64,
    /// How many checkpoints of the export were compared with the entries and agree.
    pub checkpoints: u64,
    /// How many parts are there and agree with their leaves.
    pub parts_present: u64,
    /// How many parts were erased.
    pub parts_erased: u64,
    /// How many times a passkey signed a yes, and the signature holds.
    pub assertions: u64,
    /// With how many of them the passkey's registration is not in the export.
    pub assertions_unanchored: u64,
    /// How many kept checkpoints were compared with the entries and agree.
    pub kept_confirmed: u64,
    /// How many kept checkpoints could not be compared, because the export starts after them or
    /// because the entries were lost in a restore.
    pub kept_unchecked: u64,
    /// Entries that restores lost, as the log itself says.
    pub losses: Vec<Loss>,
}

impl Report {
    /// Whether nothing but the log's own word stands against a rewriting by the log's operator: no
    /// checkpoint that was kept elsewhere was confirmed. To be shown as `unwitnessed`.
    pub const fn is_unwitnessed(&self) -> bool {
        self.kept_confirmed == 0
    }
}
