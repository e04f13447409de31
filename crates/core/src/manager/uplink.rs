//! The session with the service: connecting, back-off, heartbeats (FABRIC §7), and what waits for `Welcome`.
//!
//! Owns the link and its session, never what is said: `Hello` and what follows `Welcome` are made anew from the
//! machine's state each time (F7). The end of a session changes no attempt (F1).

use super::Action;
use crate::limits;
use crate::rng::Rng;
use crate::task::Outcome;
use crate::time::Mono;
use crate::wire::{Capacity, Item, Message, ResetReason, Session};

#[derive(Debug)]
enum State {
    Down {
        retry: Mono,
    },
    Connecting {
        since: Mono,
    },
    /// `Hello` is said; `later` is what happened since and cannot be derived from state at `Welcome`.
    Opening {
        since: Mono,
        session: Session,
        later: Vec<Item>,
    },
    Up {
        session: Session,
    },
    /// Waits for a higher generation (F4).
    Raising,
}

/// The link to the service.
#[derive(Debug)]
pub(super) struct Uplink {
    state: State,
    backoff_ms: u64,
    /// Rises with each session of this process (F4).
    connection: u64,
    heartbeat_ms: u64,
    threshold_ms: u64,
    /// What the hub was last told in this session.
    told: Capacity,
    /// This session carried `complete` (F8).
    told_complete: bool,
    /// The hub is known to have handled it: later `Hello`s may say so at once.
    complete_known: bool,
}

impl Uplink {
    pub(super) fn new() -> Self {
        Self {
            state: State::Down { retry: Mono(0) },
            backoff_ms: limits::HUB_BACKOFF_MS.0,
            connection: 0,
            heartbeat_ms: 10_000,
            threshold_ms: 30_000,
            told: Capacity::default(),
            told_complete: false,
            complete_known: false,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    pub(super) const fn complete_known(&self) -> bool {
        self.complete_known
    }

    /// Whether everything said has left.
    pub(super) fn is_idle(&self) -> bool {
        match &self.state {
            State::Up { session } => session.unsent() == 0,
            _ => true,
        }
    }

    /// The socket is there: a new session. `None` if nobody asked for it.
    pub(super) fn open(&mut self, now: Mono, rng: &mut Rng) -> Option<u64> {
        if !matches!(self.state, State::Connecting { .. }) {
            return None;
        }
        self.connection += 1;
        self.told_complete = false;
        let session = Session::connecting(rng.next(), now);
        self.state = State::Opening { since: now, session, later: Vec::new() };
        Some(self.connection)
    }

    /// One page of `Hello`: a message of its own, so that none gets larger than a frame may be.
    pub(super) fn hello(&mut self, now: Mono, page: Item, out: &mut Vec<Action>) {
        if let Item::Hello(hello) = &page {
            self.told = hello.capacity.clone();
            self.told_complete = hello.complete;
        }
        if let State::Opening { session, .. } = &mut self.state {
            session.push(page);
            session.flush(now, |message| out.push(Action::SendHub { message }));
        }
    }

    /// `Welcome`: what was kept back for it, in its order. `None` if no `Hello` waits for one.
    pub(super) fn welcomed(&mut self, heartbeat_ms: u64, threshold_ms: u64) -> Option<Vec<Item>> {
        // Values that would make us spin or never notice silence are bent, not believed.
        self.heartbeat_ms = heartbeat_ms.max(10);
        self.threshold_ms = threshold_ms.max(self.heartbeat_ms.saturating_mul(2));
        let State::Opening { session, later, .. } =
            std::mem::replace(&mut self.state, State::Down { retry: Mono(0) })
        else {
            return None;
        };
        self.backoff_ms = limits::HUB_BACKOFF_MS.0;
        self.state = State::Up { session };
        Some(later)
    }

    /// Says `item` in the present session. Without one it is dropped: the next session says it from state (F7).
    pub(super) fn say(&mut self, item: Item) {
        match &mut self.state {
            State::Up { session } => session.push(item),
            // The hub may not know this session yet, and these cannot be derived once `Hello` was said.
            State::Opening { later, .. } => match &item {
                Item::Held(_) | Item::Started { .. } => later.push(item),
                Item::Result(done) if done.outcome == Outcome::Returned => later.push(item),
                _ => {}
            },
            _ => {}
        }
    }

    /// Says what can be taken, if that changed: absolute (F25), once per round.
    pub(super) fn say_capacity(&mut self, capacity: Capacity) {
        if let State::Up { session } = &mut self.state
            && self.told != capacity
        {
            self.told = capacity.clone();
            session.push(Item::Capacity(capacity));
        }
    }

    /// Whether `Held{complete}` is still owed in this session (F8).
    pub(super) const fn owes_complete(&mut self) -> bool {
        let owes = self.is_up() && !self.told_complete;
        if owes {
            self.told_complete = true;
        }
        owes
    }

    /// Takes a message: its items, or nothing for one of another session (F2) and for a fault, which ends it (F3).
    pub(super) fn receive(
        &mut self,
        now: Mono,
        message: Message,
        rng: &mut Rng,
        out: &mut Vec<Action>,
    ) -> Vec<Item> {
        let (State::Up { session } | State::Opening { session, .. }) = &mut self.state else {
            return Vec::new();
        };
        match session.receive(now, message) {
            Ok(items) => {
                let all_handled = session.in_flight() == 0 && session.unsent() == 0;
                self.complete_known |= self.told_complete && all_handled;
                items
            }
            Err(crate::wire::Fault::OtherSession) => Vec::new(),
            Err(fault) => {
                self.reset(now, fault.reason(), rng, out);
                Vec::new()
            }
        }
    }

    /// Ends the session because of what the hub did, and says why.
    pub(super) fn reset(&mut self, now: Mono, reason: ResetReason, rng: &mut Rng, out: &mut Vec<Action>) {
        if let State::Up { session } | State::Opening { session, .. } = &mut self.state {
            out.push(Action::SendHub { message: session.bare(now, Item::Reset { reason }) });
        }
        out.push(Action::Log { text: format!("the session with the service is over: {reason:?}") });
        self.close(now, rng, out);
    }

    /// Closes the socket; a new one follows after the back-off.
    pub(super) fn close(&mut self, now: Mono, rng: &mut Rng, out: &mut Vec<Action>) {
        if !matches!(self.state, State::Down { .. } | State::Raising) {
            out.push(Action::Disconnect);
            self.down(now, rng);
        }
    }

    /// The socket is gone; a new one follows after the back-off.
    pub(super) fn down(&mut self, now: Mono, rng: &mut Rng) {
        if matches!(self.state, State::Down { .. } | State::Raising) {
            return;
        }
        self.state = State::Down { retry: now.after(rng.jitter(self.backoff_ms)) };
        self.backoff_ms = (self.backoff_ms * 2).min(limits::HUB_BACKOFF_MS.1);
    }

    /// Nothing is tried until [`raised`](Self::raised) (F4).
    pub(super) fn wait_for_generation(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.state, State::Down { .. }) {
            out.push(Action::Disconnect);
        }
        self.state = State::Raising;
    }

    /// The new generation is on disk.
    pub(super) fn raised(&mut self, now: Mono, rng: &mut Rng) {
        if matches!(self.state, State::Raising) {
            self.state = State::Down { retry: now.after(rng.jitter(self.backoff_ms)) };
            self.backoff_ms = (self.backoff_ms * 2).min(limits::HUB_BACKOFF_MS.1);
        }
    }

    /// What the clock asks for: a new socket, or the end of a session that is silent.
    pub(super) fn tick(&mut self, now: Mono, rng: &mut Rng, out: &mut Vec<Action>) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        if matches!(self.state, State::Down { .. }) {
            self.state = State::Connecting { since: now };
            out.push(Action::Connect);
        } else {
            out.push(Action::Log { text: "the service is silent: trying a new connection".into() });
            self.close(now, rng, out);
        }
    }

