//! What the manager says: items of the session, one by one.

use super::attempt::{Entry, Place};
use super::event::Action;
use super::lane::LaneKey;
use super::pool::{Fate, PATIENCE_MS};
use super::{Executor, Key, Link, verdict};
use crate::id::{Hash, WorkerId};
use crate::limits;
use crate::task::{Begun, Outcome};
use crate::time::Mono;
use crate::wire::{Assign, Fault, Item, Message, RefusedReason, ResetReason, version};
use bytes::Bytes;

/// The longest grace that a cancel may ask for: one cannot keep a worker dying for ever.
const GRACE_MS: u64 = 60_000;

impl Executor {
    pub(super) fn hear(&mut self, now: Mono, message: Message, out: &mut Vec<Action>) {
        let Some(session) = &mut self.uplink.session else {
            self.ignored += 1;
            return;
        };
        let items = match session.receive(now, message) {
            Ok(items) => items,
            Err(Fault::OtherSession) => {
                self.ignored += 1;
                return;
            }
            Err(fault) => return self.uplink.end(now, &mut self.rng, Some(fault.reason()), out),
        };
        for item in items {
            self.obey(now, item, out);
            if self.ended || self.uplink.session.is_none() {
                return;
            }
        }
    }

    fn obey(&mut self, now: Mono, item: Item, out: &mut Vec<Action>) {
        match item {
            Item::Welcome { proto, heartbeat_ms, threshold_ms, result_window, .. } => {
                self.welcome(now, proto, (heartbeat_ms, threshold_ms, result_window), out);
            }
            Item::Refused { reason, is_final, text, .. } => self.refused(now, reason, is_final, text, out),
            Item::Reset { reason } => {
                out.push(Action::Log {
                    text: format!("the manager ended the session ({reason:?}): connecting anew"),
                });
                self.uplink.end(now, &mut self.rng, None, out);
            }
            Item::Bye { reason } => self.bye(now, &reason, out),
            Item::Ping => {}
            item if self.uplink.is_up() => self.work(now, item, out),
            _ => self.uplink.end(now, &mut self.rng, Some(ResetReason::Protocol), out),
        }
    }

    fn work(&mut self, now: Mono, item: Item, out: &mut Vec<Action>) {
        match item {
            Item::Assign(assign) => self.assign(now, assign),
            Item::Ack { task, attempt, outcome } => {
                let before = self.attempts.result_bytes();
                self.attempts.acknowledge(Key { task, attempt }, outcome);
                self.result_window_moved(before);
            }
            Item::Cancel { task, attempt, grace_ms } => {
                self.cancel(now, Key { task, attempt }, grace_ms.min(GRACE_MS), out);
            }
            Item::Function { hash, body } => {
                self.function(hash, body.map(crate::wire::Blob::into_bytes), out)
            }
            Item::Drain { grace_ms } => self.drain(now, grace_ms),
            _ => self.ignored += 1,
        }
    }

    fn welcome(&mut self, now: Mono, proto: u8, times: (u64, u64, u64), out: &mut Vec<Action>) {
        if self.uplink.link != Link::Opening {
            self.ignored += 1;
        } else if !(version::OLDEST..=version::VERSION).contains(&proto) {
            let text = format!("the manager speaks wire version {proto}, which this executor does not know");
            out.push(Action::Log { text });
            self.uplink.end(now, &mut self.rng, Some(ResetReason::Protocol), out);
        } else {
            self.uplink.welcome(times.0, times.1, times.2);
            self.repeat_all();
            self.wake_all();
        }
    }

    fn refused(
        &mut self,
        now: Mono,
        reason: RefusedReason,
        is_final: bool,
        text: String,
        out: &mut Vec<Action>,
    ) {
        if is_final {
            self.exit(now, format!("the manager refused this executor ({reason:?}): {text}"), out);
        } else {
            out.push(Action::Log {
                text: format!("the manager does not take this executor yet ({reason:?}): {text}"),
            });
            self.uplink.end(now, &mut self.rng, None, out);
        }
    }

    /// `deleted` and `shutdown` end this process (F37); any other reason ends the session only (F5).
    fn bye(&mut self, now: Mono, reason: &str, out: &mut Vec<Action>) {
        if matches!(reason, "deleted" | "shutdown") {
            self.exit(now, format!("the manager said good-bye: {reason}"), out);
        } else {
            self.uplink.end(now, &mut self.rng, None, out);
        }
    }

