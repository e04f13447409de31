//! How a session opens: which `Hello` wins (F4), its pages, the stored generation (F5), and `Welcome`.

use super::endpoint::{Endpoint, Link, Seen};
use super::event::{Action, Counter};
use super::write::Write;
use super::{Cx, Hub};
use crate::id::ConnId;
use crate::limits;
use crate::wire::version;
use crate::wire::{Hello, Item, Message, Peer, RefusedReason, ResetReason, Session};

/// Why a `Hello` is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: RefusedReason,
    pub(super) is_final: bool,
    pub(super) text: String,
}

/// What becomes of a `Hello` that would open a session.
#[derive(Debug)]
enum Judgement {
    Accept {
        seen: Seen,
        proto: u8,
    },
    Refuse(Refusal),
    /// An older connection of the same process: its socket is closed already (F4).
    Ignore,
    Protocol,
}

pub(super) fn refusal(
    refusal: Refusal,
    other_host: Option<String>,
    seen_generation: u64,
    live: bool,
) -> Item {
    let Refusal { reason, is_final, text } = refusal;
    Item::Refused { reason, is_final, text, other_host, seen_generation, live }
}

impl Endpoint {
    fn refused(&self, reason: Refusal) -> Item {
        let live = self.link.is_some();
        let other_host = (live && !self.host.is_empty()).then(|| self.host.clone());
        refusal(reason, other_host, self.asked_generation, live)
    }

    /// F4: `Hello`s are ordered by generation, then by connection; of two managers of one generation the first whose
    /// session lives keeps it.
    fn judge(&self, hello: &Hello) -> Judgement {
        let refuse = |reason, text: String| Judgement::Refuse(Refusal { reason, is_final: true, text });
        let Peer::Manager { endpoint, generation, manager } = hello.peer else { return Judgement::Protocol };
        if endpoint != self.id {
            let text = format!(
                "this key does not belong to endpoint {endpoint}; `bursa endpoint revoke NAME` in its home gives it a new one"
            );
            return refuse(RefusedReason::Revoked, text);
        }
        if self.deleted {
            let text = format!("endpoint {endpoint} was deleted; register a new one to go on");
            return refuse(RefusedReason::Deleted, text);
        }
        let Some(proto) = version::agree(hello.proto_min, hello.proto_max) else {
            let text = format!(
                "the service speaks wire versions {} to {}, this endpoint {} to {}; update the older of the two",
                version::OLDEST,
                version::VERSION,
                hello.proto_min,
                hello.proto_max
            );
            return refuse(RefusedReason::Version, text);
        };
        if generation < self.asked_generation {
            let text = format!(
                "another manager of endpoint {endpoint} (generation {}) took over from this one (generation \
                 {generation}); stop this one",
                self.asked_generation
            );
            return refuse(RefusedReason::Superseded, text);
        }
        let connection = hello.connection;
        let accept = Judgement::Accept { seen: Seen { manager, generation, connection }, proto };
        match self.seen.filter(|seen| seen.generation == generation) {
            None => accept,
            Some(seen) if seen.manager == manager => {
                if connection > seen.connection {
                    accept
                } else {
                    Judgement::Ignore
                }
            }
            Some(_) if self.link.is_some() => {
                let text = format!(
                    "another manager of endpoint {endpoint} is running on {}; stop it first, or start this one \
                     under another endpoint",
                    if self.host.is_empty() { "another host" } else { &self.host }
                );
                refuse(RefusedReason::Busy, text)
            }
            Some(_) => accept,
        }
    }
}

impl Hub {
    /// The first message of what may become a session.
    pub(super) fn on_first_hello(&mut self, endpoint: u32, conn: ConnId, message: Message, cx: &mut Cx<'_>) {
        let Some(Item::Hello(hello)) = message.items.first() else { return };
        let state = &self.endpoints[endpoint as usize];
        let sid = message.envelope.sid;
        match state.judge(hello) {
            Judgement::Accept { seen, proto } => {
                let peer = hello.peer;
                let (python, guests) = (hello.python.clone(), hello.guests);
                self.replace_link(endpoint, seen, conn, cx);
                let link = Link::new(conn, Session::new(sid, cx.now.mono), peer, seen, proto);
                let state = &mut self.endpoints[endpoint as usize];
                state.seen = Some(seen);
                state.guests = guests;
                state.link = Some(Box::new(link));
                self.conns.insert(conn, endpoint);
                self.set_timer(endpoint);
                self.store_generation(endpoint, seen.generation, (python, guests), cx);
                self.on_session_message(endpoint, message, cx);
            }
            Judgement::Refuse(reason) => {
                let text = format!("a manager was refused: {}", reason.text);
                let refused = state.refused(reason);
                cx.out.push(Action::Log { endpoint: state.id, text });
                self.count(Counter::DroppedMessages, 1);
                Self::send_alone(conn, sid, refused, cx);
                self.close_stranger(conn, cx);
            }
            Judgement::Ignore => {
                self.count(Counter::DroppedMessages, 1);
                self.close_stranger(conn, cx);
            }
            Judgement::Protocol => {
                self.count(Counter::DroppedMessages, 1);
                let message = Session::stray_reset(sid, ResetReason::Protocol);
                cx.out.push(Action::Send { conn, message });
                self.close_stranger(conn, cx);
            }
        }
    }

