//! Results (F15, F20–F24): every one is acknowledged once the store has what it depends on; none counts twice.

use super::event::Counter;
use super::failure;
use super::retry::{Allowance, Cause, Verdict, judge};
use super::slab::Slot;
use super::task::{Phase, Place};
use super::write::Owed;
use super::{Cx, Hub};
use crate::id::TaskId;
use crate::limits;
use crate::task::{Begun, Ending, Failure, FailureCode, Outcome, TaskState};
use crate::time::Wall;
use crate::wire::{Done, Item};
use bytes::Bytes;

impl Hub {
    pub(super) fn on_result(&mut self, endpoint: u32, mut done: Done, cx: &mut Cx<'_>) {
        let slot = self.find(endpoint, &done.task);
        let begun = self.free_lease(endpoint, slot, &done);
        let Some(slot) = slot else {
            // F20: also for ended, unknown and deleted tasks, so that its holder can forget it.
            if done.outcome != Outcome::Returned {
                self.acknowledge(endpoint, done.task, (done.attempt, done.outcome));
                self.count(Counter::DuplicateResults, 1);
            }
            return;
        };
        let task = &self.tasks[slot];
        let is_current = task.phase != Phase::Queued && task.attempt == done.attempt;
        if is_current {
            task.time(cx.now.fine, &mut done.timings);
        }
        let owed = (done.attempt, done.outcome);
        if done.outcome == Outcome::Returned {
            // F20: it says "I no longer hold this, it never started"; nothing is kept, nothing acknowledged.
            if task.phase == Phase::Sent && is_current {
                self.requeue(slot, true);
            }
            return;
        }
        match task.phase {
            // A success replaces a loss that is being written: work done is not thrown away (F15).
            Phase::Charging if done.outcome == Outcome::Success => self.succeed(slot, done, cx),
            // F22: it waits for the same write.
            Phase::Charging | Phase::Ending => self.owe(slot, owed),
            Phase::Queued | Phase::Sent | Phase::Accepting if done.outcome == Outcome::Success => {
                self.succeed(slot, done, cx);
            }
            Phase::Sent if is_current => self.fail(endpoint, slot, done, begun, cx),
            Phase::Queued | Phase::Sent | Phase::Accepting => {
                self.acknowledge(endpoint, done.task, owed);
                self.count(Counter::DuplicateResults, 1);
            }
        }
    }

    /// A `Result` frees its lease (F26). Returns whether it had begun, as the result and the hub know it.
    fn free_lease(&mut self, endpoint: u32, slot: Option<Slot>, done: &Done) -> Begun {
        let state = &mut self.endpoints[endpoint as usize];
        let mut lease = None;
        if let Some(slot) = slot
            && self.tasks[slot].lease.is_some()
            && self.tasks[slot].attempt == done.attempt
        {
            lease = self.tasks[slot].lease.take();
            state.place(&mut self.tasks, slot, Place::Nowhere);
        } else if state.leases.strays() > 0 {
            lease = state.leases.take_stray(done.task, done.attempt);
        }
        let had_begun = lease.is_some_and(|lease| lease.begun);
        if let Some(lease) = lease {
            state.leases.close(lease);
            self.touch(endpoint);
            if let Some(slot) = slot
                && done.begun == Begun::Yes
                && !had_begun
            {
                let task = &mut self.tasks[slot];
                task.starts = task.starts.saturating_add(1);
            }
        }
        if had_begun { Begun::Yes } else { done.begun }
    }

    fn acknowledge(&mut self, endpoint: u32, task: TaskId, (attempt, outcome): Owed) {
        self.endpoints[endpoint as usize].say(Item::Ack { task, attempt, outcome });
        self.touch(endpoint);
    }

    /// An acknowledgement that waits for the write under way.
    fn owe(&mut self, slot: Slot, owed: Owed) {
        let waiting = self.owed.entry(self.tasks[slot].id).or_default();
        if !waiting.contains(&owed) && waiting.len() < limits::OWED_ACKS {
            waiting.push(owed);
        }
    }

    fn succeed(&mut self, slot: Slot, done: Done, cx: &mut Cx<'_>) {
        let owed = (done.attempt, done.outcome);
        if self.tasks[slot].phase == Phase::Charging {
            // What waited for the charge waits for the end that replaces it; the result that caused it, too.
            self.owe_replaced(slot);
        }
        let starts = self.tasks[slot].starts.max(1);
        let size = done.payload.len();
        let ending = if size > limits::RESULT_BYTES {
            ended(done, TaskState::Failed, Some(failure::result_too_large(size)), starts, cx.now.wall)
        } else {
            ended(done, TaskState::Success, None, starts, cx.now.wall)
        };
        self.end(slot, ending, Some(owed), cx);
    }

    fn owe_replaced(&mut self, slot: Slot) {
        let token = self.tasks[slot].token;
        if let Some(owed) = self.writes.owed(token).or_else(|| self.trouble.owed(token)) {
            self.owe(slot, owed);
        }
    }

    /// The current attempt ended without success: what it costs (F17), or the end.
    fn fail(&mut self, endpoint: u32, slot: Slot, done: Done, begun: Begun, cx: &mut Cx<'_>) {
        let task = &self.tasks[slot];
        let code = done.failure.as_deref().map(|failure| failure.code);
        let cause = Cause::Ended {
            outcome: done.outcome,
            begun,
            raised: code.is_none_or(|code| code == FailureCode::UserError),
            preempted: code == Some(FailureCode::WalltimeExceeded),
        };
        let allowed = Allowance { retries: task.retries, retry_on_error: task.retry_on_error };
        let owed = (done.attempt, done.outcome);
        let charges = task.charges;
        self.tasks[slot].judged = self.tasks[slot].judged.max(done.attempt);
        match judge(cause, charges, allowed) {
            Verdict::Free => {
                self.acknowledge(endpoint, done.task, owed);
                self.requeue(slot, true);
            }
            Verdict::Charge(charges) => {
                let host = &self.endpoints[endpoint as usize].host;
                let mut loss = failure::of_loss(&done, cause, host);
                self.say_where(slot, &mut loss);
                self.tasks[slot].last_loss = Some(Box::new(loss));
                self.charge(slot, charges, Some(owed), cx);
            }
            Verdict::Fail => {
                if matches!(done.outcome, Outcome::Died | Outcome::Lost | Outcome::Environment) {
                    self.count(Counter::Losses, 1);
                }
                let host = &self.endpoints[endpoint as usize].host;
                let failure = failure::of_result(&self.tasks[slot], &done, cause, host);
                let starts = self.tasks[slot].starts;
                let ending = ended(done, TaskState::Failed, Some(failure), starts, cx.now.wall);
                self.end(slot, ending, Some(owed), cx);
            }
        }
    }
}

/// The terminal record of an attempt's result.
fn ended(done: Done, state: TaskState, failure: Option<Failure>, starts: u32, ended: Wall) -> Ending {
    let keeps_payload = match &failure {
        None => true,
        Some(failure) => done.outcome == Outcome::Error && failure.code != FailureCode::ResultTooLarge,
    };
    let payload = if keeps_payload && done.payload.len() <= limits::RESULT_BYTES {
        done.payload.into_bytes()
    } else {
        Bytes::new()
    };
    let mut output = done.output.into_bytes();
    if output.len() > limits::OUTPUT_BYTES {
        output = output.split_off(output.len() - limits::OUTPUT_BYTES);
    }
    let failure = failure.map(Box::new);
    Ending { state, payload, failure, output, run_ns: done.run_ns, timings: done.timings, starts, ended }
}
