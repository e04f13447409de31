//! Calls that may run for longer than every block has time (F41): they start only where the time that is left holds their
//! timeout, a block that has it is asked for where none is, and one that no block can ever hold is refused.
//!
//! Owns their queues. A timeout within the last part of a block's life, in which it takes nothing new, holds anywhere: those
//! calls wait with all others.

use super::attempt::{Book, Chosen, Key, Place};
use super::blocks::Block;
use super::ends::ended;
use super::{Manager, Scale};
use crate::id::{BlockId, ContainerId, ExecutorId};
use crate::limits;
use crate::task::{Begun, Failure, FailureCode, Outcome};
use crate::time::Mono;
use crate::wire::{Assign, Item};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Timeouts are told apart by this part of a block's time: the first that waits does not hold up others for long.
const PARTS: u64 = 64;

/// Those that wait, by the part of a block's time that they need.
#[derive(Debug, Default)]
pub(super) struct Long {
    walltime_ms: Option<u64>,
    /// What is left of any block that takes calls.
    always_ms: u64,
    queues: BTreeMap<u64, VecDeque<Key>>,
    first: bool,
}

impl Long {
    pub(super) fn new(scale: &Scale) -> Self {
        Self { walltime_ms: scale.walltime_ms, always_ms: scale.drain_ms(), ..Self::default() }
    }

    /// Whether they come before others: every other time, so that none takes every slot for ever.
    pub(super) const fn take_turn(&mut self) -> bool {
        self.first = !self.first;
        self.first
    }

    /// The queue of this call, if it must wait in one of these.
    fn part(&self, assign: &Assign) -> Option<u64> {
        let (walltime_ms, need) = (self.walltime_ms?, need(assign)?);
        (need > self.always_ms).then(|| need.div_ceil((walltime_ms / PARTS).max(1)))
    }

    /// Takes a call in, before all others if it was there already. False if it is none of these.
    pub(super) fn add(&mut self, key: Key, assign: &Assign, first: bool) -> bool {
        let Some(part) = self.part(assign) else { return false };
        let queue = self.queues.entry(part).or_default();
        if first {
            queue.push_front(key)
        } else {
            queue.push_back(key)
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.queues).into_values().flatten().collect()
    }
}

/// Time of a block that a call may take: when it is over, its end must still be reported.
pub(super) fn need(assign: &Assign) -> Option<u64> {
    Some(assign.timeout_ms?.saturating_add(limits::BLOCK_END_MS))
}

/// The first of a queue.
struct Head {
    key: Key,
    need_ms: u64,
    container: Option<ContainerId>,
    before: usize,
    /// How many wait there (a few may have been cancelled meanwhile).
    waiting: usize,
}

impl Book {
    fn long_parts(&self) -> Vec<u64> {
        self.long.queues.keys().copied().collect()
    }

    /// The first of a queue that waits. Those before it left it otherwise.
    fn head(&self, queue: &VecDeque<Key>) -> Option<Head> {
        queue.iter().enumerate().find_map(|(before, key)| match &self.entries.get(key)?.place {
            Place::Waiting(assign) => {
                let (need_ms, container) = (need(assign)?, assign.container_id());
                Some(Head { key: *key, need_ms, container, before, waiting: queue.len() - before })
            }
            _ => None,
        })
    }

    /// The first of each queue, and each of those that ask for resources: they wait apart, and need the time as well.
    fn long_heads(&self) -> impl Iterator<Item = Head> {
        let always_ms = self.long.always_ms;
        let sized = self.sized_needs().filter(move |(_, need_ms, _)| *need_ms > always_ms);
        let sized =
            sized.map(|(key, need_ms, container)| Head { key, need_ms, container, before: 0, waiting: 1 });
        self.long.queues.values().filter_map(|queue| self.head(queue)).chain(sized)
    }

    /// The same of one queue, without those that left it; a queue that is empty goes.
    fn long_head(&mut self, part: u64) -> Option<Head> {
        let head = self.long.queues.get(&part).and_then(|queue| self.head(queue));
        match (&head, self.long.queues.get_mut(&part)) {
            (Some(head), Some(queue)) => drop(queue.drain(..head.before)),
            _ => drop(self.long.queues.remove(&part)),
        }
        head
    }

    fn long_pop(&mut self, part: u64) {
        if let Some(queue) = self.long.queues.get_mut(&part) {
            queue.pop_front();
        }
    }

    /// Ends one that waits and can never run.
    pub(super) fn refuse(&mut self, key: Key, failure: Failure) -> Item {
        let done = ended(key, Outcome::Error, Begun::No, Some(failure));
        self.put(key, Place::Done(done.clone(), None));
        Item::Result(done)
    }
}

impl Block {
    /// Whether it is there, or will be, for so long.
    fn has(&self, now: Mono, need_ms: u64) -> bool {
        self.serves() && self.ends.is_none_or(|ends| ends.since(now) >= need_ms)
    }
}

