//! What the service says, and what becomes of it: sessions, assignments, acknowledgements, cancels, bodies.
//!
//! Owns no state.

use super::{Action, ExitReason, Manager};
use crate::id::Hash;
use crate::limits;
use crate::resources::Resources;
use crate::task::Outcome;
use crate::time::Mono;
use crate::wire::{Blob, Hello, Item, Message, Peer, RefusedReason, ResetReason, version};

impl Manager {
    /// The socket is connected: says everything that is held, page by page (F7).
    pub(super) fn link_up(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(connection) = self.uplink.open(now, &mut self.rng) else { return };
        let held = self.book.holdings();
        let pages = held.len().div_ceil(limits::HELD_PAGE).max(1);
        let capacity = self.capacity();
        let complete = !self.adoption.is_open() && self.uplink.complete_known();
        for page in 0..pages {
            let from = page * limits::HELD_PAGE;
            let to = held.len().min(from + limits::HELD_PAGE);
            let hello = Hello {
                proto_min: version::OLDEST,
                proto_max: version::VERSION,
                software: self.config.software.clone(),
                peer: Peer::Manager {
                    endpoint: self.config.endpoint,
                    generation: self.config.generation,
                    manager: self.config.manager,
                },
                connection,
                host: self.config.host.clone(),
                python: self.config.python.clone(),
                held: held[from..to].to_vec(),
                last: page + 1 == pages,
                complete,
                capacity: capacity.clone(),
                has: Resources::NONE,
                guests: self.config.allows.guests,
                have_functions: if page == 0 { self.bodies.newest() } else { Vec::new() },
            };
            self.uplink.hello(now, Item::Hello(Box::new(hello)), out);
        }
    }

    pub(super) fn hub_message(&mut self, now: Mono, message: Message, out: &mut Vec<Action>) {
        for item in self.uplink.receive(now, message, &mut self.rng, out) {
            if !self.hub_item(now, item, out) {
                return;
            }
        }
    }

    /// One item of the session with the service. False if it ended the session.
    fn hub_item(&mut self, now: Mono, item: Item, out: &mut Vec<Action>) -> bool {
        let up = self.uplink.is_up();
        match item {
            Item::Ping => {}
            Item::Welcome { heartbeat_ms, threshold_ms, .. } if !up => {
                self.welcomed(heartbeat_ms, threshold_ms);
            }
            Item::Assign(assign) if up => {
                let (key, refused) = ((assign.task, assign.attempt), self.not_allowed(&assign));
                self.book.assign(now, assign);
                if let Some(failure) = refused {
                    let end = self.book.refuse(key, failure);
                    self.uplink.say(end);
                }
            }
            Item::Ack { task, attempt, outcome } if up => {
                // Passed on, and forgotten here: only the store releases a result (F21).
                if let Some(executor) = self.book.acknowledge(&(task, attempt), outcome)
                    && let Some(exec) = self.executors.get_mut(&executor)
                {
                    exec.say(Item::Ack { task, attempt, outcome });
                }
                if outcome == Outcome::Lost {
                    self.hints.touch();
                }
            }
            Item::Cancel { task, attempt, grace_ms } if up => {
                let (done, at) = self.book.cancel((task, attempt), grace_ms);
                if let Some(done) = done {
                    self.uplink.say(Item::Result(done));
                }
                if let Some(exec) = at.and_then(|executor| self.executors.get_mut(&executor)) {
                    exec.say(Item::Cancel { task, attempt, grace_ms });
                }
            }
            Item::Locate { task, attempt } if up => {
                let place = self.whereabouts(&(task, attempt)).map(Box::new);
                self.uplink.say(Item::Located { task, attempt, place });
            }
            Item::Function { hash, body } if up => self.function(hash, body, out),
            Item::Drain { grace_ms } if up => self.stop(now, grace_ms),
            Item::Refused { reason, is_final, text, other_host, seen_generation, live } => {
                let text = other_host.map_or(text.clone(), |host| format!("{text} (on {host})"));
                self.refused(now, reason, is_final, &text, (seen_generation, live), out);
                return false;
            }
            Item::Bye { reason } if reason == "deleted" => {
                self.leave(now, "the endpoint was deleted", Some("deleted"), out);
                return false;
            }
            Item::Bye { .. } | Item::Reset { .. } => {
                self.uplink.close(now, &mut self.rng, out);
                return false;
            }
            _ => {
                self.uplink.reset(now, ResetReason::Protocol, &mut self.rng, out);
                return false;
            }
        }
        true
    }

    /// The session is open: says again what still matters, from state (F7, F20).
    fn welcomed(&mut self, heartbeat_ms: u64, threshold_ms: u64) {
        let Some(later) = self.uplink.welcomed(heartbeat_ms, threshold_ms) else { return };
        for item in later {
            self.uplink.say(item);
        }
        for end in self.book.finished() {
            self.uplink.say(end);
        }
        for hash in self.bodies.wanted() {
            self.uplink.say(Item::WantFunction { hash });
        }
        self.capacity_changed = true;
    }

    /// A body, or that there is none: kept, and passed on to who waits for it (F35).
    fn function(&mut self, hash: Hash, body: Option<Blob>, out: &mut Vec<Action>) {
        let bytes = body.map(Blob::into_bytes).filter(|bytes| {
            let right = Hash::of(bytes) == hash;
            if !right {
                out.push(Action::Log {
                    text: format!("the body of function {hash} has another hash: dropped"),
                });
            }
            right
        });
        for executor in self.bodies.arrived(hash, bytes.clone()) {
            if let Some(exec) = self.executors.get_mut(&executor) {
                if bytes.is_some() {
                    exec.known.add(hash);
                }
                exec.say(Item::Function { hash, body: bytes.clone().map(Blob::Here) });
            }
        }
    }

    fn refused(
        &mut self,
        now: Mono,
        reason: RefusedReason,
        is_final: bool,
        text: &str,
        (seen, live): (u64, bool),
        out: &mut Vec<Action>,
    ) {
        match reason {
            // Nobody is there with that generation, and we hold the lease: an endpoint restored from a backup (F4).
            RefusedReason::Superseded | RefusedReason::Busy if !live => {
                self.uplink.wait_for_generation(out);
                out.push(Action::RaiseGeneration { above: seen.max(self.config.generation) });
            }
            _ if !is_final => {
                out.push(Action::Log { text: format!("the service turned us away for now: {text}") });
                self.uplink.close(now, &mut self.rng, out);
            }
            RefusedReason::Deleted | RefusedReason::Revoked => self.leave(now, text, Some("deleted"), out),
            _ => self.leave(now, text, None, out),
        }
    }

    /// Ends this process for good. With `bye` the executors end too (F37); without, they find the next manager (F5).
    fn leave(&mut self, now: Mono, text: &str, bye: Option<&str>, out: &mut Vec<Action>) {
        if let Some(reason) = bye {
            self.end_executors(now, reason, out);
        }
        for exec in self.executors.values_mut() {
            exec.end(now, Item::Reset { reason: ResetReason::UnknownSession }, now, out);
        }
        self.uplink.wait_for_generation(out);
        self.exit(ExitReason::Refused, text.to_owned(), out);
    }
}
