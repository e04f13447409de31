//! What dead workers leave behind: programs that their calls started, also in groups and sessions of their own.
//!
//! A worker keeps all that descends from it, and at its death this process adopts it. So every child of this process
//! that is not the zygote was left by a worker that is dead. What such a child had started is adopted at its death.
//! In a sandbox all of it stays in the worker's pid namespace, which ends as a whole.

use super::Pool;
use super::nest::HOST;
use crate::proc::{self, PidFd};
use crate::worker::process::{House, Process};
use bursa_core::executor::WorkerExit;
use bursa_core::limits;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::Instant;

/// From SIGTERM to SIGKILL, also for those whose worker was quicker to go.
const GRACE: Duration = Duration::from_millis(limits::GRACE_MS);

impl Pool {
    /// A worker is dead: what it left may go on until the grace of its SIGTERM is over, if it had one.
    pub(super) fn left_by(&mut self, terminated: Option<Instant>) {
        self.adopt(terminated.map_or_else(Instant::now, |at| at + GRACE));
    }

    /// A child that was no worker is dead, and what it had started came here.
    pub(super) fn left_by_remains(&mut self, pid: i32) {
        let until = self.remains.remove(&pid).flatten().unwrap_or_else(Instant::now);
        self.adopt(until);
    }

    fn adopt(&mut self, until: Instant) {
        let ours: Vec<i32> = self.nests.values().filter_map(|nest| nest.state.pid()).collect();
        for pid in proc::children() {
            if !ours.contains(&pid) && !self.cleaners.values().any(|cleaner| *cleaner == pid) {
                self.remains.entry(pid).or_insert(Some(until));
            }
        }
        self.end_remains(Instant::now());
    }

    /// The first process of a worker's pid namespace tells of itself.
    pub(super) fn born(&mut self, id: u32, pid: i32) {
        let Some(enclosure) = &self.setup.enclosure else { return };
        let Some(process) = self.workers.get_mut(&id) else { return };
        match PidFd::open(pid) {
            Ok(first) => {
                let group = enclosure.group(id);
                group.take(pid);
                process.born(House { nest: process.nest, first, group });
            }
            // It is dead already, and its end on the way here.
            Err(error) => tracing::warn!(%error, "a worker's pid namespace cannot be watched"),
        }
    }

    /// A worker in a sandbox is dead: the others there may go on until the grace of its SIGTERM is over.
    pub(super) fn left_in(&mut self, id: u32, house: House, terminated: Option<Instant>) {
        let until = terminated.map_or_else(Instant::now, |at| at + GRACE);
        self.houses.insert(id, (house, Some(until)));
        self.end_houses(Instant::now());
    }

    fn end_houses(&mut self, now: Instant) {
        for (house, until) in self.houses.values_mut() {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                house.first.signal(Signal::SIGKILL);
            }
        }
    }

    /// The zygote of a sandbox or container is dead, and with it all in there.
    pub(super) fn end_enclosed(&mut self, nest: u32) {
        self.houses.retain(|_, (house, _)| house.nest != nest);
        if nest == HOST && self.setup.enclosure.is_none() {
            return;
        }
        let is_dead = |process: &Process| process.nest == nest && process.is_asked_for();
        let dead = self.workers.iter().filter(|(_, process)| is_dead(process));
        for id in dead.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(process) = self.workers.get_mut(&id) {
                // That says nothing of the worker.
                process.exited(WorkerExit::default());
                self.settle(id);
            }
        }
    }

    /// Ends those whose time is over. They are our children, so their numbers are theirs until they are reaped.
    pub(super) fn end_remains(&mut self, now: Instant) {
        self.end_houses(now);
        for (pid, until) in &mut self.remains {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                proc::signal(*pid, Signal::SIGKILL);
            }
        }
    }
}
