//! What is known of each container's workers, and so which calls may have a worker of another container make room.

use super::Manager;
use super::capacity::Pace;
use super::route::{Seat, Share};
use crate::id::ContainerId;
use crate::limits;
use crate::patience::Own;
use crate::time::Fine;
use crate::wire::Warm;
use std::collections::BTreeMap;
use std::iter::zip;

/// What is known of the containers that were used.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<ContainerId, Past>);

/// Of one.
#[derive(Debug, Default)]
struct Past {
    /// How long a worker takes to start, if a call has waited for one.
    start_ns: Option<u64>,
    pace: Pace,
    /// When a worker was last asked for, or a call ended.
    moved: Fine,
}

impl Known {
    fn past(&mut self, container: ContainerId) -> &mut Past {
        if self.0.len() >= limits::CONTAINERS_KNOWN && !self.0.contains_key(&container) {
            self.0.clear();
        }
        self.0.entry(container).or_default()
    }

    /// Workers were asked for.
    pub(super) fn starts(&mut self, container: ContainerId, now: Fine) {
        self.past(container).moved = now;
    }

    /// A call ended that ran for `run_ns`, and before that waited for its worker's start for `start_ns`: at most what a
    /// start takes.
    pub(super) fn ended(&mut self, container: ContainerId, now: Fine, run_ns: u64, start_ns: u64) {
        let past = self.past(container);
        past.moved = now;
        if run_ns > 0 {
            past.pace.saw(run_ns);
        }
        if start_ns > 0 {
            let known = past.start_ns.unwrap_or(0);
            past.start_ns = Some(known.max(start_ns) - known.saturating_sub(start_ns) / 8);
        }
    }

    /// Workers that are ready somewhere: the first tells how long a start takes.
    pub(super) fn ready(&mut self, warm: &[Warm], now: Fine) {
        for one in warm.iter().filter(|one| one.warm > 0) {
            if let Some(past) = one.container.and_then(|container| self.0.get_mut(&container)) {
                past.start_ns.get_or_insert(now.since(past.moved));
            }
        }
    }

    /// What is known of a container's workers; of one that is not known yet, the most that is known of others.
    fn own(&self, container: ContainerId, now: Fine) -> Own {
        let past = self.0.get(&container);
        let most = |what: fn(&Past) -> Option<u64>| {
            past.and_then(what).or_else(|| self.0.values().filter_map(what).max())
        };
        Own {
            workers: 0,
            queued: 0,
            start_ns: most(|past| past.start_ns).unwrap_or(limits::START_NS),
            run_ns: most(|past| past.pace.mean_ns()),
            still_ns: past.map_or(0, |past| now.since(past.moved)),
        }
    }
}

impl Manager {
    /// How many of a container's attempts that wait may have an idle worker of another make room, and in how many ns the
    /// next one may.
    pub(super) fn due(
        &self,
        container: Option<ContainerId>,
        waiting: usize,
        at: &[Share],
        seats: &[Seat],
    ) -> (usize, Option<u64>) {
        // Without a container a worker is there in no time.
        let Some(container) = container else { return (waiting, None) };
        let (mut own, mut open) = (self.known.own(container, self.book.clock), 0);
        for (share, seat) in zip(at, seats) {
            own.workers += share.workers.max(share.open.min(seat.slots));
            open += share.open;
        }
        own.queued = open.saturating_sub(own.workers);
        own.due(waiting, self.book.waited(Some(container)).into_iter())
    }
}
