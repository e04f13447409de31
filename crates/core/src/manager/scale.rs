//! How many blocks there should be (F40): from the calls that wait and run, within the bounds of the configuration.
//!
//! Owns no state but the numbers it was configured with. What was asked of the provider is in `blocks`, when the provider
//! is asked how that fares in `inquiry`.

use super::blocks::Block;
use super::{Action, Manager};
use crate::id::{BlockId, ExecutorId};
use crate::limits;
use crate::resources::Resources;
use crate::task::FailureCode;
use crate::time::Mono;
use crate::wire::{Blocks as Counts, Item};

/// How many nodes an endpoint asks its provider for, and what is known of them before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Blocks at the start.
    pub init: u32,
    /// Blocks that are kept without any calls.
    pub min: u32,
    /// Most blocks at once.
    pub max: u32,
    /// Executors of one block: one on each of its nodes.
    pub nodes: u32,
    /// Workers of one executor, until one has said how many it has.
    pub slots: u32,
    /// What an executor has, as far as it is known before ([`Resources::UNKNOWN`]).
    pub has: Resources,
    /// Slots wanted for 1,000 calls that wait or run.
    pub parallelism: u32,
    /// A block that has had no call for this long ends, if more than `min` are there.
    pub idle_ms: u64,
    /// The provider ends a block after this.
    pub walltime_ms: Option<u64>,
    /// The provider is a scheduler: blocks wait in it, and it says how they fare only when it is asked.
    pub scheduler: bool,
}

impl Scale {
    /// Always `count` blocks of one executor, as processes of this node.
    #[must_use]
    pub const fn fixed(count: u32) -> Self {
        Self {
            init: count,
            min: count,
            max: count,
            nodes: 1,
            slots: 1,
            has: Resources::UNKNOWN,
            parallelism: 1_000,
            idle_ms: 60_000,
            walltime_ms: None,
            scheduler: false,
        }
    }

    /// Whether calls decide how many there are.
    pub(super) const fn is_elastic(&self) -> bool {
        self.min < self.max
    }

    /// Whether there may be no node for a long time, and calls wait here for one.
    pub(super) const fn calls_wait(&self) -> bool {
        self.is_elastic() || self.scheduler
    }

    /// Whether a start is complete without any node.
    pub(super) const fn starts_empty(&self) -> bool {
        self.scheduler || (self.init == 0 && self.min == 0 && self.max > 0)
    }

    /// Calls that are taken whatever runs now: so many that all blocks are asked for.
    pub(super) fn appetite(&self, slots: u32) -> u32 {
        let slots = u64::from(self.max) * u64::from(self.nodes) * u64::from(slots);
        u32::try_from(slots.saturating_mul(1_000) / u64::from(self.parallelism.max(1))).unwrap_or(u32::MAX)
    }

    /// Blocks for `calls`, with executors of `slots` workers, within the bounds.
    fn blocks_for(&self, calls: usize, slots: u32) -> usize {
        self.needed(calls, slots).clamp(self.min as usize, self.max as usize)
    }

    /// The same without bounds.
    pub(super) fn needed(&self, calls: usize, slots: u32) -> usize {
        let per_block = u64::from(self.nodes.max(1)) * u64::from(slots.max(1));
        let wanted = (calls as u64).saturating_mul(u64::from(self.parallelism)).div_ceil(1_000);
        usize::try_from(wanted.div_ceil(per_block)).unwrap_or(usize::MAX)
    }

    /// A block gets nothing new in this last part of its life.
    pub(super) fn drain_ms(&self) -> u64 {
        self.walltime_ms.map_or(0, |walltime_ms| limits::BLOCK_DRAIN_MS.min(walltime_ms / 10))
    }
}

impl Manager {
    /// Blocks that run or will; executors without a known block count as so many of their own.
    pub(super) fn serving(&self) -> usize {
        let counts = |executor: &&ExecutorId| !self.silent.is_surplus(executor);
        let blocks = self.blocks.all.values();
        let blocks = blocks.filter(|block| block.serves() && block.live.iter().any(|x| counts(&x))).count();
        let others = self.executors.keys().chain(self.adoption.missing()).filter(counts);
        let others = others.filter(|executor| self.blocks.home(executor).is_none()).count();
        blocks + others.div_ceil(self.config.scale.nodes.max(1) as usize)
    }

