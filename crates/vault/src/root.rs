//! The root key: the one secret that is not in the database. It wraps tenant keys and nothing else.
//!
//! Its file holds one line, `chancery-root-key-v1:` and the 32 bytes in base64url without padding;
//! 64 hexadecimal digits are read too. From it are derived, each with its own label (HKDF-SHA256):
//! its id, its check value, and the key that wraps.

use crate::cipher::KEY;
use crate::derive::{derive, key_id};
use crate::error::VaultError;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// The root of the key hierarchy.
#[derive(Debug)]
pub struct RootKey {
    id: RootKeyId,
    check: CheckValue,
    wrapping: Secret<[u8; KEY]>,
    key: Secret<[u8; KEY]>,
}

impl RootKey {
    /// A new root key.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn generate(random: &dyn Random) -> Result<Self, VaultError> {
        let mut bytes = random.bytes();
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        key
    }

    /// Reads the text of a root key file; white space around it is ignored. The caller wipes `text`.
    ///
    /// # Errors
    /// [`VaultError::RootKeyFormat`] if the text has another form or length.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let encoded = text
            .trim()
            .strip_prefix(FILE_PREFIX)
            .ok_or(VaultError::RootKeyFormat)?;
        let mut bytes = Zeroizing::new([0; KEY]);
        match encoded.len() {
            43 => decode_base64(encoded, &mut bytes)?,
            64 => decode_hex(encoded, &mut bytes)?,
            _ => return Err(VaultError::RootKeyFormat),
        }
        Self::from_bytes(&bytes)
    }

    /// The root key that these bytes are, for instance from a key service. The caller wipes `bytes`.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn from_bytes(bytes: &[u8; KEY]) -> Result<Self, VaultError> {
        Ok(Self {
            id: RootKeyId(key_id(bytes, "root-key-id")?),
            check: CheckValue(*derive(bytes, &[b"root-key-check"])?.expose_secret()),
            wrapping: derive(bytes, &[b"root-key-wrap"])?,
            key: Secret::new(*bytes),
        })
    }

    /// The line to write into a root key file (mode 0600).
    pub fn to_file_text(&self) -> Secret<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.key.expose_secret()));
        let mut text = String::with_capacity(FILE_PREFIX.len() + encoded.len() + 1);
        text.push_str(FILE_PREFIX);
        text.push_str(&encoded);
        text.push('\n');
        Secret::new(text)
    }

    /// The name of this key, public.
    pub const fn id(&self) -> RootKeyId {
        self.id
    }

    /// What the database keeps, to recognise this key, public.
    pub const fn check_value(&self) -> CheckValue {
        self.check
    }

    /// Refuses to go on with another root key than the database was made with.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`].
    pub fn verify(&self, recorded: &CheckValue) -> Result<(), VaultError> {
        if self.check == *recorded {
            Ok(())
        } else {
            Err(VaultError::WrongRootKey)
        }
    }

    /// The key that wraps tenant keys.
    pub(crate) fn wrapping(&self) -> &[u8; KEY] {
        self.wrapping.expose_secret()
    }
}

/// The name of a root key: eight bytes derived from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootKeyId([u8; 8]);

impl RootKeyId {
    /// The id that these bytes are.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The id of a root key that a service holds: made from its name, for nobody here sees the key.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn of_service(name: &str) -> Result<Self, VaultError> {
        let derived = derive(&[0; KEY], &[b"service-root-key-id", name.as_bytes()])?;
        let (id, _) = derived
            .expose_secret()
            .split_first_chunk()
            .ok_or(VaultError::Length)?;
        Ok(Self(*id))
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeyId({self})")
    }
}

/// What recognises a root key without telling it: 32 bytes derived from it.
#[derive(Clone, Copy)]
pub struct CheckValue([u8; KEY]);

impl CheckValue {
    /// The check value that was recorded.
    pub const fn from_bytes(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl PartialEq for CheckValue {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for CheckValue {}

impl fmt::Debug for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckValue(..)")
    }
}

fn decode_base64(encoded: &str, bytes: &mut [u8; KEY]) -> Result<(), VaultError> {
    let decoded = Zeroizing::new(
        URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| VaultError::RootKeyFormat)?,
    );
    let decoded: &[u8; KEY] = decoded
        .as_slice()
        .try_into()
        .map_err(|_| VaultError::RootKeyFormat)?;
    bytes.copy_from_slice(decoded);
    Ok(())
}

fn decode_hex(encoded: &str, bytes: &mut [u8; KEY]) -> Result<(), VaultError> {
    let (pairs, _) = encoded.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
    }
    Ok(())
}

fn hex_digit(character: u8) -> Result<u8, VaultError> {
    char::from(character)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
        .ok_or(VaultError::RootKeyFormat)
}

const FILE_PREFIX: &str = "chancery-root-key-v1:";

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::random::DangerSeededRandom;

    #[test]
    fn file_text_round_trips() {
        let key = RootKey::generate(&DangerSeededRandom::new(1)).unwrap();
        let text = key.to_file_text();
        assert!(text.expose_secret().starts_with("chancery-root-key-v1:"));
        let read = RootKey::parse(text.expose_secret()).unwrap();
        assert_eq!(read.id(), key.id());
        assert_eq!(read.verify(&key.check_value()), Ok(()));
    }

    #[test]
    fn hexadecimal_is_read_as_the_same_key() {
        let hex = RootKey::parse(&format!("chancery-root-key-v1:{}", "07".repeat(32))).unwrap();
        assert_eq!(hex.id(), RootKey::from_bytes(&[7; 32]).unwrap().id());
    }

    #[test]
    fn another_form_is_refused() {
        for text in [
            "",
            "chancery-root-key-v1:",
            "chancery-root-key-v2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "chancery-root-key-v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "chancery-root-key-v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "chancery-root-key-v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
            &format!("chancery-root-key-v1:{}", "zz".repeat(32)),
            &format!("chancery-root-key-v1:{}", "+1".repeat(32)),
        ] {
            let refused = RootKey::parse(text).err();
            assert_eq!(refused, Some(VaultError::RootKeyFormat), "{text}");
        }
    }

    #[test]
    fn another_root_key_is_refused_by_the_check_value() {
        let one = RootKey::from_bytes(&[1; 32]).unwrap();
        let two = RootKey::from_bytes(&[2; 32]).unwrap();
        assert_eq!(two.verify(&one.check_value()), Err(VaultError::WrongRootKey));
        assert_ne!(one.id(), two.id());
    }

    #[test]
    fn debug_shows_the_id_only() {
        let shown = format!("{:?}", RootKey::from_bytes(&[171; 32]).unwrap());
        assert!(shown.contains("[redacted]") && shown.contains("RootKeyId"));
        assert!(!shown.contains("171") && !shown.contains("abab"));
    }

    /// The derivation is part of the stored format: these values never change.
    #[test]
    fn derived_values_are_stable() {
        let key = RootKey::from_bytes(&[7; 32]).unwrap();
        assert_eq!(key.id().to_string(), "6badd214adaab904");
    }
}