    /// Closes a connection unless a session lives on it.
    fn close_stranger(&self, conn: ConnId, cx: &mut Cx<'_>) {
        if !self.conns.contains_key(&conn) {
            cx.out.push(Action::Close { conn });
        }
    }

    /// Ends the session that a newer `Hello` replaces; an older manager is told to stop (F4).
    fn replace_link(&mut self, endpoint: u32, seen: Seen, conn: ConnId, cx: &mut Cx<'_>) {
        let state = &self.endpoints[endpoint as usize];
        let Some(link) = state.link.as_deref() else { return };
        let same_conn = link.conn == conn;
        if link.seen.generation < seen.generation {
            let text = format!(
                "another manager of this endpoint (generation {}) took over from this one (generation {})",
                seen.generation, link.seen.generation
            );
            let reason = Refusal { reason: RefusedReason::Superseded, is_final: true, text };
            let item = refusal(reason, None, seen.generation, true);
            self.end_link_saying(endpoint, item, "a newer manager took over", cx);
        } else {
            self.end_link(endpoint, "its manager connected anew", cx);
        }
        if same_conn {
            // The new session lives on the very connection that would be closed.
            cx.out.retain(|action| !matches!(action, Action::Close { conn: closed } if *closed == conn));
        }
    }

    /// The highest generation is on disk before `Welcome` (F5).
    fn store_generation(
        &mut self,
        endpoint: u32,
        generation: u64,
        (python, guests): (String, bool),
        cx: &mut Cx<'_>,
    ) {
        let state = &mut self.endpoints[endpoint as usize];
        if generation > state.asked_generation {
            state.asked_generation = generation;
            self.write(Write::Generation { endpoint, generation, python, guests }, cx);
        }
    }

    pub(super) fn on_hello_page(
        &mut self,
        endpoint: u32,
        hello: Hello,
        cx: &mut Cx<'_>,
    ) -> Result<(), ResetReason> {
        let mut hello = hello.within_limits();
        let state = &mut self.endpoints[endpoint as usize];
        let Some(link) = state.link.as_deref_mut() else { return Ok(()) };
        let same = hello.peer == link.peer && hello.connection == link.seen.connection;
        // F29: no honest manager holds more than twice what it was ever offered.
        if !same || link.paged || link.held.len() + hello.held.len() > 2 * limits::CREDIT_TASKS {
            return Err(ResetReason::Protocol);
        }
        link.held.append(&mut hello.held);
        link.functions.extend(hello.have_functions.drain(..).take(limits::HELLO_HASHES));
        link.complete = hello.complete;
        link.capacity = hello.capacity;
        link.paged = hello.last;
        state.host = hello.host;
        state.software = hello.software;
        state.python = hello.python;
        if hello.last {
            self.try_welcome(endpoint, cx);
        }
        Ok(())
    }

    /// Opens the session once all pages are here and its generation is stored (F5).
    pub(super) fn try_welcome(&mut self, endpoint: u32, cx: &mut Cx<'_>) {
        let state = &mut self.endpoints[endpoint as usize];
        let Some(link) = state.link.as_deref_mut() else { return };
        if link.live || !link.paged || state.generation < link.seen.generation {
            return;
        }
        link.live = true;
        link.session.push(Item::Welcome {
            proto: link.proto,
            epoch: u64::from(self.config.epoch),
            heartbeat_ms: self.config.heartbeat_ms,
            threshold_ms: self.config.threshold_ms,
            result_window: limits::RESULT_WINDOW as u64,
        });
        let manager = link.seen.manager;
        let (held, complete) = (std::mem::take(&mut link.held), link.complete);
        // F9: what the new session does not report is not held.
        state.leases.begin_session(state.lease_manager != Some(manager));
        state.lease_manager = Some(manager);
        state.changed_at(cx.now.wall);
        let text = format!("online: {} on {}", state.software, state.host);
        cx.out.push(Action::Log { endpoint: state.id, text });
        self.offline.came(endpoint);
        self.count(Counter::Sessions, 1);
        self.adopt(endpoint, &held);
        if complete {
            // A manager that begins complete had no executor to wait for; it has not counted them, though.
            self.complete(endpoint, false, cx);
        }
        self.touch(endpoint);
    }

    /// Turns the endpoint's session away, if it has one.
    pub(super) fn refuse_link(&mut self, endpoint: u32, reason: Refusal, cx: &mut Cx<'_>) {
        let why = reason.text.clone();
        let item = refusal(reason, None, self.endpoints[endpoint as usize].asked_generation, false);
        self.end_link_saying(endpoint, item, &why, cx);
    }
}
