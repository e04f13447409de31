//! The bulk connection of a link: a second TCP connection to the same peer, for large messages. Sessions do not see it: a
//! message that leaves on it is announced on the link, and handed over in its place among the others.
//!
//! Both ends proved their keys on the link, and there the acceptor names port, token and two fresh keys. So who can speak
//! on the bulk connection is the link's peer, and there is no second handshake and no second list of keys. Its cipher is
//! several times faster than CURVE's, and its pieces are small, so that the work of sender and receiver overlaps.
//!
//! Made when the first large message comes; without it (a firewall, a port in use) all goes over the link. If it breaks,
//! the link is over (F1).

mod dial;
mod door;
mod note;
mod pipe;
mod seal;

pub(crate) use dial::{Dialer, Pause};
pub(crate) use door::{Door, Standing};
pub(crate) use note::{Note, is_note};
pub(crate) use pipe::{Arrival, Pipe};

use crate::error::SendError;
use bursa_core::limits::{BULK_BYTES, BULK_MESSAGE_BYTES, LINK_FRAMES};
use bytes::Bytes;
use pipe::WAITING;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;

/// NAT mappings live longer than this without traffic.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Whether a message of these frames is for the bulk connection.
pub(crate) fn is_large(frames: &[Bytes]) -> bool {
    let total: usize = frames.iter().map(Bytes::len).sum();
    (BULK_BYTES..=BULK_MESSAGE_BYTES).contains(&total) && frames.len() <= LINK_FRAMES
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// A received message that others wait behind, or that waits.
#[derive(Debug)]
enum Next {
    /// On the bulk connection, frames of these sizes.
    Follows(Vec<u32>),
    /// Came on the link, after one that is not here yet.
    Here(Vec<Bytes>),
}

/// The bulk side of one link: its connection, and the order of what came on both.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    pipe: Option<Pipe>,
    /// The first is always one that follows.
    behind: VecDeque<Next>,
}

/// More messages wait for the bulk connection than a session may have on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flooded;

impl Bulk {
    pub(crate) const fn is_up(&self) -> bool {
        self.pipe.is_some()
    }

    pub(crate) fn up(&mut self, pipe: Pipe) {
        self.pipe = Some(pipe);
        self.want();
    }

    /// Sends a large message, and `note` to tell the peer. `None`: there is no connection for it, send it on the link.
    pub(crate) fn send(
        &self,
        frames: &[Bytes],
        note: impl FnOnce(&[Bytes]) -> Result<(), SendError>,
    ) -> Option<Result<(), SendError>> {
        let pipe = self.pipe.as_ref().filter(|_| is_large(frames))?;
        let place = match pipe.reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => return Some(Err(SendError::Full)),
            Err(TrySendError::Closed(())) => return Some(Err(SendError::Unreachable)),
        };
        let size = |frame: &Bytes| u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let sizes = Note::Follows(frames.iter().map(size).collect());
        Some(note(&sizes.frames()).map(|()| place.send(frames.to_vec())))
    }

    /// The next message is on the bulk connection (which this end may see come up a little later).
    pub(crate) fn follows(&mut self, sizes: Vec<u32>) -> Result<(), Flooded> {
        self.wait(Next::Follows(sizes))?;
        if self.behind.len() == 1 {
            self.want();
        }
        Ok(())
    }

    /// A message came on the link: given back unless it has to wait for one before it.
    pub(crate) fn came(&mut self, frames: Vec<Bytes>) -> Result<Option<Vec<Bytes>>, Flooded> {
        if self.behind.is_empty() {
            return Ok(Some(frames));
        }
        self.wait(Next::Here(frames)).map(|()| None)
    }

    fn wait(&mut self, next: Next) -> Result<(), Flooded> {
        if self.behind.len() >= WAITING {
            return Err(Flooded);
        }
        self.behind.push_back(next);
        Ok(())
    }

    /// The message that was waited for is here: it, and those that waited behind it, go to `out`.
    pub(crate) fn arrived(&mut self, message: Vec<Bytes>, mut out: impl FnMut(Vec<Bytes>)) {
        self.behind.pop_front();
        out(message);
        while let Some(Next::Here(frames)) = self.behind.front_mut() {
            out(std::mem::take(frames));
            self.behind.pop_front();
        }
        self.want();
    }

    fn want(&mut self) {
        if let (Some(pipe), Some(Next::Follows(sizes))) = (&self.pipe, self.behind.front_mut()) {
            let wanted = pipe.want(std::mem::take(sizes));
            debug_assert!(wanted || self.pipe.is_some(), "one at a time");
        }
    }
}
