//! Properties of the audit log: the tree against an independent implementation and against whole-tree
//! recomputation, proofs between any two sizes, and that any flipped bit breaks verification.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests stand outside of test functions"
)]

mod fixture;

use chancery_audit::proof::{tiles_for_consistency, tiles_for_inclusion};
use chancery_audit::tile::{root, tiles_for_integrate};
use chancery_audit::{
    Commitment, ConsistencyProof, Frontier, Hash, InclusionProof, Leaf, LeafContent, ProofBundle, Tile,
    TileId, TileSet, Tiles, integrate, tree, verify,
};
use chancery_core::event::EventOutcome;
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_core::time::Timestamp;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use fixture::{Item, TestLog, export};
use proptest::prelude::*;
use sha2::Sha256;
use std::sync::LazyLock;

/// The most leaves that most properties use: several tiles, and a second level.
const MOST: u64 = 1_500;

fn leaf(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

fn hashes(from: u64, to: u64) -> Vec<Hash> {
    (from..to).map(|index| tree::leaf_hash(&leaf(index))).collect()
}

/// The tiles of a tree that was built at once, and its root at every size.
static TREE: LazyLock<(TileSet, Vec<Hash>)> = LazyLock::new(|| {
    let grown = integrate(&TileSet::default(), 0, &hashes(0, MOST)).unwrap();
    let mut roots = vec![tree::empty_root()];
    let mut frontier = Frontier::default();
    for hash in hashes(0, MOST) {
        frontier.push(hash);
        roots.push(frontier.root());
    }
    (grown.tiles.into_iter().collect(), roots)
});

fn root_at(size: u64) -> Hash {
    TREE.1[usize::try_from(size).unwrap()]
}

/// An independent implementation over the same leaves.
fn oracle(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    for index in 0..size {
        tree.push(leaf(index));
    }
    tree
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Only the tiles that were planned, cut to the width that was planned.
fn only(planned: Vec<(TileId, u16)>) -> TileSet {
    let cut = |(id, width): (TileId, u16)| {
        let hashes = TREE.0.tile(id, width).unwrap();
        Tile {
            id,
            hashes: hashes[..usize::from(width)].to_vec(),
        }
    };
    planned.into_iter().map(cut).collect()
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..=MOST, 1 => 0..=20_u64, 1 => prop::sample::select(vec![255, 256, 257, 511, 512, 513, 1024])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn integrating_in_chunks_gives_the_whole_tree(chunks in prop::collection::vec(0..300_u64, 1..8)) {
        let mut tiles = TileSet::default();
        let mut size = 0;
        for chunk in chunks {
            let next = (size + chunk).min(MOST);
            let edge: TileSet = tiles_for_integrate(size)
                .into_iter()
                .map(|(id, width)| Tile { id, hashes: tiles.tile(id, width).unwrap().to_vec() })
                .collect();
            let grown = integrate(&edge, size, &hashes(size, next)).unwrap();
            prop_assert_eq!(grown.size, next);
            prop_assert_eq!(grown.root, root_at(next));
            for tile in &grown.tiles {
                prop_assert_eq!(tile.width(), tile.id.width(next));
            }
            tiles.extend(grown.tiles);
            size = next;
        }
        for earlier in (0..=size).step_by(97) {
            prop_assert_eq!(root(&tiles, earlier).unwrap(), root_at(earlier));
        }
    }

    #[test]
    fn inclusion_proofs_hold_and_are_those_of_the_oracle(size in sizes(), at: prop::sample::Index) {
        prop_assume!(size > 0);
        let index = u64::try_from(at.index(usize::try_from(size).unwrap())).unwrap();
        let tiles = only(tiles_for_inclusion(index, size).unwrap());
        let proof = InclusionProof::build(&tiles, index, size).unwrap();
        prop_assert_eq!(proof.verify(&tree::leaf_hash(&leaf(index)), &root_at(size)), Ok(()));
        let theirs = oracle(size).prove_inclusion(usize::try_from(index).unwrap());
        prop_assert_eq!(bytes(&proof.hashes), theirs.as_bytes());
    }

    #[test]
    fn any_two_sizes_have_a_valid_consistency_proof(one in sizes(), two in sizes()) {
        let (old, new) = (one.min(two), one.max(two));
        let tiles = only(tiles_for_consistency(old, new).unwrap());
        let proof = ConsistencyProof::build(&tiles, old, new).unwrap();
        prop_assert_eq!(proof.verify(&root_at(old), &root_at(new)), Ok(()));
        if old > 0 {
            let theirs = oracle(new).prove_consistency(usize::try_from(new - old).unwrap());
            prop_assert_eq!(bytes(&proof.hashes), theirs.as_bytes());
        }
    }

    #[test]
    fn any_flipped_bit_of_a_proof_is_refused(
        one in sizes(), two in sizes(), at: prop::sample::Index, bit in 0..256_usize,
    ) {
        let (old, new) = (one.min(two), one.max(two));
        let mut proof = ConsistencyProof::build(&TREE.0, old, new).unwrap();
        if !proof.hashes.is_empty() {
            flip(&mut proof.hashes, at, bit);
            prop_assert!(proof.verify(&root_at(old), &root_at(new)).is_err());
        }
        if new > 1 {
            let mut proof = InclusionProof::build(&TREE.0, old.min(new - 1), new).unwrap();
            flip(&mut proof.hashes, at, bit);
            let hash = tree::leaf_hash(&leaf(proof.index));
            prop_assert!(proof.verify(&hash, &root_at(new)).is_err());
        }
    }

    #[test]
    fn leaf_that_is_printed_is_read_back(content in leaf_content()) {
        let leaf = Leaf::new(content.clone()).unwrap();
        let read = Leaf::parse(&leaf.encode()).unwrap();
        prop_assert_eq!(read.content(), &content);
        prop_assert_eq!(read.encode(), leaf.encode());
    }

    #[test]
    fn bytes_that_are_read_as_a_leaf_are_printed_back(content in leaf_content(), at: prop::sample::Index, byte: u8) {
        let mut bytes = Leaf::new(content).unwrap().encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes);
        }
    }

    #[test]
    fn arbitrary_text_is_never_verified(lines: Vec<String>) {
        prop_assert!(verify(lines, Vec::new(), &[]).is_err());
    }
}

