//! The end of a watch: everything is gone within a bound, in an order that lets managers hand back.

use super::{Report, Role, Watchdog};
use crate::proc;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::Instant;

/// When all children have ended nothing is left after this.
pub(super) const REST: Duration = Duration::from_millis(500);
/// A process that ended below a process that ended is looked for again after this.
const AGAIN: Duration = Duration::from_millis(50);

impl<F: FnMut(Report<'_>) -> Result<(), String>> Watchdog<F> {
    /// Ends everything below this process. A second SIGTERM or SIGINT ends it at once.
    pub(super) async fn stop(&mut self) {
        let mut hurry = self.end(Role::Manager).await;
        if !hurry {
            hurry = self.end(Role::Service).await;
        }
        let end = Instant::now() + REST;
        if hurry {
            tracing::warn!("told to stop again: everything is ended now");
        }
        while Instant::now() < end {
            self.reap();
            let left = proc::descendants();
            if left.is_empty() {
                return;
            }
            for pid in left {
                proc::signal(pid, Signal::SIGKILL);
            }
            let look = (Instant::now() + AGAIN).min(end);
            // Either way it looks again.
            let _ = tokio::time::timeout_at(look, self.deaths.recv()).await;
        }
        tracing::error!(left = ?proc::descendants(), "processes that cannot be ended are left");
    }

    /// Asks the children of one role to end, and kills what is left of them when their time is over. True: hurry.
    async fn end(&mut self, role: Role) -> bool {
        let of_role = self.slots.iter().map(|slot| &slot.child).filter(|child| child.role == role);
        let deadline = Instant::now() + of_role.map(|child| child.stops_within).max().unwrap_or_default();
        self.signal(role, Signal::SIGTERM);
        while self.slots.iter().any(|slot| slot.child.role == role && slot.pid().is_some()) {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return true,
                _ = self.interrupt.recv() => return true,
                _ = self.deaths.recv() => { self.reap(); }
                // Read on: a child that waits for its stdout to be read cannot end.
                Some(_) = self.heard.recv() => {}
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!("the {role} did not end in time and is killed");
                    self.signal(role, Signal::SIGKILL);
                    return false;
                }
            }
        }
        false
    }

    fn signal(&self, role: Role, signal: Signal) {
        for pid in self.slots.iter().filter(|slot| slot.child.role == role).filter_map(super::Slot::pid) {
            proc::signal(pid, signal);
        }
    }
}
