//! What dead workers leave behind: programs that their calls started, also in groups and sessions of their own.
//!
//! A worker keeps all that descends from it, and at its death this process adopts it. So every child of this process
//! that is not the zygote was left by a worker that is dead. What such a child had started is adopted at its death.

use super::{Pool, State};
use crate::proc;
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
        let zygote = match &self.zygote {
            State::Running(zygote, _) => Some(zygote.pid),
            State::Idle | State::BackOff(_) => None,
        };
        for pid in proc::children() {
            if Some(pid) != zygote {
                self.remains.entry(pid).or_insert(Some(until));
            }
        }
        self.end_remains(Instant::now());
    }

    /// Ends those whose time is over. They are our children, so their numbers are theirs until they are reaped.
    pub(super) fn end_remains(&mut self, now: Instant) {
        for (pid, until) in &mut self.remains {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                proc::signal(*pid, Signal::SIGKILL);
            }
        }
    }
}
