//! What executors say, and what becomes of it: registration, results, starts, losses.
//!
//! Owns no state. A manager reports how attempts ended; it never makes, renumbers or restarts one (F16).

use super::attempt::{Key, Unstarted};
use super::bodies::Known;
use super::executors::Link;
use super::{Action, Manager};
use crate::id::{ConnId, ExecutorId, Hash};
use crate::limits;
use crate::map::Set;
use crate::task::{Failure, FailureCode, Outcome};
use crate::time::Mono;
use crate::wire::{Capacity, Done, Fault, Held, Hello, Holding, Item, Message, ResetReason, version};

impl Manager {
    pub(super) fn executor_message(
        &mut self,
        now: Mono,
        conn: ConnId,
        executor: ExecutorId,
        message: Message,
        out: &mut Vec<Action>,
    ) {
        let items = match self.executors.get_mut(&executor).map(|exec| &mut exec.link) {
            Some(Link::Opening { conn: current, session, .. } | Link::Up { conn: current, session })
                if *current == conn =>
            {
                let sid = message.envelope.sid;
                if session.sid() != sid {
                    self.stray(now, conn, &message, out);
                    return;
                }
                session.receive(now, message)
            }
            _ => match self.greet(now, conn, executor, message, out) {
                Some(items) => Ok(items),
                None => return,
            },
        };
        let reason = match items {
            Ok(items) => items.into_iter().try_for_each(|item| self.executor_item(now, executor, item, out)),
            Err(fault) => Err(Some(Fault::reason(fault))),
        };
        if let Err(reason) = reason {
            self.session_over(now, executor, reason, out);
        }
    }

    /// One item of an executor's current session. An error ends the session, with the reason to tell it.
    fn executor_item(
        &mut self,
        now: Mono,
        executor: ExecutorId,
        item: Item,
        out: &mut Vec<Action>,
    ) -> Result<(), Option<ResetReason>> {
        let up = self.executors.get(&executor).is_some_and(super::executors::Exec::is_up);
        match item {
            Item::Hello(hello) if !up => self.hello_page(now, executor, *hello),
            Item::Ping => Ok(()),
            Item::Reset { .. } => Err(None),
            Item::Bye { .. } => {
                self.lose(now, executor, FailureCode::ExecutorLost, "it said goodbye", out);
                if self.config.scale.scheduler {
                    self.blocks.forget(now, &executor);
                    self.inquiry.soon(now);
                }
                Err(None)
            }
            Item::Capacity(capacity) if up => {
                self.has_capacity(executor, capacity);
                Ok(())
            }
            Item::Started { task, attempt, worker } if up => {
                if self.book.begin(&(task, attempt), executor) {
                    self.uplink.say(Item::Started { task, attempt, worker });
                }
                Ok(())
            }
            Item::Result(done) if up => self.result(executor, done),
            Item::WantFunction { hash } if up => {
                self.send_body(executor, hash);
                Ok(())
            }
            _ => Err(Some(ResetReason::Protocol)),
        }
    }

    fn hello_page(
        &mut self,
        now: Mono,
        executor: ExecutorId,
        mut page: Hello,
    ) -> Result<(), Option<ResetReason>> {
        let Some(exec) = self.executors.get_mut(&executor) else { return Err(None) };
        let Link::Opening { held, have, since, .. } = &mut exec.link else { return Err(None) };
        exec.proto = version::agree(page.proto_min, page.proto_max).ok_or(Some(ResetReason::Protocol))?;
        *since = now;
        held.extend(page.held);
        have.extend(page.have_functions);
        if held.len() > 2 * limits::CREDIT_TASKS || have.len() > 2 * limits::HELLO_HASHES {
            return Err(Some(ResetReason::Protocol)); // F29
        }
        if page.last {
            page.host.truncate(page.host.floor_char_boundary(limits::NAME_BYTES));
            (exec.has, exec.host) = (page.has, page.host);
            self.seen = Some(self.seen.map_or(page.has, |seen| seen.greater(page.has)));
            self.has_capacity(executor, page.capacity);
            self.register(now, executor);
        }
        Ok(())
    }

    fn has_capacity(&mut self, executor: ExecutorId, capacity: Capacity) {
        if let Some(exec) = self.executors.get_mut(&executor) {
            exec.capacity = capacity.within_limits();
            self.known.ready(&exec.capacity.warm, self.book.clock);
            if exec.capacity.slots_total > 0 {
                self.slots = exec.capacity.slots_total;
            }
        }
        self.capacity_changed = true;
    }

