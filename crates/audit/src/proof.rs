//! Inclusion and consistency proofs: computed from tiles (RFC 9162 §2.1.3.1, §2.1.4.1) and verified
//! without them (§2.1.3.2, §2.1.4.2).

use crate::tile::{TileId, Tiles, plan, range_root};
use crate::tree::{Hash, TreeError, empty_root, node_hash};
use serde::{Deserialize, Serialize};

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the size, or the old size is above the new one.
    #[error("the proof is about an index or a size beyond the tree")]
    OutOfRange,
    /// The proof has too few or too many hashes for its sizes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes do not lead to the root of the tree.
    #[error("the proof does not lead to the root of the tree")]
    RootMismatch,
    /// The hashes do not lead to the root of the older tree.
    #[error("the proof does not lead to the root of the older tree")]
    OldRootMismatch,
}

/// That a leaf is in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    /// The leaf's index.
    pub index: u64,
    /// The size of the tree.
    pub size: u64,
    /// The siblings on the way from the leaf to the root.
    pub hashes: Vec<Hash>,
}

impl InclusionProof {
    /// The proof for the leaf at `index` in the tree of the first `size` leaves (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`TreeError::OutOfRange`]; [`TreeError::MissingTile`] if one of [`tiles_for_inclusion`] is
    /// missing.
    pub fn build(tiles: &impl Tiles, index: u64, size: u64) -> Result<Self, TreeError> {
        if index >= size {
            return Err(TreeError::OutOfRange);
        }
        let mut hashes = Vec::new();
        let (mut from, mut to) = (0, size);
        while to - from > 1 {
            let middle = from + largest_power_below(to - from);
            if index < middle {
                hashes.push(range_root(tiles, size, (middle, to))?);
                to = middle;
            } else {
                hashes.push(range_root(tiles, size, (from, middle))?);
                from = middle;
            }
        }
        hashes.reverse();
        Ok(Self { index, size, hashes })
    }

    /// Checks that the leaf with this hash is in the tree with this root (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, leaf: &Hash, root: &Hash) -> Result<(), ProofError> {
        let last = match self.size.checked_sub(1) {
            Some(last) if self.index <= last => last,
            _ => return Err(ProofError::OutOfRange),
        };
        let mut climb = Climb {
            node: self.index,
            last,
        };
        let mut hash = *leaf;
        for sibling in &self.hashes {
            hash = match climb.step()? {
                Side::Left => node_hash(sibling, &hash),
                Side::Right => node_hash(&hash, sibling),
            };
        }
        if climb.last != 0 {
            return Err(ProofError::Length);
        }
        if hash == *root {
            Ok(())
        } else {
            Err(ProofError::RootMismatch)
        }
    }
}

/// That a tree is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    /// The size of the older tree.
    pub old_size: u64,
    /// The size of the newer tree.
    pub new_size: u64,
    /// The nodes that lead to both roots.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// The proof from the first `old_size` to the first `new_size` leaves (RFC 9162 §2.1.4.1). It is
    /// empty if the sizes are equal or the older tree is empty.
    ///
    /// # Errors
    /// [`TreeError::OutOfRange`]; [`TreeError::MissingTile`] if one of [`tiles_for_consistency`] is
    /// missing.
    pub fn build(tiles: &impl Tiles, old_size: u64, new_size: u64) -> Result<Self, TreeError> {
        if old_size > new_size {
            return Err(TreeError::OutOfRange);
        }
        let mut hashes = Vec::new();
        let (mut from, mut to) = (0, new_size);
        let mut is_whole_old_tree = true;
        // INVARIANT: `old_size` lies in `from..=to`; at the end it is `to`.
        while old_size != to && old_size != 0 {
            let middle = from + largest_power_below(to - from);
            if old_size <= middle {
                hashes.push(range_root(tiles, new_size, (middle, to))?);
                to = middle;
            } else {
                hashes.push(range_root(tiles, new_size, (from, middle))?);
                from = middle;
                is_whole_old_tree = false;
            }
        }
        if !is_whole_old_tree {
            hashes.push(range_root(tiles, new_size, (from, to))?);
        }
        hashes.reverse();
        Ok(Self {
            old_size,
            new_size,
            hashes,
        })
    }

    /// Checks that the tree with `old_root` is the beginning of the tree with `new_root`
    /// (RFC 9162 §2.1.4.2). Every tree is consistent with the empty one and with itself.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        let (Some(old_last), true) = (self.old_size.checked_sub(1), self.old_size < self.new_size) else {
            return self.verify_trivial(old_root, new_root);
        };
        let mut climb = Climb {
            node: old_last,
            last: self.new_size - 1,
        };
        while climb.node & 1 == 1 {
            climb.shift();
        }
        let mut hashes = self.hashes.iter();
        let first = if self.old_size.is_power_of_two() {
            old_root
        } else {
            hashes.next().ok_or(ProofError::Length)?
        };
        let (mut old, mut new) = (*first, *first);
        for hash in hashes {
            match climb.step()? {
                Side::Left => {
                    old = node_hash(hash, &old);
                    new = node_hash(hash, &new);
                }
                Side::Right => new = node_hash(&new, hash),
            }
        }
        if climb.last != 0 {
            Err(ProofError::Length)
        } else if old != *old_root {
            Err(ProofError::OldRootMismatch)
        } else if new != *new_root {
            Err(ProofError::RootMismatch)
        } else {
            Ok(())
        }
    }

    fn verify_trivial(&self, old_root: &Hash, new_root: &Hash) -> Result<(), ProofError> {
        if self.old_size > self.new_size {
            Err(ProofError::OutOfRange)
        } else if !self.hashes.is_empty() {
            Err(ProofError::Length)
        } else if self.old_size == 0 && *old_root != empty_root() {
            Err(ProofError::OldRootMismatch)
        } else if self.old_size == self.new_size && old_root != new_root {
            Err(ProofError::RootMismatch)
        } else {
            Ok(())
        }
    }
}

