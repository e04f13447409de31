//! The connecting end: a DEALER that is one connection and one session, never more. Does not own back-off: who
//! wants another connection makes another connector.

use crate::acceptor::TURN;
use crate::bulk::{Arrival, Bulk, Dialer, Note, is_large, is_note};
use crate::curve::{KeyPair, PublicKey};
use crate::error::{Disconnected, Error, SendError};
use crate::monitor::{Monitored, News, OF_CONNECTOR};
use crate::socket::{self, Context, Taken, Timing};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Where the connection stands. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down(Disconnected),
}

/// One connection to an acceptor. Dropping it closes the connection and drops what was not sent yet.
#[derive(Debug)]
pub struct Connector {
    dealer: Monitored,
    state: State,
    oversized: u64,
    /// Looks since the last one at the connection's own news.
    since_turn: u32,
    bulk: Bulk,
    dialer: Dialer,
    /// In order, and nothing lacks.
    ready: VecDeque<Vec<Bytes>>,
}

impl Connector {
    /// Begins to connect to `addr` (`host:port`) as the owner of `keys`, to nobody but the owner of `server`.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address makes no sense. That nobody listens there is said by [`Connector::connected`].
    pub fn connect(
        context: &Context,
        addr: &str,
        server: &PublicKey,
        keys: &KeyPair,
        timing: Timing,
    ) -> Result<Self, Error> {
        let socket = context.socket(zmq::DEALER)?;
        socket::set_options(&socket, addr, timing)?;
        // libzmq must not connect again behind our back: a new server would get the old one's messages.
        socket.set_reconnect_ivl(-1)?;
        // Nothing is queued for a connection that does not exist.
        socket.set_immediate(true)?;
        socket.set_curve_serverkey(&server.0)?;
        keys.apply(&socket)?;
        let dealer = Monitored::new(context, socket, OF_CONNECTOR)?;
        let connected = socket::tcp(addr).and_then(|addr| dealer.link.socket().connect(&addr));
        connected.map_err(|reason| Error::Connect { addr: addr.to_owned(), reason })?;
        Ok(Self {
            dealer,
            state: State::Connecting,
            oversized: 0,
            since_turn: 0,
            bulk: Bulk::default(),
            dialer: Dialer::new(addr, Arc::clone(&context.bulk)),
            ready: VecDeque::new(),
        })
    }

    /// Waits until messages can be sent. Cancel-safe. A host name that does not resolve is not reported by libzmq:
    /// the driver's bound on `Welcome` (FABRIC §3) ends that wait.
    ///
    /// # Errors
    /// When there is no connection and there will be none.
    pub async fn connected(&mut self) -> Result<(), Disconnected> {
        loop {
            self.update();
            match self.state {
                State::Up => return Ok(()),
                State::Down(why) => return Err(why),
                State::Connecting => self.dealer.monitor.news().await,
            }
        }
    }

    /// The next message. Cancel-safe: a message is either returned or still waiting.
    ///
    /// # Errors
    /// When the connection is gone and everything that came before was returned.
    pub async fn recv(&mut self) -> Result<Vec<Bytes>, Disconnected> {
        loop {
            if let Some(frames) = self.try_recv()? {
                return Ok(frames);
            }
            let (messages, events) = (self.dealer.link.news(), self.dealer.monitor.news());
            let arrival = tokio::select! {
                () = messages => None,
                () = events => {
                    self.since_turn = TURN;
                    None
                }
                arrival = self.dialer.arrivals.recv() => arrival,
            };
            if let Some((_, arrival)) = arrival {
                self.arrived(arrival);
            }
        }
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// When the connection is gone and everything that came before was returned.
    pub fn try_recv(&mut self) -> Result<Option<Vec<Bytes>>, Disconnected> {
        if let Some(frames) = self.take() {
            return Ok(Some(frames));
        }
        self.since_turn += 1;
        if self.since_turn >= TURN {
            self.update();
        }
        let State::Down(why) = self.state else { return Ok(None) };
        // What came between the look and the news.
        self.take().map(Some).ok_or(why)
    }

    /// Sends one message. Never waits: libzmq sends it later, or never if the connection ends.
    ///
    /// # Errors
    /// When there is no connection (yet or any more), the peer does not take it, or the message is too large;
    /// nothing of it was sent then.
    pub fn send(&mut self, frames: &[Bytes]) -> Result<(), SendError> {
        if is_note(frames) {
            return Err(SendError::TooLarge);
        }
        let link = &self.dealer.link;
        let sent = match self.bulk.send(frames, |note| link.send(None, note)) {
            Some(sent) => sent,
            None => {
                if is_large(frames) && self.dialer.wish() {
                    // The message says what is wrong with the connection, if anything is.
                    let _ = link.send(None, &Note::Ask.frames());
                }
                link.send(None, frames)
            }
        };
        if sent != Err(SendError::Full) {
            return sent;
        }
        self.update();
        if self.state == State::Up { sent } else { Err(SendError::Unreachable) }
    }

    /// Messages of more than `LINK_FRAMES` frames that were dropped.
    #[must_use]
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    fn take(&mut self) -> Option<Vec<Bytes>> {
        while let Ok((_, arrival)) = self.dialer.arrivals.try_recv() {
            self.arrived(arrival);
        }
        loop {
            if let Some(frames) = self.ready.pop_front() {
                return Some(frames);
            }
            let first = self.dealer.link.frame()?;
            match self.dealer.link.rest(first) {
                Taken::Frames(frames) => self.came(frames),
                Taken::TooMany => self.oversized += 1,
            }
        }
    }

    /// A message came on the link.
    fn came(&mut self, frames: Vec<Bytes>) {
        let waits = if is_note(&frames) {
            match Note::read(&frames) {
                Some(Note::Follows(sizes)) => self.bulk.follows(sizes),
                Some(Note::Offer(offer)) => {
                    self.dialer.offered(offer);
                    Ok(())
                }
                // Of a build that knows more, or less.
                Some(Note::Ask) | None => Ok(()),
            }
        } else {
            if !self.bulk.is_up() && is_large(&frames) {
                self.dialer.dial();
            }
            self.bulk.came(frames).map(|ready| self.ready.extend(ready))
        };
        if waits.is_err() {
            self.lost();
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Up(pipe) => self.bulk.up(pipe),
            Arrival::Failed(why) => self.dialer.failed(&why),
            Arrival::Message(message) => self.bulk.arrived(message, |frames| self.ready.push_back(frames)),
            Arrival::Lost => self.lost(),
        }
    }

    /// What was to come on the bulk connection will not: the session has a gap.
    fn lost(&mut self) {
        if self.state == State::Up {
            self.state = State::Down(Disconnected::Lost);
        }
    }

    /// Takes the news; the first reason for an end is the true one.
    fn update(&mut self) {
        self.since_turn = 0;
        while let Some(news) = self.dealer.news() {
            self.state = match (self.state, news) {
                (State::Down(_), _) => continue,
                (_, News::Up) => State::Up,
                (State::Connecting, News::KeyRefused) => State::Down(Disconnected::KeyRefused),
                (State::Connecting, News::HandshakeFailed | News::Ended) => {
                    State::Down(Disconnected::HandshakeFailed)
                }
                (State::Connecting, News::NotMade) => State::Down(Disconnected::NotReached),
                (State::Up, _) => State::Down(Disconnected::Lost),
            };
        }
    }
}
