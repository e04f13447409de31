//! Results for clients that read AMQP 0-9-1: Globus Compute's `Executor` and funcX's from 1.0 on.
//!
//! There is no broker: a "queue" is a task group of the user, and what is in it are the group's results in the store
//! behind a cursor (`cursors.rs`). The subset of AMQP and its pitfalls: docs/compat.md.

mod codec;
mod connection;
mod consumer;
mod credentials;
mod cursors;
mod message;

pub(crate) use credentials::Credentials;
pub(crate) use cursors::Cursors;

use crate::handle::Handle;
use bursa_core::limits;
use std::sync::Arc;
use tokio::net::TcpListener;
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
            if let Err(error) = connection::run(stream, &handle, stopping).await {
                tracing::debug!(%error, "an AMQP connection ended");
            }
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}
