//! Lanes: what waits for a worker, by user, container and resources. Workers are never shared between lanes.

use super::attempt::Key;
use crate::container::Container;
use crate::id::{ContainerId, UserId, WorkerId};
use crate::resources::{Resources, Share};
use crate::wire::Assign;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose work, in which container, by workers of which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) user: UserId,
    pub(super) container: Option<ContainerId>,
    pub(super) asks: Resources,
}

impl LaneKey {
    /// Of workers that no user has had a call in yet: the id of nobody.
    pub(super) const SPARE: Self =
        Self { user: UserId::from_bytes([0; 16]), container: None, asks: Resources::NONE };

    pub(super) fn of(assign: &Assign) -> Self {
        Self { user: assign.user, container: assign.container_id(), asks: assign.asks() }
    }
}

/// One lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What its workers run in: that of its key.
    pub(super) container: Option<Arc<Container>>,
    /// By arrival: an attempt that comes back from a dead worker's pipe is again where it was.
    pub(super) waiting: BTreeMap<u64, Key>,
    /// Its workers, starting ones too, leaving ones not.
    pub(super) workers: Vec<WorkerId>,
    /// Workers that are being made.
    pub(super) starting: usize,
    /// How long the newest of its workers took to start, in ns; `None`: none was ready yet.
    pub(super) start_ns: Option<u64>,
    /// Arrivals until it gave a worker up for another user: it comes behind those, whatever waits in it since when.
    pub(super) yielded: u64,
}

impl Lane {
    /// Its place among those that wait: when its first attempt arrived, or later if it had its turn since.
    pub(super) fn first(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(arrival, _)| (*arrival).max(self.yielded))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Lanes(pub(super) BTreeMap<LaneKey, Lane>);

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.values()
    }

    pub(super) fn get(&self, key: LaneKey) -> Option<&Lane> {
        self.0.get(&key)
    }

    pub(super) fn lane(&mut self, key: LaneKey) -> &mut Lane {
        self.0.entry(key).or_default()
    }

    /// The lane, and what its workers are to run in.
    pub(super) fn lane_in(&mut self, key: LaneKey, container: Option<&Arc<Container>>) -> &mut Lane {
        let lane = self.lane(key);
        if lane.container.is_none() {
            lane.container = container.cloned();
        }
        lane
    }

    /// Takes the attempt that has waited longest.
    pub(super) fn pop(&mut self, key: LaneKey) -> Option<Key> {
        self.0.get_mut(&key)?.waiting.pop_first().map(|(_, key)| key)
    }

    pub(super) fn remove(&mut self, key: LaneKey, arrival: u64) {
        if let Some(lane) = self.0.get_mut(&key) {
            lane.waiting.remove(&arrival);
        }
    }

    /// A worker of this lane is gone or leaves.
    pub(super) fn leave(&mut self, key: LaneKey, worker: WorkerId) {
        if let Some(lane) = self.0.get_mut(&key) {
            lane.workers.retain(|other| *other != worker);
        }
    }

    /// Forgets the lane if it has neither work nor workers.
    pub(super) fn tidy(&mut self, key: LaneKey) {
        if self.0.get(&key).is_some_and(|lane| lane.waiting.is_empty() && lane.workers.is_empty()) {
            self.0.remove(&key);
        }
    }

    /// Lanes with work.
    pub(super) fn with_work(&self) -> impl Iterator<Item = LaneKey> {
        self.0.iter().filter(|(_, lane)| !lane.waiting.is_empty()).map(|(key, _)| *key)
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Slots that all that waits would take.
    pub(super) fn wanted_slots(&self, share: impl Fn(&Resources) -> Share) -> usize {
        self.0.iter().map(|(key, lane)| lane.waiting.len() * share(&key.asks).slots as usize).sum()
    }
}
