//! Executors as peers: who is connected, in which session, and what each said that it can take.
//!
//! Owns the acceptor's side of F1–F4. What executors hold is the book's business, what they say is `from_executor`'s.

use super::bodies::Known;
use super::{Action, Manager};
use crate::id::{ConnId, ExecutorId, Hash};
use crate::limits;
use crate::resources::Resources;
use crate::task::FailureCode;
use crate::time::Mono;
use crate::wire::{
    Capacity, Hello, Holding, Item, Message, Peer, RefusedReason, ResetReason, Session, version,
};

/// Where an executor's session is.
#[derive(Debug)]
pub(super) enum Link {
    /// Pages of `Hello` are coming.
    Opening { conn: ConnId, session: Session, since: Mono, held: Vec<Holding>, have: Vec<Hash> },
    /// Welcomed.
    Up { conn: ConnId, session: Session },
    /// No session; lost if it does not come back until then (F18).
    Away { until: Mono },
}

/// An executor that was heard of by its own voice.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) link: Link,
    /// The highest connection number seen (F4).
    connection: u64,
    /// Its node's name, for people.
    pub(super) host: String,
    pub(super) capacity: Capacity,
    /// What it has in total.
    pub(super) has: Resources,
    /// Bodies it has in this session (F35).
    pub(super) known: Known,
    /// The wire version spoken with it.
    pub(super) proto: u8,
    /// It was told to drain: nothing is given to it any more.
    pub(super) leaving: bool,
}

