//! Checkpoints (C2SP `tlog-checkpoint`): what a log signs. Three lines — origin, size, root in
//! base64 — in a signed note.

use crate::key::{NoteSigner, VerifierKey};
use crate::note::{self, NoteError, UnverifiedNote};
use crate::origin::Origin;
use crate::tree::Hash;
use std::fmt;

/// Why a checkpoint is not accepted, or not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is malformed, forged, or not signed by a trusted key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note is not a checkpoint of one of our logs.
    #[error("the note is not a checkpoint")]
    Format,
    /// The signer is that of another log or another generation.
    #[error("the signing key belongs to `{0}`")]
    OtherOrigin(String),
}

/// The state of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Which log, and which generation of it.
    pub origin: Origin,
    /// How many leaves.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The signed note. The caller makes sure that it is consistent with every checkpoint signed
    /// before (C2SP `tlog-checkpoint`, Signatures).
    ///
    /// # Errors
    /// [`CheckpointError::OtherOrigin`].
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, CheckpointError> {
        let name = signer.verifier().name();
        if name != self.origin.to_string() {
            return Err(CheckpointError::OtherOrigin(name.to_owned()));
        }
        Ok(note::sign(&self.to_string(), signer))
    }

    /// Reads a note and verifies it with the keys that are trusted for its log.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &str, trusted: &[VerifierKey]) -> Result<Self, CheckpointError> {
        UnverifiedCheckpoint::parse(note)?.verify(trusted)
    }

    fn parse_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if lines.any(str::is_empty) {
            return None;
        }
        let checkpoint = Self {
            origin: origin.parse().ok()?,
            size: size.parse().ok()?,
            root: root.parse().ok()?,
        };
        (checkpoint.size.to_string() == size).then_some(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note, unsigned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A checkpoint whose signatures were not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedCheckpoint {
    note: UnverifiedNote,
    claimed: Checkpoint,
}

impl UnverifiedCheckpoint {
    /// Reads a note. Extension lines are accepted and ignored.
    ///
    /// # Errors
    /// [`CheckpointError::Note`], [`CheckpointError::Format`].
    pub fn parse(note: &str) -> Result<Self, CheckpointError> {
        let note = UnverifiedNote::parse(note)?;
        let claimed = Checkpoint::parse_text(note.unverified_text()).ok_or(CheckpointError::Format)?;
        Ok(Self { note, claimed })
    }

    /// What the note claims.
    pub const fn unverified(&self) -> &Checkpoint {
        &self.claimed
    }

    /// What the note says, if a key that is trusted for its log signed it. A key of any generation
    /// of the log is ([`VerifierKey::for_origin`]).
    ///
    /// # Errors
    /// [`CheckpointError::Note`].
    pub fn verify(self, trusted: &[VerifierKey]) -> Result<Checkpoint, CheckpointError> {
        let keys: Vec<_> = trusted
            .iter()
            .filter_map(|key| key.for_origin(&self.claimed.origin))
            .collect();
        self.note.verify(&keys)?;
        Ok(self.claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::empty_root;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: Origin::new("id.example/log", 1).unwrap(),
            size: 12,
            root: empty_root(),
        }
    }

    fn signer() -> NoteSigner {
        NoteSigner::from_seed(&checkpoint().origin, &[1; 32]).unwrap()
    }

    #[test]
    fn signed_checkpoint_round_trips() {
        let note = checkpoint().sign(&signer()).unwrap();
        assert!(note.starts_with("id.example/log/1\n12\n47DEQpj8HBSa"));
        let opened = Checkpoint::open(&note, &[signer().verifier().clone()]);
        assert_eq!(opened, Ok(checkpoint()));
    }

    #[test]
    fn any_flipped_bit_of_a_note_is_refused() {
        let note = checkpoint().sign(&signer()).unwrap();
        for bit in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let opened = Checkpoint::open(&changed, &[signer().verifier().clone()]);
            assert!(opened.is_err(), "bit {bit}: {changed}");
        }
    }

    #[test]
    fn signer_of_another_generation_is_refused() {
        let other = NoteSigner::from_seed(&checkpoint().origin.with_generation(2), &[1; 32]).unwrap();
        let refused = checkpoint().sign(&other);
        assert_eq!(
            refused,
            Err(CheckpointError::OtherOrigin("id.example/log/2".to_owned()))
        );
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let root = empty_root();
        for text in [
            format!("id.example/log/1\n012\n{root}\n"),
            format!("id.example/log/1\n+12\n{root}\n"),
            format!("id.example/log\n12\n{root}\n"),
            format!("id.example/log/1\n12\n{root}\n\n"),
            "id.example/log/1\n12\nAAAA\n".to_owned(),
            "id.example/log/1\n12\n".to_owned(),
        ] {
            let refused = Checkpoint::open(&note::sign(&text, &signer()), &[]);
            assert_eq!(refused, Err(CheckpointError::Format), "{text}");
        }
    }
}
