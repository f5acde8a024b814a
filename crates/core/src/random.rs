//! The injected source of randomness.

use std::fmt;

/// Where unpredictable bytes come from. The server's source is the operating system's; tests use a
/// seeded one, so that every id, token and golden file is reproducible.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills the whole buffer. A source that fails must abort the process rather than return
    /// predictable bytes.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Random + '_ {
    /// An array of unpredictable bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut buffer = [0; N];
        self.fill(&mut buffer);
        buffer
    }
}

/// A predictable source for tests: a counter through a mixing function (SplitMix64). Never for
/// secrets outside tests, which is why its name says what it is.
#[derive(Debug)]
pub struct DangerSeededRandom(std::sync::atomic::AtomicU64);

impl DangerSeededRandom {
    /// A source whose output follows from `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(seed))
    }
}

impl Random for DangerSeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let state = self
                .0
                .fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::SeqCst);
            let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (byte, random) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}
