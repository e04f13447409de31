//! libzmq sockets: the context, the options that both ends share (FABRIC §3), and moving whole messages in and out.
//! Does not own waiting (`ffi`), who the peer is, or what the frames mean.

use crate::bulk::Pause;
use crate::error::{Error, SendError};
use crate::ffi::Link;
use bursa_core::limits::{FRAME_BYTES, HIGH_WATER, LINK_FRAME_BYTES, LINK_FRAMES};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What CURVE adds to a frame: command name, nonce, authenticator and flags.
const CURVE_BYTES: i64 = 33;
/// Time for a TCP connection and for a handshake: half-open connections end.
const HANDSHAKE_MS: i32 = 5_000;
/// NAT mappings live longer than this without traffic.
const KEEPALIVE_IDLE_S: i32 = 30;

/// libzmq's context: one I/O thread and the sockets made with it. One per process; clones are the same context. A
/// port is free again when the acceptor and the last clone are dropped.
#[derive(Clone)]
pub struct Context {
    zmq: zmq::Context,
    pub(crate) bulk: Arc<Pause>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl Context {
    /// A new context.
    ///
    /// # Errors
    /// When the libzmq that is linked was built without CURVE.
    pub fn new() -> Result<Self, Error> {
        if zmq::has("curve") != Some(true) {
            let (major, minor, patch) = zmq::version();
            return Err(Error::NoCurve { version: format!("{major}.{minor}.{patch}") });
        }
        Ok(Self { zmq: zmq::Context::new(), bulk: Arc::default() })
    }

    pub(crate) fn socket(&self, kind: zmq::SocketType) -> Result<zmq::Socket, zmq::Error> {
        let socket = self.zmq.socket(kind)?;
        // Closing must not deliver leftovers later, nor block the exit of the process.
        socket.set_linger(0)?;
        Ok(socket)
    }
}

/// Heartbeats of the connection itself, one in each threshold: they remove half-open connections and are not proof of
/// life (`Ping` is).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time between two heartbeats, and without an answer to one until the connection is closed.
    pub threshold_ms: u32,
}

/// Sets what acceptor and connector have in common.
pub(crate) fn set_options(socket: &zmq::Socket, addr: &str, timing: Timing) -> Result<(), zmq::Error> {
    let ms = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    socket.set_ipv6(addr.starts_with('['))?;
    socket.set_sndhwm(HIGH_WATER)?;
    socket.set_rcvhwm(HIGH_WATER)?;
    // A hostile peer cannot make us allocate: a larger frame ends its connection before it is read.
    socket.set_maxmsgsize(i64::try_from(LINK_FRAME_BYTES).unwrap_or(i64::MAX - CURVE_BYTES) + CURVE_BYTES)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    socket.set_connect_timeout(HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(ms(timing.threshold_ms))?;
    socket.set_heartbeat_timeout(ms(timing.threshold_ms))?;
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE_S)
}

/// One message taken from a socket.
pub(crate) enum Taken {
    /// All its frames.
    Frames(Vec<Bytes>),
    /// It had more frames than allowed: dropped whole.
    TooMany,
}

impl Link {
    /// The next frame, if there is one now.
    pub(crate) fn frame(&self) -> Option<zmq::Message> {
        self.look(|socket| {
            let mut frame = zmq::Message::new();
            loop {
                match socket.recv(&mut frame, zmq::DONTWAIT) {
                    Err(zmq::Error::EINTR) => {}
                    received => return received.map(|()| frame),
                }
            }
        })
    }

    /// The rest of the message that begins with `first`. libzmq hands out whole messages only, so this never waits.
    pub(crate) fn rest(&self, first: zmq::Message) -> Taken {
        let mut frames = Vec::new();
        let mut more = first.get_more();
        let mut count = 1;
        frames.push(to_bytes(first));
        while more {
            let Some(frame) = self.frame() else { break };
            more = frame.get_more();
            count += 1;
            if count <= LINK_FRAMES {
                frames.push(to_bytes(frame));
            } else {
                frames.clear();
            }
        }
        if count <= LINK_FRAMES { Taken::Frames(frames) } else { Taken::TooMany }
    }

    /// Sends one message, after the routing id `to` if there is one. Never waits.
    pub(crate) fn send(&self, to: Option<&[u8]>, frames: &[Bytes]) -> Result<(), SendError> {
        let fits = frames.len() <= LINK_FRAMES && frames.iter().all(|frame| frame.len() <= LINK_FRAME_BYTES);
        let Some((last, before)) = frames.split_last().filter(|_| fits) else {
            return Err(SendError::TooLarge);
        };
        let mut head = true;
        let parts = to.into_iter().chain(before.iter().map(AsRef::as_ref));
        for part in parts {
            self.part(part, zmq::SNDMORE, head)?;
            head = false;
        }
        self.part(last, 0, head)
    }

    fn part(&self, bytes: &[u8], flags: i32, head: bool) -> Result<(), SendError> {
        let mut retry = head;
        loop {
            match self.socket().send(bytes, flags | zmq::DONTWAIT) {
                Ok(()) => return Ok(()),
                Err(zmq::Error::EINTR) => {}
                // libzmq looks at its mailbox at most once per millisecond when it sends: room or a connection
                // that it was told of since would not count. Asking for its events makes it look.
                Err(zmq::Error::EAGAIN) if retry => {
                    retry = false;
                    let _ = self.socket().get_events();
                }
                Err(zmq::Error::EAGAIN) => return Err(SendError::Full),
                Err(zmq::Error::EHOSTUNREACH) => return Err(SendError::Unreachable),
                Err(error) => {
                    tracing::error!(%error, "cannot send");
                    return Err(SendError::Unreachable);
                }
            }
        }
    }
}

struct Owned(zmq::Message);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Small frames are copied (cheaper than keeping libzmq's buffer); large ones are kept as they are.
fn to_bytes(frame: zmq::Message) -> Bytes {
    if frame.len() <= FRAME_BYTES { Bytes::copy_from_slice(&frame) } else { Bytes::from_owner(Owned(frame)) }
}

/// `host:port` as libzmq wants it. libzmq itself takes port 99999 for port 34463, so we look first.
pub(crate) fn tcp(addr: &str) -> Result<String, zmq::Error> {
    let plain = addr.strip_prefix("tcp://").unwrap_or(addr);
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == ';' || c == '/';
    let good = plain.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    if good && !plain.contains(odd) { Ok(format!("tcp://{plain}")) } else { Err(zmq::Error::EINVAL) }
}
