//! What follows when the store answers: releases, endings, charges; and writes that failed are repeated (F22, F24).

use super::event::{Action, Answer, Counter, Reply, Token};
use super::failure;
use super::retry::Charges;
use super::slab::Slot;
use super::task::{Phase, Place};
use super::write::{Owed, Write};
use super::{Cx, Hub};
use crate::limits;
use crate::task::{Ending, Failure, TaskState};
use crate::time::Mono;
use crate::wire::Item;
use std::collections::BTreeSet;

/// Writes that failed and are not repeated yet.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failed: Vec<(Token, Write)>,
    /// Repeated writes that are not answered yet.
    repeated: BTreeSet<Token>,
    why: String,
    again: Mono,
}

impl Trouble {
    /// Why nothing new is taken on; `None`: all is well.
    pub(super) fn why(&self) -> Option<&str> {
        (!self.failed.is_empty() || !self.repeated.is_empty()).then_some(self.why.as_str())
    }

    /// What a failed write would have acknowledged.
    pub(super) fn owed(&self, token: Token) -> Option<Owed> {
        self.failed.iter().find(|(failed, _)| *failed == token).and_then(|(_, write)| write.owed())
    }

    pub(super) fn again_at(&self) -> Option<Mono> {
        (!self.failed.is_empty()).then_some(self.again)
    }
}

impl Hub {
    /// Asks the store for a write.
    pub(super) fn write(&mut self, write: Write, cx: &mut Cx<'_>) -> Token {
        let op = write.op(|index| self.endpoints[index as usize].id);
        let token = self.writes.add(write);
        if let Some(op) = op {
            cx.out.push(Action::Store { token, op });
        }
        token
    }

    pub(super) fn on_stored(&mut self, token: Token, answer: Answer, cx: &mut Cx<'_>) {
        let Some(write) = self.writes.take(token) else { return };
        self.trouble.repeated.remove(&token);
        if let Answer::Refused { why } = answer {
            return self.on_refused(token, write, why, cx);
        }
        match write {
            Write::Accept { request, user, tasks, created, aside } => {
                self.on_accepted(token, user, (request, tasks, created, aside), answer, cx);
            }
            Write::End { slot, ending, owed, .. } => {
                // A token names one write of one record: if it is not the record's, that one is not waiting for it.
                if self.tasks.peek(slot).is_some_and(|task| task.token == token) {
                    let state = match answer {
                        Answer::AlreadyEnded { state } => state,
                        _ => ending.state,
                    };
                    self.finish(slot, state, owed, cx);
                }
            }
            Write::Charge { slot, charges, owed, .. } => {
                if self.tasks.peek(slot).is_some_and(|task| task.token == token) {
                    self.on_charged(slot, charges, owed, &answer, cx);
                }
            }
            Write::Ask { task, .. } => self.on_asked(task, &answer, cx),
            Write::Generation { endpoint, generation, .. } => {
                let state = &mut self.endpoints[endpoint as usize];
                state.generation = state.generation.max(generation);
                self.try_welcome(endpoint, cx);
            }
            Write::Delete { endpoint } => self.on_deleted(endpoint, cx),
        }
    }

    pub(super) fn on_store_failed(&mut self, token: Token, why: String, cx: &mut Cx<'_>) {
        let Some(write) = self.writes.take(token) else { return };
        self.write_failed(token, write, why, cx);
    }

    /// The store can never write this: the task ends with a record that says why. Where there is no smaller record to
    /// write instead, the write is repeated like any that failed, and the service shows that it is in trouble.
    fn on_refused(&mut self, token: Token, write: Write, why: String, cx: &mut Cx<'_>) {
        let (slot, owed) = match &write {
            Write::End { slot, ending, owed, .. }
                if !ending.payload.is_empty() || !ending.output.is_empty() =>
            {
                (*slot, *owed)
            }
            Write::Charge { slot, owed, .. } => (*slot, *owed),
            _ => return self.write_failed(token, write, why, cx),
        };
        if self.tasks.peek(slot).is_some_and(|task| task.token == token) {
            let failure = failure::not_storable(&why);
            let ending = failure::ending(TaskState::Failed, failure, self.tasks[slot].starts, cx.now.wall);
            self.end(slot, ending, owed, cx);
        }
    }

