//! How a value travels in an `Mcp-*` header (2026-07-28 streamable HTTP, "Value Encoding"; SEP-2243).
//!
//! A value of visible ASCII with single inner blanks travels as it is; any other as `=?base64?…?=`. Which header
//! has which value is said in `headers`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Why the value of a header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderValueError {
    /// A character that a header may not hold: the value must be encoded.
    #[error("a character that a header may not hold")]
    Characters,
    /// What stands between the marks is not base64 of UTF-8.
    #[error("not base64 of utf-8")]
    Encoding,
}

/// The header value of a text.
pub fn encode(text: &str) -> Cow<'_, str> {
    if is_plain(text) && !is_marked(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text)))
}

/// The text of a header value.
///
/// # Errors
/// The rule that the value breaks.
pub fn decode(value: &str) -> Result<Cow<'_, str>, HeaderValueError> {
    if !is_plain(value) {
        return Err(HeaderValueError::Characters);
    }
    let marked = value
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let Some(encoded) = marked else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| HeaderValueError::Encoding)?;
    let text = String::from_utf8(bytes).map_err(|_| HeaderValueError::Encoding)?;
    Ok(Cow::Owned(text))
}

fn is_plain(text: &str) -> bool {
    let is_visible = |byte: u8| byte == b'\t' || (0x20..=0x7e).contains(&byte);
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = text.as_bytes();
    bytes.iter().copied().all(is_visible) && !is_blank(bytes.first()) && !is_blank(bytes.last())
}

fn is_marked(text: &str) -> bool {
    text.starts_with(PREFIX) && text.ends_with(SUFFIX)
}

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_in_the_examples_of_the_specification() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(text), value);
            assert_eq!(decode(value).unwrap(), text);
        }
    }

    #[test]
    fn marks_are_case_sensitive() {
        assert_eq!(decode("=?BASE64?YQ==?=").unwrap(), "=?BASE64?YQ==?=");
    }

    #[test]
    fn what_is_not_an_encoding_is_refused() {
        for value in [
            "=?base64?YQ?=",
            "=?base64?_w==?=",
            "=?base64?/w==?=",
            "=?base64? YQ==?=",
        ] {
            assert_eq!(decode(value), Err(HeaderValueError::Encoding), "{value}");
        }
        for value in ["é", "a\rb", " a", "a\t", "a\u{7f}"] {
            assert_eq!(decode(value), Err(HeaderValueError::Characters), "{value}");
        }
        assert_eq!(decode("=?base64??=").unwrap(), "");
    }

    proptest::proptest! {
        #[test]
        fn every_text_travels_and_no_line_break_does(text in "(?s).{0,40}|=\\?base64\\?.{0,20}\\?=") {
            let value = encode(&text);
            proptest::prop_assert!(value.bytes().all(|byte| byte == b'\t' || (0x20..=0x7e).contains(&byte)));
            proptest::prop_assert_eq!(decode(&value).unwrap(), text.as_str());
        }
    }
}
