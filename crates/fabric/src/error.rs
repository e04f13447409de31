//! What can go wrong on a link, in words for the person who has to act. Owns no behaviour.

use std::io;
use std::path::PathBuf;

/// Why an acceptor or connector could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The libzmq that is linked cannot encrypt.
    #[error(
        "the libzmq on this machine ({version}) was built without CURVE: install one with libsodium (Debian: libzmq5)"
    )]
    NoCurve {
        /// Version of the libzmq that was found.
        version: String,
    },
    /// Another process listens there.
    #[error("cannot listen on {addr}: the port is in use; stop the other process or choose another port")]
    PortInUse {
        /// The address that was asked for.
        addr: String,
    },
    /// The operating system or libzmq refuses the address.
    #[error("cannot listen on {addr}: {reason} (expected host:port)")]
    Bind {
        /// The address that was asked for.
        addr: String,
        /// libzmq's words.
        reason: zmq::Error,
    },
    /// The address cannot be used for a connection.
    #[error("cannot connect to {addr}: {reason} (expected host:port)")]
    Connect {
        /// The address that was asked for.
        addr: String,
        /// libzmq's words.
        reason: zmq::Error,
    },
    /// Nobody can listen for bulk connections there: all goes over the links then.
    #[error(
        "cannot listen on {addr} for bulk connections, so messages go the slow way: {source}; choose another port or 'none'"
    )]
    Bulk {
        /// The address that was asked for.
        addr: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// A context serves one acceptor: the ZAP address is one per context.
    #[error("this context has an acceptor already: make a second Context")]
    SecondAcceptor,
    /// The operating system gave us no random key.
    #[error("cannot make a key pair: {0}")]
    Key(zmq::Error),
    /// libzmq refused a socket or an option (too many sockets or open files).
    #[error("cannot set up a ZeroMQ socket: {0}")]
    Socket(#[from] zmq::Error),
    /// The runtime refused the socket's descriptor.
    #[error("cannot watch a ZeroMQ socket: {0}")]
    Watch(#[from] io::Error),
}

/// Why a key file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others could have read the secret: it must be taken as known to them.
    #[error("refusing the key file {path}: mode {mode:04o} lets others read it; run 'chmod 600' if nobody did, else make a new key", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what [`crate::KeyPair::save`] writes.
    #[error("the key file {path} is damaged: {what}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key is never overwritten.
    #[error("the key file {path} exists already", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system says no.
    #[error("cannot use the key file {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
}

/// Why a message was not sent. Nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such connection (any more, or not yet): the session is over (F1).
    #[error("the connection is gone")]
    Unreachable,
    /// The peer does not take what it is sent, beyond its window: its fault, `Reset{stalled}` (F27).
    #[error("the peer does not take its messages")]
    Full,
    /// The message has no frames, more than `LINK_FRAMES`, an empty first one, or one larger than `LINK_FRAME_BYTES`: a bug
    /// of the caller. The peer would drop the message or the connection.
    #[error("the message does not fit into the link's limits")]
    TooLarge,
}

/// Why a connector has no connection. Final: connect anew with a new [`crate::Connector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disconnected {
    /// Nobody listens at the address, or nobody answered in time.
    #[error("nobody answers at the address")]
    NotReached,
    /// The acceptor does not allow our key (unknown or revoked).
    #[error("the other side does not accept our key")]
    KeyRefused,
    /// What listens there is not the one whose key was given, no Bursa process at all, or a proxy to nobody.
    #[error(
        "the other side ended the handshake: it is down behind a proxy, or address or server key are wrong"
    )]
    HandshakeFailed,
    /// There was a connection and it ended.
    #[error("the connection is gone")]
    Lost,
}
