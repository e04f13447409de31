//! libzmq's own news about the connections of one socket, as events. Does not own what follows from them.

use crate::error::Error;
use crate::ffi::{self, Link};
use crate::socket::Context;
use std::sync::atomic::{AtomicU64, Ordering};

/// Addresses of monitors are unique in the process, hence in each context.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What libzmq tells of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The handshake is done: messages flow.
    Up,
    /// ZAP refused the key.
    KeyRefused,
    /// The handshake failed for another reason.
    HandshakeFailed,
    /// A TCP connection ended, at whatever stage.
    Ended,
    /// There was no TCP connection.
    NotMade,
}

/// Failed handshakes only: what an acceptor counts.
pub(crate) const OF_ACCEPTOR: u32 = zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
/// The whole life of a connection.
pub(crate) const OF_CONNECTOR: u32 = OF_ACCEPTOR
    | zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED
    | zmq_sys::ZMQ_EVENT_DISCONNECTED
    | zmq_sys::ZMQ_EVENT_CLOSED;

/// A socket with its monitor. Dropping it stops the monitor before the reader goes (see [`ffi::stop_monitor`]).
#[derive(Debug)]
pub(crate) struct Monitored {
    pub(crate) link: Link,
    pub(crate) monitor: Link,
}

impl Monitored {
    pub(crate) fn new(context: &Context, socket: zmq::Socket, events: u32) -> Result<Self, Error> {
        let address = format!("inproc://bursa-monitor-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let reader = context.socket(zmq::PAIR)?;
        // No high-water mark: a full one would stop libzmq's I/O thread, and with it every connection. What is
        // held is bounded by the handshakes that fit into one stall of our loop, some 200 bytes each.
        reader.set_rcvhwm(0)?;
        let monitor = Link::new(reader)?;
        let link = Link::new(socket)?;
        let this = Self { link, monitor };
        this.link.socket().monitor(&address, events.cast_signed())?;
        this.monitor.socket().connect(&address)?;
        Ok(this)
    }

    /// The next event, if there is one now.
    pub(crate) fn news(&self) -> Option<News> {
        loop {
            let head = self.monitor.frame()?;
            let mut more = head.get_more();
            while more {
                more = self.monitor.frame()?.get_more();
            }
            let event = head.first_chunk::<2>().map_or(0, |bytes| u16::from_ne_bytes(*bytes));
            match u32::from(event) {
                zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED => return Some(News::Up),
                zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_AUTH => return Some(News::KeyRefused),
                zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL => return Some(News::HandshakeFailed),
                zmq_sys::ZMQ_EVENT_DISCONNECTED => return Some(News::Ended),
                zmq_sys::ZMQ_EVENT_CLOSED => return Some(News::NotMade),
                _ => {}
            }
        }
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        ffi::stop_monitor(&mut self.link);
    }
}