impl Exec {
    pub(super) const fn conn(&self) -> Option<ConnId> {
        match &self.link {
            Link::Opening { conn, .. } | Link::Up { conn, .. } => Some(*conn),
            Link::Away { .. } => None,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Whether everything said has left.
    pub(super) fn is_idle(&self) -> bool {
        if let Link::Up { session, .. } = &self.link { session.unsent() == 0 } else { true }
    }

    /// Says `item`, if there is a session; the next one is filled from state (F7).
    pub(super) fn say(&mut self, item: Item) {
        if let Link::Up { session, .. } = &mut self.link {
            session.push(item);
        }
    }

    /// When this executor's silence has gone on for too long.
    pub(super) const fn due(&self, threshold_ms: u64) -> Mono {
        match &self.link {
            Link::Opening { since, .. } => since.after(limits::CONNECT_MS),
            Link::Up { session, .. } => session.silent_at(threshold_ms),
            Link::Away { until } => *until,
        }
    }

    pub(super) fn next_deadline(&self, heartbeat_ms: u64, threshold_ms: u64) -> Mono {
        let due = self.due(threshold_ms);
        match &self.link {
            Link::Up { session, .. } => due.min(session.flush_due(heartbeat_ms)),
            _ => due,
        }
    }

    /// This process slept: a fresh threshold for everyone (F34).
    pub(super) fn forgive(&mut self, now: Mono, threshold_ms: u64) {
        match &mut self.link {
            Link::Opening { since, .. } => *since = now,
            Link::Up { session, .. } => session.forgive(now),
            Link::Away { until } => *until = now.after(threshold_ms),
        }
    }

    pub(super) fn flush(&mut self, now: Mono, heartbeat_ms: u64, out: &mut Vec<Action>) {
        let Link::Up { conn, session } = &mut self.link else { return };
        let conn = *conn;
        session.flush(now, |message| out.push(Action::SendExecutor { conn, message }));
        if now >= session.ping_due(heartbeat_ms) {
            out.push(Action::SendExecutor { conn, message: session.ping(now) });
        }
    }

    /// Ends the session with a last word and closes its connection.
    pub(super) fn end(&mut self, now: Mono, last: Item, until: Mono, out: &mut Vec<Action>) {
        if let Link::Opening { conn, session, .. } | Link::Up { conn, session } = &mut self.link {
            out.push(Action::SendExecutor { conn: *conn, message: session.bare(now, last) });
            out.push(Action::Close { conn: *conn });
        }
        self.link = Link::Away { until };
    }
}

/// Turns a `Hello` away.
fn refuse(now: Mono, conn: ConnId, sid: u64, reason: RefusedReason, text: &str, out: &mut Vec<Action>) {
    let is_final = matches!(reason, RefusedReason::Revoked | RefusedReason::Version);
    let mut session = Session::new(sid, now);
    let text = text.into();
    let refused = Item::Refused { reason, is_final, text, other_host: None, seen_generation: 0, live: false };
    session.push(refused);
    session.flush(now, |message| out.push(Action::SendExecutor { conn, message }));
    out.push(Action::Close { conn });
}

impl Manager {
    /// A message on a connection that is not `executor`'s current one: only a `Hello` may open a session (F2, F4).
    pub(super) fn greet(
        &mut self,
        now: Mono,
        conn: ConnId,
        executor: ExecutorId,
        message: Message,
        out: &mut Vec<Action>,
    ) -> Option<Vec<Item>> {
        let sid = message.envelope.sid;
        let Some(Item::Hello(hello)) = message.items.first() else {
            self.stray(now, conn, &message, out);
            return None;
        };
        let connection = hello.connection;
        if let Some((reason, text)) = self.objection(executor, hello) {
            refuse(now, conn, sid, reason, text, out);
            return None;
        }
        let mut session = Session::new(sid, now);
        let items = match session.receive(now, message) {
            Ok(items) => items,
            Err(fault) => {
                let message = Session::stray_reset(sid, fault.reason());
                out.push(Action::SendExecutor { conn, message });
                out.push(Action::Close { conn });
                return None;
            }
        };
        let link = Link::Opening { conn, session, since: now, held: Vec::new(), have: Vec::new() };
        let exec = self.executors.entry(executor).or_insert_with(|| Exec {
            link: Link::Away { until: now },
            connection,
            host: String::new(),
            capacity: Capacity::default(),
            has: Resources::NONE,
            known: Known::default(),
            proto: version::OLDEST,
            leaving: false,
        });
        if let Some(old) = exec.conn().filter(|old| *old != conn) {
            out.push(Action::Close { conn: old });
        }
        exec.link = link;
        exec.connection = connection;
        self.bodies.forget(&executor);
        Some(items)
    }

    fn objection(&self, executor: ExecutorId, hello: &Hello) -> Option<(RefusedReason, &'static str)> {
        let known = self.executors.get(&executor);
        if hello.peer != (Peer::Executor { executor }) {
            // The key tells who it is, never the message.
            Some((RefusedReason::Revoked, "the key belongs to another executor"))
        } else if version::agree(hello.proto_min, hello.proto_max).is_none() {
            Some((RefusedReason::Version, "manager and executor speak no common version of the protocol"))
        } else if known.is_some_and(|exec| hello.connection <= exec.connection) {
            Some((RefusedReason::Stale, "a newer connection of this executor is known"))
        } else if known.is_none() && self.executors.len() >= limits::EXECUTORS {
            Some((RefusedReason::Busy, "this manager has as many executors as it may have"))
        } else {
            None
        }
    }

    /// Something of a session that is not: dropped, and answered unless it is a farewell itself (F2).
    pub(super) fn stray(&mut self, now: Mono, conn: ConnId, message: &Message, out: &mut Vec<Action>) {
        let farewell = |item: &Item| matches!(item, Item::Reset { .. } | Item::Bye { .. });
        if message.items.iter().any(farewell) {
            return;
        }
        if now.since(self.strays.0) >= 1_000 {
            self.strays = (now, 0);
        }
        self.strays.1 += 1;
        if self.strays.1 <= limits::STRAY_RESETS {
            let message = Session::stray_reset(message.envelope.sid, ResetReason::UnknownSession);
            out.push(Action::SendExecutor { conn, message });
        }
    }

    /// The executor's session is over; its attempts stay where they are (F1) until it is lost (F18).
    pub(super) fn session_over(
        &mut self,
        now: Mono,
        executor: ExecutorId,
        reason: Option<ResetReason>,
        out: &mut Vec<Action>,
    ) {
        let until = now.after(self.config.threshold_ms);
        let Some(exec) = self.executors.get_mut(&executor) else { return };
        if let Some(reason) = reason {
            exec.end(now, Item::Reset { reason }, until, out);
        } else if let Some(conn) = exec.conn() {
            out.push(Action::Close { conn });
            exec.link = Link::Away { until };
        }
        self.bodies.forget(&executor);
    }

    /// Sending to this connection failed.
    pub(super) fn unreachable(&mut self, now: Mono, conn: ConnId, out: &mut Vec<Action>) {
        let found = self.executors.iter().find(|(_, exec)| exec.conn() == Some(conn));
        if let Some(executor) = found.map(|(executor, _)| *executor) {
            self.session_over(now, executor, None, out);
        }
    }

    /// Ends sessions that are silent, and loses executors that stayed away (F18).
    pub(super) fn watch_executors(&mut self, now: Mono, out: &mut Vec<Action>) {
        let threshold_ms = self.config.threshold_ms;
        let late = self.executors.iter().filter(|(_, exec)| now >= exec.due(threshold_ms));
        let late: Vec<(ExecutorId, bool)> =
            late.map(|(id, exec)| (*id, matches!(exec.link, Link::Opening { .. }))).collect();
        for (executor, opening) in late {
            if opening {
                self.session_over(now, executor, Some(ResetReason::Stalled), out);
            } else {
                let why = format!("nothing was heard of it for {} s", threshold_ms / 1_000);
                self.lose(now, executor, FailureCode::ExecutorLost, &why, out);
                self.fell_silent(now, executor);
            }
        }
    }
}
