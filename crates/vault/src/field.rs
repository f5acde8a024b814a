//! The unambiguous encoding of several fields as one byte string: each is preceded by its length as
//! four bytes, big-endian, so that no two lists of fields encode alike.

/// The fields, one after the other, each with its length.
pub(crate) fn join(fields: &[&[u8]]) -> Vec<u8> {
    let length = fields.iter().map(|field| field.len().saturating_add(4)).sum();
    let mut joined = Vec::with_capacity(length);
    for field in fields {
        // INVARIANT: fields are ids, labels and digests, far below 4 GiB; a longer one would take
        // the length that no other field has, and stay distinct.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(field);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_boundary_changes_the_encoding() {
        assert_ne!(join(&[b"ab", b"c"]), join(&[b"a", b"bc"]));
        assert_ne!(join(&[b"a", b""]), join(&[b"a"]));
        assert_eq!(join(&[b"a"]), vec![0, 0, 0, 1, b'a']);
    }
}
