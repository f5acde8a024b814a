//! Merkle tree hashing (RFC 9162 §2.1.1) and the right edge of a tree that only grows.
//!
//! A leaf hash is SHA-256 of the byte 0 and the leaf; a node hash is SHA-256 of the byte 1 and the
//! hashes of its two children, so that no leaf can pass for a node.

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a tree, a tile or a hash could not be computed or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The text is not 32 bytes in base64.
    #[error("not a hash: expected 32 bytes in base64")]
    HashFormat,
    /// A tile that is needed was not there, or not as wide as the tree's size demands.
    #[error("tile {level}/{index} of width {width} is missing")]
    MissingTile {
        /// The level of the tile.
        level: u8,
        /// Its index within the level.
        index: u64,
        /// How many hashes it must hold.
        width: u16,
    },
    /// The tree would exceed 2⁶³ − 1 leaves.
    #[error("the tree is too large")]
    TooLarge,
    /// The index or size asked for lies beyond the tree.
    #[error("index or size beyond the tree")]
    OutOfRange,
    /// The bytes or the path are not those of a tile.
    #[error("malformed tile")]
    TileFormat,
}

/// A SHA-256 hash of a leaf, a node or a whole tree. Its text form is base64 with padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash that these bytes are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = TreeError;
    fn from_str(text: &str) -> Result<Self, TreeError> {
        let bytes = STANDARD.decode(text).map_err(|_| TreeError::HashFormat)?;
        bytes.try_into().map(Self).map_err(|_| TreeError::HashFormat)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 9162 §2.1.1).
pub fn empty_root() -> Hash {
    finish(digest(&SHA256, b"").as_ref())
}

/// The hash of a leaf (RFC 9162 §2.1.1).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(leaf);
    finish(context.finish().as_ref())
}

/// The hash of a node from those of its children (RFC 9162 §2.1.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(&left.0);
    context.update(&right.0);
    finish(context.finish().as_ref())
}

/// The right edge of a tree: enough to append to it and to know its root at every size, in memory
/// logarithmic in the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// INVARIANT: one hash for each bit set in `size`, the largest subtree first.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree with `size` leaves, from the roots of its perfect subtrees, the largest
    /// first. `None` if there is not one for each bit set in `size`.
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (subtrees.len() == usize::try_from(size.count_ones()).unwrap_or(usize::MAX))
            .then_some(Self { size, subtrees })
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the largest first.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut below = self.size;
        while below & 1 == 1 {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
            below >>= 1;
        }
        self.subtrees.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold_right(&self.subtrees)
    }
}

/// The root over perfect subtrees that stand side by side, the largest first.
pub(crate) fn fold_right(subtrees: &[Hash]) -> Hash {
    let mut from_the_right = subtrees.iter().rev();
    match from_the_right.next() {
        Some(last) => from_the_right.fold(*last, |right, left| node_hash(left, &right)),
        None => empty_root(),
    }
}

fn finish(output: &[u8]) -> Hash {
    // INVARIANT: SHA-256 gives 32 bytes.
    Hash(output.try_into().unwrap_or([0; 32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The eight leaves of the reference tests of Certificate Transparency and the roots of the trees
    /// over the first one to eight of them.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn hex(hash: Hash) -> String {
        use std::fmt::Write as _;
        hash.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    #[test]
    fn empty_tree_has_the_known_root() {
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(empty_root()), known);
        assert_eq!(hex(Frontier::default().root()), known);
    }

    #[test]
    fn roots_of_the_reference_tree_are_the_known_ones() {
        let mut tree = Frontier::default();
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            tree.push(leaf_hash(leaf));
            assert_eq!(hex(tree.root()), root);
        }
        assert_eq!(tree.size(), 8);
        assert_eq!(tree.subtrees().len(), 1);
    }

    #[test]
    fn frontier_needs_one_subtree_for_each_bit() {
        let hash = empty_root();
        assert!(Frontier::from_subtrees(5, vec![hash]).is_none());
        assert!(Frontier::from_subtrees(5, vec![hash, hash]).is_some());
    }

    #[test]
    fn text_form_round_trips() {
        let hash = leaf_hash(b"leaf");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("AAAA".parse::<Hash>(), Err(TreeError::HashFormat));
    }
}
