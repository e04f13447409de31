//! Bursa's links between processes: `ZeroMQ` with CURVE, one socket = one connection = one session (FABRIC §3).
//!
//! Owns: sockets and their options, keys, who may connect (ZAP), the map between connections and [`ConnId`]s, the
//! news that a connection is up or gone, and the second connection that carries the messages of a link once it is up
//! (`bulk`). Does not own: sessions, sequence numbers, windows, retries, back-off, or what is inside a frame; those are
//! decisions, and they live in `bursa-core` and the drivers.
//!
//! Everything runs on the caller's current-thread tokio runtime; libzmq has one I/O thread per [`Context`].

mod acceptor;
mod bulk;
mod connector;
mod conns;
mod curve;
mod error;
mod ffi;
mod monitor;
mod socket;
mod zap;

pub use acceptor::{Acceptor, Counters, Incoming};
pub use bursa_core::id::ConnId;
pub use connector::Connector;
pub use curve::{KeyPair, ParseKeyError, PublicKey};
pub use error::{Disconnected, Error, KeyFileError, SendError};
pub use socket::{Context, Timing};
pub use zap::Refusal;
