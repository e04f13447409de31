//! The attempts a manager holds, and every transition of one: `waiting → at(x) → done → gone` (FABRIC §5).
//!
//! Owns where each attempt is, what is known of it, and the order in which waiting ones are routed. Says nothing to
//! anybody: its callers turn what it returns into messages.

mod handed;
mod queues;
mod sized;

use super::ends::{cancelled, ended};
use super::long::{Long, need};
use crate::id::{ContainerId, ExecutorId, TaskId, UserId};
use crate::map::{Map, Set};
use crate::resources::Resources;
use crate::task::{Begun, Failure, FailureCode, Outcome};
use crate::time::{Fine, Mono};
use crate::wire::{Assign, Attempt, Done, Holding, Item, Stage};
use handed::Handed;
use queues::Queues;
use std::collections::hash_map;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One attempt of one task.
pub(super) type Key = (TaskId, Attempt);

/// Where an attempt is.
#[derive(Debug)]
pub(super) enum Place {
    /// Here, not given to an executor.
    Waiting(Box<Assign>),
    /// Given to this executor. What was given is kept until it began: it may have to be routed again (F12).
    At(ExecutorId, Option<Box<Assign>>),
    /// Ended; kept until `Ack` (F20), which is passed on to the executor that reported it.
    Done(Box<Done>, Option<ExecutorId>),
}

impl Place {
    const fn waits(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }
}

/// Why an attempt is at its executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Chosen {
    /// It was there when this manager came.
    #[default]
    Found,
    /// By routing.
    Routed(super::route::Place),
    /// It has what the attempt asks for.
    Fits,
    /// Its block has the time.
    Lasts,
}

/// What an attempt needs, as far as it is known: nothing is of those that an executor brought along.
#[derive(Debug, Clone, Default)]
pub(super) struct Kind {
    pub(super) user: Option<UserId>,
    pub(super) container: Option<ContainerId>,
    /// `None`: one slot.
    pub(super) asks: Option<Arc<Resources>>,
    /// Time of a block that it may take, of those that ask for resources (F41).
    pub(super) need_ms: Option<u64>,
}

impl Kind {
    fn of(assign: &Assign) -> Self {
        let need_ms = if assign.resources.is_some() { need(assign) } else { None };
        Self {
            user: Some(assign.user),
            container: assign.container_id(),
            asks: assign.resources.clone(),
            need_ms,
        }
    }
}

/// One held attempt.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// An executor said that a worker began it.
    pub(super) begun: bool,
    /// Its executor listed it as finished; its end is on the way.
    listed_finished: bool,
    /// The service wants it stopped, with this grace: repeated at each registration of its executor (F31).
    pub(super) cancel: Option<u64>,
    pub(super) kind: Kind,
    pub(super) chosen: Chosen,
    expires: Mono,
    timed: bool,
    /// How long it waited here, and since when it waits or is with its executor.
    waited: u64,
    since: Fine,
}

impl Entry {
    const fn new(place: Place, kind: Kind, expires: Mono, since: Fine) -> Self {
        let (begun, listed_finished, cancel, timed, waited) = (false, false, None, false, 0);
        let chosen = Chosen::Found;
        Self { place, begun, listed_finished, cancel, kind, chosen, expires, timed, waited, since }
    }
}

/// What became of an attempt that its executor does not hold and did not begin.
#[derive(Debug)]
pub(super) enum Unstarted {
    /// It waits here again, under the same number (F12, F16).
    Waiting,
    /// It had to be cancelled: ended.
    Ended(Box<Done>),
    /// It cannot wait here: say so to the hub, nothing is kept (F20).
    HandBack(Box<Done>),
    /// It was not there.
    Nothing,
}

/// All held attempts.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The time of this event or flush, for durations.
    pub(super) clock: Fine,
    pub(super) entries: Map<Key, Entry>,
    handed: Handed,
    /// Entries that wait here.
    waiting: usize,
    /// Those that ask for nothing in particular.
    queues: Queues,
    /// Those that do not fit into every block.
    pub(super) long: Long,
    /// The others.
    sized: Queues,
    expiries: BTreeSet<(Mono, Key)>,
    /// Declared lost, and the hub may not know it yet: its executor stays in the hints (F8).
    lost: BTreeMap<Key, ExecutorId>,
}

