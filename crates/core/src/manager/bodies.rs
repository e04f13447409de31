//! Function bodies on their way from the service to executors (F35): a bounded cache, and who waits for what.
//!
//! Owns the bytes and the wishes. A missing body never holds an attempt back here: the executor holds it.

use crate::id::{ExecutorId, Hash};
use crate::limits;
use crate::map::{Map, Set};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Body {
    bytes: Bytes,
    used: u64,
}

/// The cache and the wishes.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    cache: Map<Hash, Body>,
    by_age: BTreeMap<u64, Hash>,
    bytes: usize,
    clock: u64,
    wanted: BTreeMap<Hash, BTreeSet<ExecutorId>>,
}

impl Bodies {
    /// The body, if it is here; it is then the last to be evicted.
    pub(super) fn get(&mut self, hash: &Hash) -> Option<Bytes> {
        let body = self.cache.get_mut(hash)?;
        self.by_age.remove(&body.used);
        self.clock += 1;
        body.used = self.clock;
        self.by_age.insert(body.used, *hash);
        Some(body.bytes.clone())
    }

    /// Hashes of what is here, newest first, for `Hello`.
    pub(super) fn newest(&self) -> Vec<Hash> {
        self.by_age.values().rev().take(limits::HELLO_HASHES).copied().collect()
    }

    /// `executor` lacks this body. True if the service must be asked: once per hash and session.
    pub(super) fn want(&mut self, hash: Hash, executor: ExecutorId) -> bool {
        let first = !self.wanted.contains_key(&hash);
        self.wanted.entry(hash).or_default().insert(executor);
        first
    }

    /// Everything the service must be asked for again in a new session.
    pub(super) fn wanted(&self) -> Vec<Hash> {
        self.wanted.keys().copied().collect()
    }

    /// The executor's session ended: it asks again in its next one.
    pub(super) fn forget(&mut self, executor: &ExecutorId) {
        self.wanted.retain(|_, who| {
            who.remove(executor);
            !who.is_empty()
        });
    }

    /// The service answered: keeps the body and tells who waits for it.
    pub(super) fn arrived(&mut self, hash: Hash, bytes: Option<Bytes>) -> BTreeSet<ExecutorId> {
        if let Some(bytes) = bytes {
            self.keep(hash, bytes);
        }
        self.wanted.remove(&hash).unwrap_or_default()
    }

    fn keep(&mut self, hash: Hash, bytes: Bytes) {
        if self.get(&hash).is_some() {
            return;
        }
        self.clock += 1;
        self.bytes += bytes.len();
        self.by_age.insert(self.clock, hash);
        self.cache.insert(hash, Body { bytes, used: self.clock });
        // Evicting what a held attempt needs costs a round trip, never the attempt.
        while self.bytes > limits::BODY_CACHE_BYTES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            if let Some(body) = self.cache.remove(&oldest) {
                self.bytes -= body.bytes.len();
            }
        }
    }
}

/// Which bodies an executor has in its present session; starts over rather than grow.
#[derive(Debug, Default)]
pub(super) struct Known(Set<Hash>);

impl Known {
    pub(super) fn from_hello(hashes: Vec<Hash>) -> Self {
        Self(hashes.into_iter().take(limits::HELLO_HASHES).collect())
    }

    pub(super) fn has(&self, hash: &Hash) -> bool {
        self.0.contains(hash)
    }

    pub(super) fn add(&mut self, hash: Hash) {
        if self.0.len() >= 4 * limits::HELLO_HASHES {
            self.0.clear();
        }
        self.0.insert(hash);
    }
}