    /// All pages are here: welcomes the executor and settles what it holds against what we believe (F12, F18).
    fn register(&mut self, now: Mono, executor: ExecutorId) {
        let scale = &self.config.scale;
        let peers = self.executors.len().max((scale.max * scale.nodes) as usize).max(1);
        let result_window = limits::RESULT_WINDOW.min(limits::RESULT_BUFFER / peers) as u64;
        let Some(exec) = self.executors.get_mut(&executor) else { return };
        let away = Link::Away { until: now };
        let Link::Opening { conn, session, held, have, .. } = std::mem::replace(&mut exec.link, away) else {
            return;
        };
        exec.link = Link::Up { conn, session };
        exec.known = Known::from_hello(have);
        exec.say(Item::Welcome {
            proto: exec.proto,
            epoch: self.config.generation,
            heartbeat_ms: self.config.heartbeat_ms,
            threshold_ms: self.config.threshold_ms,
            result_window,
        });
        self.adoption.registered(&executor);
        self.spoke_again(executor);
        self.welcome_home(now, executor);
        self.hints.touch();
        self.capacity_changed = true;
        self.settle_holdings(executor, held);
        if let Some(stop) = &self.stop {
            let grace_ms = stop.grace_left(now);
            if let Some(exec) = self.executors.get_mut(&executor) {
                exec.say(Item::Drain { grace_ms });
            }
        }
    }

    fn settle_holdings(&mut self, executor: ExecutorId, held: Vec<Holding>) {
        let listed: Set<Key> = held.iter().map(|held| (held.task, held.attempt)).collect();
        for key in self.book.missing(&executor, &listed) {
            self.unstarted(key, executor); // F12
        }
        let mut fresh = Vec::new();
        for holding in held {
            if self.book.adopt(&holding, executor) {
                fresh.push(holding);
            }
        }
        for page in fresh.chunks(limits::HELD_PAGE) {
            // Before the capacity that includes its slots, which leaves with the flush (F8).
            let held = Held { held: page.to_vec(), complete: false, accounted: false };
            self.uplink.say(Item::Held(held));
        }
        let cancels = self.book.cancels(&executor);
        if let Some(exec) = self.executors.get_mut(&executor) {
            for ((task, attempt), grace_ms) in cancels {
                exec.say(Item::Cancel { task, attempt, grace_ms }); // F31
            }
        }
    }

    /// The executor does not hold it and it never began.
    fn unstarted(&mut self, key: Key, executor: ExecutorId) {
        match self.book.unstarted(key, executor, self.stop.is_none()) {
            Unstarted::Waiting | Unstarted::Nothing => {}
            Unstarted::Ended(done) | Unstarted::HandBack(done) => self.uplink.say(Item::Result(done)),
        }
    }

    fn result(&mut self, executor: ExecutorId, mut done: Box<Done>) -> Result<(), Option<ResetReason>> {
        let key = (done.task, done.attempt);
        if done.outcome == Outcome::Returned {
            self.unstarted(key, executor); // F16, F20
            return Ok(());
        }
        if self.book.len() > 4 * limits::CREDIT_TASKS && self.book.get(&key).is_none() {
            return Err(Some(ResetReason::Protocol)); // F29: more than we can ever have given to anybody
        }
        if done.run_ns > 0 {
            self.pace.saw(done.run_ns);
        }
        if let Some(container) = self.book.container(&key) {
            self.known.ended(container, self.book.clock, done.run_ns, done.timings.start);
        }
        if self.book.finish(&mut done, executor) {
            self.uplink.say(Item::Result(done));
        }
        Ok(())
    }

    /// Gives `executor` a body, now or when it comes (F35).
    pub(super) fn send_body(&mut self, executor: ExecutorId, hash: Hash) {
        let Some(exec) = self.executors.get_mut(&executor) else { return };
        if let Some(body) = self.bodies.get(&hash) {
            exec.known.add(hash);
            exec.say(Item::Function { hash, body: Some(body.into()) });
        } else if self.bodies.want(hash, executor) {
            self.uplink.say(Item::WantFunction { hash });
        }
    }

    /// The executor is gone, as far as anyone can tell: each of its attempts ends as lost (F18).
    pub(super) fn lose(
        &mut self,
        now: Mono,
        executor: ExecutorId,
        code: FailureCode,
        why: &str,
        out: &mut Vec<Action>,
    ) {
        self.session_over(now, executor, None, out);
        let failure = Failure::new(code, format!("the node's executor {executor} was lost: {why}"));
        for end in self.book.lose(executor, &failure) {
            self.uplink.say(end);
        }
        if self.executors.remove(&executor).is_some() {
            out.push(Action::Log { text: failure.message });
        }
        self.hints.touch();
        self.capacity_changed = true;
    }
}
