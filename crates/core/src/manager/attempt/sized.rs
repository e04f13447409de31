//! Attempts that ask for resources: they wait in a queue of their own, each user's in the order in which they came.

use super::{Book, Key, Kind};
use crate::id::{ContainerId, ExecutorId, UserId};
use crate::limits;
use crate::resources::Resources;
use std::collections::BTreeMap;

impl Book {
    /// How many wait (a few may have been cancelled meanwhile).
    pub(in crate::manager) fn sized_len(&self) -> usize {
        self.sized.len()
    }

    /// Takes those whose turn it is out of their queues, at most `most`: [`Book::sized_wait`] puts them back.
    pub(in crate::manager) fn sized_first(&mut self, most: usize) -> Vec<(Key, Kind)> {
        let (mut first, mut taken) = (Vec::new(), BTreeMap::<UserId, usize>::new());
        let has = |user: &UserId, taken: &BTreeMap<UserId, usize>| {
            self.handed.of(user) + taken.get(user).copied().unwrap_or(0)
        };
        while first.len() < most
            && let Some(key) = self.sized.pop(None, |user| has(user, &taken))
        {
            let waits = self.entries.get(&key).filter(|entry| entry.place.waits());
            let Some(kind) = waits.map(|entry| entry.kind.clone()) else { continue };
            if let Some(user) = kind.user {
                *taken.entry(user).or_default() += 1;
            }
            first.push((key, kind));
        }
        first
    }

    /// They wait on: before all others of their users, or behind them, since there is nowhere yet where they fit.
    pub(in crate::manager) fn sized_wait(&mut self, first: &[Key], last: &[Key]) {
        let user = |key: &Key| self.entries.get(key).and_then(|entry| entry.kind.user);
        for (key, user) in first.iter().rev().filter_map(|key| Some((*key, user(key)?))) {
            self.sized.of(None, user).push_front(key);
        }
        for (key, user) in last.iter().filter_map(|key| Some((*key, user(key)?))) {
            self.sized.of(None, user).push_back(key);
        }
    }

    /// What those ask for that wait, in their order.
    pub(in crate::manager) fn asked_waiting(&self) -> impl Iterator<Item = &Resources> {
        self.sized.iter().filter_map(|key| self.entries.get(key)?.kind.asks.as_deref())
    }

    /// Of the first of those that wait: what they need of a block's time, and their containers.
    pub(in crate::manager) fn sized_needs(&self) -> impl Iterator<Item = (Key, u64, Option<ContainerId>)> {
        let waits = |key: &Key| self.entries.get(key).filter(|entry| entry.place.waits());
        let first = self.sized.iter().take(limits::FIT_AHEAD);
        first.filter_map(move |key| {
            let entry = waits(key)?;
            Some((*key, entry.kind.need_ms?, entry.kind.container))
        })
    }

    /// What those ask for that executors have.
    pub(in crate::manager) fn asked_there(&self) -> impl Iterator<Item = &Resources> {
        self.handed.at.values().flat_map(|there| there.sized.values().map(AsRef::as_ref))
    }

    /// Whether any executor has such attempts.
    pub(in crate::manager) const fn has_sized_there(&self) -> bool {
        self.handed.sized > 0
    }

    /// What those ask for that `executor` has.
    pub(in crate::manager) fn sized_at(&self, executor: &ExecutorId) -> impl Iterator<Item = &Resources> {
        self.handed.at.get(executor).into_iter().flat_map(|there| there.sized.values().map(AsRef::as_ref))
    }
}
