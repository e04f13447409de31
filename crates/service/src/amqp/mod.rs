//! AMQP 0-9-1: results for Globus Compute's `Executor` and funcX's from 1.0 on, and (`foreign/`) the queues of Globus Compute's
//! endpoints.
//!
//! There is no broker: for a client a "queue" is a task group of the user, and what is in it are the group's results in the store
//! behind a cursor (`cursors.rs`). The subset of AMQP and its pitfalls: docs/compat.md.

mod codec;
mod connection;
mod consumer;
mod credentials;
mod cursors;
pub(crate) mod foreign;
mod handshake;
mod message;
mod peer;

pub(crate) use credentials::Credentials;
pub(crate) use cursors::Cursors;

use crate::handle::Handle;
use crate::tls::Tls;
use bursa_core::limits;
use bytes::BytesMut;
use handshake::{HANDSHAKE, Login};
use peer::{Peer, Stream};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Before a group's id in the name of its queue.
pub(crate) const PREFIX: &str = "results.";

/// What a client or an endpoint is told: where AMQP is spoken (`place`, as `amqps://host:port`), and what with.
pub(crate) fn url(place: &str, user: &str, password: &str) -> String {
    let (scheme, address) = place.split_once("://").unwrap_or(("amqp", place));
    format!("{scheme}://{user}:{password}@{address}/")
}

/// Serves until `stopping` changes; then closes what is open.
pub(crate) async fn serve(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    handle: Arc<Handle>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(limits::AMQP_CONNECTIONS));
    loop {
        let place = tokio::select! {
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => continue,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            _ = stopping.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an AMQP connection could not be taken");
                    continue;
                }
            },
        };
        let (handle, tls, stopping) = (Arc::clone(&handle), tls.clone(), stopping.clone());
        connections.spawn(async move {
            if let Err(error) = begin(stream, tls, &handle, stopping).await {
                tracing::debug!(%error, "an AMQP connection ended");
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one connection, after the handshake of TLS if there is one.
async fn begin(
    mut stream: TcpStream,
    tls: Option<Arc<Tls>>,
    handle: &Handle,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let from = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
    let Some(tls) = tls else { return run((&mut stream, from), handle, stopping).await };
    let mut stream = tokio::select! {
        secured = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)) => secured??,
        _ = stopping.changed() => return Ok(()),
    };
    run((&mut stream, from), handle, stopping).await
}

/// Serves one connection, whoever it is.
async fn run(
    (stream, from): (&mut dyn Stream, Option<IpAddr>),
    handle: &Handle,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    let greeted = tokio::select! {
        greeted = handshake::greet((&mut *stream, from), &mut bytes, handle) => greeted?,
        _ = stopping.changed() => return Ok(()),
    };
    match greeted {
        None => Ok(()),
        Some((Login::User(user), tuned)) => {
            let peer = Peer::new(stream, &mut bytes, tuned.heartbeat);
            connection::run(peer, (user, tuned.frame), handle, stopping).await
        }
        Some((Login::Endpoint(who), tuned)) => {
            let peer = Peer::new(stream, &mut bytes, tuned.heartbeat);
            foreign::run_link(peer, (who, tuned.frame), handle, stopping).await
        }
    }
}
