//! Signed notes (C2SP `signed-note`): a text, an empty line, and signature lines.
//!
//! Only Ed25519 signatures are made and verified; signatures of unknown keys, such as those of
//! witnesses that the verifier was not told of, are carried along and ignored.

use crate::key::{NoteSigner, VerifierKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a note is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text does not have the form of a signed note, or exceeds its limits.
    #[error("not a signed note")]
    Malformed,
    /// No key that is trusted signed it.
    #[error("no trusted key signed the note")]
    Untrusted,
    /// A signature under the name and id of a trusted key is not that key's.
    #[error("the signature of `{0}` is forged")]
    Forged(String),
}

/// A note whose signatures were not checked. Its text must not be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl UnverifiedNote {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]: the form (C2SP `signed-note`, Format), over 64 KiB, or over 64
    /// signatures.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let is_control = |letter: char| letter < ' ' && letter != '\n';
        if note.len() > MAX_LENGTH || note.contains(is_control) {
            return Err(NoteError::Malformed);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let signatures: Vec<_> = signatures
            .split('\n')
            .map(Signature::parse)
            .collect::<Result<_, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Malformed);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// The text, with its last line feed, if one of the trusted keys signed it.
    ///
    /// # Errors
    /// [`NoteError::Forged`] if a signature claims to be a trusted key's and is not;
    /// [`NoteError::Untrusted`] if there is none of a trusted key.
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<&str, NoteError> {
        let mut is_signed = false;
        for signature in &self.signatures {
            let known = trusted
                .iter()
                .find(|key| key.name() == signature.name && key.key_id() == signature.key_id);
            let Some(key) = known else { continue };
            if !key.verifies(&self.text, &signature.bytes) {
                return Err(NoteError::Forged(signature.name.clone()));
            }
            is_signed = true;
        }
        if is_signed {
            Ok(&self.text)
        } else {
            Err(NoteError::Untrusted)
        }
    }

    /// The text, unchecked.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }
}

/// The note that consists of this text, which ends with a line feed, and one signature.
pub(crate) fn sign(text: &str, signer: &NoteSigner) -> String {
    let key = signer.verifier();
    let signature = [&key.key_id()[..], &signer.sign(text)].concat();
    format!("{text}\n— {} {}\n", key.name(), STANDARD.encode(signature))
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix("— ").ok_or(NoteError::Malformed)?;
        let (name, encoded) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        let is_refused = |letter: char| letter.is_whitespace() || letter == '+';
        if name.is_empty() || name.contains(is_refused) {
            return Err(NoteError::Malformed);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Malformed)?;
        match bytes.split_first_chunk() {
            Some((key_id, bytes)) if !bytes.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_id: *key_id,
                bytes: bytes.to_vec(),
            }),
            _ => Err(NoteError::Malformed),
        }
    }
}

const MAX_LENGTH: usize = 65_536;
const MAX_SIGNATURES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    /// The example of the reference implementation of signed notes.
    const KNOWN_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const KNOWN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer(seed: u8) -> NoteSigner {
        NoteSigner::from_seed(&Origin::new("id.example/log", 1).unwrap(), &[seed; 32]).unwrap()
    }

    #[test]
    fn known_note_verifies() {
        let note = UnverifiedNote::parse(KNOWN_NOTE).unwrap();
        let text = note.verify(&[KNOWN_KEY.parse().unwrap()]).unwrap();
        assert!(text.starts_with("If you think") && text.ends_with("problem is.\n"));
        let changed = KNOWN_NOTE.replace("don't know", "do know");
        let forged = UnverifiedNote::parse(&changed).unwrap();
        let refused = forged.verify(&[KNOWN_KEY.parse().unwrap()]);
        assert_eq!(refused, Err(NoteError::Forged("PeterNeumann".to_owned())));
    }

    #[test]
    fn signed_note_verifies_with_its_key_only() {
        let note = sign("text\n", &signer(1));
        let note = UnverifiedNote::parse(&note).unwrap();
        assert_eq!(note.verify(&[signer(1).verifier().clone()]), Ok("text\n"));
        assert_eq!(
            note.verify(&[signer(2).verifier().clone()]),
            Err(NoteError::Untrusted)
        );
        assert_eq!(note.verify(&[]), Err(NoteError::Untrusted));
    }

    #[test]
    fn unknown_signatures_are_ignored() {
        let note = format!("{}— witness.example AAAAAAAA\n", sign("text\n", &signer(1)));
        let note = UnverifiedNote::parse(&note).unwrap();
        assert_eq!(note.verify(&[signer(1).verifier().clone()]), Ok("text\n"));
    }

    #[test]
    fn malformed_notes_are_refused() {
        for note in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n— name\n",
            "text\n\n— name AAAAAA==",
            "text\n\n— name AAAAAA==\n",
            "text\n\n- name AAAAAAAA\n",
            "text\n\n— na+me AAAAAAAA\n",
            "te\txt\n\n— name AAAAAAAA\n",
            "text\n\n— name AAAAAAAA\n\n",
        ] {
            assert_eq!(UnverifiedNote::parse(note), Err(NoteError::Malformed), "{note:?}");
        }
    }
}
