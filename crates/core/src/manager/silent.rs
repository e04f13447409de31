//! Executors that were lost by their silence and may live: replaced at once, drained if they return, killed if not.
//!
//! What they hold stays the book's business: one that returns delivers what it finished (F12, F18).

use super::{Action, Manager};
use crate::id::ExecutorId;
use crate::limits;
use crate::time::Mono;
use crate::wire::Item;
use std::collections::{BTreeMap, BTreeSet};

/// Who is silent, and who came back when its place was taken.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// Each with the time at which it is ended.
    silent: BTreeMap<ExecutorId, Mono>,
    /// Told to finish what they run and leave.
    surplus: BTreeSet<ExecutorId>,
}

impl Silent {
    pub(super) fn add(&mut self, now: Mono, executor: ExecutorId) {
        self.silent.entry(executor).or_insert(now.after(limits::SILENT_MS));
    }

    /// Its process is known to be gone.
    pub(super) fn gone(&mut self, executor: &ExecutorId) {
        self.silent.remove(executor);
        self.surplus.remove(executor);
    }

    /// They may still hold attempts, and must be ended in the end.
    pub(super) fn executors(&self) -> impl Iterator<Item = &ExecutorId> {
        self.silent.keys()
    }

    /// So many that a further replacement would probably become silent, too.
    pub(super) fn is_full(&self, blocks: usize) -> bool {
        self.silent.len() >= 2 * blocks.max(1)
    }

    pub(super) fn is_surplus(&self, executor: &ExecutorId) -> bool {
        self.surplus.contains(executor)
    }

    /// This process slept: they get at least until then (F34).
    pub(super) fn extend(&mut self, until: Mono) {
        self.silent.values_mut().for_each(|at| *at = (*at).max(until));
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.silent.values().min().copied()
    }
}

impl Manager {
    /// Lost by its silence: another one takes its place.
    pub(super) fn fell_silent(&mut self, now: Mono, executor: ExecutorId) {
        self.blocks.forget(now, &executor);
        self.inquiry.soon(now);
        self.silent.add(now, executor);
        self.hints.touch();
    }

    /// A silent one registered again. If its place is taken, it finishes what it runs and leaves.
    pub(super) fn spoke_again(&mut self, executor: ExecutorId) {
        if self.silent.silent.remove(&executor).is_none() {
            return;
        }
        let counted = self.blocks.home(&executor).is_none() && !self.silent.is_surplus(&executor);
        let others = self.serving() - usize::from(counted);
        if others < self.wanted().max(1) {
            return;
        }
        self.silent.surplus.insert(executor);
        if let Some(exec) = self.executors.get_mut(&executor) {
            exec.leaving = true;
            exec.say(Item::Drain { grace_ms: limits::SURPLUS_MS });
        }
    }

    /// Ends those that were silent for too long; only while the service knows that this manager is the one in charge.
    pub(super) fn end_silent(&mut self, now: Mono, out: &mut Vec<Action>) {
        if !self.uplink.is_up() {
            return;
        }
        let due = self.silent.silent.extract_if(.., |_, at| now >= *at);
        for (executor, _) in due {
            let text = format!("executor {executor} stays silent and is ended");
            out.push(Action::Log { text });
            let home = self.blocks.home(&executor);
            // A node of a block whose others are well is left to the block's end.
            let alone = self.blocks.of(&executor).is_some_and(|block| block.live.is_empty());
            out.extend(home.filter(|_| alone).map(|block| Action::CancelBlock { block }));
            self.hints.touch();
        }
    }
}
