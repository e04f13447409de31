//! Blocks: which executors were asked of the provider, and when the next one may be.
//!
//! Owns the requests, the back-off after failures, and the guard against a runaway of them: after [`limits::RUNAWAY`]
//! blocks in a row that ended before their executor said anything, one probe now and then is all that is asked for.

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
    asked: Mono,
    since: Mono,
    /// Its executor was heard of: it did not fail at its start.
    heard: bool,
}

/// What was asked of the provider.
#[derive(Debug)]
pub(super) struct Blocks {
    blocks: BTreeMap<ExecutorId, Block>,
    backoff_ms: u64,
    next: Mono,
    /// Failures at the start, in a row; blocks that were asked for together count once.
    failures: u32,
    failed_at: Option<Mono>,
    /// The newest failure at the start.
    why: Option<String>,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self {
            blocks: BTreeMap::new(),
            backoff_ms: limits::BLOCK_BACKOFF_MS.0,
            next: Mono(0),
            failures: 0,
            failed_at: None,
            why: None,
        }
    }

    pub(super) fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.blocks.keys()
    }

    /// Asks for `missing` more, unless the last one failed a moment ago. True if it did.
    pub(super) fn launch(&mut self, now: Mono, missing: usize, rng: &mut Rng, out: &mut Vec<Action>) -> bool {
        if missing == 0 || now < self.next {
            return false;
        }
        let wanted = if self.is_degraded() { 1 } else { missing };
        for _ in 0..wanted {
            let block = BlockId::from_bytes(rng.uuid());
            let executor = ExecutorId::from_bytes(rng.uuid());
            self.blocks.insert(executor, Block { block, asked: now, since: now, heard: false });
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

    /// Its executor registered: blocks can be started.
    pub(super) fn heard(&mut self, executor: &ExecutorId) {
        if let Some(block) = self.blocks.get_mut(executor) {
            block.heard = true;
            (self.failures, self.failed_at, self.why) = (0, None, None);
        }
    }

    /// It is not waited for any more.
    pub(super) fn forget(&mut self, executor: &ExecutorId) {
        self.blocks.remove(executor);
    }

    /// It ended: the next one waits longer each time, until one lives. True if that was the failure too many.
    pub(super) fn gone(&mut self, now: Mono, executor: &ExecutorId, why: &str) -> bool {
        let Some(block) = self.blocks.remove(executor) else { return false };
        if block.heard {
            if now.since(block.since) >= LIVED_MS {
                self.backoff_ms = limits::BLOCK_BACKOFF_MS.0;
            }
            self.next = self.next.max(now.after(self.backoff_ms));
            self.backoff_ms = (self.backoff_ms * 2).min(limits::BLOCK_BACKOFF_MS.1);
            return false;
        }
        self.why = Some(why[..why.floor_char_boundary(limits::TROUBLE_BYTES)].to_owned());
        if self.failed_at.is_none_or(|failed| block.asked > failed) {
            self.failures = self.failures.saturating_add(1);
            let wait_ms = limits::start_backoff_ms(limits::BLOCK_BACKOFF_MS, self.failures);
            self.next = self.next.max(now.after(wait_ms));
        }
        self.failed_at = Some(now);
        self.failures == limits::RUNAWAY
    }

    const fn is_degraded(&self) -> bool {
        self.failures >= limits::RUNAWAY
    }

    /// Why the last block failed at its start, for people.
    pub(super) fn trouble(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        let times =
            if self.failures > 1 { format!(" {} times in a row", self.failures) } else { String::new() };
        Some(format!("no executor could be started{times}: {why}"))
    }

    /// When the next one may be asked for.
    pub(super) const fn next_launch(&self) -> Mono {
        self.next
    }
}
