//! Bursa's central service: REST and stream, registry, durable task store, forwarder.
//!
//! One tokio current-thread runtime carries all of it: [`run`] is the driver loop around the pure hub, beside it the
//! tasks of the HTTP server. The store has one thread for large transactions and one for checkpoints. What runs user
//! code, starts processes or asks a scheduler is not here and cannot be reached from here.

mod alarm;
mod amqp;
pub mod audit;
mod auth;
mod backup;
mod bell;
mod bootstrap;
mod clock;
mod command;
pub mod config;
mod dialect;
mod driver;
mod forwarder;
mod handle;
mod home;
mod http;
pub mod identity;
mod intake;
mod known;
mod load;
mod login;
mod metrics;
mod policy;
pub mod rate;
mod restore;
mod scope;
mod secrets;
mod start;
mod store;
pub mod tls;
pub mod token_stores;
mod trouble;
mod vault;

pub use backup::{Saved, backup};
pub use config::Config;
pub use home::Holder;
pub use http::{compat_routes, openapi_json};
pub use restore::{Restored, restore};
pub use start::run;
pub use store::Error as StoreError;

use bursa_core::id::EndpointId;

/// What asks whether the service's loop turns: it answers each.
pub type Pings = tokio::sync::mpsc::Receiver<tokio::sync::oneshot::Sender<()>>;

/// Where the service listens, once it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The REST API's root, as `http://address:port`, or `https://` and the hash of its certificate where no authority
    /// vouches for it.
    pub url: String,
    /// Where it listens, as `address:port`.
    pub http: String,
    /// Where endpoints connect, as `host:port`.
    pub zmq: String,
    /// The key that endpoints must find there (Z85).
    pub service_key: String,
}

/// Why the service did not start, or ended: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The home directory cannot be used.
    #[error("cannot use the home directory: {path}: {why}; choose another with --home or BURSA_HOME")]
    Home {
        /// The file or directory in it.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// Another service has the home.
    #[error("another service ({holder}) uses {home}; stop it, or choose another home with --home")]
    Locked {
        /// The home.
        home: String,
        /// The other process.
        holder: Holder,
    },
    /// The REST API cannot listen.
    #[error(
        "cannot listen on {address} for HTTP: {why}; stop the other process or choose another port with --http"
    )]
    Http {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// AMQP cannot listen.
    #[error(
        "cannot listen on {address} for AMQP: {why}; stop the other process, or choose another port with service.amqp"
    )]
    Amqp {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// The HTTP server ended by itself.
    #[error("the HTTP server failed: {0}")]
    Server(String),
    /// The forwarder cannot listen.
    #[error(transparent)]
    Link(#[from] bursa_fabric::Error),
    /// The service's key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] bursa_fabric::KeyFileError),
    /// A registered key is not a key.
    #[error("the stored key of endpoint {0} is not a key")]
    Key(EndpointId),
    /// What was asked for is not done, with the reason and what to do.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error("{0}")]
    Store(store::Error),
    /// The audit log cannot be used.
    #[error("cannot go on with the audit log in {directory}: {why}; make it writable, or move it away")]
    Audit {
        /// Where it is.
        directory: String,
        /// Why.
        why: std::io::Error,
    },
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(std::io::Error),
}

/// Not by `#[from]`: the store's sentence has its cause in it, and as a source it would be told again.
impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}
