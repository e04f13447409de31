//! Endpoints that stay away (FABRIC §7): where it is configured, their tasks end after a time instead of waiting.
//!
//! An endpoint's time counts from the moment it went offline, or from the start of this service life. Its leases stay: if
//! it returns after all, it is told to cancel what it holds, as after a deadline (F30, F33).

use super::failure;
use super::queue::{List, WORK};
use super::slab::Slot;
use super::task::Phase;
use super::{Cx, Hub};
use crate::task::TaskState;
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Tasks ended in one `Tick`: the rest follows in the next, at once.
const SLICE: usize = 1_024;

/// Endpoints that are away, and until when their tasks wait for them.
#[derive(Debug)]
pub(super) struct Offline {
    patience_ms: Option<u64>,
    until: BTreeMap<u32, Mono>,
    /// The same by time, while there may be tasks to end.
    due: BTreeSet<(Mono, u32)>,
}

impl Offline {
    pub(super) const fn new(patience_ms: Option<u64>) -> Self {
        Self { patience_ms, until: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// The endpoint went, or has not come yet.
    pub(super) fn left(&mut self, endpoint: u32, now: Mono) {
        let Some(patience_ms) = self.patience_ms else { return };
        let until = *self.until.entry(endpoint).or_insert_with(|| now.after(patience_ms));
        self.due.insert((until, endpoint));
    }

    pub(super) fn came(&mut self, endpoint: u32) {
        if let Some(until) = self.until.remove(&endpoint) {
            self.due.remove(&(until, endpoint));
        }
    }

    /// Whether its tasks wait no longer.
    pub(super) fn is_over(&self, endpoint: u32, now: Mono) -> bool {
        self.until.get(&endpoint).is_some_and(|until| now >= *until)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.due.first().map(|(until, _)| *until)
    }
}

impl Hub {
    /// Ends what waited for endpoints that stayed away for too long.
    pub(super) fn run_offline(&mut self, cx: &mut Cx<'_>) {
        let mut left = SLICE;
        while let Some(&(until, endpoint)) = self.offline.due.first()
            && until <= cx.now.mono
        {
            let ends = self.waiting_for(endpoint, left);
            left -= ends.len();
            for slot in ends {
                self.end_offline(slot, cx);
            }
            if left == 0 {
                return;
            }
            self.offline.due.remove(&(until, endpoint));
        }
    }

    pub(super) fn end_offline(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        let since = self.endpoints[self.tasks[slot].endpoint as usize].since;
        let away_ms = since.map(|since| cx.now.wall.0.saturating_sub(since.0));
        self.end_with(slot, TaskState::Failed, failure::endpoint_offline(away_ms), cx);
    }

    /// Tasks of an endpoint that no write decides just now. Those that one does decide are looked at after it.
    fn waiting_for(&self, endpoint: u32, most: usize) -> Vec<Slot> {
        let mut found = Vec::new();
        for list in self.endpoints[endpoint as usize].lists() {
            let mut next = list.front();
            while let Some(slot) = next
                && found.len() < most
            {
                next = List::<WORK>::after(&self.tasks, slot);
                if matches!(self.tasks[slot].phase, Phase::Queued | Phase::Sent) {
                    found.push(slot);
                }
            }
        }
        found
    }
}
