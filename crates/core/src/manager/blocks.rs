//! Blocks: what was asked of the provider, how each request fares, and when the next one may be made.
//!
//! Owns the requests, the back-off after failures, and the guard against a runaway of them: after [`limits::RUNAWAY`]
//! blocks in a row that ended before their executors said anything, one probe now and then is all that is asked for.
//! How many there should be is `scale`'s business.

use super::Action;
use crate::id::{BlockId, ExecutorId};
use crate::limits;
use crate::rng::Rng;
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// A block that lived this long did not fail at its start: the next one may come at once.
const LIVED_MS: u64 = 30_000;

/// One request to the provider.
#[derive(Debug)]
pub(super) struct Block {
    /// Its executors.
    pub(super) members: Vec<ExecutorId>,
    /// Those that did not end and are not silent.
    pub(super) live: BTreeSet<ExecutorId>,
    /// `None`: by an earlier manager, so that its end says nothing about starts.
    asked: Option<Mono>,
    since: Mono,
    /// What it waits for, in the provider's words.
    waits: String,
    /// The provider said that it runs.
    pub(super) started: bool,
    /// An executor of it was heard of: it did not fail at its start.
    pub(super) heard: bool,
    /// It gets no more calls, and ends.
    pub(super) leaving: bool,
    /// None of its executors has had a call since.
    pub(super) idle_since: Option<Mono>,
    /// The provider ends it then.
    pub(super) ends: Option<Mono>,
    /// All its executors ended or are silent since.
    pub(super) empty_since: Option<Mono>,
}

impl Block {
    fn new(now: Mono, asked: Option<Mono>, executors: &[ExecutorId]) -> Self {
        Self {
            members: executors.to_vec(),
            live: executors.iter().copied().collect(),
            asked,
            since: now,
            waits: "asked for".into(),
            started: false,
            heard: false,
            leaving: false,
            idle_since: None,
            ends: None,
            empty_since: None,
        }
    }

    /// It runs, or will: nobody must take its place.
    pub(super) fn serves(&self) -> bool {
        !self.leaving && !self.live.is_empty()
    }
}

/// What was asked of the provider.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) all: BTreeMap<BlockId, Block>,
    homes: BTreeMap<ExecutorId, BlockId>,
    backoff_ms: u64,
    next: Mono,
    /// Failures at the start, in a row; blocks that were asked for together count once.
    failures: u32,
    failed_at: Option<Mono>,
    /// The newest failure at the start.
    why: Option<String>,
}

impl Blocks {
    /// With those that an earlier manager asked for.
    pub(super) fn new(now: Mono, found: &[(BlockId, Vec<ExecutorId>)]) -> Self {
        let mut blocks = Self {
            all: BTreeMap::new(),
            homes: BTreeMap::new(),
            backoff_ms: limits::BLOCK_BACKOFF_MS.0,
            next: Mono(0),
            failures: 0,
            failed_at: None,
            why: None,
        };
        for (block, executors) in found {
            blocks.insert(now, None, *block, executors);
        }
        blocks
    }

    fn insert(&mut self, now: Mono, asked: Option<Mono>, block: BlockId, executors: &[ExecutorId]) {
        self.homes.extend(executors.iter().map(|executor| (*executor, block)));
        self.all.insert(block, Block::new(now, asked, executors));
    }

