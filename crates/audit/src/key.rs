//! Keys that sign notes, and their public halves (C2SP `signed-note`, Ed25519 signatures).
//!
//! A verifier key is written `<name>+<key id, 8 hex digits>+<base64 of 0x01 and the public key>`.

use crate::origin::Origin;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a key could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not `name+hash+key`.
    #[error("not a verifier key: expected `name+hash+key`")]
    Format,
    /// The key is of another type than Ed25519.
    #[error("not an Ed25519 key")]
    Type,
    /// The hash in the text is not that of the name and the key.
    #[error("the hash in the verifier key does not match its name and key")]
    Hash,
    /// The private key is not an Ed25519 key in PKCS #8 (RFC 8410), or not a seed of 32 bytes.
    #[error("not an Ed25519 private key")]
    Private,
}

/// The public half of a key that signs notes, with the name under which it signs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key with this public half (RFC 8032 §5.1.5) under this name.
    ///
    /// # Errors
    /// [`KeyError::Format`] if the name is empty or has white space, control characters or `+`.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        let is_refused = |letter: char| letter.is_whitespace() || letter.is_control() || letter == '+';
        if name.is_empty() || name.contains(is_refused) {
            return Err(KeyError::Format);
        }
        Ok(Self {
            name: name.to_owned(),
            public,
        })
    }

    /// The name under which it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The first four bytes of SHA-256 over name, line feed, type and public key.
    pub fn key_id(&self) -> [u8; 4] {
        let hashed = [self.name.as_bytes(), b"\n", &[ED25519_TYPE], &self.public].concat();
        let hash = digest(&SHA256, &hashed);
        // INVARIANT: SHA-256 gives 32 bytes.
        hash.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// This key as the key of `origin`, if it is the key of any generation of the same log: trust in a
    /// log's key outlives a restore.
    pub fn for_origin(&self, origin: &Origin) -> Option<Self> {
        let own: Origin = self.name.parse().ok()?;
        (own.log() == origin.log()).then(|| Self {
            name: origin.to_string(),
            public: self.public,
        })
    }

    /// Whether the signature over the text is this key's.
    pub fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(text.as_bytes(), signature)
            .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.key_id());
        let key = STANDARD.encode([&[ED25519_TYPE][..], &self.public].concat());
        write!(f, "{}+{id:08x}+{key}", self.name)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut fields = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(KeyError::Format);
        };
        let key = STANDARD.decode(key).map_err(|_| KeyError::Format)?;
        let (kind, public) = key.split_first().ok_or(KeyError::Format)?;
        if *kind != ED25519_TYPE {
            return Err(KeyError::Type);
        }
        let public = public.try_into().map_err(|_| KeyError::Format)?;
        let key = Self::new(name, public)?;
        if format!("{:08x}", u32::from_be_bytes(key.key_id())) != hash {
            return Err(KeyError::Hash);
        }
        Ok(key)
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The private key of one generation of a log. It signs notes under the origin's name.
pub struct NoteSigner {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl NoteSigner {
    /// The signer from a private key in PKCS #8, version 1 or 2 (RFC 8410). The caller wipes the
    /// bytes.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pkcs8(origin: &Origin, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| KeyError::Private)?;
        Self::new(origin, pair)
    }

    /// The signer from a seed (RFC 8032 §5.1.5). The caller wipes the bytes.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_seed(origin: &Origin, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Private)?;
        Self::new(origin, pair)
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature over the text (RFC 8032 §5.1.6).
    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        self.pair.sign(text.as_bytes()).as_ref().to_vec()
    }

    fn new(origin: &Origin, pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| KeyError::Private)?;
        let verifier = VerifierKey::new(&origin.to_string(), public)?;
        Ok(Self { pair, verifier })
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.verifier)
    }
}

/// The signature type of Ed25519 (C2SP `signed-note`, Signature types).
pub(crate) const ED25519_TYPE: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example key of the reference implementation of signed notes.
    const KNOWN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn known_key_round_trips() {
        let key: VerifierKey = KNOWN.parse().unwrap();
        assert_eq!((key.name(), key.to_string().as_str()), ("PeterNeumann", KNOWN));
    }

    #[test]
    fn changed_keys_are_refused() {
        assert_eq!("a+b".parse::<VerifierKey>(), Err(KeyError::Format));
        assert_eq!(
            KNOWN.replace("Peter", "Petra").parse::<VerifierKey>(),
            Err(KeyError::Hash)
        );
        assert_eq!(
            KNOWN.replace("c74f", "C74F").parse::<VerifierKey>(),
            Err(KeyError::Hash)
        );
        assert_eq!(
            KNOWN.replace("+ARpc", "+BBpc").parse::<VerifierKey>(),
            Err(KeyError::Type)
        );
    }

    #[test]
    fn trust_in_a_key_covers_the_generations_of_its_log_only() {
        let first = Origin::new("id.example/log", 1).unwrap();
        let signer = NoteSigner::from_seed(&first, &[7; 32]).unwrap();
        let second = signer.verifier().for_origin(&first.with_generation(2)).unwrap();
        assert_eq!(second.name(), "id.example/log/2");
        let other = Origin::new("id.example/other", 1).unwrap();
        assert_eq!(signer.verifier().for_origin(&other), None);
    }

    #[test]
    fn seed_and_pkcs8_give_the_same_key() {
        let origin = Origin::new("id.example/log", 1).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let seed = NoteSigner::from_seed(&origin, &[7; 32]).unwrap();
        for pkcs8 in [pair.to_pkcs8().unwrap(), pair.to_pkcs8v1().unwrap()] {
            let signer = NoteSigner::from_pkcs8(&origin, pkcs8.as_ref()).unwrap();
            assert_eq!(signer.verifier(), seed.verifier());
        }
        assert_eq!(
            NoteSigner::from_pkcs8(&origin, b"no").err(),
            Some(KeyError::Private)
        );
    }
}
