//! What happens to the hub's attempts here: each gets to its user endpoint, and its end to the hub.

use super::Who;
use super::call::{self, Call, Held, Place, Ticket};
use super::end::{End, Start};
use super::manager::{Action, Manager, Order};
use super::message::Ended;
use bursa_core::id::{Hash, TaskId};
use bursa_core::limits;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::time::Now;
use bursa_core::wire::{Assign, Attempt, Done, Item};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// How often one attempt is sent, while its user endpoint lives and acknowledges nothing.
const SENDS: u32 = 3;

impl Manager {
    pub(super) fn on_assign(&mut self, assign: Assign, out: &mut Vec<Action>) {
        let (task, attempt, hash) = (assign.task, assign.attempt, assign.hash);
        self.let_go(task);
        let place = Place::Bodiless(Box::new(assign));
        let (call, end, tickets) = (None, Uuid::nil(), Vec::new());
        self.calls.insert(task, Held { attempt, place, call, end, sent: 0, tickets });
        if self.bodies.contains_key(&hash) {
            self.prepare(task, out);
        } else if self.wanted.insert(hash) {
            self.hub.say(Item::WantFunction { hash });
        }
    }

    /// The task is not with its user endpoint any more, as far as is known here.
    pub(super) fn let_go(&mut self, task: TaskId) {
        if let Some(held) = self.calls.get(&task).filter(|held| held.is_away())
            && let Some(end) = self.ends.get_mut(&held.end)
        {
            end.away = end.away.saturating_sub(1);
        }
    }

    pub(super) fn on_function(&mut self, hash: Hash, body: Option<Bytes>, out: &mut Vec<Action>) {
        self.wanted.remove(&hash);
        if let Some(body) = &body {
            let bytes: usize = self.bodies.values().map(Bytes::len).sum();
            if bytes + body.len() > limits::BODY_CACHE_BYTES {
                self.bodies.clear();
            }
            self.bodies.insert(hash, body.clone());
        }
        let waits = |held: &Held| matches!(&held.place, Place::Bodiless(assign) if assign.hash == hash);
        let waiting: Vec<_> =
            self.calls.iter().filter(|(_, held)| waits(held)).map(|(task, _)| *task).collect();
        for task in waiting {
            if body.is_some() {
                self.prepare(task, out);
            } else {
                let failure = Failure::new(FailureCode::EnvironmentFailed, "the function's body is gone");
                self.finish(task, Outcome::Environment, Begun::No, Some(failure));
            }
        }
    }

    /// Brings a call whose body is here to its user endpoint's queue.
    pub(super) fn prepare(&mut self, task: TaskId, out: &mut Vec<Action>) {
        let Some(held) = self.calls.get_mut(&task) else { return };
        let Place::Bodiless(assign) = &held.place else { return };
        let body = self.bodies.get(&assign.hash).cloned().unwrap_or_default();
        let made = Call::new(assign, body).and_then(|call| {
            let end = self.end_of(&call)?;
            Ok((call, end))
        });
        match made {
            Ok((call, id)) => {
                let Some(held) = self.calls.get_mut(&task) else { return };
                (held.end, held.call, held.place) = (id, Some(Arc::new(call)), Place::Waiting);
                if let Some(end) = self.ends.get_mut(&id) {
                    end.waiting.push_back(task);
                }
            }
            Err(failure) => {
                out.push(Action::Log(format!("task {task} is refused: {}", failure.message)));
                self.finish(task, Outcome::Error, Begun::No, Some(*failure));
            }
        }
    }

    /// The user endpoint for a call, known from then on.
    pub(super) fn end_of(&mut self, call: &Call) -> Result<Uuid, Box<Failure>> {
        let own = Uuid::from_bytes(*self.hub.endpoint().as_bytes());
        if self.ends.get(&own).is_some_and(End::takes_all) {
            return Ok(own);
        }
        let start = Start::of(call.user, &call.abroad);
        let refused = |why: String| Box::new(Failure::new(FailureCode::Unsatisfiable, why));
        let id = start.id(&self.foreign, &self.hub.endpoint());
        let id =
            id.ok_or_else(|| refused("the key of the endpoint was revoked; start it again".to_owned()))?;
        if !self.ends.contains_key(&id) {
            if self.ends.len() >= limits::FOREIGN_ENDS {
                self.ends.retain(|_, end| !end.is_idle());
            }
            if self.ends.len() >= limits::FOREIGN_ENDS {
                let most = limits::FOREIGN_ENDS;
                let why =
                    format!("the endpoint has {most} user endpoints, and that is its limit; try again later");
                return Err(refused(why));
            }
            self.ends.insert(id, End::new(start));
        }
        Ok(id)
    }

    /// The endpoint is its own user endpoint: what came before that was known waits for it, and for no other.
    pub(super) fn gather(&mut self) {
        let own = self.own();
        let Some(end) = self.ends.get_mut(&own) else { return };
        for (task, held) in &mut self.calls {
            if held.place == Place::Waiting && held.end != own {
                held.end = own;
                end.waiting.push_back(*task);
            }
        }
    }

    pub(super) fn on_ack(&mut self, task: TaskId, attempt: Attempt, outcome: Outcome, out: &mut Vec<Action>) {
        let over = |held: &Held| {
            held.attempt == attempt && matches!(&held.place, Place::Finished(done) if done.outcome == outcome)
        };
        if self.calls.get(&task).is_some_and(over)
            && let Some(held) = self.calls.remove(&task)
        {
            confirm(held.tickets, out);
        }
    }

