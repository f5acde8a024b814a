//! Searching a streamed answer for the credential: pieces are handed on only when the credential cannot begin in
//! what is held back.

use crate::gateway::credential::Search;
use bytes::{Bytes, BytesMut};

/// What was let through so far holds no credential; what might be the start of one is held.
#[derive(Debug)]
pub struct Sieve {
    search: Search,
    held: BytesMut,
}

/// The credential stands in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer holds the credential")]
pub struct Echoed;

impl Sieve {
    /// A sieve at the start of a body.
    pub fn new(search: Search) -> Self {
        Self {
            search,
            held: BytesMut::new(),
        }
    }

    /// Takes a piece; gives what may be handed on.
    ///
    /// # Errors
    /// [`Echoed`]: nothing more may be handed on.
    pub fn push(&mut self, piece: &[u8]) -> Result<Bytes, Echoed> {
        self.held.extend_from_slice(piece);
        if self.search.finds(&self.held) {
            return Err(Echoed);
        }
        let keep = self.search.longest().saturating_sub(1).min(self.held.len());
        Ok(self.held.split_to(self.held.len() - keep).freeze())
    }

    /// The rest, at the end of the body. It was searched with the last piece.
    pub fn finish(self) -> Bytes {
        self.held.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&[u8]]) -> Result<Vec<u8>, Echoed> {
        let mut sieve = Sieve::new(Search::of(&["s3cret-value"]));
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&sieve.push(piece)?);
        }
        out.extend_from_slice(&sieve.finish());
        Ok(out)
    }

    #[test]
    fn bytes_come_through_unchanged_however_they_are_cut() {
        let text = b"nothing secret here, s3cret-valu";
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(through(&[left, right]).unwrap(), text);
        }
    }

    #[test]
    fn a_credential_is_found_however_it_is_cut_and_none_of_it_comes_through() {
        let text = b"{\"key\":\"s3cret-value\"}";
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(through(&[left, right]), Err(Echoed), "cut at {cut}");
        }
        let encoded = b"Authorization: czNjcmV0LXZhbHVl";
        assert_eq!(through(&[encoded]), Err(Echoed));
    }
}
