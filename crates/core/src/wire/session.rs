//! One session: order, acknowledgement and window of the messages between one connector and one acceptor.
//!
//! Owns F1–F3 and F27 (FABRIC §4), the splitting of huge payloads into parts, and heartbeats. Its outbox holds what was
//! said and does not fit the window yet; it dies with the session, and the next one is filled from the machine's state
//! (F7).

use super::blob::Blob;
use super::message::{Envelope, Item, Message, ResetReason};
use super::version;
use crate::limits;
use crate::time::Mono;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// Why a received message ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It belongs to another session: count, drop, answer with `Reset` (F2).
    OtherSession,
    /// A message is missing or repeated (F3).
    Gap,
    /// Parts that do not fit together, or too many.
    Protocol,
}

impl Fault {
    /// The reason to give the peer.
    #[must_use]
    pub const fn reason(self) -> ResetReason {
        match self {
            Self::OtherSession => ResetReason::UnknownSession,
            Self::Gap => ResetReason::Gap,
            Self::Protocol => ResetReason::Protocol,
        }
    }
}

/// A payload that arrives in parts.
#[derive(Debug)]
struct Stream {
    total: usize,
    data: BytesMut,
}

/// One side of a session.
#[derive(Debug)]
pub struct Session {
    sid: u64,
    next_out: u64,
    acked: u64,
    next_in: u64,
    ack_sent: u64,
    /// The connector's side, which leaves it to the acceptor to ping first (F27).
    is_connector: bool,
    last_ping_heard: Mono,
    last_heard: Mono,
    last_sent: Mono,
    outbox: VecDeque<Item>,
    /// When the outbox leaves; `None`: it is empty, or nothing in it is in a hurry and no flush has seen it.
    leave_at: Option<Mono>,
    next_stream: u64,
    streams: BTreeMap<u64, Stream>,
}

impl Session {
    /// A connector's session begun now, with a number that it drew.
    #[must_use]
    pub fn connecting(sid: u64, now: Mono) -> Self {
        Self { is_connector: true, ..Self::new(sid, now) }
    }

    /// An acceptor's session begun now; `sid` is that of the `Hello`'s envelope.
    #[must_use]
    pub const fn new(sid: u64, now: Mono) -> Self {
        Self {
            sid,
            next_out: 0,
            acked: 0,
            next_in: 0,
            ack_sent: 0,
            is_connector: false,
            last_ping_heard: now,
            last_heard: now,
            last_sent: now,
            outbox: VecDeque::new(),
            leave_at: None,
            next_stream: 0,
            streams: BTreeMap::new(),
        }
    }

    /// A message that ends a session of which this side knows nothing (F2).
    #[must_use]
    pub fn stray_reset(sid: u64, reason: ResetReason) -> Message {
        let envelope = Envelope { v: version::OLDEST, sid, seq: 0, ack: 0 };
        Message { envelope, items: vec![Item::Reset { reason }] }
    }

    /// The session's number.
    #[must_use]
    pub const fn sid(&self) -> u64 {
        self.sid
    }

