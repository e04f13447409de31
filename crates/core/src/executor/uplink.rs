//! The link to the manager, as its connector: one socket, one session (F1), back-off, silence, and being alone (F13).
//!
//! Owns the session and its timers. What is said in a session is made in `report` from the machine's state (F7).

use super::event::Action;
use crate::id::Hash;
use crate::limits;
use crate::rng::Rng;
use crate::time::Mono;
use crate::wire::{Capacity, Item, ResetReason, Session};
use std::collections::BTreeSet;

/// How far the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// No socket; the next one at `until`.
    Down,
    /// A socket was asked for; given up at `until`.
    Connecting,
    /// `Hello` is said; given up at `until`.
    Opening,
    /// Welcomed.
    Up,
}

/// The link.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) link: Link,
    pub(super) session: Option<Session>,
    until: Mono,
    backoff_ms: u64,
    /// Connections so far (F4).
    pub(super) connection: u64,
    heartbeat_ms: u64,
    threshold_ms: u64,
    /// Result bytes that may be unacknowledged (F28).
    pub(super) result_window: u64,
    /// Without a manager since then (F13).
    pub(super) alone_since: Option<Mono>,
    last_handled: Mono,
    /// Bodies asked for in this session.
    pub(super) asked: BTreeSet<Hash>,
    /// The capacity told last in this session.
    pub(super) told: Option<Capacity>,
}

impl Uplink {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            link: Link::Down,
            session: None,
            until: now,
            backoff_ms: limits::MANAGER_BACKOFF_MS.0,
            connection: 0,
            heartbeat_ms: 2_000,
            threshold_ms: 6_000,
            result_window: limits::RESULT_WINDOW as u64,
            alone_since: Some(now),
            last_handled: now,
            asked: BTreeSet::new(),
            told: None,
        }
    }

    /// Said at each event: after a sleep of our own, the peer gets a fresh threshold (F34).
    pub(super) fn awake(&mut self, now: Mono) {
        if now.since(self.last_handled) > self.threshold_ms / 2
            && let Some(session) = &mut self.session
        {
            session.forgive(now);
        }
        self.last_handled = now;
    }

    /// The socket is there: a session begins.
    pub(super) fn open(&mut self, now: Mono, sid: u64) {
        self.link = Link::Opening;
        self.connection += 1;
        self.session = Some(Session::connecting(sid, now));
        self.asked.clear();
        self.told = None;
    }

    /// `Welcome`: times are cut to what keeps F34 sound (a look at least every third of a threshold).
    pub(super) fn welcome(&mut self, heartbeat_ms: u64, threshold_ms: u64, result_window: u64) {
        self.link = Link::Up;
        self.threshold_ms = threshold_ms.max(30);
        self.heartbeat_ms = heartbeat_ms.clamp(1, self.threshold_ms / 3);
        self.result_window = result_window;
        self.backoff_ms = limits::MANAGER_BACKOFF_MS.0;
        self.alone_since = None;
    }

    pub(super) fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// Says `item` in the session, if there is one that is welcomed.
    pub(super) fn say(&mut self, item: Item) {
        if self.link == Link::Up
            && let Some(session) = &mut self.session
        {
            session.push(item);
        }
    }

    /// The same, but it may wait for others (F39).
    pub(super) fn say_soon(&mut self, item: Item) {
        if self.link == Link::Up
            && let Some(session) = &mut self.session
        {
            session.push_by(item, self.last_handled.after(limits::RESULT_LINGER_MS));
        }
    }

    /// The socket is gone: the session is over, and nothing else changed (F1).
    pub(super) fn lost(&mut self, now: Mono, rng: &mut Rng) {
        self.session = None;
        self.link = Link::Down;
        self.until = now.after(rng.jitter(self.backoff_ms));
        self.backoff_ms = (self.backoff_ms * 2).min(limits::MANAGER_BACKOFF_MS.1);
        self.alone_since.get_or_insert(now);
    }

    /// Ends the session from this side, with a last word if there is a reason.
    pub(super) fn end(
        &mut self,
        now: Mono,
        rng: &mut Rng,
        reason: Option<ResetReason>,
        out: &mut Vec<Action>,
    ) {
        if let (Some(session), Some(reason)) = (&mut self.session, reason) {
            out.push(Action::Send { message: session.bare(now, Item::Reset { reason }) });
        }
        if self.link != Link::Down {
            out.push(Action::Disconnect);
        }
        self.lost(now, rng);
    }

    /// Back-off over: a new socket. No `Welcome` in time, or silence: a new one soon.
    pub(super) fn tick(&mut self, now: Mono, rng: &mut Rng, out: &mut Vec<Action>) {
        match self.link {
            Link::Down if now >= self.until => {
                self.link = Link::Connecting;
                self.until = now.after(limits::CONNECT_MS);
                out.push(Action::Connect);
            }
            Link::Connecting | Link::Opening if now >= self.until => self.end(now, rng, None, out),
            Link::Up if self.silent_at().is_some_and(|at| now >= at) => {
                let text = format!("the manager was silent for {} ms: connecting anew", self.threshold_ms);
                out.push(Action::Log { text });
                self.end(now, rng, None, out);
            }
            _ => {}
        }
    }

    /// Sends what the session has to say, and the `Ping` that is due.
    pub(super) fn flush(&mut self, now: Mono, out: &mut Vec<Action>) {
        let Some(session) = &mut self.session else { return };
        session.flush(now, |message| out.push(Action::Send { message }));
        if self.link == Link::Up && now >= session.ping_due(self.heartbeat_ms) {
            out.push(Action::Send { message: session.ping(now) });
        }
    }

    fn silent_at(&self) -> Option<Mono> {
        self.session.as_ref().map(|session| session.silent_at(self.threshold_ms))
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        match (self.link, &self.session) {
            (Link::Up, Some(session)) => {
                self.silent_at().map(|at| at.min(session.flush_due(self.heartbeat_ms)))
            }
            _ => Some(self.until),
        }
    }
}