    /// Blocks that there should be now.
    pub(super) fn wanted(&self) -> usize {
        let scale = &self.config.scale;
        let least = if self.began { 0 } else { scale.init };
        if scale.is_elastic() {
            scale.blocks_for(self.wanted_slots(), self.slots).max(least as usize)
        } else {
            scale.max as usize
        }
    }

    /// Blocks that are missing now.
    pub(super) fn missing(&self, now: Mono) -> usize {
        let wanted = self.wanted();
        if self.stop.is_some() || self.silent.is_full(wanted * self.config.scale.nodes as usize) {
            return 0;
        }
        let (serving, most) = (self.serving(), self.config.scale.max as usize);
        let long = self.missing_for_long(now).min(most.saturating_sub(serving));
        wanted.saturating_sub(serving).max(long)
    }

    /// Asks the provider for what is missing, gives back what is too much, and asks how the rest fares.
    pub(super) fn scale(&mut self, now: Mono, out: &mut Vec<Action>) {
        if now >= self.blocks.next_launch() {
            self.make_way_for_long(now);
            let missing = self.missing(now);
            let nodes = self.config.scale.nodes;
            if self.blocks.launch(now, missing, nodes, &mut self.rng, out) {
                self.hints.touch();
                self.capacity_changed = true;
                self.inquiry.soon(now);
            }
            self.began = true;
        }
        if self.config.scale.is_elastic() && self.stop.is_none() {
            self.release(now, out);
        }
        if self.config.scale.walltime_ms.is_some() {
            self.drain_ending(now);
        }
        if self.config.scale.scheduler {
            self.end_empty(now, out);
            self.inquiry.ask(now, self.blocks.raise_questions(), out);
        }
    }

    /// Ends blocks that have had no call for a while, those that only wait first; never below what is wanted.
    fn release(&mut self, now: Mono, out: &mut Vec<Action>) {
        let surplus = self.serving().saturating_sub(self.wanted());
        let idle_ms = self.config.scale.idle_ms;
        let mut idle: Vec<(bool, Mono, BlockId)> = Vec::new();
        let awaited = self.awaited_by_long(now);
        for (id, block) in self.blocks.all.iter_mut().filter(|(_, block)| block.serves()) {
            let has_calls = || block.live.iter().any(|executor| self.book.open_at(executor) > 0);
            let busy = awaited.contains(id) || has_calls();
            if busy || surplus == 0 && !block.heard {
                block.idle_since = None;
            } else {
                let since = *block.idle_since.get_or_insert(now);
                idle.push((block.heard, since, *id));
            }
        }
        idle.retain(|(_, since, _)| now >= since.after(idle_ms));
        idle.sort_unstable();
        for (heard, _, id) in idle.into_iter().take(surplus) {
            if heard {
                self.dismiss(id, limits::SURPLUS_MS);
            } else {
                self.cancel_block(now, id, out);
            }
        }
    }

    /// Gives a block no more calls; its executors leave when all that they hold is acknowledged (F38).
    pub(super) fn dismiss(&mut self, id: BlockId, grace_ms: u64) {
        let Some(block) = self.blocks.all.get_mut(&id) else { return };
        block.leaving = true;
        for executor in &block.live {
            if let Some(exec) = self.executors.get_mut(executor) {
                exec.leaving = true;
                exec.say(Item::Drain { grace_ms });
            }
        }
        self.capacity_changed = true;
    }

    fn cancel_block(&mut self, now: Mono, id: BlockId, out: &mut Vec<Action>) {
        if let Some(block) = self.blocks.all.get_mut(&id) {
            block.leaving = true;
            self.capacity_changed = true;
            self.inquiry.soon(now);
            out.push(Action::CancelBlock { block: id });
        }
    }

