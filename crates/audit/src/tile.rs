//! Tiles (C2SP `tlog-tiles`): how a tree is stored, and how leaves are folded into it.
//!
//! A tile of level 0 holds up to 256 leaf hashes; a tile of level *L* holds the roots of up to 256
//! full tiles of level *L* − 1. A full tile never changes; the last tile of each level grows.
//!
//! What is read comes through [`Tiles`]. Since nothing here waits for a database, the callers fetch
//! first: [`tiles_for_integrate`], and for proofs [`crate::proof::tiles_for_inclusion`] and
//! [`crate::proof::tiles_for_consistency`], say which tiles.

use crate::tree::{Hash, TreeError, fold_right, node_hash};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many hashes a full tile holds.
pub const TILE_WIDTH: u16 = 256;

/// Which tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// The level; 0 holds leaf hashes.
    pub level: u8,
    /// The index within the level, from 0.
    pub index: u64,
}

impl TileId {
    /// The path of the tile below the log's prefix (C2SP `tlog-tiles`, Merkle Tree):
    /// `/tile/<L>/<N>`, with `.p/<W>` if it is not full.
    pub fn path(self, width: u16) -> String {
        format!("/tile/{}/{}", self.level, index_path(self.index, width))
    }

    /// Reads a path that [`TileId::path`] wrote: the tile and its width.
    ///
    /// # Errors
    /// [`TreeError::TileFormat`].
    pub fn parse_path(path: &str) -> Result<(Self, u16), TreeError> {
        let rest = path.strip_prefix("/tile/").ok_or(TreeError::TileFormat)?;
        let (level, rest) = rest.split_once('/').ok_or(TreeError::TileFormat)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| TreeError::TileFormat)?),
            None => (rest, TILE_WIDTH),
        };
        let digits: String = index.chars().filter(char::is_ascii_digit).collect();
        let id = Self {
            level: level.parse().map_err(|_| TreeError::TileFormat)?,
            index: digits.parse().map_err(|_| TreeError::TileFormat)?,
        };
        // INVARIANT: one tile has one path, so a path is right if it is the one we would write.
        let is_valid = id.level < 64 && (1..=TILE_WIDTH).contains(&width) && id.path(width) == path;
        if is_valid {
            Ok((id, width))
        } else {
            Err(TreeError::TileFormat)
        }
    }

    /// How many hashes this tile holds in a tree of `size` leaves; 0 if it is not there yet.
    pub fn width(self, size: u64) -> u16 {
        let full = u64::from(TILE_WIDTH);
        let entries = size.checked_shr(u32::from(self.level) * 8).unwrap_or(0);
        let first = self.index.saturating_mul(full);
        u16::try_from(entries.saturating_sub(first).min(full)).unwrap_or(0)
    }
}

/// A tile and its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Which tile.
    pub id: TileId,
    /// Its hashes, from one to 256.
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Reads the stored bytes: hashes of 32 bytes each, one after the other.
    ///
    /// # Errors
    /// [`TreeError::TileFormat`].
    pub fn from_bytes(id: TileId, bytes: &[u8]) -> Result<Self, TreeError> {
        let (chunks, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || chunks.is_empty() || chunks.len() > usize::from(TILE_WIDTH) {
            return Err(TreeError::TileFormat);
        }
        let hashes = chunks.iter().map(|chunk| Hash::from_bytes(*chunk)).collect();
        Ok(Self { id, hashes })
    }

    /// The bytes to store and to serve.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// How many hashes it holds.
    pub fn width(&self) -> u16 {
        u16::try_from(self.hashes.len()).unwrap_or(u16::MAX)
    }

    /// Its path below the log's prefix.
    pub fn path(&self) -> String {
        self.id.path(self.width())
    }
}

/// The path of the bundle of leaves that a tile of level 0 hashes (C2SP `tlog-tiles`, Log entries).
pub fn entries_path(index: u64, width: u16) -> String {
    format!("/tile/entries/{}", index_path(index, width))
}

