//! Calls behind one that turned out long go back to their lane: other workers run them, and a cancel ends them at once.
//!
//! A worker stores which call it begins and then looks which calls are withheld; the executor withholds, lets
//! [`limits::RECALL_MS`] pass and then reads what was begun. So each call is seen as begun, or was not and never will
//! be; one that the worker passes over in between is told by the worker itself.

use super::Executor;
use super::event::Action;
use crate::id::WorkerId;
use crate::limits;
use crate::time::Mono;

impl Executor {
    /// Withholds what waits behind a long head; the second time takes back what did not begin.
    pub(super) fn worker_begun(&mut self, now: Mono, id: WorkerId, begun: u64, out: &mut Vec<Action>) {
        let Some(worker) =
            self.pool.get_mut(id).filter(|worker| worker.recall_due().is_some_and(|at| now >= at))
        else {
            self.ignored += 1;
            return;
        };
        if worker.recall_at.is_some() {
            for call in worker.recall(begun) {
                self.never_begun(&call);
            }
        } else if worker.begun(begun) == 0 {
            // Not long, but not begun: on a busy machine a worker must not lose its calls before it gets to run.
            worker.since = now;
        } else {
            let calls = worker.withhold(now.after(limits::RECALL_MS));
            out.push(Action::Withhold { worker: id, calls });
        }
    }

    /// A worker passed over a call, which nobody has taken back yet.
    pub(super) fn worker_skipped(&mut self, now: Mono, id: WorkerId, number: u64, out: &mut Vec<Action>) {
        // Most often it was taken back before the worker came to it.
        let Some(call) = self.pool.get_mut(id).and_then(|worker| worker.skip(now, number)) else { return };
        self.never_begun(&call);
        self.refill(now, id, out);
    }
}