    /// Blocks whose end is near: what runs there may finish until just before it (F41).
    fn drain_ending(&mut self, now: Mono) {
        let drain_ms = self.config.scale.drain_ms();
        let near = |block: &Block| block.ends.filter(|ends| now.after(drain_ms) >= *ends);
        let ending = self.blocks.all.iter().filter(|(_, block)| !block.leaving && block.heard);
        let ending: Vec<_> = ending.filter_map(|(id, block)| Some((*id, near(block)?))).collect();
        for (id, ends) in ending {
            self.dismiss(id, ends.since(now.after(limits::BLOCK_END_MS)));
        }
    }

    /// Blocks that go on although all their executors left are ended.
    fn end_empty(&mut self, now: Mono, out: &mut Vec<Action>) {
        if !self.uplink.is_up() {
            return;
        }
        let due =
            |block: &Block| block.empty_since.is_some_and(|since| now >= since.after(limits::SILENT_MS));
        let due: Vec<BlockId> =
            self.blocks.all.iter().filter(|(_, block)| due(block)).map(|(id, _)| *id).collect();
        for id in due {
            self.cancel_block(now, id, out);
            if let Some(block) = self.blocks.all.get_mut(&id) {
                block.empty_since = Some(now);
            }
        }
    }

    /// The block and with it all its executors ended.
    pub(super) fn block_over(&mut self, now: Mono, id: BlockId, why: &str, out: &mut Vec<Action>) {
        let Some(block) = self.blocks.all.get(&id) else { return };
        let members = block.members.clone();
        let walltime = block.ends.is_some_and(|ends| now.after(limits::BLOCK_END_MS) >= ends);
        let code = if walltime { FailureCode::WalltimeExceeded } else { FailureCode::ExecutorLost };
        if self.blocks.over(now, id, why) {
            let text = "no more blocks are asked for but a probe now and then";
            out.push(Action::Log { text: format!("this endpoint is degraded: {text}") });
        }
        for executor in members {
            self.adoption.gone(&executor);
            self.silent.gone(&executor);
            self.lose(now, executor, code, why, out);
        }
    }

    /// An executor registered: it may belong to a block that takes no more calls.
    pub(super) fn welcome_home(&mut self, now: Mono, executor: ExecutorId) {
        self.blocks.heard(now, executor, self.config.scale.walltime_ms);
        self.inquiry.soon(now);
        let leaving = self.blocks.of(&executor).is_some_and(|block| block.leaving);
        if let Some(exec) = self.executors.get_mut(&executor).filter(|_| leaving) {
            exec.leaving = true;
            exec.say(Item::Drain { grace_ms: limits::SURPLUS_MS });
        }
    }

    /// What people are told of blocks; nothing where there is always the same node.
    pub(super) fn block_counts(&self) -> Option<Counts> {
        if !self.config.scale.calls_wait() {
            return None;
        }
        let (running, waiting, reason) = self.blocks.count();
        let reason = reason.map(|reason| self.inquiry.trouble().map_or(reason, str::to_owned));
        Some(Counts { running, waiting, most: self.config.scale.max, reason })
    }

    /// When blocks next need a look.
    pub(super) fn blocks_due(&self, handled: Mono) -> Option<Mono> {
        let scale = &self.config.scale;
        let launch = Some(self.blocks.next_launch()).filter(|at| *at > handled && self.missing(handled) > 0);
        if !scale.calls_wait() {
            return launch;
        }
        let blocks = || self.blocks.all.values();
        let surplus = scale.is_elastic() && self.stop.is_none() && self.serving() > self.wanted();
        let idle = blocks().filter(|block| surplus && block.serves()).filter_map(|block| block.idle_since);
        let idle = idle.min().map(|since| since.after(scale.idle_ms));
        let ends =
            blocks().filter(|block| !block.leaving && block.heard).filter_map(|block| block.ends).min();
        let ends = ends.map(|ends| Mono(ends.0.saturating_sub(scale.drain_ms())));
        let empty = blocks().filter_map(|block| block.empty_since).min();
        let empty = empty.filter(|_| scale.scheduler && self.uplink.is_up());
        let empty = empty.map(|since| since.after(limits::SILENT_MS));
        let ask = self.inquiry.due(scale.scheduler && self.blocks.raise_questions());
        [launch, idle, ends, empty, ask].into_iter().flatten().min()
    }
}
