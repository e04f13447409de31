//! What this endpoint can take, and giving waiting attempts to executors: the machine's side of `route`.
//!
//! Owns the pace of calls, which bounds how many queue at an executor while others may get idle.

use super::Manager;
use super::attempt::Chosen;
use super::route::{Gift, Place, Seat, Share, Want, plan};
use crate::id::{ContainerId, ExecutorId, Hash};
use crate::limits;
use crate::time::Mono;
use crate::wire::{Assign, Capacity, Item, Warm, version};
use std::collections::BTreeMap;

/// Time of work that may queue per slot of one executor among several: longer than a round trip to it.
const QUEUE_NS: u64 = 100_000_000;

/// Mean run time of recent calls.
#[derive(Debug, Default)]
pub(super) struct Pace {
    mean_ns: u64,
    seen: bool,
}

impl Pace {
    pub(super) const fn saw(&mut self, run_ns: u64) {
        self.mean_ns =
            if self.seen { (self.mean_ns - self.mean_ns / 16).saturating_add(run_ns / 16) } else { run_ns };
        self.seen = true;
    }

    /// How long a call runs, if one has ended.
    pub(super) const fn mean_ns(&self) -> Option<u64> {
        if self.seen { Some(self.mean_ns) } else { None }
    }

    /// Attempts that may queue per slot, so that no call waits behind others for long while another node is idle.
    fn depth(&self) -> usize {
        let depth = if self.seen { QUEUE_NS / self.mean_ns.max(1) } else { 1 };
        usize::try_from(depth).unwrap_or(usize::MAX).min(limits::PREFETCH_PER_SLOT)
    }
}

impl Manager {
    /// The sum of what executors can take: absolute, never above what one endpoint may hold (F25, F29).
    pub(super) fn capacity(&self) -> Capacity {
        let mut sum = Capacity::default();
        if self.stop.is_some() {
            sum.degraded = Some("stopping".into());
            return sum;
        }
        let mut warm: BTreeMap<Option<ContainerId>, (u32, u32)> = BTreeMap::new();
        for exec in self.executors.values().filter(|exec| !exec.leaving) {
            let capacity = &exec.capacity;
            sum.credit_tasks = sum.credit_tasks.saturating_add(capacity.credit_tasks);
            sum.credit_bytes = sum.credit_bytes.saturating_add(capacity.credit_bytes);
            sum.slots_total = sum.slots_total.saturating_add(capacity.slots_total);
            sum.slots_free = sum.slots_free.saturating_add(capacity.slots_free);
            for one in &capacity.warm {
                let all = warm.entry(one.container).or_default();
                *all = (all.0.saturating_add(one.warm), all.1.saturating_add(one.free));
            }
            if sum.degraded.is_none() {
                sum.degraded.clone_from(&capacity.degraded);
            }
        }
        sum.degraded = sum.degraded.or_else(|| self.blocks.trouble());
        let most = (sum.slots_total as usize + limits::PREFETCH_TASKS).min(limits::CREDIT_TASKS);
        sum.credit_tasks = sum.credit_tasks.min(u32::try_from(most).unwrap_or(u32::MAX));
        sum.credit_bytes = sum.credit_bytes.min(limits::CREDIT_BYTES as u64);
        sum.blocks = self.block_counts();
        if sum.blocks.is_some() {
            // Calls wait here for nodes: they are what says how many are wanted (F40).
            let appetite = self.config.scale.appetite(self.slots);
            let most = u32::try_from(limits::CREDIT_TASKS).unwrap_or(u32::MAX);
            sum.credit_tasks = sum.credit_tasks.max(appetite).min(most);
            sum.credit_bytes = limits::CREDIT_BYTES as u64;
        }
        sum.warm = warm.into_iter().map(|(container, (warm, free))| Warm { container, warm, free }).collect();
        sum
    }