/// A bundle of leaves: each preceded by its length as two bytes, big-endian.
///
/// # Errors
/// [`TreeError::TooLarge`] if a leaf exceeds 65,535 bytes.
pub fn encode_entries<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TreeError> {
    let mut bundle = Vec::new();
    for leaf in leaves {
        let length = u16::try_from(leaf.len()).map_err(|_| TreeError::TooLarge)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(leaf);
    }
    Ok(bundle)
}

/// Where tiles are read from.
pub trait Tiles {
    /// The hashes of a tile, at least `width` of them; `None` if it is not at hand. A tile that has
    /// grown since serves for a smaller tree as well.
    fn tile(&self, id: TileId, width: u16) -> Option<&[Hash]>;
}

/// Tiles in memory.
#[derive(Clone, Debug, Default)]
pub struct TileSet(BTreeMap<TileId, Vec<Hash>>);

impl TileSet {
    /// Adds a tile, or puts a wider one in its place.
    pub fn insert(&mut self, tile: Tile) {
        self.0.insert(tile.id, tile.hashes);
    }
}

impl FromIterator<Tile> for TileSet {
    fn from_iter<I: IntoIterator<Item = Tile>>(tiles: I) -> Self {
        Self(tiles.into_iter().map(|tile| (tile.id, tile.hashes)).collect())
    }
}

impl Extend<Tile> for TileSet {
    fn extend<I: IntoIterator<Item = Tile>>(&mut self, tiles: I) {
        self.0
            .extend(tiles.into_iter().map(|tile| (tile.id, tile.hashes)));
    }
}

impl Tiles for TileSet {
    fn tile(&self, id: TileId, _width: u16) -> Option<&[Hash]> {
        self.0.get(&id).map(Vec::as_slice)
    }
}

/// What folding leaves into a tree gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrated {
    /// The new size of the tree.
    pub size: u64,
    /// The new root.
    pub root: Hash,
    /// The tiles that are new or wider than before, whole.
    pub tiles: Vec<Tile>,
}

/// Folds leaf hashes into a tree of `size` leaves. The cost is proportional to the new leaves and
/// the logarithm of the size; only the last tile of each level is read.
///
/// # Errors
/// [`TreeError::MissingTile`] if one of [`tiles_for_integrate`] is missing; [`TreeError::TooLarge`].
pub fn integrate(tiles: &impl Tiles, size: u64, leaves: &[Hash]) -> Result<Integrated, TreeError> {
    let added = u64::try_from(leaves.len()).map_err(|_| TreeError::TooLarge)?;
    let new_size = size
        .checked_add(added)
        .filter(|size| *size <= MAX_SIZE)
        .ok_or(TreeError::TooLarge)?;

    let mut changed = Vec::new();
    let mut incoming = leaves.to_vec();
    let mut level = 0;
    while !incoming.is_empty() {
        incoming = integrate_level(tiles, (size, level), &incoming, &mut changed)?;
        level += 1;
    }

    let grown = Overlay {
        above: changed.iter().cloned().collect(),
        below: tiles,
    };
    let root = root(&grown, new_size)?;
    Ok(Integrated {
        size: new_size,
        root,
        tiles: changed,
    })
}

/// The tiles that [`integrate`] reads for a tree of `size` leaves, each with its width.
pub fn tiles_for_integrate(size: u64) -> Vec<(TileId, u16)> {
    let partial = |level: u8| {
        let entries = size.checked_shr(u32::from(level) * 8).unwrap_or(0);
        let index = entries / u64::from(TILE_WIDTH);
        let id = TileId { level, index };
        Some((id, id.width(size))).filter(|(_, width)| *width > 0)
    };
    (0..8).filter_map(partial).collect()
}

/// The root of the tree of the first `size` leaves (RFC 9162 §2.1.1).
///
/// # Errors
/// [`TreeError::MissingTile`].
pub fn root(tiles: &impl Tiles, size: u64) -> Result<Hash, TreeError> {
    range_root(tiles, size, (0, size))
}