    fn write_failed(&mut self, token: Token, write: Write, why: String, cx: &mut Cx<'_>) {
        match write {
            Write::Accept { request, created, .. } => {
                self.drop_accepting(token, &created, cx);
                cx.out.push(Action::Reply { request, reply: Reply::Unavailable { why } });
            }
            write => {
                self.trouble.repeated.remove(&token);
                if self.trouble.failed.is_empty() {
                    self.trouble.again = cx.now.mono.after(limits::REWRITE_MS);
                }
                self.trouble.failed.push((token, write));
                self.trouble.why = why;
            }
        }
    }

    /// Repeats the writes that failed (F22); those that another write of the same task replaced are dropped.
    pub(super) fn repeat_writes(&mut self, cx: &mut Cx<'_>) {
        if self.trouble.again_at().is_none_or(|at| at > cx.now.mono) {
            return;
        }
        for (token, write) in std::mem::take(&mut self.trouble.failed) {
            let slot = match &write {
                Write::End { slot, .. } | Write::Charge { slot, .. } => Some(*slot),
                _ => None,
            };
            if slot.is_some_and(|slot| self.tasks.peek(slot).is_none_or(|task| task.token != token)) {
                continue;
            }
            let token = self.write(write, cx);
            self.trouble.repeated.insert(token);
            if let Some(slot) = slot {
                self.tasks[slot].token = token;
            }
        }
    }

    /// Begins to write the end of a live task.
    pub(super) fn end(&mut self, slot: Slot, mut ending: Ending, owed: Option<Owed>, cx: &mut Cx<'_>) {
        if let Some(failure) = &mut ending.failure {
            self.say_where(slot, failure);
        }
        let (task, user) = (self.tasks[slot].id, self.tasks[slot].user);
        self.leave_waiting(slot);
        self.tasks[slot].phase = Phase::Ending;
        let token = self.write(Write::End { slot, task, user, ending, owed }, cx);
        self.tasks[slot].token = token;
    }

    /// Which execution of which node a failure speaks of.
    pub(super) fn say_where(&self, slot: Slot, failure: &mut Failure) {
        let task = &self.tasks[slot];
        failure.attempt = Some(task.starts);
        let host = &self.endpoints[task.endpoint as usize].host;
        if failure.host.is_none() && task.was_sent() && !host.is_empty() {
            failure.host = Some(host.clone());
        }
    }

    pub(super) fn end_with(&mut self, slot: Slot, state: TaskState, failure: Failure, cx: &mut Cx<'_>) {
        let ending = failure::ending(state, failure, self.tasks[slot].starts, cx.now.wall);
        self.end(slot, ending, None, cx);
    }

    /// Begins to write what an attempt cost (F17).
    pub(super) fn charge(&mut self, slot: Slot, charges: Charges, owed: Option<Owed>, cx: &mut Cx<'_>) {
        let task = self.tasks[slot].id;
        self.leave_waiting(slot);
        self.tasks[slot].phase = Phase::Charging;
        let token = self.write(Write::Charge { slot, task, charges, owed }, cx);
        self.tasks[slot].token = token;
    }

    /// Takes a task out of the queue; a lease is kept (F26).
    fn leave_waiting(&mut self, slot: Slot) {
        if self.tasks[slot].place != Place::Held {
            let endpoint = self.tasks[slot].endpoint as usize;
            self.endpoints[endpoint].place(&mut self.tasks, slot, Place::Nowhere);
        }
    }

