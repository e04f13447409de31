//! The accepting end: a ROUTER, the ZAP handler of its context, and the connections that have spoken. Does not own
//! sessions: a [`ConnId`] is a wire, the driver knows what it carries.

use crate::bulk::{Arrival, Door, Note, is_note};
use crate::conns::Conns;
use crate::curve::{KeyPair, PublicKey};
use crate::error::{Error, SendError};
use crate::ffi;
use crate::monitor::{Monitored, News, OF_ACCEPTOR};
use crate::socket::{self, Context, Taken, Timing};
use crate::zap::{self, Refusal, Zap};
use bursa_core::id::ConnId;
use bursa_core::limits::CONNECTIONS;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Looks after which handshakes get a turn untold: even if messages never stop, or nobody ever waits.
pub(crate) const TURN: u32 = 64;
/// Dropped messages after which others get a turn.
const DROPS: usize = 256;

/// One message from an allowed peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The connection it came on.
    pub conn: ConnId,
    /// The user of the key that encrypted it: the identity of the peer, whatever the message says (F2).
    pub user: Arc<str>,
    /// The key itself, for who gives several keys to one user.
    pub key: PublicKey,
    /// Its frames, at least one.
    pub frames: Vec<Bytes>,
}

/// What was refused or dropped since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Connections refused because their key is not allowed.
    pub refused_keys: u64,
    /// Connections that ended in the handshake: no encryption, wrong server key, no end within 5 s. (libzmq closes
    /// connections whose first bytes are not its protocol's without a word.)
    pub failed_handshakes: u64,
    /// Messages without an identity or without an end: never from libzmq, hence always 0.
    pub malformed: u64,
    /// Messages of more than `LINK_FRAMES` frames. (A frame that is too large ends its connection unseen.)
    pub oversized: u64,
    /// Messages of keys that are allowed no longer.
    pub revoked_dropped: u64,
    /// Connections dropped from the map because it was full.
    pub evicted: u64,
    /// Bulk connections that came up.
    pub bulk_made: u64,
    /// Connections to the bulk port by whom it was not offered to.
    pub bulk_refused: u64,
    /// Bulk connections that ended, and their links with them.
    pub bulk_lost: u64,
}

/// Listens, lets allowed keys in, and moves messages. Handshakes go on only inside [`Acceptor::recv`] and
/// [`Acceptor::try_recv`]: one of them must be called all the time.
#[derive(Debug)]
pub struct Acceptor {
    // Dropped before the ZAP handler.
    router: Monitored,
    zap: Zap,
    conns: Conns,
    counters: Counters,
    addr: String,
    since_turn: u32,
    bulk: Option<Door>,
}

/// What there is to look at.
enum Woke {
    Messages,
    Handshakes,
    Bulk(ConnId, Arrival),
}

/// What one look at the socket gave.
enum Look {
    Message(Incoming),
    Dropped,
    Nothing,
}

impl Acceptor {
    /// Listens on `addr` (`host:port`, `*:port`, port 0 for any free one). Nobody is allowed yet.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address is in use or wrong, or when the context has an acceptor already.
    pub fn bind(context: &Context, addr: &str, keys: &KeyPair, timing: Timing) -> Result<Self, Error> {
        let zap = Zap::new(context)?;
        let mut socket = context.socket(zmq::ROUTER)?;
        socket::set_options(&socket, addr, timing)?;
        socket.set_router_mandatory(true)?;
        // Said although it is the default: with 1, a peer that chooses another's id would get its messages.
        socket.set_router_handover(false)?;
        socket.set_curve_server(true)?;
        keys.apply(&socket)?;
        socket.set_zap_domain(zap::DOMAIN)?;
        ffi::enforce_zap(&mut socket)?;
        let router = Monitored::new(context, socket, OF_ACCEPTOR)?;
        let bound = socket::tcp(addr).and_then(|addr| router.link.socket().bind(&addr));
        bound.map_err(|reason| match reason {
            zmq::Error::EADDRINUSE => Error::PortInUse { addr: addr.to_owned() },
            reason => Error::Bind { addr: addr.to_owned(), reason },
        })?;
        let bound = router.link.socket().get_last_endpoint()?.unwrap_or_default();
        let addr = bound.strip_prefix("tcp://").unwrap_or(&bound).to_owned();
        let (conns, counters) = (Conns::new(CONNECTIONS), Counters::default());
        Ok(Self { router, zap, conns, counters, addr, since_turn: 0, bulk: None })
    }