/// The roots of the perfect subtrees of the first `size` leaves, the largest first: what a partial
/// export starts from.
///
/// # Errors
/// [`TreeError::MissingTile`].
pub fn subtrees(tiles: &impl Tiles, size: u64) -> Result<Vec<Hash>, TreeError> {
    perfect_nodes(tiles, size, (0, size))
}

/// The root over the leaves from `from` up to `to`, which must be a range that the recursion of
/// RFC 9162 §2.1.1 reaches in a tree of `size` leaves.
pub(crate) fn range_root(tiles: &impl Tiles, size: u64, range: (u64, u64)) -> Result<Hash, TreeError> {
    Ok(fold_right(&perfect_nodes(tiles, size, range)?))
}

/// The tiles, each with its width, that `read` asks for.
pub(crate) fn plan<T>(
    read: impl FnOnce(&Planner) -> Result<T, TreeError>,
) -> Result<Vec<(TileId, u16)>, TreeError> {
    let planner = Planner::default();
    read(&planner)?;
    Ok(planner.0.into_inner().into_iter().collect())
}

/// Notes what is read and answers with zeroes.
#[derive(Debug, Default)]
pub(crate) struct Planner(RefCell<BTreeMap<TileId, u16>>);

impl Tiles for Planner {
    fn tile(&self, id: TileId, width: u16) -> Option<&[Hash]> {
        self.0.borrow_mut().insert(id, width);
        Some(&ZEROES)
    }
}

/// Changed tiles over those that did not change.
struct Overlay<'a, T> {
    above: TileSet,
    below: &'a T,
}

impl<T: Tiles> Tiles for Overlay<'_, T> {
    fn tile(&self, id: TileId, width: u16) -> Option<&[Hash]> {
        self.above.tile(id, width).or_else(|| self.below.tile(id, width))
    }
}

/// Appends `incoming` to a level of the tree of `size` leaves, and gives the roots of the tiles that
/// became full: what comes in one level above.
fn integrate_level(
    tiles: &impl Tiles,
    (size, level): (u64, u8),
    incoming: &[Hash],
    changed: &mut Vec<Tile>,
) -> Result<Vec<Hash>, TreeError> {
    let entries = size.checked_shr(u32::from(level) * 8).unwrap_or(0);
    let index = entries / u64::from(TILE_WIDTH);
    let mut id = TileId { level, index };
    let width = id.width(size);
    let mut hashes = if width == 0 {
        Vec::new()
    } else {
        read(tiles, id, width)?.to_vec()
    };
    let mut full = Vec::new();
    for hash in incoming {
        hashes.push(*hash);
        if hashes.len() == usize::from(TILE_WIDTH) {
            full.push(perfect_root(&hashes));
            changed.push(Tile {
                id,
                hashes: std::mem::take(&mut hashes),
            });
            id.index += 1;
        }
    }
    if !hashes.is_empty() {
        changed.push(Tile { id, hashes });
    }
    Ok(full)
}

/// The perfect subtrees that the leaves from `from` up to `to` consist of, from the left.
fn perfect_nodes(tiles: &impl Tiles, size: u64, (from, to): (u64, u64)) -> Result<Vec<Hash>, TreeError> {
    if to > size || size > MAX_SIZE {
        return Err(TreeError::OutOfRange);
    }
    let mut nodes = Vec::new();
    let mut at = from;
    while at < to {
        let aligned = if at == 0 { 63 } else { at.trailing_zeros() };
        let level = aligned.min((to - at).ilog2());
        nodes.push(node(tiles, size, (level, at >> level))?);
        at += 1 << level;
    }
    Ok(nodes)
}

/// The root of the perfect subtree of height `level` that is the `index`th from the left.
fn node(tiles: &impl Tiles, size: u64, (level, index): (u32, u64)) -> Result<Hash, TreeError> {
    let (tile_level, inner) = (level / 8, level % 8);
    let first = index << inner;
    let id = TileId {
        level: u8::try_from(tile_level).map_err(|_| TreeError::OutOfRange)?,
        index: first / u64::from(TILE_WIDTH),
    };
    let offset = usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| TreeError::OutOfRange)?;
    let hashes = read(tiles, id, id.width(size))?;
    hashes
        .get(offset..offset + (1 << inner))
        .map(perfect_root)
        .ok_or(TreeError::OutOfRange)
}

