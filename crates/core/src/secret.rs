//! Values that must never be shown: the wrapper that hides them and the digest that stands for them.

use crate::random::Random;
use secrecy::{ExposeSecret as _, SecretBox};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// A secret value. It has no `Display` and no `Serialize`, prints as `[redacted]`, is not `Clone`,
/// and is wiped when dropped.
pub struct Secret<T: Zeroize>(SecretBox<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value under guard.
    pub fn new(value: T) -> Self {
        Self(SecretBox::new(Box::new(value)))
    }

    /// The value itself. Only the files listed in the workspace test may call this.
    pub fn expose_secret(&self) -> &T {
        self.0.expose_secret()
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de> serde::Deserialize<'de> for Secret<String> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The SHA-256 digest of a secret with at least 256 bits of entropy: what is stored in its place.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Wraps a digest that was computed or read.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenDigest {
    // SECURITY: constant time, so that a comparison does not tell how much of a guess was right.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// A new 256-bit secret in its text form: a prefix that secret scanners can find (`chs_`), then 43
/// characters of base64url.
pub fn generate(prefix: &str, random: &dyn Random) -> Secret<String> {
    use base64::Engine as _;
    let mut bytes: [u8; 32] = random.bytes();
    let text = format!(
        "{prefix}{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    );
    bytes.zeroize();
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new(String::from("marker-secret"));
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(format!("{:?}", TokenDigest::new([7; 32])), "TokenDigest(..)");
    }
}