/// The tiles, each with its width, from which [`InclusionProof::build`] computes.
///
/// # Errors
/// [`TreeError::OutOfRange`].
pub fn tiles_for_inclusion(index: u64, size: u64) -> Result<Vec<(TileId, u16)>, TreeError> {
    plan(|tiles| InclusionProof::build(tiles, index, size))
}

/// The tiles, each with its width, from which [`ConsistencyProof::build`] computes.
///
/// # Errors
/// [`TreeError::OutOfRange`].
pub fn tiles_for_consistency(old_size: u64, new_size: u64) -> Result<Vec<(TileId, u16)>, TreeError> {
    plan(|tiles| ConsistencyProof::build(tiles, old_size, new_size))
}

/// Where a sibling stands.
enum Side {
    Left,
    Right,
}

/// The way up a tree: `fn` and `sn` of RFC 9162 §2.1.3.2 and §2.1.4.2.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// One step of the loops of both sections: on which side the next hash stands.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            while self.node & 1 == 0 && self.node != 0 {
                self.shift();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.shift();
        Ok(side)
    }

    const fn shift(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
}

/// The largest power of two below `count`, which is at least two.
const fn largest_power_below(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::{TileSet, integrate};
    use crate::tree::leaf_hash;

    fn tree(size: u64) -> (TileSet, Vec<Hash>, Vec<Hash>) {
        let leaves: Vec<Hash> = (0..size).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        let mut tiles = TileSet::default();
        let mut roots = vec![empty_root()];
        for (size, leaf) in (0..).zip(&leaves) {
            let grown = integrate(&tiles, size, &[*leaf]).unwrap();
            tiles.extend(grown.tiles);
            roots.push(grown.root);
        }
        (tiles, leaves, roots)
    }

    #[test]
    fn every_inclusion_proof_of_small_trees_holds_for_its_leaf_only() {
        let (tiles, leaves, roots) = tree(20);
        for size in 1..=20 {
            for index in 0..size {
                let proof = InclusionProof::build(&tiles, index, size).unwrap();
                let (at, of) = (usize::try_from(index).unwrap(), usize::try_from(size).unwrap());
                assert_eq!(proof.verify(&leaves[at], &roots[of]), Ok(()));
                assert!(proof.verify(&leaves[(at + 1) % 20], &roots[of]).is_err());
                assert!(proof.verify(&leaves[at], &roots[of - 1]).is_err());
            }
        }
    }

    #[test]
    fn every_consistency_proof_of_small_trees_holds_for_its_roots_only() {
        let (tiles, _, roots) = tree(20);
        for new in 0..=20 {
            for old in 0..=new {
                let proof = ConsistencyProof::build(&tiles, old, new).unwrap();
                let (o, n) = (usize::try_from(old).unwrap(), usize::try_from(new).unwrap());
                assert_eq!(proof.verify(&roots[o], &roots[n]), Ok(()), "{old} {new}");
                let stranger = leaf_hash(b"stranger");
                assert!(proof.verify(&stranger, &roots[n]).is_err());
                assert!(old == 0 || proof.verify(&roots[o], &stranger).is_err());
            }
        }
    }

    #[test]
    fn proof_with_a_hash_more_or_less_is_refused() {
        let (tiles, leaves, roots) = tree(11);
        let proof = InclusionProof::build(&tiles, 6, 11).unwrap();
        let mut longer = proof.clone();
        longer.hashes.push(leaves[0]);
        assert_eq!(longer.verify(&leaves[6], &roots[11]), Err(ProofError::Length));
        let mut shorter = proof;
        shorter.hashes.pop();
        assert_eq!(shorter.verify(&leaves[6], &roots[11]), Err(ProofError::Length));
        let mut consistency = ConsistencyProof::build(&tiles, 6, 11).unwrap();
        consistency.hashes.push(leaves[0]);
        assert_eq!(consistency.verify(&roots[6], &roots[11]), Err(ProofError::Length));
        consistency.hashes.clear();
        assert_eq!(consistency.verify(&roots[6], &roots[11]), Err(ProofError::Length));
    }

    #[test]
    fn proofs_beyond_the_tree_are_refused() {
        let (tiles, _, roots) = tree(3);
        assert_eq!(InclusionProof::build(&tiles, 3, 3), Err(TreeError::OutOfRange));
        assert_eq!(ConsistencyProof::build(&tiles, 4, 3), Err(TreeError::OutOfRange));
        let proof = InclusionProof {
            index: 3,
            size: 3,
            hashes: Vec::new(),
        };
        assert_eq!(proof.verify(&roots[1], &roots[3]), Err(ProofError::OutOfRange));
        let proof = ConsistencyProof {
            old_size: 4,
            new_size: 3,
            hashes: Vec::new(),
        };
        assert_eq!(proof.verify(&roots[3], &roots[3]), Err(ProofError::OutOfRange));
    }
}