    const fn due(&self) -> Option<Mono> {
        match &self.state {
            State::Down { retry } => Some(*retry),
            State::Connecting { since } | State::Opening { since, .. } => {
                Some(since.after(limits::CONNECT_MS))
            }
            State::Up { session } => Some(session.silent_at(self.threshold_ms)),
            State::Raising => None,
        }
    }

    /// When the clock next asks for something.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let due = self.due();
        match &self.state {
            State::Up { session } => due.map(|at| at.min(session.flush_due(self.heartbeat_ms))),
            _ => due,
        }
    }

    /// Handling something at least this often keeps [`forgive`](Self::forgive) from taking idleness for sleep.
    pub(super) const fn awake_ms(&self) -> u64 {
        match &self.state {
            State::Up { .. } => self.threshold_ms / 3,
            _ => limits::CONNECT_MS / 3,
        }
    }

    /// This process slept: the service gets a fresh threshold (F34).
    pub(super) fn forgive(&mut self, now: Mono, slept_ms: u64) {
        match &mut self.state {
            State::Up { session } if slept_ms > self.threshold_ms / 2 => session.forgive(now),
            State::Connecting { since } | State::Opening { since, .. }
                if slept_ms > limits::CONNECT_MS / 2 =>
            {
                *since = now;
            }
            _ => {}
        }
    }

    /// Sends what is said, and a `Ping` if the session was silent for a heartbeat.
    pub(super) fn flush(&mut self, now: Mono, out: &mut Vec<Action>) {
        let State::Up { session } = &mut self.state else { return };
        session.flush(now, |message| out.push(Action::SendHub { message }));
        if now >= session.ping_due(self.heartbeat_ms) {
            out.push(Action::SendHub { message: session.ping(now) });
        }
    }

    /// The last word of a session that ends in order, and the end of the socket.
    pub(super) fn bye(&mut self, now: Mono, reason: &str, out: &mut Vec<Action>) {
        if let State::Up { session } = &mut self.state {
            let message = session.bare(now, Item::Bye { reason: reason.into() });
            out.push(Action::SendHub { message });
        }
        if !matches!(self.state, State::Down { .. } | State::Raising) {
            out.push(Action::Disconnect);
        }
        self.state = State::Raising;
    }
}
