//! What processes say to each other: the compatibility contract (FABRIC §2), and the sessions it travels in.
//!
//! Owns the shape and the bytes of messages, their order and acknowledgement. Knows nothing of sockets, tasks' fates
//! or retries.

pub mod blob;
pub mod codec;
pub mod message;
mod msgpack;
pub mod session;
mod short;
pub mod version;

pub use blob::Blob;
pub use codec::{DecodeError, decode, encode};
pub use message::{
    Assign, Attempt, Blocks, Capacity, Done, Envelope, Held, Hello, Holding, Item, Message, Peer, Placed,
    RefusedReason, ResetReason, Stage, Warm,
};
pub use session::{Fault, Session};