fn flip(hashes: &mut [Hash], at: prop::sample::Index, bit: usize) {
    let hash = &mut hashes[at.index(hashes.len())];
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    *hash = Hash::from_bytes(bytes);
}

fn leaf_content() -> impl Strategy<Value = LeafContent> {
    let outcome = prop::sample::select(vec![EventOutcome::Ok, EventOutcome::Denied, EventOutcome::Failed]);
    let ids = prop::collection::vec(("[a-z_.0-9]{1,12}", "[!#-\\[\\]-~]{1,40}"), 0..5);
    let commitments = prop::collection::btree_map("[a-z_.0-9]{1,12}", any::<[u8; 32]>(), 0..4);
    let kind = "[a-z_]{1,20}\\.[a-z_]{1,20}";
    (
        any::<([u8; 16], u64, i64, [u8; 16])>(),
        kind,
        outcome,
        ids,
        commitments,
    )
        .prop_map(
            |((tenant, generation, time, event), kind, outcome, ids, commitments)| LeafContent {
                tenant: TenantId::from_bytes(tenant),
                generation,
                time: Timestamp::from_micros(time),
                event: EventId::from_bytes(event),
                kind,
                outcome,
                ids,
                commitments: commitments
                    .into_iter()
                    .map(|(name, bytes)| (name, Commitment::from_bytes(bytes)))
                    .collect(),
            },
        )
}