impl Book {
    pub(super) fn new(long: Long) -> Self {
        Self { long, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Attempts that wait here or are with an executor.
    pub(super) fn open(&self) -> usize {
        self.waiting + self.handed.at.values().map(|there| there.keys.len()).sum::<usize>()
    }

    /// Attempts that this executor has: its credit is counted from this set (F25).
    pub(super) fn open_at(&self, executor: &ExecutorId) -> usize {
        self.handed.at.get(executor).map_or(0, |there| there.keys.len())
    }

    /// Of these, those for a container.
    pub(super) fn contained_at(&self, executor: &ExecutorId) -> Option<&BTreeMap<ContainerId, usize>> {
        self.handed.at.get(executor).map(|there| &there.contained)
    }

    fn keys_at(&self, executor: &ExecutorId) -> Vec<Key> {
        let mut keys: Vec<Key> =
            self.handed.at.get(executor).into_iter().flat_map(|there| &there.keys).copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Puts `key` into `place` and keeps every index in step.
    pub(super) fn put(&mut self, key: Key, place: Place) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.timed {
            entry.timed = false;
            self.expiries.remove(&(entry.expires, key));
        }
        let now_at = if let Place::At(executor, _) = &place { Some(*executor) } else { None };
        let was_at = if let Place::At(executor, _) = &entry.place { Some(*executor) } else { None };
        self.waiting += usize::from(place.waits());
        self.waiting -= usize::from(entry.place.waits());
        entry.place = place;
        if now_at == was_at {
            return;
        }
        if let Some(executor) = was_at {
            self.handed.leave(&executor, &key, &entry.kind);
        }
        if let Some(executor) = now_at {
            self.handed.join(executor, key, &entry.kind);
        }
    }

    fn insert(&mut self, key: Key, place: Place, expires: Mono) {
        if let Place::At(executor, _) = &place {
            self.handed.join(*executor, key, &Kind::default());
        }
        let entry = Entry::new(place, Kind::default(), expires, self.clock);
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.lost.remove(key);
        if entry.timed {
            self.expiries.remove(&(entry.expires, *key));
        }
        self.waiting -= usize::from(entry.place.waits());
        if let Place::At(executor, _) = &entry.place {
            self.handed.leave(executor, key, &entry.kind);
        }
        Some(entry)
    }

    /// A new attempt from the hub; one that is known already is the same one (F14).
    pub(super) fn assign(&mut self, now: Mono, assign: Box<Assign>) {
        let key = (assign.task, assign.attempt);
        if let hash_map::Entry::Vacant(vacant) = self.entries.entry(key) {
            let expires = now.after(assign.ttl_ms);
            let kind = Kind::of(&assign);
            let sized = kind.asks.is_some();
            if sized {
                self.sized.of(None, assign.user).push_back(key);
            }
            let long = !sized && self.long.add(key, &assign, false);
            if !sized && !long {
                self.queues.of(kind.container, assign.user).push_back(key);
            }
            let entry = vacant.insert(Entry::new(Place::Waiting(assign), kind, expires, self.clock));
            self.waiting += 1;
            if sized || long {
                entry.timed = true;
                self.expiries.insert((expires, key));
            }
        }
    }

    /// Containers for which attempts wait, each with how many (a few may have been cancelled meanwhile); the one that
    /// has waited longest comes first.
    pub(super) fn waiting(&self) -> Vec<(Option<ContainerId>, usize)> {
        let since = |key: &Key| self.entries.get(key).map_or(Fine(0), |entry| entry.since);
        let mut groups: Vec<_> = self.queues.groups().collect();
        if groups.len() > 1 {
            groups.sort_by_cached_key(|(_, _, firsts)| firsts.clone().map(since).min());
        }
        groups.into_iter().map(|(container, waiting, _)| (container, waiting)).collect()
    }

    /// The container of an attempt, as far as it is known.
    pub(super) fn container(&self, key: &Key) -> Option<ContainerId> {
        self.entries.get(key)?.kind.container
    }

    /// How long each attempt for `container` has waited, in ns; the oldest comes first.
    pub(super) fn waited(&self, container: Option<ContainerId>) -> Vec<u64> {
        let some = self.queues.at(container).filter_map(|key| self.entries.get(key));
        let waits = some.filter(|entry| entry.place.waits());
        let mut waits: Vec<u64> = waits.map(|entry| self.clock.since(entry.since)).collect();
        if self.queues.is_shared(container) {
            waits.sort_unstable_by(|one, other| other.cmp(one));
        }
        waits
    }

    /// Gives the attempt for `container` whose turn it is to `executor`: what to send, with the time it still has (F32).
    pub(super) fn give(
        &mut self,
        now: Mono,
        container: Option<ContainerId>,
        executor: ExecutorId,
        chosen: Chosen,
    ) -> Option<Box<Assign>> {
        while let Some(key) = self.queues.pop(container, |user| self.handed.of(user)) {
            if let Some(assign) = self.hand(now, key, executor, chosen) {
                return Some(assign);
            }
        }
        None
    }

    /// Gives one that waits to `executor`: what to send.
    pub(super) fn hand(
        &mut self,
        now: Mono,
        key: Key,
        executor: ExecutorId,
        chosen: Chosen,
    ) -> Option<Box<Assign>> {
        let entry = self.entries.get_mut(&key)?;
        let Place::Waiting(assign) = &mut entry.place else { return None };
        entry.chosen = chosen;
        assign.ttl_ms = entry.expires.since(now);
        entry.waited += self.clock.since(entry.since);
        entry.since = self.clock;
        let kept = assign.clone();
        if entry.timed {
            entry.timed = false;
            self.expiries.remove(&(entry.expires, key));
        }
        let place = std::mem::replace(&mut entry.place, Place::At(executor, Some(kept)));
        self.waiting -= 1;
        self.handed.join(executor, key, &entry.kind);
        if let Place::Waiting(assign) = place { Some(assign) } else { None }
    }

    /// Gives every attempt that is still waiting an alarm for its deadline (F33), and drops what left the queues.
    pub(super) fn settle(&mut self) {
        if self.waiting == 0 {
            // Who is left in them was cancelled, and nobody may come to take him out.
            self.queues.clear();
            self.long.clear();
        }
        self.queues.tidy();
        self.sized.tidy();
        for queue in self.queues.each_mut() {
            if queue.len() > 64 + 2 * self.entries.len() {
                queue.retain(|key| {
                    self.entries.get(key).is_some_and(|entry| matches!(entry.place, Place::Waiting(_)))
                });
            }
            // New ones are at the back: all before the first with an alarm have one.
            for key in queue.iter().rev() {
                let Some(entry) = self.entries.get_mut(key) else { continue };
                if !matches!(entry.place, Place::Waiting(_)) {
                    continue;
                }
                if entry.timed {
                    break;
                }
                entry.timed = true;
                self.expiries.insert((entry.expires, *key));
            }
        }
    }

    /// When the next waiting attempt reaches its deadline.
    pub(super) fn next_expiry(&self) -> Option<Mono> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Ends the waiting attempts whose deadline has passed (F33).
    pub(super) fn expire(&mut self, now: Mono) -> Vec<Item> {
        let mut ends = Vec::new();
        while let Some((at, key)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.expiries.remove(&(at, key));
            let text = "its deadline passed while it waited for a node of the endpoint";
            let failure = Failure::new(FailureCode::DeadlineExceeded, text);
            let done = ended(key, Outcome::Expired, Begun::No, Some(failure));
            self.put(key, Place::Done(done.clone(), None));
            ends.push(Item::Result(done));
        }
        ends
    }

    /// An executor reports an end: kept until `Ack`. False if the same end is kept already.
    pub(super) fn finish(&mut self, done: &mut Done, from: ExecutorId) -> bool {
        let key = (done.task, done.attempt);
        let Some(entry) = self.entries.get_mut(&key) else {
            self.insert(key, Place::Done(Box::new(done.clone()), Some(from)), Mono(0));
            return true;
        };
        done.timings.manager = entry.waited;
        done.timings.node = self.clock.since(entry.since);
        let place = Place::Done(Box::new(done.clone()), Some(from));
        entry.begun |= done.begun == Begun::Yes;
        let timed = std::mem::take(&mut entry.timed).then_some(entry.expires);
        let before = std::mem::replace(&mut entry.place, place);
        self.waiting -= usize::from(before.waits());
        if let Some(expires) = timed {
            self.expiries.remove(&(expires, key));
        }
        if let Place::At(executor, _) = &before {
            self.handed.leave(executor, &key, &entry.kind);
        }
        !matches!(before, Place::Done(old, _) if old.outcome == done.outcome)
    }

    /// The store has this end: forgets it if it is the one held (F23). Tells which executor reported it.
    pub(super) fn acknowledge(&mut self, key: &Key, outcome: Outcome) -> Option<ExecutorId> {
        let hash_map::Entry::Occupied(entry) = self.entries.entry(*key) else { return None };
        match &entry.get().place {
            Place::Done(done, from) if done.outcome == outcome => {
                let from = *from;
                entry.remove();
                self.lost.remove(key);
                from
            }
            _ => None,
        }
    }

    /// Its executor says that a worker began it: it can never be routed again, so its arguments are let go.
    pub(super) fn begin(&mut self, key: &Key, executor: ExecutorId) -> bool {
        match self.entries.get_mut(key) {
            Some(Entry { place: Place::At(at, assign), begun, .. }) if *at == executor => {
                *assign = None;
                *begun = true;
                true
            }
            _ => false,
        }
    }

    /// The hub wants it stopped (F31): an end if it waits here, else the executor to tell.
    pub(super) fn cancel(&mut self, key: Key, grace_ms: u64) -> (Option<Box<Done>>, Option<ExecutorId>) {
        match self.entries.get_mut(&key) {
            // Unknown: answered so that the hub never waits.
            None => (Some(cancelled(key, Begun::Unknown)), None),
            Some(entry) => match &entry.place {
                Place::Done(..) => (None, None),
                Place::At(executor, _) => {
                    entry.cancel = Some(grace_ms);
                    (None, Some(*executor))
                }
                Place::Waiting(_) => {
                    let done = cancelled(key, Begun::No);
                    self.put(key, Place::Done(done.clone(), None));
                    (Some(done), None)
                }
            },
        }
    }

    /// `executor` does not have it and never began it (F12), or handed it back (F16).
    pub(super) fn unstarted(&mut self, key: Key, executor: ExecutorId, keep: bool) -> Unstarted {
        let Some(entry) = self.entries.get_mut(&key) else { return Unstarted::Nothing };
        let Place::At(at, assign) = &mut entry.place else { return Unstarted::Nothing };
        if *at != executor {
            return Unstarted::Nothing;
        }
        if entry.begun {
            // Never in a correct world: it began, and its executor knows nothing of it. Not proven unstarted.
            let failure = Failure::new(FailureCode::ExecutorLost, "its executor no longer knows of it");
            let done = ended(key, Outcome::Lost, Begun::Yes, Some(failure));
            self.put(key, Place::Done(done.clone(), None));
            return Unstarted::Ended(done);
        }
        if entry.cancel.is_some() {
            let done = cancelled(key, Begun::No);
            self.put(key, Place::Done(done.clone(), None));
            return Unstarted::Ended(done);
        }
        match assign.take() {
            Some(assign) if keep => {
                if assign.resources.is_some() {
                    self.sized.of(None, assign.user).push_front(key);
                } else if !self.long.add(key, &assign, true) {
                    self.queues.of(assign.container_id(), assign.user).push_front(key);
                }
                let expires = entry.expires;
                self.put(key, Place::Waiting(assign));
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.timed = true;
                    self.expiries.insert((expires, key));
                }
                Unstarted::Waiting
            }
            _ => {
                self.remove(&key);
                Unstarted::HandBack(ended(key, Outcome::Returned, Begun::No, None))
            }
        }
    }

    /// Takes all waiting attempts out, to be handed back (F38).
    pub(super) fn hand_back(&mut self) -> Vec<Item> {
        let mut keys: Vec<Key> = self.queues.iter().copied().collect();
        self.queues = Queues::default();
        keys.extend(self.long.clear());
        keys.extend(self.sized.iter());
        self.sized = Queues::default();
        let mut back = Vec::new();
        for key in keys {
            if self.entries.get(&key).is_some_and(|entry| matches!(entry.place, Place::Waiting(_))) {
                self.remove(&key);
                back.push(Item::Result(ended(key, Outcome::Returned, Begun::No, None)));
            }
        }
        back
    }

    /// The executor is lost, and each attempt it had with it (F18). Nothing is remembered but these ends.
    pub(super) fn lose(&mut self, executor: ExecutorId, failure: &Failure) -> Vec<Item> {
        let mut ends = Vec::new();
        for key in self.keys_at(&executor) {
            let begun = self.entries.get(&key).is_some_and(|entry| entry.begun);
            let begun = if begun { Begun::Yes } else { Begun::Unknown };
            let done = ended(key, Outcome::Lost, begun, Some(failure.clone()));
            self.put(key, Place::Done(done.clone(), None));
            self.lost.insert(key, executor);
            ends.push(Item::Result(done));
        }
        self.handed.at.remove(&executor);
        ends
    }

    /// Executors whose loss the hub may not know yet.
    pub(super) fn fading(&self) -> impl Iterator<Item = &ExecutorId> {
        self.lost.values()
    }

    /// Executors that have attempts.
    pub(super) fn executors(&self) -> Vec<ExecutorId> {
        self.handed
            .at
            .iter()
            .filter(|(_, there)| !there.keys.is_empty())
            .map(|(executor, _)| *executor)
            .collect()
    }

    /// An executor lists this attempt in its `Hello`. True if the hub must be told that it is held (F8, F18).
    pub(super) fn adopt(&mut self, held: &Holding, executor: ExecutorId) -> bool {
        let key = (held.task, held.attempt);
        let begun = held.begun == Begun::Yes || held.stage == Stage::Running;
        let told = match self.entries.get(&key).map(|entry| &entry.place) {
            None => {
                self.insert(key, Place::At(executor, None), Mono(0));
                true
            }
            Some(Place::At(..)) => false,
            // It came back with what was declared lost: the hub rules (F10). A finished one says so itself.
            Some(Place::Done(done, _)) if done.outcome == Outcome::Lost && held.stage != Stage::Finished => {
                self.put(key, Place::At(executor, None));
                true
            }
            Some(Place::Done(..)) => return false,
            // Never seen in a correct world; whoever says that he has it is believed, or it would run twice.
            Some(Place::Waiting(_)) => {
                self.put(key, Place::At(executor, None));
                false
            }
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.begun |= begun;
            entry.listed_finished = held.stage == Stage::Finished;
            if let Place::At(_, assign) = &mut entry.place
                && begun
            {
                *assign = None;
            }
        }
        told
    }

    /// What the executor was given and does not list (F12).
    pub(super) fn missing(&self, executor: &ExecutorId, listed: &Set<Key>) -> Vec<Key> {
        let mut keys = self.keys_at(executor);
        keys.retain(|key| !listed.contains(key));
        keys
    }

    /// Cancels that its executor must hear again (F31).
    pub(super) fn cancels(&self, executor: &ExecutorId) -> Vec<(Key, u64)> {
        let keys = self.keys_at(executor).into_iter();
        keys.filter_map(|key| Some((key, self.entries.get(&key)?.cancel?))).collect()
    }

    /// Everything held, for `Hello` (F7).
    pub(super) fn holdings(&self) -> Vec<Holding> {
        let mut all: Vec<Holding> = self.entries.iter().map(|(key, entry)| holding(key, entry)).collect();
        all.sort_unstable_by_key(|held| (held.task, held.attempt));
        all
    }

    /// Every end that is kept: said again in each new session (F7, F20).
    pub(super) fn finished(&self) -> Vec<Item> {
        let mut ends: Vec<(Key, &Done)> = Vec::new();
        for (key, entry) in &self.entries {
            if let Place::Done(done, _) = &entry.place {
                ends.push((*key, done));
            }
        }
        ends.sort_unstable_by_key(|(key, _)| *key);
        ends.into_iter().map(|(_, done)| Item::Result(Box::new(done.clone()))).collect()
    }
}

fn holding(key: &Key, entry: &Entry) -> Holding {
    let stage = match &entry.place {
        Place::Done(..) => Stage::Finished,
        // What is finished is not presented as running: the hub may have judged its end already (F10, F15).
        Place::At(..) if entry.listed_finished => Stage::Finished,
        Place::At(..) if entry.begun => Stage::Running,
        Place::At(..) | Place::Waiting(_) => Stage::Waiting,
    };
    let begun = match &entry.place {
        _ if entry.begun => Begun::Yes,
        Place::Waiting(_) => Begun::No,
        Place::Done(done, _) => done.begun,
        Place::At(..) => Begun::Unknown,
    };
    Holding { task: key.0, attempt: key.1, stage, begun }
}