    fn assign(&mut self, now: Mono, assign: Box<Assign>) {
        let key = Key { task: assign.task, attempt: assign.attempt };
        let lane = LaneKey::of(&assign);
        let (hash, container) = (assign.hash, assign.container.clone());
        let no_room = self.drain.is_some() || self.attempts.open() >= 2 * self.credit();
        if no_room && self.attempts.get(key).is_none() {
            return self.uplink.say(Item::Result(verdict::ended(key, Outcome::Returned, Begun::No, None)));
        }
        let Some(arrival) = self.attempts.accept(now, self.clock, key, assign) else {
            self.ignored += 1;
            return;
        };
        if self.pool.share(&lane.asks).is_none() {
            let failure = verdict::too_large_for(&lane.asks, &self.config.has, &self.config.host);
            return self.finish(verdict::ended(key, Outcome::Error, Begun::No, Some(failure)));
        }
        if self.bodies.pin(hash, key) {
            self.lanes.lane_in(lane, container.as_ref()).waiting.insert(arrival, key);
            self.todo.insert(lane);
        } else if let Some(open) = self.attempts.open_mut(key) {
            open.place = Place::Body;
        }
    }

    /// A body came, or the news that there is none (F35).
    fn function(&mut self, hash: Hash, body: Option<Bytes>, out: &mut Vec<Action>) {
        self.uplink.asked.remove(&hash);
        let what = match body {
            Some(body) if body.len() > limits::FUNCTION_BYTES => "is larger than the limit",
            Some(body) if Hash::of(&body) != hash => "arrived damaged (its hash does not match)",
            Some(body) => {
                for key in self.bodies.insert(hash, body) {
                    self.enqueue(key);
                }
                return;
            }
            None => "is gone from the service",
        };
        out.push(Action::Log { text: format!("the body of function {hash} {what}") });
        for key in self.bodies.gone(hash) {
            let failure = verdict::no_body(what, &self.config.host);
            self.finish(verdict::ended(key, Outcome::Environment, Begun::No, Some(failure)));
        }
    }

    /// F31. Waiting: ended at once. In a pipe: see [`Executor::cancel_piped`]. Finished: ignored. Unknown: answered.
    fn cancel(&mut self, now: Mono, key: Key, grace_ms: u64, out: &mut Vec<Action>) {
        match self.attempts.get(key) {
            Some(Entry::Open(open)) => match open.place {
                Place::Pipe(worker) => self.cancel_piped(now, worker, key, grace_ms, out),
                Place::Body | Place::Lane => {
                    let failure = verdict::cancelled(Begun::No, &self.config.host);
                    self.finish(verdict::ended(key, Outcome::Cancelled, Begun::No, Some(failure)));
                }
            },
            Some(Entry::Finished(_)) => {}
            None => {
                let failure = verdict::cancelled(Begun::No, &self.config.host);
                let done = verdict::ended(key, Outcome::Cancelled, Begun::No, Some(failure));
                self.uplink.say(Item::Result(done));
            }
        }
    }

    /// A call that may have begun cannot be taken back. One that runs alone is stopped now. One with others behind or
    /// before it is quick by experience: it may finish by itself (then F20: that result counts), and is stopped when it
    /// has been the head for [`PATIENCE_MS`]. If the worker dies first, or the
    /// call is taken back from behind a long one, it ends as cancelled and is not moved.
    fn cancel_piped(&mut self, now: Mono, id: WorkerId, key: Key, grace_ms: u64, out: &mut Vec<Action>) {
        let Some(worker) = self.pool.get_mut(id) else { return };
        let alone = worker.pipe.len() == 1;
        let Some(place) = worker.pipe.iter().position(|call| call.key == key) else { return };
        let call = &mut worker.pipe[place];
        if call.fate.is_some() {
            return;
        }
        call.fate = Some(Fate::Cancelled(grace_ms));
        if alone {
            self.stop_worker(now, id, grace_ms, out);
        } else if place == 0 {
            let patience = now.after(PATIENCE_MS);
            worker.deadline = Some(worker.deadline.map_or(patience, |deadline| deadline.min(patience)));
        }
    }
}