    /// Gives waiting attempts to executors, within the credit of each (F25).
    pub(super) fn route(&mut self, now: Mono) {
        self.patience = None;
        let groups = self.book.waiting();
        if groups.is_empty() && self.book.long.is_empty() {
            return;
        }
        let able = self.able();
        // Where more nodes may come, nothing is piled up at the first.
        let peers = able.len() + usize::from(self.config.scale.calls_wait());
        let long_first = self.book.long.take_turn();
        if long_first {
            self.give_long(now, &able, peers);
        }
        let mut seats: Vec<Seat> = able.iter().map(|id| self.seat(id, peers)).collect();
        let mut wants: Vec<Want> = groups
            .iter()
            .map(|(container, waiting)| self.want(&able, &seats, *container, *waiting))
            .collect();
        for gift in plan(self.config.routing, &mut seats, &mut wants, &mut self.rng) {
            if let (Some(executor), Some((container, _))) = (able.get(gift.seat), groups.get(gift.want)) {
                if let (Some(container), Place::Unused | Place::Evicting) = (container, gift.place) {
                    self.known.starts(*container, self.book.clock);
                }
                self.give(now, *executor, *container, &gift);
            }
        }
        if seats.iter().any(|seat| seat.open < seat.slots) {
            let left = std::iter::zip(&groups, &wants).filter(|(_, want)| want.waiting > 0);
            let next = left.filter_map(|(group, want)| self.due(group.0, want.waiting, &want.at, &seats).1);
            self.patience = next.min().map(|ns| now.after(ns.div_ceil(1_000_000)));
        }
        if !long_first {
            self.give_long(now, &able, peers);
        }
        self.book.settle();
    }

    /// Executors that may be given attempts.
    pub(super) fn able(&self) -> Vec<ExecutorId> {
        let able =
            self.executors.iter().filter(|(id, exec)| exec.is_up() && !exec.leaving && self.hints.has(id));
        able.map(|(id, _)| *id).collect()
    }

    fn want(
        &self,
        able: &[ExecutorId],
        seats: &[Seat],
        container: Option<ContainerId>,
        waiting: usize,
    ) -> Want {
        let at: Vec<Share> = able.iter().map(|id| self.share(id, container)).collect();
        let due = self.due(container, waiting, &at, seats).0;
        Want { waiting, due, at }
    }

    pub(super) fn seat(&self, executor: &ExecutorId, peers: usize) -> Seat {
        let Some(exec) = self.executors.get(executor) else { return Seat::default() };
        let there = self.book.open_at(executor);
        let open = there.saturating_add_signed(self.wide_at(executor));
        let slots = exec.capacity.slots_total as usize;
        let credit = exec.capacity.credit_tasks as usize;
        let deep = if peers > 1 { credit.min(slots.max(1) * (1 + self.pace.depth())) } else { credit };
        // Attempts of its container have a worker of their own, or will; the other workers are idle.
        let idle = |warm: &Warm| (warm.warm as usize).saturating_sub(self.open_of(executor, warm.container));
        let idle: usize = exec.capacity.warm.iter().map(idle).sum();
        let room = deep.saturating_sub(open).min(credit.saturating_sub(there));
        Seat { room, open, slots, unused: slots.saturating_sub(open + idle) }
    }

    /// What the executor has of the container.
    pub(super) fn share(&self, executor: &ExecutorId, container: Option<ContainerId>) -> Share {
        let Some(exec) = self.executors.get(executor) else { return Share::default() };
        let warm = exec.capacity.warm.iter().find(|warm| warm.container == container);
        Share {
            workers: warm.map_or(0, |warm| warm.warm as usize),
            open: self.open_of(executor, container),
            barred: container.is_some() && exec.proto < version::CONTAINERS,
        }
    }

    /// Attempts for the container that the executor has.
    fn open_of(&self, executor: &ExecutorId, container: Option<ContainerId>) -> usize {
        let contained = self.book.contained_at(executor);
        match (container, contained) {
            (Some(container), contained) => {
                contained.and_then(|all| all.get(&container)).copied().unwrap_or(0)
            }
            (None, contained) => {
                let others: usize = contained.map_or(0, |all| all.values().sum());
                let open = self.book.open_at(executor) - others;
                if self.book.has_sized_there() {
                    open.saturating_sub(self.book.sized_at(executor).count())
                } else {
                    open
                }
            }
        }
    }

    fn give(&mut self, now: Mono, executor: ExecutorId, container: Option<ContainerId>, gift: &Gift) {
        let (mut last, chosen) = (None, Chosen::Routed(gift.place));
        for _ in 0..gift.count {
            let Some(assign) = self.book.give(now, container, executor, chosen) else { return };
            self.send(executor, assign, &mut last);
        }
    }

    /// Says an assignment, and before it its body if neither the `last` one nor this session had it.
    pub(super) fn send(&mut self, executor: ExecutorId, assign: Box<Assign>, last: &mut Option<Hash>) {
        let hash = assign.hash;
        // A body travels with the first attempt that needs it in a session (F35).
        if *last != Some(hash) && self.executors.get(&executor).is_some_and(|exec| !exec.known.has(&hash)) {
            self.send_body(executor, hash);
        }
        *last = Some(hash);
        if let Some(exec) = self.executors.get_mut(&executor) {
            exec.say(Item::Assign(assign));
        }
    }
}