    /// Executors that run or will, in any block.
    pub(super) fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.all.values().flat_map(|block| &block.live)
    }

    /// The block of an executor.
    pub(super) fn home(&self, executor: &ExecutorId) -> Option<BlockId> {
        self.homes.get(executor).copied()
    }

    pub(super) fn of(&self, executor: &ExecutorId) -> Option<&Block> {
        self.all.get(self.homes.get(executor)?)
    }

    fn of_mut(&mut self, executor: &ExecutorId) -> Option<&mut Block> {
        self.all.get_mut(self.homes.get(executor)?)
    }

    /// Asks for `missing` more, each of `nodes` executors, unless the last one failed a moment ago. True if it did.
    pub(super) fn launch(
        &mut self,
        now: Mono,
        missing: usize,
        nodes: u32,
        rng: &mut Rng,
        out: &mut Vec<Action>,
    ) -> bool {
        if missing == 0 || now < self.next {
            return false;
        }
        let wanted = if self.is_degraded() { 1 } else { missing };
        for _ in 0..wanted {
            let block = BlockId::from_bytes(rng.uuid());
            let executors: Vec<_> = (0..nodes).map(|_| ExecutorId::from_bytes(rng.uuid())).collect();
            self.insert(now, Some(now), block, &executors);
            out.push(Action::Launch { block, executors });
        }
        true
    }

    /// The provider has it and it waits. True if that is news.
    pub(super) fn waits(&mut self, block: BlockId, reason: String) -> bool {
        let Some(block) = self.all.get_mut(&block).filter(|block| !block.started) else { return false };
        let news = block.waits != reason;
        block.waits = reason;
        news
    }

    /// It runs: its life is counted from now. True if that is news.
    pub(super) fn started(&mut self, now: Mono, block: BlockId, left_ms: Option<u64>) -> bool {
        let Some(block) = self.all.get_mut(&block) else { return false };
        let news = !block.started;
        if news {
            (block.started, block.since) = (true, now);
        }
        if let Some(left_ms) = left_ms {
            block.ends = Some(now.after(left_ms));
        }
        news
    }

    /// An executor registered: blocks can be started.
    pub(super) fn heard(&mut self, now: Mono, executor: ExecutorId, walltime_ms: Option<u64>) {
        let Some(block) = self.of_mut(&executor) else { return };
        block.live.insert(executor);
        block.empty_since = None;
        if !block.heard {
            block.heard = true;
            if let (None, Some(walltime_ms)) = (block.ends, walltime_ms) {
                block.ends = Some(now.after(walltime_ms));
            }
        }
        (self.failures, self.failed_at, self.why) = (0, None, None);
    }

    /// An executor is silent, or said goodbye: it is not waited for any more, its block may go on. True if it was live.
    pub(super) fn forget(&mut self, now: Mono, executor: &ExecutorId) -> bool {
        let Some(block) = self.of_mut(executor) else { return false };
        let was_live = block.live.remove(executor);
        if block.live.is_empty() {
            block.empty_since.get_or_insert(now);
        }
        was_live
    }

    /// It ended: the next one waits longer each time, until one lives. True if that was the failure too many.
    pub(super) fn over(&mut self, now: Mono, block: BlockId, why: &str) -> bool {
        let Some(block) = self.all.remove(&block) else { return false };
        for executor in &block.members {
            self.homes.remove(executor);
        }
        let Some(asked) = block.asked.filter(|_| !block.leaving && block.empty_since.is_none()) else {
            return false;
        };
        if block.heard {
            if now.since(block.since) >= LIVED_MS {
                self.backoff_ms = limits::BLOCK_BACKOFF_MS.0;
            }
            self.next = self.next.max(now.after(self.backoff_ms));
            self.backoff_ms = (self.backoff_ms * 2).min(limits::BLOCK_BACKOFF_MS.1);
            return false;
        }
        self.why = Some(why[..why.floor_char_boundary(limits::TROUBLE_BYTES)].to_owned());
        if self.failed_at.is_none_or(|failed| asked > failed) {
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

    /// Blocks that run, and of those that wait how many and for what.
    pub(super) fn count(&self) -> (u32, u32, Option<String>) {
        let (mut running, mut waiting, mut reason) = (0, 0, None);
        for block in self.all.values().filter(|block| !block.leaving) {
            if block.started || block.heard {
                running += 1;
            } else {
                waiting += 1;
                reason = reason.or_else(|| Some(block.waits.clone()));
            }
        }
        (running, waiting, reason)
    }

    /// Whether the provider knows something of a block that we do not: it was not heard to run, or it runs and its
    /// executors say nothing (it may have ended before they could), or they left.
    pub(super) fn raise_questions(&self) -> bool {
        self.all.values().any(|block| !block.started || !block.heard || block.empty_since.is_some())
    }

    /// When the next one may be asked for.
    pub(super) const fn next_launch(&self) -> Mono {
        self.next
    }
}
