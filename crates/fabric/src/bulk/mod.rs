//! The bulk connection of a link: a second TCP connection to the same peer, which carries all messages once it is up.
//! Sessions do not see it.
//!
//! Both ends proved their keys on the link, and there the acceptor names port, token and two fresh keys. So who can speak
//! on the bulk connection is the link's peer, and there is no second handshake and no second list of keys. Its cipher is
//! several times faster than CURVE's, and its sockets are the driver's own: no other thread has to be woken for a message.
//!
//! Each direction moves by itself: its last message on the link is a note that all others are here. Without a bulk
//! connection (a firewall, a port in use) all stays on the link. If it breaks, the link is over (F1).

mod dial;
mod door;
mod inlet;
mod note;
mod outlet;
mod seal;

pub(crate) use dial::{Dialer, Pause};
pub(crate) use door::{Arrival, Arrivals, Door, Standing};
pub(crate) use inlet::Inlet;
pub(crate) use note::{Note, is_note};

use crate::error::SendError;
use bursa_core::id::ConnId;
use bursa_core::limits::CONNECT_MS;
use bytes::Bytes;
use outlet::Outlet;
use seal::Cipher;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// NAT mappings live longer than this without traffic.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// The two directions of a connection whose peer is proven.
#[derive(Debug)]
pub(crate) struct Pipe {
    inlet: Inlet,
    outlet: Outlet,
}

impl Pipe {
    /// Within a runtime.
    fn new(stream: TcpStream, sealer: Cipher, opener: Cipher) -> Self {
        let (from, to) = stream.into_split();
        Self { inlet: Inlet::new(from, opener), outlet: Outlet::new(to, sealer) }
    }
}

/// The bulk side of one link. Dropping it closes its connection and drops what was not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    outlet: Option<Outlet>,
    inlet: Option<Inlet>,
    /// The peer's messages are there.
    moved: bool,
    /// Reads for who has many links.
    reader: JoinSet<()>,
}

impl Bulk {
    pub(crate) const fn is_up(&self) -> bool {
        self.outlet.is_some()
    }

    /// From now on all leaves there: the caller has told the peer.
    pub(crate) fn up(&mut self, pipe: Pipe) {
        self.outlet = Some(pipe.outlet);
        self.inlet = Some(pipe.inlet);
    }

    /// The peer says that its next message is there (which this end may see come up a little later).
    pub(crate) const fn moved(&mut self) {
        self.moved = true;
    }

    /// Sends a message. `None`: there is no connection for it, send it on the link.
    pub(crate) fn send(&self, frames: &[Bytes]) -> Option<Result<(), SendError>> {
        self.outlet.as_ref().map(|outlet| outlet.send(frames))
    }

    /// The next message, if the peer has moved; `None`: the connection is over, and so is the link.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        let Some(inlet) = self.inlet.as_mut().filter(|_| self.moved) else { return Poll::Pending };
        let message = ready!(inlet.poll(cx));
        if message.is_none() {
            self.inlet = None;
        }
        Poll::Ready(message)
    }

    /// From when the peer has moved, its messages go to `arrivals`, as those of `conn`.
    pub(crate) fn read_aside(&mut self, conn: ConnId, arrivals: Arrivals) {
        let Some(mut inlet) = self.inlet.take_if(|_| self.moved) else { return };
        self.reader.spawn(async move {
            while let Some(message) = poll_fn(|cx| inlet.poll(cx)).await {
                if arrivals.send((conn, Arrival::Message(message))).await.is_err() {
                    return;
                }
            }
            // An acceptor that is gone needs no news.
            let _ = arrivals.send((conn, Arrival::Lost)).await;
        });
    }

    /// Ends it, but lets the peer have what was said: a socket that is closed before all was read may take that with it.
    pub(crate) fn part(mut self) {
        let Some(outlet) = self.outlet.take() else { return };
        if let Some(mut inlet) = self.inlet.take() {
            // Nobody had come to read it yet.
            self.reader.spawn(async move { while poll_fn(|cx| inlet.poll(cx)).await.is_some() {} });
        }
        tokio::spawn(async move {
            let both = async { tokio::join!(outlet.end(), self.reader.join_next()) };
            // A peer that does not close its end has had its time.
            let _ = tokio::time::timeout(Duration::from_millis(CONNECT_MS), both).await;
        });
    }
}