impl Manager {
    /// Gives them to the executors that are `able`, as far as their blocks have the time, and refuses those that no block
    /// can have.
    pub(super) fn give_long(&mut self, now: Mono, able: &[ExecutorId], peers: usize) {
        let mut last = None;
        for part in self.book.long_parts() {
            while let Some(head) = self.book.long_head(part) {
                if self.is_too_long(now, head.need_ms) {
                    self.book.long_pop(part);
                    let end = self.book.refuse(head.key, self.too_long(head.need_ms));
                    self.uplink.say(end);
                    continue;
                }
                let Some(executor) = self.place_long(now, able, peers, &head) else { break };
                self.book.long_pop(part);
                if let Some(assign) = self.book.hand(now, head.key, executor, Chosen::Lasts) {
                    self.send(executor, assign, &mut last);
                }
            }
        }
    }

    /// Where most slots are free.
    fn place_long(&self, now: Mono, able: &[ExecutorId], peers: usize, head: &Head) -> Option<ExecutorId> {
        let has_time = |id: &&ExecutorId| self.blocks.of(id).is_none_or(|block| block.has(now, head.need_ms));
        let seats = able.iter().filter(has_time).map(|id| (self.seat(id, peers), *id));
        let open = seats.filter(|(seat, id)| seat.room > 0 && !self.share(id, head.container).barred);
        let order = |(seat, id): &(super::route::Seat, ExecutorId)| {
            (seat.slots.saturating_sub(seat.open), Reverse(seat.open), Reverse(*id))
        };
        open.max_by_key(order).map(|(_, id)| id)
    }

    pub(super) fn is_too_long(&self, now: Mono, need_ms: u64) -> bool {
        let beyond = self.config.scale.walltime_ms.is_some_and(|walltime_ms| need_ms > walltime_ms);
        // One of an earlier configuration may have it.
        let has = |block: &Block| block.ends.is_some() && block.has(now, need_ms);
        beyond && !self.adoption.is_open() && !self.blocks.all.values().any(has)
    }

    pub(super) fn too_long(&self, need_ms: u64) -> Failure {
        let seconds = |ms: u64| ms / 1_000;
        let walltime_ms = self.config.scale.walltime_ms.unwrap_or(0);
        let text = format!(
            "The task's timeout of {} s is longer than any block of its endpoint may run it: at most {} s of a walltime of {} s. \
             Give it a shorter timeout, or have blocks.walltime of the endpoint raised.",
            seconds(need_ms - limits::BLOCK_END_MS),
            seconds(walltime_ms.saturating_sub(limits::BLOCK_END_MS)),
            seconds(walltime_ms),
        );
        Failure::new(FailureCode::Unsatisfiable, text)
    }

    /// Blocks that are missing for calls for which those there are have too little time left.
    pub(super) fn missing_for_long(&self, now: Mono) -> usize {
        let (mut calls, mut most_ms) = (0, 0);
        for head in self.barred(now) {
            (calls, most_ms) = (calls + head.waiting, head.need_ms.max(most_ms));
        }
        if calls == 0 {
            return 0;
        }
        let enough = self.blocks.all.values().filter(|block| block.has(now, most_ms)).count();
        self.config.scale.needed(calls, self.slots).saturating_sub(enough)
    }

    /// The first of each queue for which some block has too little time.
    fn barred(&self, now: Mono) -> impl Iterator<Item = Head> {
        let old = move |block: &Block, head: &Head| block.serves() && !block.has(now, head.need_ms);
        self.book.long_heads().filter(move |head| self.blocks.all.values().any(|block| old(block, head)))
    }

    /// Blocks that are there for such calls, busy or not: others have too little time.
    pub(super) fn awaited_by_long(&self, now: Mono) -> BTreeSet<BlockId> {
        let mut awaited = BTreeSet::new();
        for head in self.barred(now) {
            let having = self.blocks.all.iter().filter(|(_, block)| block.has(now, head.need_ms));
            awaited.extend(having.map(|(id, _)| *id));
        }
        awaited
    }

    /// Lets a block without calls go that has too little time for those that wait, where no further one may be asked for.
    pub(super) fn make_way_for_long(&mut self, now: Mono) {
        // Nearly always there are none: nothing more is looked at then.
        if (self.book.long.is_empty() && self.book.sized_len() == 0) || self.stop.is_some() {
            return;
        }
        let full = self.serving() >= self.config.scale.max as usize;
        if !full || self.missing_for_long(now) == 0 {
            return;
        }
        let awaited = self.awaited_by_long(now);
        let idle = |block: &Block| block.live.iter().all(|executor| self.book.open_at(executor) == 0);
        let old = self.blocks.all.iter().filter(|(id, block)| block.serves() && !awaited.contains(id));
        let heard = old.filter(|(_, block)| block.heard && idle(block));
        // The one that ends first has the least time of all.
        let first = heard.filter_map(|(id, block)| Some((block.ends?, *id))).min();
        if let Some((_, id)) = first {
            self.dismiss(id, limits::SURPLUS_MS);
        }
    }
}
