//! The service's end of the links to endpoints: frames to messages, keys to endpoints. No decision is taken here.

use crate::Error;
use crate::amqp::foreign::{Foreign, OfHub, is_foreign};
use bursa_core::id::{ConnId, EndpointId};
use bursa_core::wire::{self, Message};
use bursa_fabric::{Acceptor, Incoming, PublicKey};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages that are none, after which others get a turn: a peer may send nothing else.
const JUNK: usize = 64;

/// A message, and the endpoint that the key of its connection owns (F2).
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) conn: ConnId,
    pub(crate) endpoint: EndpointId,
    pub(crate) message: Message,
}

/// The acceptor, its allow-list fed from the registry.
#[derive(Debug)]
pub(crate) struct Forwarder {
    acceptor: Acceptor,
    abroad: Abroad,
    undecodable: u64,
    unsent: u64,
}

/// The managers of endpoints that speak AMQP: they are in this process.
#[derive(Debug)]
pub(crate) struct Abroad {
    pub(crate) foreign: Arc<Foreign>,
    pub(crate) said: mpsc::Receiver<Received>,
    pub(crate) orders: mpsc::Sender<OfHub>,
}

impl Forwarder {
    pub(crate) const fn new(acceptor: Acceptor, abroad: Abroad) -> Self {
        Self { acceptor, abroad, undecodable: 0, unsent: 0 }
    }

    /// The endpoints that speak AMQP.
    pub(crate) fn foreign(&self) -> Arc<Foreign> {
        Arc::clone(&self.abroad.foreign)
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> &str {
        self.acceptor.local_addr()
    }

    /// Lets an endpoint's key in.
    ///
    /// # Errors
    /// The stored key is not one.
    pub(crate) fn allow(&mut self, endpoint: EndpointId, key: &str) -> Result<(), Error> {
        if Foreign::owns(key) {
            self.abroad.foreign.allow(endpoint, key);
            return Ok(());
        }
        let key: PublicKey = key.parse().map_err(|_| Error::Key(endpoint))?;
        self.acceptor.allow(key, endpoint.to_string());
        Ok(())
    }

    /// Lets a key in no longer; what its connections still say is dropped.
    pub(crate) fn revoke(&mut self, key: &str) {
        self.abroad.foreign.revoke(key);
        if let Ok(key) = key.parse::<PublicKey>() {
            self.acceptor.revoke(&key);
        }
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Received {
        loop {
            for _ in 0..JUNK {
                let incoming = tokio::select! {
                    Some(received) = self.abroad.said.recv() => return received,
                    incoming = self.acceptor.recv() => incoming,
                };
                if let Some(received) = self.decode(incoming) {
                    return received;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next message, if there is one now. May say none while it drops a flood of what is no message;
    /// [`Self::recv`] then finds the rest.
    pub(crate) fn try_recv(&mut self) -> Option<Received> {
        if let Ok(received) = self.abroad.said.try_recv() {
            return Some(received);
        }
        for _ in 0..JUNK {
            let incoming = self.acceptor.try_recv()?;
            if let Some(received) = self.decode(incoming) {
                return Some(received);
            }
        }
        None
    }

    fn decode(&mut self, incoming: Incoming) -> Option<Received> {
        let endpoint: EndpointId = incoming.user.parse().ok()?;
        match wire::decode(&incoming.frames) {
            Ok(message) => Some(Received { conn: incoming.conn, endpoint, message }),
            Err(error) => {
                self.undecodable += 1;
                tracing::debug!(%endpoint, %error, "a message was dropped");
                None
            }
        }
    }

    /// Sends a message; false: the session is over.
    pub(crate) fn send(&mut self, conn: ConnId, message: Message) -> bool {
        if is_foreign(conn) {
            return self.abroad.orders.try_send((conn, Some(message))).is_ok();
        }
        let sent = match wire::encode(message) {
            Ok(frames) => self.acceptor.send(conn, &frames).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &sent {
            self.unsent += 1;
            tracing::debug!(conn = conn.0, %error, "a message could not be sent");
        }
        sent.is_ok()
    }

    /// This connection will not be spoken to again.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        if is_foreign(conn) {
            // Where it has no room its manager hears nothing more, and begins anew.
            let _ = self.abroad.orders.try_send((conn, None));
            return;
        }
        self.acceptor.forget(conn);
    }

    /// Connections now, and what was refused or dropped so far.
    pub(crate) fn counters(&self) -> (usize, Vec<(&'static str, u64)>) {
        let fabric = self.acceptor.counters();
        let counters = vec![
            ("refused_keys", fabric.refused_keys),
            ("failed_handshakes", fabric.failed_handshakes),
            ("malformed", fabric.malformed),
            ("oversized", fabric.oversized),
            ("revoked_dropped", fabric.revoked_dropped),
            ("evicted", fabric.evicted),
            ("bulk_made", fabric.bulk_made),
            ("bulk_refused", fabric.bulk_refused),
            ("bulk_lost", fabric.bulk_lost),
            ("undecodable", self.undecodable),
            ("unsent", self.unsent),
        ];
        (self.acceptor.connections(), counters)
    }
}
