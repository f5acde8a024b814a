//! The path and query of a brokered request: normalised once (RFC 3986 §6.2.2), decided on, and sent as they were
//! decided. What two readers could take for different paths is refused, not repaired.

/// Why a path or query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash, or is longer than the limit.
    #[error("the path does not begin with `/`, or is longer than 4,096 bytes")]
    Shape,
    /// A character that stands for itself in no path: a backslash, a control character, a space, or outside ASCII.
    #[error("the path or query has a character that must be encoded")]
    Character,
    /// A percent sign without two hexadecimal digits.
    #[error("the path or query has a malformed escape")]
    Escape,
    /// An escape for a slash, a backslash, a percent sign or a control character: it means one thing before it is
    /// decoded and another after.
    #[error("the path has an encoded separator")]
    Separator,
    /// A segment `.` or `..`, in any spelling.
    #[error("the path has a dot segment")]
    DotSegment,
    /// Two slashes in a row.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A path parameter (`;`), which some servers cut off before they decide.
    #[error("the path has a parameter")]
    Parameter,
}

/// The one spelling of a path.
///
/// # Errors
/// Every rule of [`PathError`].
pub fn normalise(path: &str) -> Result<String, PathError> {
    if !path.starts_with('/') || path.len() > MAX_BYTES {
        return Err(PathError::Shape);
    }
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            match byte {
                b';' => return Err(PathError::Parameter),
                _ if is_path_byte(byte) => normal.push(char::from(byte)),
                _ => return Err(PathError::Character),
            }
            continue;
        }
        let decoded = escaped(&mut bytes)?;
        match decoded {
            b'/' | b'\\' | b'%' | b';' | 0..=0x1f | 0x7f => return Err(PathError::Separator),
            _ if is_unreserved(decoded) => normal.push(char::from(decoded)),
            _ => push_escape(&mut normal, decoded),
        }
    }
    let mut segments = normal.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(PathError::DotSegment),
            "" if segments.peek().is_some() => return Err(PathError::EmptySegment),
            _ => {}
        }
    }
    Ok(normal)
}

/// A query as it is sent on: every byte stands for itself or is a whole escape. A quotation mark is sent as its escape,
/// as every URL library writes it (URL Standard, "special-query percent-encode set").
///
/// # Errors
/// [`PathError::Character`], [`PathError::Escape`], [`PathError::Shape`] if it is too long.
pub fn checked_query(query: &str) -> Result<String, PathError> {
    if query.len() > MAX_BYTES {
        return Err(PathError::Shape);
    }
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => drop(escaped(&mut bytes)?),
            b'?' | b';' | b'[' | b']' => {}
            _ if is_path_byte(byte) => {}
            _ => return Err(PathError::Character),
        }
    }
    Ok(query.replace('\'', "%27"))
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, PathError> {
    let mut digit = || {
        let byte = bytes.next().ok_or(PathError::Escape)?;
        let value = char::from(byte).to_digit(16).ok_or(PathError::Escape)?;
        u8::try_from(value).map_err(|_| PathError::Escape)
    };
    Ok(digit()? * 16 + digit()?)
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    text.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
}

/// `pchar` and `/`, without `%` and `;` (RFC 3986 §3.3).
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'='
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const MAX_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for (given, normal) in [
            ("/", "/"),
            ("/repos/a/b", "/repos/a/b"),
            ("/repos/", "/repos/"),
            ("/%72epos/%7euser", "/repos/~user"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/a:b@c", "/a:b@c"),
        ] {
            assert_eq!(normalise(given).as_deref(), Ok(normal), "{given}");
            assert_eq!(
                normalise(normal).as_deref(),
                Ok(normal),
                "a fixed point: {normal}"
            );
        }
    }

    #[test]
    fn what_two_readers_take_for_two_paths_is_refused() {
        for (given, error) in [
            ("repos", PathError::Shape),
            ("/a//b", PathError::EmptySegment),
            ("//evil.example/x", PathError::EmptySegment),
            ("/a/../b", PathError::DotSegment),
            ("/a/./b", PathError::DotSegment),
            ("/a/..", PathError::DotSegment),
            ("/a/%2e%2e/b", PathError::DotSegment),
            ("/a/.%2E/b", PathError::DotSegment),
            ("/a%2fb", PathError::Separator),
            ("/a%5Cb", PathError::Separator),
            ("/a%252fb", PathError::Separator),
            ("/a%00", PathError::Separator),
            ("/a%0d%0aX: y", PathError::Separator),
            ("/a\\..\\b", PathError::Character),
            ("/a b", PathError::Character),
            ("/é", PathError::Character),
            ("/a?b", PathError::Character),
            ("/a#b", PathError::Character),
            ("/a%2", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/admin;x=1/keys", PathError::Parameter),
            ("/admin%3bx", PathError::Separator),
        ] {
            assert_eq!(normalise(given), Err(error), "{given}");
        }
    }

    #[test]
    fn a_query_passes_as_it_is_or_not_at_all() {
        for (given, sent) in [("q=a%20b&c[]=1;2?", "q=a%20b&c[]=1;2?"), ("n='a'", "n=%27a%27")] {
            assert_eq!(checked_query(given).as_deref(), Ok(sent));
        }
        assert_eq!(checked_query("q=a b"), Err(PathError::Character));
        assert_eq!(checked_query("q=a#b"), Err(PathError::Character));
        assert_eq!(checked_query("q=%4"), Err(PathError::Escape));
    }
}
