//! Blocks: which executors were asked of the provider, and when the next one may be.
//!
//! Owns the requests and the back-off after failures. Whether an executor is connected is not its business.

use super::Action;
use crate::id::{BlockId, ExecutorId};
use crate::limits;
use crate::rng::Rng;
use crate::time::Mono;
use std::collections::BTreeMap;

/// A block that lived this long did not fail at its start: the next one may come at once.
const LIVED_MS: u64 = 30_000;

#[derive(Debug)]
struct Block {
    block: BlockId,
    since: Mono,
}

/// What was asked of the provider.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: BTreeMap<ExecutorId, Block>,
    backoff_ms: u64,
    next: Mono,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self { blocks: BTreeMap::new(), backoff_ms: limits::BLOCK_BACKOFF_MS.0, next: Mono(0) }
    }

    pub(super) fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.blocks.keys()
    }

    /// Asks for `missing` more, unless the last one failed a moment ago. True if it did.
    pub(super) fn launch(&mut self, now: Mono, missing: usize, rng: &mut Rng, out: &mut Vec<Action>) -> bool {
        if missing == 0 || now < self.next {
            return false;
        }
        for _ in 0..missing {
            let block = BlockId::from_bytes(rng.uuid());
            let executor = ExecutorId::from_bytes(rng.uuid());
            self.blocks.insert(executor, Block { block, since: now });
            out.push(Action::Launch { block, executor });
        }
        true
    }

    /// The provider started it: its life is counted from now.
    pub(super) fn launched(&mut self, now: Mono, block: BlockId) {
        for known in self.blocks.values_mut().filter(|known| known.block == block) {
            known.since = now;
        }
    }

    /// It ended: the next one waits longer each time, until one lives.
    pub(super) fn gone(&mut self, now: Mono, executor: &ExecutorId) {
        let Some(block) = self.blocks.remove(executor) else { return };
        if now.since(block.since) >= LIVED_MS {
            self.backoff_ms = limits::BLOCK_BACKOFF_MS.0;
        }
        self.next = self.next.max(now.after(self.backoff_ms));
        self.backoff_ms = (self.backoff_ms * 2).min(limits::BLOCK_BACKOFF_MS.1);
    }

    /// When the next one may be asked for.
    pub(super) const fn next_launch(&self) -> Mono {
        self.next
    }
}