    /// Where it listens, as `host:port` with the real port.
    #[must_use]
    pub fn local_addr(&self) -> &str {
        &self.addr
    }

    /// Listens beside [`Acceptor::local_addr`], on `port` (0: any free one), for the bulk connections that the messages of
    /// the links take; gives the port. Peers reach it under the host to which their links go.
    ///
    /// # Errors
    /// When the port is in use: all goes over the links then.
    pub fn listen_bulk(&mut self, port: u16) -> Result<u16, Error> {
        let host = self.addr.rsplit_once(':').map_or(self.addr.as_str(), |(host, _)| host);
        Ok(self.bulk.insert(Door::open(&format!("{host}:{port}"))?).port())
    }

    /// From now on each connection that is refused for its key is told there, while there is room.
    pub fn tell_refusals(&mut self, to: mpsc::Sender<Refusal>) {
        self.zap.told = Some(to);
    }

    /// Lets a key in, as `user`. Said again with another user, the key's next message comes on a new connection.
    pub fn allow(&mut self, key: PublicKey, user: impl Into<String>) {
        self.zap.allow(key, user.into());
    }

    /// Allows a key no longer: new connections are refused, and what its live ones send is dropped from now on,
    /// received or not. Sending to them still works (for a last `Refused`) until [`Acceptor::forget`]. False if the
    /// key was not allowed.
    pub fn revoke(&mut self, key: &PublicKey) -> bool {
        self.zap.revoke(key)
    }