    /// The end is on disk: acknowledge, cancel every other lease, tell who waits, forget the record (§5, I2).
    pub(super) fn finish(&mut self, slot: Slot, state: TaskState, owed: Option<Owed>, cx: &mut Cx<'_>) {
        let (id, user, endpoint) = (self.tasks[slot].id, self.tasks[slot].user, self.tasks[slot].endpoint);
        self.settle(slot, owed);
        self.count(
            match state {
                TaskState::Success => Counter::Succeeded,
                TaskState::Cancelled => Counter::Cancelled,
                _ => Counter::Failed,
            },
            1,
        );
        self.bells.insert(user);
        self.endpoints[endpoint as usize].place(&mut self.tasks, slot, Place::Nowhere);
        self.endpoints[endpoint as usize].live -= 1;
        self.due.remove(&mut self.tasks, slot);
        self.tasks.remove(slot);
        self.resolve_cancels(&id, Some(state), cx);
        self.check_deletion(endpoint, cx);
    }

    fn on_charged(
        &mut self,
        slot: Slot,
        charges: Charges,
        owed: Option<Owed>,
        answer: &Answer,
        cx: &mut Cx<'_>,
    ) {
        match answer {
            Answer::AlreadyEnded { state } => return self.finish(slot, *state, owed, cx),
            Answer::Unknown => return self.finish(slot, TaskState::Failed, owed, cx),
            _ => {}
        }
        let task = &mut self.tasks[slot];
        let losses = charges.losses.saturating_sub(task.charges.losses);
        task.charges = charges;
        self.count(Counter::Losses, u64::from(losses));
        self.settle(slot, owed);
        self.requeue(slot, false);
        self.after_queueing(slot, cx);
    }

    /// A write is on disk: all that waited for it is acknowledged, and every other confirmed lease of the task is told
    /// to stop (§5).
    fn settle(&mut self, slot: Slot, owed: Option<Owed>) {
        self.detach_lease(slot);
        let (task, endpoint) = (self.tasks[slot].id, self.tasks[slot].endpoint);
        let waiting = if self.owed.is_empty() { None } else { self.owed.remove(&task) };
        let grace_ms = self.config.grace_ms;
        let state = &mut self.endpoints[endpoint as usize];
        for (attempt, outcome) in owed.into_iter().chain(waiting.into_iter().flatten()) {
            state.say(Item::Ack { task, attempt, outcome });
        }
        if state.leases.strays() > 0 {
            let attempts: Vec<_> = state.leases.strays_of(task).collect();
            for attempt in attempts {
                state.cancel_attempt(task, attempt, grace_ms);
            }
        }
        self.touch(endpoint);
    }

    /// The current attempt is not current any more; its lease stays (F26).
    fn detach_lease(&mut self, slot: Slot) {
        let task = &mut self.tasks[slot];
        let (id, attempt, endpoint) = (task.id, task.attempt, task.endpoint as usize);
        if let Some(lease) = task.lease.take() {
            self.endpoints[endpoint].leases.stray(id, attempt, lease);
            self.endpoints[endpoint].place(&mut self.tasks, slot, Place::Nowhere);
        }
    }

    /// Queues a task whose attempt is over: one that never started comes first, as it was first.
    pub(super) fn requeue(&mut self, slot: Slot, first: bool) {
        let endpoint = self.tasks[slot].endpoint;
        let state = &mut self.endpoints[endpoint as usize];
        let task = &mut self.tasks[slot];
        task.phase = Phase::Queued;
        task.lease = None;
        // F11: until the endpoint has said all it holds, another executor may still come with an older attempt.
        let parked = task.old && !state.completed;
        if parked {
            state.place(&mut self.tasks, slot, Place::Parked);
        } else if first {
            state.place_first(&mut self.tasks, slot);
        } else {
            state.place(&mut self.tasks, slot, Place::Queue);
        }
        self.touch(endpoint);
    }
}
