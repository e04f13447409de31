//! Maps keyed by ids, with a fixed hasher: equal histories give equal iteration orders (no random state in the core).
//!
//! Owns nothing but the mixing. Ids are random or time-ordered, so a multiply and a fold spread them well enough.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map with the fixed hasher.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;
/// A set with the fixed hasher.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Mix>>;

/// The hasher.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mix(u64);

impl Mix {
    const fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        folded ^ (folded >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, _length: usize) {}
}
