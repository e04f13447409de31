//! The connecting end: a DEALER that is one connection and one session, never more. Does not own back-off: who
//! wants another connection makes another connector.

use crate::acceptor::TURN;
use crate::bulk::{Bulk, Dialer, Note, Pipe, is_note};
use crate::curve::{KeyPair, PublicKey};
use crate::error::{Disconnected, Error, SendError};
use crate::monitor::{Monitored, News, OF_CONNECTOR};
use crate::socket::{self, Context, Taken, Timing};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

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
            let bulk = &mut self.bulk;
            tokio::select! {
                message = poll_fn(|cx| bulk.poll(cx)) => match message {
                    Some(frames) => return Ok(frames),
                    None => self.lost(),
                },
                () = messages => {}
                () = events => self.since_turn = TURN,
                made = self.dialer.made() => if let Some(pipe) = made {
                    self.up(pipe);
                },
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
        let sent = self.bulk.send(frames).unwrap_or_else(|| self.dealer.link.send(None, frames));
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
        if let Some(pipe) = self.dialer.try_made() {
            self.up(pipe);
        }
        // Who really waits does it in `recv`.
        match self.bulk.poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frames)) => return Some(frames),
            Poll::Ready(None) => self.lost(),
            Poll::Pending => {}
        }
        loop {
            let first = self.dealer.link.frame()?;
            match self.dealer.link.rest(first) {
                Taken::Frames(frames) if is_note(&frames) => self.noted(&frames),
                Taken::Frames(frames) => {
                    if !self.bulk.is_up() {
                        self.dialer.dial();
                    }
                    return Some(frames);
                }
                Taken::TooMany => self.oversized += 1,
            }
        }
    }

    fn noted(&mut self, note: &[Bytes]) {
        match Note::read(note) {
            Some(Note::Offer(offer)) => self.dialer.offered(offer),
            Some(Note::Moved) => self.bulk.moved(),
            // Of a build that knows more, or less.
            None => {}
        }
    }

    /// The link's last message is the note that says so.
    fn up(&mut self, pipe: Pipe) {
        match self.dealer.link.send(None, &Note::Moved.frames()) {
            Ok(()) => self.bulk.up(pipe),
            Err(_) => self.lost(),
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