/// Exactly `width` hashes of a tile.
fn read(tiles: &impl Tiles, id: TileId, width: u16) -> Result<&[Hash], TreeError> {
    tiles
        .tile(id, width)
        .and_then(|hashes| hashes.get(..usize::from(width)))
        .ok_or(TreeError::MissingTile {
            level: id.level,
            index: id.index,
            width,
        })
}

/// The root over a number of hashes that is a power of two.
fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, _) = row.as_chunks::<2>();
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    fold_right(&row)
}

/// `x001/x234/067`, with `.p/<W>` if the tile is not full.
fn index_path(index: u64, width: u16) -> String {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let mut path = groups.join("/");
    if width < TILE_WIDTH {
        // INVARIANT: writing to a string cannot fail.
        let _ = write!(path, ".p/{width}");
    }
    path
}

/// The largest tree: its size fits in a signed 64-bit column.
const MAX_SIZE: u64 = i64::MAX.cast_unsigned();

const ZEROES: [Hash; TILE_WIDTH as usize] = [Hash::from_bytes([0; 32]); TILE_WIDTH as usize];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let id = TileId {
            level: 0,
            index: 1_234_067,
        };
        assert_eq!(id.path(256), "/tile/0/x001/x234/067");
        assert_eq!(TileId { level: 1, index: 0 }.path(17), "/tile/1/000.p/17");
        assert_eq!(entries_path(273, 112), "/tile/entries/273.p/112");
        assert_eq!(TileId::parse_path("/tile/0/x001/x234/067"), Ok((id, 256)));
        for path in [
            "/tile/0/1",
            "/tile/0/001.p/0",
            "/tile/0/001.p/256",
            "/tile/00/001",
            "/tile/64/001",
            "/tile/0/x000/001",
            "/tile/0/0-01",
            "tile/0/001",
        ] {
            assert_eq!(TileId::parse_path(path), Err(TreeError::TileFormat), "{path}");
        }
    }

    /// The example of the specification: a tree of 70,000 leaves.
    #[test]
    fn widths_are_those_of_the_specification() {
        let width = |level, index| TileId { level, index }.width(70_000);
        assert_eq!((width(0, 272), width(0, 273), width(0, 274)), (256, 112, 0));
        assert_eq!((width(1, 0), width(1, 1), width(2, 0)), (256, 17, 1));
        assert_eq!(width(8, 0), 0);
        assert_eq!(TileId { level: 1, index: 0 }.width(256), 1);
    }

    #[test]
    fn entries_are_length_prefixed() {
        assert_eq!(
            encode_entries([&b"ab"[..], b""]),
            Ok(vec![0, 2, b'a', b'b', 0, 0])
        );
        let long = vec![0; 65_536];
        assert_eq!(encode_entries([long.as_slice()]), Err(TreeError::TooLarge));
    }

    #[test]
    fn missing_tile_is_named() {
        let missing = integrate(&TileSet::default(), 300, &[]);
        let expected = TreeError::MissingTile {
            level: 1,
            index: 0,
            width: 1,
        };
        assert_eq!(missing, Err(expected));
    }

    #[test]
    fn tile_bytes_round_trip() {
        let tile = Tile {
            id: TileId { level: 0, index: 0 },
            hashes: vec![Hash::from_bytes([1; 32]), Hash::from_bytes([2; 32])],
        };
        assert_eq!(Tile::from_bytes(tile.id, &tile.to_bytes()), Ok(tile.clone()));
        assert_eq!(Tile::from_bytes(tile.id, &[]), Err(TreeError::TileFormat));
        assert_eq!(Tile::from_bytes(tile.id, &[0; 33]), Err(TreeError::TileFormat));
        assert_eq!(tile.path(), "/tile/0/000.p/2");
    }
}