/// An honest export and the checkpoint that its verifier kept.
static EXPORT: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let mut log = TestLog::with_entries(9, 4);
    let kept = log.checkpoint();
    (export(&[&log], 0).join("\n").into_bytes(), kept)
});

fn is_verified(export: &[u8], kept: &[String]) -> bool {
    let trusted = vec![TestLog::new(1).signer.verifier().clone()];
    std::str::from_utf8(export).is_ok_and(|text| verify(text.split('\n'), trusted, kept).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_flipped_bit_of_an_export_breaks_verification(bit: prop::sample::Index, with_kept: bool) {
        let mut bytes = EXPORT.0.clone();
        let kept: &[String] = if with_kept { std::slice::from_ref(&EXPORT.1) } else { &[] };
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!is_verified(&bytes, kept), "bit {} of byte {}", bit % 8, bit / 8);
    }

    #[test]
    fn any_flipped_bit_of_a_proof_bundle_is_refused(at: prop::sample::Index) {
        let (json, trusted) = &*BUNDLE;
        let mut bytes = json.clone().into_bytes();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = String::from_utf8(bytes) {
            let proven = ProofBundle::parse(&changed).and_then(|bundle| bundle.verify(trusted));
            prop_assert!(proven.is_err(), "bit {bit}");
        }
    }
}

static BUNDLE: LazyLock<(String, Vec<chancery_audit::VerifierKey>)> = LazyLock::new(|| {
    let mut log = TestLog::with_entries(300, 100);
    let note = log.checkpoint();
    let proof = InclusionProof::build(&log.tiles, 258, log.size).unwrap();
    let mut entries = log.items.iter().filter_map(|item| match item {
        Item::Entry(leaf, parts) => Some((leaf, parts)),
        Item::Note(_) => None,
    });
    let (leaf, parts) = entries.nth(258).unwrap();
    let bundle = ProofBundle::new(leaf, proof, note, parts.clone());
    (bundle.to_json().unwrap(), vec![log.signer.verifier().clone()])
});

#[test]
fn honest_export_and_bundle_are_verified() {
    assert!(is_verified(&EXPORT.0, &[]));
    assert!(is_verified(&EXPORT.0, std::slice::from_ref(&EXPORT.1)));
    let proven = ProofBundle::parse(&BUNDLE.0).unwrap().verify(&BUNDLE.1).unwrap();
    assert_eq!(
        (proven.index, proven.checkpoint.size, proven.parts.present),
        (258, 300, 2)
    );
}

#[test]
fn roots_are_those_of_the_oracle_at_tile_boundaries() {
    for size in [1, 2, 255, 256, 257, 511, 512, 513, 1_024, 1_500] {
        assert_eq!(
            root_at(size).as_bytes()[..],
            oracle(size).root().as_bytes()[..],
            "{size}"
        );
    }
}

#[test]
fn third_level_of_tiles_is_right() {
    let most = 65_536 + 300;
    let mut tiles = TileSet::default();
    let mut size = 0;
    for next in [65_535, 65_536, 65_537, 65_537 + 255, most] {
        let grown = integrate(&tiles, size, &hashes(size, next)).unwrap();
        tiles.extend(grown.tiles);
        size = next;
        let mut whole = Frontier::default();
        for hash in hashes(0, size) {
            whole.push(hash);
        }
        assert_eq!(grown.root, whole.root(), "{size}");
    }
    assert_eq!(tiles.tile(TileId { level: 2, index: 0 }, 1).unwrap().len(), 1);
    let old_root = root(&tiles, 65_535).unwrap();
    let proof = ConsistencyProof::build(&tiles, 65_535, most).unwrap();
    assert_eq!(proof.verify(&old_root, &root(&tiles, most).unwrap()), Ok(()));
    let proof = InclusionProof::build(&tiles, 65_536, most).unwrap();
    assert_eq!(
        proof.verify(&tree::leaf_hash(&leaf(65_536)), &root(&tiles, most).unwrap()),
        Ok(())
    );
}
