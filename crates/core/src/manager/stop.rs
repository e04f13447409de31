//! Stopping in order (F38): hand back what has not started, let running calls finish, then say goodbye.
//!
//! Owns the two deadlines of a stop. With a grace of 0 it takes as long as the slowest answer, never more than
//! [`limits::STOP_SLACK_MS`] in all.

use super::{Action, ExitReason, Manager};
use crate::id::ExecutorId;
use crate::limits;
use crate::task::{Failure, FailureCode};
use crate::time::Mono;
use crate::wire::Item;

/// After the grace executors have this long to report what they ended.
const REPORT_MS: u64 = 1_000;

/// A stop under way.
#[derive(Debug)]
pub(super) struct Stop {
    grace_ends: Mono,
    reported: bool,
}

impl Stop {
    pub(super) const fn grace_left(&self, now: Mono) -> u64 {
        self.grace_ends.since(now)
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.grace_ends.after(if self.reported { limits::STOP_SLACK_MS } else { REPORT_MS })
    }
}

impl Manager {
    pub(super) fn stop(&mut self, now: Mono, grace_ms: u64) {
        let grace_ends = now.after(grace_ms);
        match &mut self.stop {
            // A second, shorter word counts.
            Some(stop) if stop.grace_ends <= grace_ends => return,
            Some(stop) => stop.grace_ends = grace_ends,
            None => self.stop = Some(Stop { grace_ends, reported: false }),
        }
        self.capacity_changed = true;
        for exec in self.executors.values_mut() {
            exec.say(Item::Drain { grace_ms });
        }
    }

    /// One step of the stop, at the end of a round.
    pub(super) fn stop_step(&mut self, now: Mono) {
        let Some(stop) = &mut self.stop else { return };
        for end in self.book.hand_back() {
            self.uplink.say(end);
        }
        if stop.reported || now < stop.grace_ends.after(REPORT_MS) {
            return;
        }
        stop.reported = true;
        // Announced preemption: these had their grace, and their executor did not say what became of them.
        let text = "the endpoint was stopped while the call ran";
        let failure = Failure::new(FailureCode::WalltimeExceeded, text);
        for executor in self.book.executors() {
            for end in self.book.lose(executor, &failure) {
                self.uplink.say(end);
            }
        }
    }

    /// Whether the stop is complete; then says goodbye and ends.
    pub(super) fn stop_end(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(stop) = &self.stop else { return };
        let told = self.uplink.is_idle() && self.executors.values().all(|exec| exec.is_idle());
        let over = now >= stop.grace_ends.after(limits::STOP_SLACK_MS);
        let settled = self.book.is_empty() && told;
        if !over && !settled {
            return;
        }
        self.end_executors(now, "shutdown", out);
        self.uplink.bye(now, "drained", out);
        self.exit(ExitReason::Stopped, "stopped".into(), out);
    }

    /// Tells every executor to end, and ends the blocks that cannot be told.
    pub(super) fn end_executors(&mut self, now: Mono, reason: &str, out: &mut Vec<Action>) {
        let told =
            |executor: &ExecutorId| self.executors.get(executor).is_some_and(|exec| exec.conn().is_some());
        let deaf = self.blocks.all.iter().filter(|(_, block)| !block.members.iter().any(told));
        out.extend(deaf.map(|(block, _)| Action::CancelBlock { block: *block }));
        for exec in self.executors.values_mut() {
            exec.end(now, Item::Bye { reason: reason.into() }, now, out);
        }
    }
}
