//! Function bodies by hash (F35): pinned while a held attempt needs them, else least recently used, by bytes.

use super::attempt::Key;
use crate::id::Hash;
use crate::limits;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What an entry costs beyond its bytes, so that many tiny bodies are bounded too.
const ENTRY_BYTES: usize = 256;

#[derive(Debug, Default)]
struct Body {
    body: Option<Bytes>,
    /// Open attempts that need it.
    pins: usize,
    /// Its place among the unpinned ones.
    used: u64,
    /// Attempts that wait for it.
    waiting: BTreeSet<Key>,
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    all: BTreeMap<Hash, Body>,
    unpinned: BTreeMap<u64, Hash>,
    /// Hashes that someone waits for.
    missing: BTreeSet<Hash>,
    bytes: usize,
    clock: u64,
}

impl Bodies {
    /// An attempt needs this body; `false`: it is not here, and `key` waits for it.
    pub(super) fn pin(&mut self, hash: Hash, key: Key) -> bool {
        let entry = self.all.entry(hash).or_default();
        if entry.pins == 0 {
            self.unpinned.remove(&entry.used);
        }
        entry.pins += 1;
        if entry.body.is_none() {
            entry.waiting.insert(key);
            self.missing.insert(hash);
        }
        entry.body.is_some()
    }

    /// An attempt that needed this body ended.
    pub(super) fn unpin(&mut self, hash: Hash, key: Key) {
        let Some(entry) = self.all.get_mut(&hash) else { return };
        entry.pins = entry.pins.saturating_sub(1);
        if !entry.waiting.is_empty() {
            entry.waiting.remove(&key);
            if entry.waiting.is_empty() {
                self.missing.remove(&hash);
            }
        }
        if entry.pins > 0 {
            return;
        }
        if entry.body.is_none() {
            self.all.remove(&hash);
        } else {
            self.clock += 1;
            entry.used = self.clock;
            self.unpinned.insert(self.clock, hash);
            self.evict();
        }
    }

    pub(super) fn get(&self, hash: Hash) -> Option<&Bytes> {
        self.all.get(&hash)?.body.as_ref()
    }

    /// Keeps a body whose hash was checked; returns the attempts that waited for it.
    pub(super) fn insert(&mut self, hash: Hash, body: Bytes) -> BTreeSet<Key> {
        self.missing.remove(&hash);
        let entry = self.all.entry(hash).or_default();
        if entry.body.is_none() {
            self.bytes += body.len() + ENTRY_BYTES;
            entry.body = Some(body);
            if entry.pins == 0 {
                self.clock += 1;
                entry.used = self.clock;
                self.unpinned.insert(self.clock, hash);
            }
        }
        let waited = std::mem::take(&mut entry.waiting);
        self.evict();
        waited
    }

    /// There is no such body; returns the attempts that waited for it.
    pub(super) fn gone(&mut self, hash: Hash) -> BTreeSet<Key> {
        self.missing.remove(&hash);
        self.all.get_mut(&hash).map(|entry| std::mem::take(&mut entry.waiting)).unwrap_or_default()
    }

    fn evict(&mut self) {
        while self.bytes > limits::BODY_CACHE_BYTES {
            let Some((_, hash)) = self.unpinned.pop_first() else { return };
            if let Some(body) = self.all.remove(&hash).and_then(|entry| entry.body) {
                self.bytes = self.bytes.saturating_sub(body.len() + ENTRY_BYTES);
            }
        }
    }

    /// What is missing.
    pub(super) fn missing(&self) -> impl Iterator<Item = Hash> {
        self.missing.iter().copied()
    }

    /// What is here: the first [`limits::HELLO_HASHES`].
    pub(super) fn have(&self) -> Vec<Hash> {
        let here = self.all.iter().filter(|(_, entry)| entry.body.is_some());
        here.map(|(hash, _)| *hash).take(limits::HELLO_HASHES).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::wire::Attempt;

    fn key(n: u8) -> Key {
        Key { task: TaskId::from_bytes([n; 16]), attempt: Attempt(1) }
    }

    #[test]
    fn waiting_is_told_once_and_pins_keep_a_body() {
        let mut bodies = Bodies::default();
        let hash = Hash([1; 32]);
        assert!(!bodies.pin(hash, key(1)) && !bodies.pin(hash, key(2)));
        assert_eq!(bodies.missing().collect::<Vec<_>>(), [hash]);
        assert_eq!(bodies.insert(hash, Bytes::from_static(b"f")).len(), 2);
        assert_eq!(bodies.missing().count(), 0);
        assert!(bodies.pin(hash, key(3)));
        assert_eq!(bodies.have(), [hash]);
    }

    #[test]
    fn nobody_waits_any_more_and_nothing_is_left() {
        let mut bodies = Bodies::default();
        bodies.pin(Hash([1; 32]), key(1));
        bodies.unpin(Hash([1; 32]), key(1));
        assert_eq!(bodies.missing().count() + bodies.all.len() + bodies.bytes, 0);
    }

    #[test]
    fn the_least_recently_used_unpinned_body_goes_first() {
        let mut bodies = Bodies::default();
        let big = Bytes::from(vec![0; limits::BODY_CACHE_BYTES / 3]);
        for n in 1..=2 {
            bodies.insert(Hash([n; 32]), big.clone());
        }
        assert!(bodies.pin(Hash([1; 32]), key(1)));
        bodies.insert(Hash([3; 32]), big.clone());
        assert_eq!(bodies.have(), [Hash([1; 32]), Hash([3; 32])], "1 is pinned, 2 was the oldest");
        bodies.unpin(Hash([1; 32]), key(1));
        bodies.insert(Hash([4; 32]), big);
        assert_eq!(bodies.have(), [Hash([1; 32]), Hash([4; 32])]);
    }
}
