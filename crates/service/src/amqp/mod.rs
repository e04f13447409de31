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
use bursa_core::limits;
use bytes::BytesMut;
use handshake::Login;
use peer::Peer;
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Before a group's id in the name of its queue.
pub(crate) const PREFIX: &str = "results.";

/// Serves until `stopping` changes; then closes what is open.
pub(crate) async fn serve(listener: TcpListener, handle: Arc<Handle>, mut stopping: watch::Receiver<bool>) {
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
        let (handle, stopping) = (Arc::clone(&handle), stopping.clone());
        connections.spawn(async move {
            if let Err(error) = run(stream, &handle, stopping).await {
                tracing::debug!(%error, "an AMQP connection ended");
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one connection, whoever it is.
async fn run(mut stream: TcpStream, handle: &Handle, mut stopping: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::new();
    let greeted = tokio::select! {
        greeted = handshake::greet(&mut stream, &mut bytes, handle) => greeted?,
        _ = stopping.changed() => return Ok(()),
    };
    match greeted {
        None => Ok(()),
        Some((Login::User(user), tuned)) => {
            let peer = Peer::new(&mut stream, &mut bytes, tuned.heartbeat);
            connection::run(peer, (user, tuned.frame), handle, stopping).await
        }
        Some((Login::Endpoint(who), tuned)) => {
            let peer = Peer::new(&mut stream, &mut bytes, tuned.heartbeat);
            foreign::run_link(peer, (who, tuned.frame), handle, stopping).await
        }
    }
}
