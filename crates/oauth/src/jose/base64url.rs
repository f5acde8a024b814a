//! Base64url without padding (RFC 7515 §2, RFC 4648 §5), strictly: one byte string has one text.
//!
//! Padding, white space, characters of the other alphabet and non-zero unused bits are refused, so
//! that a token cannot be rewritten without breaking its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not canonical base64url without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url without padding")]
pub struct Base64UrlError;

/// The text of these bytes.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the text of these bytes.
pub fn encode_into(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// The length of the text of `length` bytes.
pub const fn encoded_length(length: usize) -> usize {
    length.saturating_mul(4).div_ceil(3)
}

/// The bytes of this text.
///
/// # Errors
/// [`Base64UrlError`] if the text is not the one that [`encode`] gives.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64UrlError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_examples_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Ok(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn padding_is_refused() {
        for text in ["Zg==", "Zg=", "Zm8=", "=", "===="] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text}");
        }
    }

    #[test]
    fn white_space_and_foreign_characters_are_refused() {
        for text in [
            " Zm9v", "Zm9v ", "Zm\n9v", "Zm9v\r\n", "-_8+", "ab/c", "Zm9?", "Zm9é", "Zm.9", "\0Zm9",
        ] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text:?}");
        }
    }

    #[test]
    fn non_zero_unused_bits_are_refused() {
        assert_eq!(decode("AA").as_deref(), Ok(&[0u8][..]));
        for text in ["AB", "AP", "Zh", "Zm9vYh", "AAB"] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text}");
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for text in ["A", "AAAAA"] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decoding_what_was_encoded_is_the_identity(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let text = encode(&bytes);
            proptest::prop_assert_eq!(text.len(), encoded_length(bytes.len()));
            proptest::prop_assert_eq!(decode(&text), Ok(bytes));
        }

        #[test]
        fn whatever_decodes_is_canonical(text in "[A-Za-z0-9_=+/ -]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                proptest::prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
