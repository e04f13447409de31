//! Attempts that ask for resources: they wait in one queue of their own, in the order in which they came.

use super::{Book, Key, Kind};
use crate::id::ExecutorId;
use crate::resources::Resources;

impl Book {
    /// How many wait (a few may have been cancelled meanwhile).
    pub(in crate::manager) fn sized_len(&self) -> usize {
        self.sized.len()
    }

    /// Takes the first of those that wait out of their queue, at most `most`: [`Book::sized_wait`] puts them back.
    pub(in crate::manager) fn sized_first(&mut self, most: usize) -> Vec<(Key, Kind)> {
        let mut first = Vec::new();
        while first.len() < most
            && let Some(key) = self.sized.pop_front()
        {
            let waits = self.entries.get(&key).filter(|entry| entry.place.waits());
            first.extend(waits.map(|entry| (key, entry.kind.clone())));
        }
        first
    }

    /// They wait on: before all others, or behind them, since there is nowhere yet where they fit.
    pub(in crate::manager) fn sized_wait(&mut self, first: &[Key], last: &[Key]) {
        first.iter().rev().for_each(|key| self.sized.push_front(*key));
        self.sized.extend(last);
    }

    /// What those ask for that wait, in their order.
    pub(in crate::manager) fn asked_waiting(&self) -> impl Iterator<Item = &Resources> {
        self.sized.iter().filter_map(|key| self.entries.get(key)?.kind.asks.as_deref())
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