    /// The next message. Cancel-safe: a message is either returned or still waiting.
    pub async fn recv(&mut self) -> Incoming {
        loop {
            for _ in 0..DROPS {
                match self.look() {
                    Look::Message(message) => return message,
                    Look::Dropped => {}
                    Look::Nothing => {
                        match self.news().await {
                            Woke::Messages => {}
                            Woke::Handshakes => self.since_turn = TURN,
                            Woke::Bulk(conn, arrival) => {
                                if let Look::Message(message) = self.arrived(conn, arrival) {
                                    return message;
                                }
                            }
                        }
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next message, if there is one now. May say none while it drops a flood of messages; [`Acceptor::recv`]
    /// then finds the rest.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        for _ in 0..DROPS {
            match self.look() {
                Look::Message(message) => return Some(message),
                Look::Dropped => {}
                Look::Nothing => break,
            }
        }
        None
    }

    /// Sends one message. Never waits: libzmq sends it later, or never if the connection ends.
    ///
    /// # Errors
    /// When the connection is gone, does not take it, or the message is too large; nothing of it was sent then.
    pub fn send(&mut self, conn: ConnId, frames: &[Bytes]) -> Result<(), SendError> {
        let route = Arc::clone(self.conns.route(conn).ok_or(SendError::Unreachable)?);
        if is_note(frames) {
            return Err(SendError::TooLarge);
        }
        let sent = self
            .conns
            .get(conn)
            .and_then(|known| known.bulk.send(frames))
            .unwrap_or_else(|| self.router.link.send(Some(&route), frames));
        if sent == Err(SendError::Unreachable) {
            self.conns.forget(conn);
        }
        sent
    }

    /// Drops the entry of a session that is over. The connection stays open until its peer closes it; if it speaks
    /// again, it is a new connection.
    pub fn forget(&mut self, conn: ConnId) {
        self.conns.forget(conn);
    }

    /// Connections in the map: those that have spoken and were not found gone since.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// What was refused or dropped so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            refused_keys: self.zap.refused,
            evicted: self.conns.evicted,
            bulk_refused: self.bulk.as_ref().map_or(0, Door::refused),
            ..self.counters
        }
    }

    fn news(&mut self) -> impl Future<Output = Woke> + Send {
        let (messages, asks) = (self.router.link.news(), self.zap.link.news());
        let failures = self.router.monitor.news();
        let bulk = self.bulk.as_mut();
        async move {
            let arrival = async {
                match bulk {
                    Some(door) => door.arrivals.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = messages => Woke::Messages,
                () = asks => Woke::Handshakes,
                () = failures => Woke::Handshakes,
                arrival = arrival => arrival.map_or(Woke::Messages, |(conn, arrival)| Woke::Bulk(conn, arrival)),
            }
        }
    }

    fn look(&mut self) -> Look {
        self.since_turn += 1;
        if self.since_turn >= TURN {
            self.turn();
        }
        if let Some(Ok((conn, arrival))) = self.bulk.as_mut().map(|door| door.arrivals.try_recv()) {
            return self.arrived(conn, arrival);
        }
        let Some(route) = self.router.link.frame() else {
            return if self.since_turn >= TURN { Look::Dropped } else { Look::Nothing };
        };
        let Some(mut first) =
            Some(&route).filter(|route| route.get_more()).and_then(|_| self.router.link.frame())
        else {
            self.counters.malformed += 1;
            return Look::Dropped;
        };
        let key = first.gets("User-Id").and_then(|text| text.parse::<PublicKey>().ok());
        let frames = match self.router.link.rest(first) {
            Taken::Frames(frames) => frames,
            Taken::TooMany => {
                self.counters.oversized += 1;
                return Look::Dropped;
            }
        };
        let Some(key) = key else {
            self.counters.malformed += 1;
            return Look::Dropped;
        };
        let Some(user) = self.zap.user(&key).map(Arc::clone) else {
            self.counters.revoked_dropped += 1;
            return Look::Dropped;
        };
        let conn = self.conns.heard(&route, key, &user);
        self.offer(conn);
        if is_note(&frames) {
            self.noted(conn, &frames);
            return Look::Dropped;
        }
        Look::Message(Incoming { conn, user, key, frames })
    }

    fn noted(&mut self, conn: ConnId, note: &[Bytes]) {
        let Some((door, known)) = self.bulk.as_ref().zip(self.conns.get(conn)) else { return };
        match Note::read(note) {
            Some(Note::Moved) => {
                known.bulk.moved();
                known.bulk.read_aside(conn, door.news.clone());
            }
            // Of a build that knows more, or less.
            Some(Note::Offer(_)) | None => {}
        }
    }

    fn arrived(&mut self, conn: ConnId, arrival: Arrival) -> Look {
        // Whose link is over needs nothing any more.
        let (Some(door), Some(route)) = (&self.bulk, self.conns.route(conn).map(Arc::clone)) else {
            return Look::Dropped;
        };
        let Some(known) = self.conns.get(conn) else { return Look::Dropped };
        match arrival {
            Arrival::Message(frames) => return self.aside(conn, frames),
            // Nothing more on the link after the note, whose fate is the link's.
            Arrival::Up(pipe) if self.router.link.send(Some(&route), &Note::Moved.frames()).is_ok() => {
                self.counters.bulk_made += 1;
                known.bulk.up(*pipe);
                known.bulk.read_aside(conn, door.news.clone());
            }
            // Messages may lack: the session is over, and its peer will make another.
            Arrival::Lost | Arrival::Up(_) => {
                self.counters.bulk_lost += 1;
                self.conns.forget(conn);
            }
        }
        Look::Dropped
    }

    /// A message of a bulk connection. Its key may have been revoked since the handshake.
    fn aside(&mut self, conn: ConnId, frames: Vec<Bytes>) -> Look {
        let Some(known) = self.conns.spoke(conn) else { return Look::Dropped };
        let (key, user) = (known.key, Arc::clone(&known.user));
        match self.zap.user(&key) {
            Some(now) if *now == user => Look::Message(Incoming { conn, user, key, frames }),
            _ => {
                self.counters.revoked_dropped += 1;
                Look::Dropped
            }
        }
    }

    /// Offers a bulk connection to a link that has none, once.
    fn offer(&mut self, conn: ConnId) {
        let Some((door, known)) = self.bulk.as_ref().zip(self.conns.get(conn)) else { return };
        if known.offered.is_some() {
            return;
        }
        let Some((offer, standing)) = door.offer(conn) else { return };
        let Some(route) = self.conns.route(conn) else { return };
        if self.router.link.send(Some(route), &Note::Offer(offer).frames()).is_ok()
            && let Some(known) = self.conns.get(conn)
        {
            known.offered = Some(standing);
        }
    }

    /// Handshakes: answers ZAP and counts failures. Comes again if there is more to do. Each look at a socket is
    /// two system calls, so there is one only when these have news, and now and then.
    fn turn(&mut self) {
        while let Some(news) = self.router.news() {
            // A refused key was counted by the one who refused it.
            self.counters.failed_handshakes += u64::from(news == News::HandshakeFailed);
        }
        self.since_turn = if self.zap.serve() { TURN } else { 0 };
    }
}
