//! The proof of one event: a leaf, its place in the tree, a signed checkpoint and the parts, in one
//! JSON text that anyone with the log's public key can verify.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::commitment::{PartFault, PartRecord, PartsCount, check_parts};
use crate::key::VerifierKey;
use crate::leaf::{Leaf, LeafError};
use crate::proof::{InclusionProof, ProofError};
use crate::tree::Hash;
use serde::{Deserialize, Serialize};

/// Why a proof of an event is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text is not such a proof.
    #[error("not a proof of an audit event")]
    Format,
    /// The leaf is not one, or not in its canonical form.
    #[error("the leaf cannot be read")]
    Leaf(#[from] LeafError),
    /// The checkpoint is malformed, forged or untrusted.
    #[error("the checkpoint is not accepted")]
    Checkpoint(#[from] CheckpointError),
    /// The leaf says that it belongs to another generation than the checkpoint does.
    #[error("leaf and checkpoint are of different generations of the log")]
    WrongGeneration,
    /// The leaf is not in the tree that was signed.
    #[error("the leaf is not in the tree that was signed")]
    Proof(#[from] ProofError),
    /// A part does not agree with the leaf; the first one found.
    #[error("the parts do not agree with the leaf")]
    Part(#[from] PartFault),
}

/// The proof of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofBundle {
    format: Format,
    /// The leaf's text.
    pub leaf: String,
    /// The leaf's index in its log.
    pub index: u64,
    /// The hashes on the way from the leaf to the root (RFC 9162 §2.1.3.1).
    pub proof: Vec<Hash>,
    /// The signed note of a checkpoint that covers the leaf.
    pub checkpoint: String,
    /// The parts, present or erased.
    pub parts: Vec<PartRecord>,
}

/// An event that is proved: what was read can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The leaf.
    pub leaf: Leaf,
    /// Its index.
    pub index: u64,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
    /// How many parts are there, and how many were erased.
    pub parts: PartsCount,
}

impl ProofBundle {
    /// The proof of a leaf, under the signed note of the tree that the inclusion proof is for.
    pub fn new(leaf: &Leaf, proof: InclusionProof, checkpoint: String, parts: Vec<PartRecord>) -> Self {
        Self {
            format: Format::Version1,
            leaf: leaf.as_text().to_owned(),
            index: proof.index,
            proof: proof.hashes,
            checkpoint,
            parts,
        }
    }

    /// Reads the JSON text, which has one encoding: the one of [`ProofBundle::to_json`].
    ///
    /// # Errors
    /// [`BundleError::Format`].
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let bundle: Self = serde_json::from_str(text).map_err(|_| BundleError::Format)?;
        if bundle.to_json()? == text {
            Ok(bundle)
        } else {
            Err(BundleError::Format)
        }
    }

    /// The JSON text.
    ///
    /// # Errors
    /// [`BundleError::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, BundleError> {
        serde_json::to_string(self).map_err(|_| BundleError::Format)
    }

    /// Verifies the proof with nothing but the keys that are trusted.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Proven, BundleError> {
        let leaf = Leaf::parse(self.leaf.as_bytes())?;
        let checkpoint = Checkpoint::open(&self.checkpoint, trusted)?;
        if leaf.content().generation != checkpoint.origin.generation() {
            return Err(BundleError::WrongGeneration);
        }

        let proof = InclusionProof {
            index: self.index,
            size: checkpoint.size,
            hashes: self.proof.clone(),
        };
        proof.verify(&leaf.hash(), &checkpoint.root)?;

        match check_parts(&leaf, &self.parts) {
            Ok(parts) => Ok(Proven {
                leaf,
                index: self.index,
                checkpoint,
                parts,
            }),
            Err(faults) => Err(faults
                .into_iter()
                .next()
                .map_or(BundleError::Format, BundleError::Part)),
        }
    }
}

/// The name and version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "chancery-audit-proof/1")]
    Version1,
}