    /// What is here ends; what a user endpoint has cannot be stopped there.
    pub(super) fn on_cancel(&mut self, task: TaskId, attempt: Attempt) {
        let here = |held: &&Held| {
            held.attempt == attempt && matches!(held.place, Place::Bodiless(_) | Place::Waiting)
        };
        if self.calls.get(&task).filter(here).is_some() {
            self.finish(task, Outcome::Cancelled, Begun::No, None);
        }
    }

    pub(super) fn finish(&mut self, task: TaskId, outcome: Outcome, begun: Begun, failure: Option<Failure>) {
        if let Some(attempt) = self.calls.get(&task).map(|held| held.attempt) {
            self.over(Done::without_result(task, attempt, outcome, begun, failure));
        }
    }

    /// An attempt ended: the hub hears of it until it acknowledges that.
    pub(super) fn over(&mut self, done: Done) {
        self.let_go(done.task);
        if let Some(held) = self.calls.get_mut(&done.task) {
            held.call = None;
            held.place = Place::Finished(Box::new(done.clone()));
            self.hub.say(Item::Result(Box::new(done)));
        }
    }

    pub(super) fn on_ended(
        &mut self,
        now: Now,
        who: Who,
        (ticket, ended): (Option<Ticket>, Ended),
        out: &mut Vec<Action>,
    ) {
        let from = who.end.unwrap_or_else(|| self.own());
        let Some(held) = self.calls.get_mut(&ended.task_id).filter(|held| held.end == from) else {
            // It ended before, or is none of this user endpoint's.
            return confirm(ticket, out);
        };
        held.tickets.extend(ticket);
        if !matches!(held.place, Place::Finished(_)) {
            let attempt = held.attempt;
            if let Some(end) = self.ends.get_mut(&from) {
                end.pace.count(now);
            }
            self.over(call::done(ended, attempt));
        }
    }

    /// Puts a task that was sent to the head of its queue, unless that happened too often.
    pub(super) fn take_back(&mut self, task: TaskId, why: &str) {
        let Some(held) = self.calls.get(&task) else { return };
        if held.sent >= SENDS {
            let failure = Failure::new(FailureCode::ExecutorLost, why);
            return self.finish(task, Outcome::Lost, Begun::Unknown, Some(failure));
        }
        self.let_go(task);
        let Some(held) = self.calls.get_mut(&task) else { return };
        held.place = Place::Waiting;
        if let Some(end) = self.ends.get_mut(&held.end) {
            end.waiting.push_front(task);
        }
    }

    pub(super) fn on_settled(&mut self, tasks: &[TaskId], taken: bool) {
        for task in tasks {
            let Some(held) = self.calls.get_mut(task).filter(|held| held.place == Place::Sent) else {
                continue;
            };
            if taken {
                held.place = Place::Taken;
            } else {
                self.take_back(*task, "the user endpoint refused it several times");
            }
        }
    }

    pub(super) fn fail_waiting(&mut self, id: Uuid, text: &str) {
        let waiting = self.ends.get_mut(&id).map(|end| std::mem::take(&mut end.waiting)).unwrap_or_default();
        for task in waiting {
            if self.calls.get(&task).is_some_and(|held| held.place == Place::Waiting) {
                let mut end = text.trim().to_owned();
                end.truncate(end.floor_char_boundary(limits::TEXT_BYTES));
                let failure = Failure::new(FailureCode::EnvironmentFailed, end);
                self.finish(task, Outcome::Error, Begun::No, Some(failure));
            }
        }
    }

    /// Gives each user endpoint what it may have, and starts those that are missing.
    pub(super) fn feed(&mut self, now: Now, out: &mut Vec<Action>) {
        let endpoint = self.hub.endpoint();
        for (id, end) in &mut self.ends {
            let waits = |task: &TaskId| {
                self.calls.get(task).is_some_and(|held| held.place == Place::Waiting && held.end == *id)
            };
            while end.waiting.front().is_some_and(|task| !waits(task)) {
                end.waiting.pop_front();
            }
            // One that is idle may be about to stop: told so, its core endpoint starts it again.
            let wakes = !end.waiting.is_empty() && end.away == 0 && end.has_room(now);
            if (wakes || end.is_due(now))
                && let Some(commands) = self.core.commands
                && let who = (Who { endpoint, end: Some(*id) })
                && let Some(command) = end.command(&self.foreign, &who, &self.address, now)
            {
                out.push(Action::Link(commands, Order::Command(command)));
            }
            while end.has_room(now)
                && let Some(task) = end.waiting.pop_front()
            {
                let Some(held) =
                    self.calls.get_mut(&task).filter(|held| held.place == Place::Waiting && held.end == *id)
                else {
                    continue;
                };
                if let (Some(consumer), Some(call)) = (end.consumer, held.call.clone()) {
                    held.place = Place::Sent;
                    held.sent += 1;
                    end.away += 1;
                    out.push(Action::Link(consumer, Order::Task(call)));
                }
            }
        }
    }
}

fn confirm(tickets: impl IntoIterator<Item = Ticket>, out: &mut Vec<Action>) {
    out.extend(tickets.into_iter().map(|ticket| Action::Link(ticket.link, Order::Confirm(ticket))));
}
