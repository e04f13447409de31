//! The session with the hub: what every manager keeps of it.

use super::driver::conn_of;
use bursa_core::id::{ConnId, EndpointId};
use bursa_core::limits;
use bursa_core::time::{Mono, Now};
use bursa_core::wire::{Hello, Item, Message, Session, version};

/// Between the end of one session and the next, so that what ends each cannot spin.
const AGAIN_MS: u64 = 1_000;

/// One endpoint's side of its session.
#[derive(Debug)]
pub(super) struct Hub {
    endpoint: EndpointId,
    /// The endpoint's place among those of the service: part of the numbers of its connections.
    place: u32,
    /// Sessions so far.
    connection: u32,
    session: Option<Session>,
    live: bool,
    heartbeat_ms: u64,
    threshold_ms: u64,
    /// No session before then.
    not_before: Mono,
}

impl Hub {
    pub(super) const fn new(endpoint: EndpointId, place: u32) -> Self {
        let (heartbeat_ms, threshold_ms) = (10_000, 30_000);
        Self {
            endpoint,
            place,
            connection: 0,
            session: None,
            live: false,
            heartbeat_ms,
            threshold_ms,
            not_before: Mono(0),
        }
    }

    pub(super) const fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    pub(super) const fn conn(&self) -> ConnId {
        conn_of(self.place, self.connection)
    }

    /// Sessions so far; the next `Hello` must say one more.
    pub(super) const fn connection(&self) -> u64 {
        self.connection as u64
    }

    pub(super) const fn is_open(&self) -> bool {
        self.session.is_some()
    }

    pub(super) const fn is_live(&self) -> bool {
        self.live
    }

    /// Whether a session may be opened.
    pub(super) fn may_open(&self, now: Now) -> bool {
        self.session.is_none() && self.not_before <= now.mono
    }

    pub(super) fn open(&mut self, now: Now, hello: impl FnOnce(u64) -> Hello) {
        self.connection += 1;
        let mut session = Session::connecting(self.conn().0, now.mono);
        session.push(Item::Hello(Box::new(hello(self.connection()))));
        self.session = Some(session);
        self.live = false;
    }

    pub(super) fn welcome(&mut self, heartbeat_ms: u64, threshold_ms: u64) {
        (self.live, self.heartbeat_ms, self.threshold_ms) = (true, heartbeat_ms, threshold_ms);
    }

    /// The session is over.
    pub(super) fn close(&mut self, now: Now) {
        self.session = None;
        self.live = false;
        self.not_before = now.mono.after(AGAIN_MS);
    }

    /// Says good-bye: what was said before leaves first.
    pub(super) fn bye(&mut self, now: Now, reason: &str, mut send: impl FnMut(Message)) {
        if let Some(session) = &mut self.session {
            session.flush(now.mono, &mut send);
            send(session.bare(now.mono, Item::Bye { reason: reason.to_owned() }));
        }
        self.session = None;
        self.live = false;
    }

    pub(super) fn say(&mut self, item: Item) {
        if let Some(session) = self.session.as_mut().filter(|_| self.live) {
            session.push(item);
        }
    }

    /// The items of a message; `None`: the session is over.
    pub(super) fn receive(&mut self, now: Now, message: Message) -> Option<Vec<Item>> {
        self.session.as_mut()?.receive(now.mono, message).ok()
    }

    /// Sends what is due.
    pub(super) fn flush(&mut self, now: Now, mut send: impl FnMut(Message)) {
        let Some(session) = &mut self.session else { return };
        session.flush(now.mono, &mut send);
        if session.ping_due(self.heartbeat_ms) <= now.mono {
            send(session.ping(now.mono));
        }
    }

    /// The hub has not been heard of for too long.
    pub(super) fn is_silent(&self, now: Now) -> bool {
        self.session.as_ref().is_some_and(|session| session.silent_at(self.threshold_ms) <= now.mono)
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let session = self.session.as_ref()?;
        Some(session.flush_due(self.heartbeat_ms).min(session.silent_at(self.threshold_ms)))
    }

    /// When a session may be opened that may not now.
    pub(super) const fn opens_at(&self) -> Mono {
        self.not_before
    }
}

/// The versions of the wire that this side speaks.
pub(super) const PROTO: (u8, u8) = (version::OLDEST, version::VERSION);
const _: () = assert!(limits::FOREIGN_CALLS <= limits::HELD_PAGE);