    /// Items said and not yet sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// Messages sent and not yet acknowledged.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.next_out - self.acked
    }

    /// Takes a received message: its items with their payloads in place, or the fault that ends the session.
    ///
    /// A `Reset` is handed on, alone, whatever its `seq`: its writer may have lost count.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn receive(&mut self, now: Mono, message: Message) -> Result<Vec<Item>, Fault> {
        let Message { envelope, items } = message;
        if envelope.sid != self.sid {
            return Err(Fault::OtherSession);
        }
        self.last_heard = now;
        if let Some(reset) = items.iter().find(|item| matches!(item, Item::Reset { .. })) {
            return Ok(vec![reset.clone()]);
        }
        let bare = items.iter().all(Item::is_bare);
        let expected = if bare { self.next_in.saturating_sub(1) } else { self.next_in };
        if envelope.seq != expected || envelope.ack > self.next_out {
            return Err(Fault::Gap);
        }
        self.acked = self.acked.max(envelope.ack);
        if bare {
            self.last_ping_heard = now;
            return Ok(items);
        }
        self.next_in += 1;
        self.join(items)
    }

    /// Puts the parts of huge payloads together and the payloads into the items that name them.
    fn join(&mut self, items: Vec<Item>) -> Result<Vec<Item>, Fault> {
        let mut whole = Vec::with_capacity(items.len());
        for mut item in items {
            if let Item::Part { stream, total, data } = &item {
                self.add_part(*stream, *total, data)?;
                continue;
            }
            if matches!(&item, Item::Result(done) if !matches!(done.output, Blob::Here(_))) {
                return Err(Fault::Protocol);
            }
            if let Some(blob) = item.blob_mut() {
                match *blob {
                    Blob::Here(_) => {}
                    Blob::Frame(_) => return Err(Fault::Protocol),
                    Blob::Stream(id) => *blob = Blob::Here(self.take_stream(id)?),
                }
            }
            whole.push(item);
        }
        Ok(whole)
    }

    fn add_part(&mut self, id: u64, total: u64, data: &Blob) -> Result<(), Fault> {
        let Blob::Here(data) = data else { return Err(Fault::Protocol) };
        let total = usize::try_from(total).map_err(|_| Fault::Protocol)?;
        if !self.streams.contains_key(&id) {
            let open: usize = self.streams.values().map(|stream| stream.total).sum();
            if total == 0
                || total > limits::PARTS_BYTES.saturating_sub(open)
                || self.streams.len() >= limits::PARTS_STREAMS
            {
                return Err(Fault::Protocol);
            }
            self.streams.insert(id, Stream { total, data: BytesMut::with_capacity(total) });
        }
        let stream = self.streams.get_mut(&id).ok_or(Fault::Protocol)?;
        if stream.total != total || stream.data.len() + data.len() > total {
            return Err(Fault::Protocol);
        }
        stream.data.extend_from_slice(data);
        Ok(())
    }

    fn take_stream(&mut self, id: u64) -> Result<Bytes, Fault> {
        match self.streams.remove(&id) {
            Some(stream) if stream.data.len() == stream.total => Ok(stream.data.freeze()),
            _ => Err(Fault::Protocol),
        }
    }

    /// Says `item`: it leaves with the next [`flush`](Self::flush) that the window allows, or lingers (F39).
    pub fn push(&mut self, item: Item) {
        if !item.may_linger() {
            self.leave_at = Some(Mono(0));
        }
        self.queue(item);
    }

    /// Says `item`, which may linger until `latest` (F39).
    pub fn push_by(&mut self, item: Item, latest: Mono) {
        self.leave_at = Some(self.leave_at.map_or(latest, |at| at.min(latest)));
        self.queue(item);
    }

    fn queue(&mut self, mut item: Item) {
        if let Some(blob) = item.blob_mut()
            && blob.len() > limits::PART_BYTES
        {
            let stream = self.next_stream;
            self.next_stream += 1;
            let data = std::mem::replace(blob, Blob::Stream(stream)).into_bytes();
            self.push_parts(stream, &data);
        }
        self.outbox.push_back(item);
    }

    fn push_parts(&mut self, stream: u64, data: &Bytes) {
        let total = data.len() as u64;
        let mut rest = data.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(limits::PART_BYTES));
            self.outbox.push_back(Item::Part { stream, total, data: Blob::Here(part) });
        }
    }

    /// Sends what the window allows, in messages of at most [`limits::BATCH_ITEMS`] items and about
    /// [`limits::MESSAGE_BYTES`], and the `Ping` that F27 owes for half a window of unacknowledged messages.
    pub fn flush(&mut self, now: Mono, mut send: impl FnMut(Message)) {
        if self.leaves(now) {
            while !self.outbox.is_empty() && self.in_flight() < limits::WINDOW {
                let items = self.next_batch();
                let seq = self.next_out;
                self.next_out += 1;
                send(self.message(now, seq, items));
            }
            if self.outbox.is_empty() {
                self.leave_at = None;
            }
        } else if !self.outbox.is_empty() {
            self.leave_at.get_or_insert(now.after(limits::LINGER_MS));
        }
        if self.next_in - self.ack_sent >= limits::WINDOW / 2 {
            send(self.ping(now));
        }
    }

    /// Whether what was said leaves with a flush now: something is in a hurry, or has lingered long enough (F39).
    #[must_use]
    pub fn leaves(&self, now: Mono) -> bool {
        self.leave_at.is_some_and(|at| at <= now) || self.outbox.len() >= limits::LINGER_ITEMS
    }

    fn next_batch(&mut self) -> Vec<Item> {
        let mut items = Vec::with_capacity(self.outbox.len().min(limits::BATCH_ITEMS));
        let mut bytes = 0;
        while let Some(item) = self.outbox.front() {
            let size = item.weight();
            if !items.is_empty()
                && (items.len() >= limits::BATCH_ITEMS || bytes + size > limits::MESSAGE_BYTES)
            {
                break;
            }
            bytes += size;
            items.extend(self.outbox.pop_front());
        }
        items
    }

    fn message(&mut self, now: Mono, seq: u64, items: Vec<Item>) -> Message {
        self.ack_sent = self.next_in;
        self.last_sent = now;
        Message { envelope: Envelope { v: version::OLDEST, sid: self.sid, seq, ack: self.next_in }, items }
    }

    /// A `Ping`: outside the window, repeating the last `seq`.
    pub fn ping(&mut self, now: Mono) -> Message {
        self.bare(now, Item::Ping)
    }

    /// A last word outside the window: `Reset` or `Bye`.
    pub fn bare(&mut self, now: Mono, item: Item) -> Message {
        self.message(now, self.next_out.saturating_sub(1), vec![item])
    }

    /// When the next `Ping` is due if nothing else is sent: a little early at the acceptor, so that the connector's goes
    /// with it, in one wake-up of both; at the latest after a heartbeat (F27).
    #[must_use]
    pub fn ping_due(&self, heartbeat_ms: u64) -> Mono {
        let with_it = self.last_sent.after(heartbeat_ms / 2);
        if !self.is_connector {
            self.last_sent.after(heartbeat_ms - heartbeat_ms / 8)
        } else if self.last_ping_heard >= with_it {
            with_it
        } else {
            self.last_sent.after(heartbeat_ms)
        }
    }

    /// When a flush is due if nothing else happens: for a `Ping`, or for what lingers.
    #[must_use]
    pub fn flush_due(&self, heartbeat_ms: u64) -> Mono {
        let ping = self.ping_due(heartbeat_ms);
        self.lingers_until().map_or(ping, |at| ping.min(at))
    }

    /// When what lingers must leave; never while the window is closed: the peer's next word opens it.
    #[must_use]
    pub fn lingers_until(&self) -> Option<Mono> {
        self.leave_at.filter(|_| self.in_flight() < limits::WINDOW)
    }

    /// When the peer counts as silent if nothing more is heard.
    #[must_use]
    pub const fn silent_at(&self, threshold_ms: u64) -> Mono {
        self.last_heard.after(threshold_ms)
    }

    /// Gives the peer a fresh threshold, after this process itself slept (F34).
    pub const fn forgive(&mut self, now: Mono) {
        self.last_heard = now;
    }
}
