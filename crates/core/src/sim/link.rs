//! Connections: first in, first out per direction, with latency; what a break loses and what it delivers late.
//!
//! One [`Conn`] is one connector's socket on one acceptor's ROUTER (FABRIC §3): its number is never reused, so whatever
//! arrives late is known by it. Owns bytes in flight; knows nothing of who reads them.

use super::{Pid, Slip, Us};
use crate::id::{ConnId, ExecutorId};
use crate::limits;
use crate::rng::Rng;
use crate::wire::{Item, Message};
use std::collections::{BTreeMap, VecDeque};

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the connector to the acceptor.
    Up,
    /// From the acceptor to the connector.
    Down,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    queue: VecDeque<(Us, Message)>,
    last: Us,
    /// Highest `ack` that reached this direction's sender.
    acked: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) connector: Pid,
    pub(super) acceptor: Pid,
    /// Index of the endpoint whose key (or whose executor's key) it is.
    pub(super) endpoint: usize,
    /// The executor whose key it is; `None`: a manager's connection to the service.
    pub(super) executor: Option<ExecutorId>,
    pub(super) alive: bool,
    /// When senders are told that it is dead; before that, what they send vanishes.
    known_dead: Us,
    frozen_until: Us,
    slip: Option<Slip>,
    up: Pipe,
    down: Pipe,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It will arrive at this time, unless the connection breaks first.
    At(Us),
    /// It will arrive at this time, and then again.
    Twice(Us),
    /// It is gone and nobody was told.
    Vanished,
    /// The peer is known to be gone.
    Failed,
    /// More messages in flight than the window allows (I9).
    BeyondWindow,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    next: u64,
}

impl Net {
    /// A fresh connection.
    pub(super) fn open(
        &mut self,
        connector: Pid,
        acceptor: Pid,
        endpoint: usize,
        executor: Option<ExecutorId>,
    ) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        let conn = Conn {
            connector,
            acceptor,
            endpoint,
            executor,
            alive: true,
            known_dead: Us::MAX,
            frozen_until: 0,
            slip: None,
            up: Pipe::default(),
            down: Pipe::default(),
        };
        self.conns.insert(id, conn);
        id
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// Living connections that `keep` selects.
    pub(super) fn living(&self, keep: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
        self.conns.iter().filter(|(_, conn)| conn.alive && keep(conn)).map(|(id, _)| *id).collect()
    }

    /// Puts a message on its way.
    pub(super) fn send(&mut self, now: Us, rng: &mut Rng, id: ConnId, way: Way, message: Message) -> Sent {
        let Some(conn) = self.conns.get_mut(&id) else { return Sent::Failed };
        if !conn.alive {
            return if now >= conn.known_dead { Sent::Failed } else { Sent::Vanished };
        }
        let pipe = conn.pipe(way);
        let bare = message.items.iter().all(Item::is_bare);
        if !bare && message.envelope.seq >= pipe.acked + limits::WINDOW {
            return Sent::BeyondWindow;
        }
        let slip = conn.slip.take();
        let pipe = conn.pipe(way);
        let at = (now + 100 + rng.below(1_900)).max(pipe.last);
        match slip {
            Some(Slip::Lost) => return Sent::Vanished,
            Some(Slip::Twice) => pipe.queue.push_back((at, message.clone())),
            Some(Slip::Swapped) => {
                if let Some((_, before)) = pipe.queue.back_mut() {
                    let before = std::mem::replace(before, message);
                    pipe.last = at;
                    pipe.queue.push_back((at, before));
                    return Sent::At(at);
                }
                conn.slip = slip;
            }
            None => {}
        }
        let pipe = conn.pipe(way);
        pipe.last = at;
        pipe.queue.push_back((at, message));
        if slip == Some(Slip::Twice) { Sent::Twice(at) } else { Sent::At(at) }
    }

    /// Takes the next message if its time has come; else says when to look again (`None`: never).
    pub(super) fn arrive(&mut self, now: Us, id: ConnId, way: Way) -> Result<Message, Option<Us>> {
        let Some(conn) = self.conns.get_mut(&id) else { return Err(None) };
        let frozen = conn.frozen_until;
        let alive = conn.alive;
        let Some((at, _)) = conn.pipe(way).queue.front() else {
            self.tidy(id);
            return Err(None);
        };
        let ready = if alive { (*at).max(frozen) } else { *at };
        if ready > now {
            return Err(Some(ready));
        }
        let Some((_, message)) = conn.pipe(way).queue.pop_front() else { return Err(None) };
        let back = match way {
            Way::Up => &mut conn.down,
            Way::Down => &mut conn.up,
        };
        back.acked = back.acked.max(message.envelope.ack);
        self.tidy(id);
        Ok(message)
    }

    fn tidy(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|c| !c.alive && c.up.queue.is_empty() && c.down.queue.is_empty()) {
            self.conns.remove(&id);
        }
    }

    /// Breaks a connection: each direction keeps a prefix of what is in flight, the connector's words may come late
    /// (up to `late`), and senders are told after `silence`.
    pub(super) fn sever(&mut self, now: Us, rng: &mut Rng, id: ConnId, silence: Us, late: Us) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.alive {
            return;
        }
        conn.alive = false;
        conn.known_dead = now + silence;
        let mut delay = 0;
        for pipe in [&mut conn.up, &mut conn.down] {
            let count = pipe.queue.len() as u64 + 1;
            pipe.queue.truncate(usize::try_from(rng.below(count)).unwrap_or(0));
            for (at, _) in &mut pipe.queue {
                delay += rng.below(late + 1);
                *at = now.max(*at) + delay;
            }
        }
        self.tidy(id);
    }

    /// Drops all that is on its way to a process that died.
    pub(super) fn forget_inbound(&mut self, pid: Pid) {
        for conn in self.conns.values_mut() {
            if conn.acceptor == pid {
                conn.up.queue.clear();
            }
            if conn.connector == pid {
                conn.down.queue.clear();
            }
        }
        self.conns.retain(|_, c| c.alive || !c.up.queue.is_empty() || !c.down.queue.is_empty());
    }

    /// Holds everything in flight back until `until`.
    pub(super) fn freeze(&mut self, id: ConnId, until: Us) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.frozen_until = conn.frozen_until.max(until);
        }
    }

    /// What becomes of the next message that is sent on a connection, either way (F3).
    pub(super) fn slip_next(&mut self, id: ConnId, slip: Slip) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.slip = Some(slip);
        }
    }
}

impl Conn {
    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}
