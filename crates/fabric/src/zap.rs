//! Who may connect: the ZAP handler (RFC 27) of one context and its list of allowed keys. Served by the acceptor's
//! loop, no thread of its own. Does not own what a user may do.

use crate::curve::{self, PublicKey};
use crate::error::Error;
use crate::ffi::Link;
use crate::socket::Context;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The address where libzmq asks; fixed by RFC 27, one per context.
const ADDRESS: &str = "inproc://zeromq.zap.01";
/// The domain of every acceptor. A domain that is set makes libzmq insist on an answer.
pub(crate) const DOMAIN: &str = "bursa";
/// Requests answered in one go: the rest waits for the next round.
const BURST: usize = 64;

/// A connection that was refused for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Where it came from, if libzmq knows.
    pub from: Option<IpAddr>,
    /// The key, where it is one.
    pub key: Option<PublicKey>,
}

/// The handler and its list.
#[derive(Debug)]
pub(crate) struct Zap {
    pub(crate) link: Link,
    allowed: HashMap<PublicKey, Arc<str>>,
    /// Connections refused because of their key.
    pub(crate) refused: u64,
    /// Who is told of each.
    pub(crate) told: Option<mpsc::Sender<Refusal>>,
}

impl Zap {
    pub(crate) fn new(context: &Context) -> Result<Self, Error> {
        let socket = context.socket(zmq::REP)?;
        socket.bind(ADDRESS).map_err(|error| match error {
            zmq::Error::EADDRINUSE => Error::SecondAcceptor,
            other => Error::Socket(other),
        })?;
        Ok(Self { link: Link::new(socket)?, allowed: HashMap::new(), refused: 0, told: None })
    }

    pub(crate) fn allow(&mut self, key: PublicKey, user: String) {
        self.allowed.insert(key, user.into());
    }

    pub(crate) fn revoke(&mut self, key: &PublicKey) -> bool {
        self.allowed.remove(key).is_some()
    }

    pub(crate) fn user(&self, key: &PublicKey) -> Option<&Arc<str>> {
        self.allowed.get(key)
    }

    /// Answers what libzmq asks now. True if there may be more to answer.
    pub(crate) fn serve(&mut self) -> bool {
        for _ in 0..BURST {
            let Some(first) = self.link.frame() else { return false };
            let mut request = vec![first];
            while request.last().is_some_and(zmq::Message::get_more) {
                let Some(frame) = self.link.frame() else { break };
                request.push(frame);
            }
            self.answer(&request);
        }
        true
    }

    /// Version, request id, domain, address, routing id, mechanism, credentials → version, request id, status,
    /// text, user id, metadata. The user id is the key itself: what it stands for is looked up at each message, so
    /// that a revoked key counts no longer at once.
    fn answer(&mut self, request: &[zmq::Message]) {
        let id: &[u8] = request.get(1).map_or(&[], |frame| frame);
        let key = match request {
            [version, _, domain, _, _, mechanism, key]
                if version[..] == *b"1.0"
                    && domain[..] == *DOMAIN.as_bytes()
                    && mechanism[..] == *b"CURVE" =>
            {
                <[u8; 32]>::try_from(&key[..]).ok().map(PublicKey)
            }
            _ => None,
        };
        let known = key.filter(|key| self.allowed.contains_key(key)).map(|key| curve::encode(&key.0));
        let (status, text, user) = match &known {
            Some(user) => ("200", "OK", user.as_str()),
            None => ("400", "this key is not allowed", ""),
        };
        if known.is_none() {
            self.refused += 1;
            let from = request.get(3).and_then(|frame| frame.as_str()?.parse().ok());
            tracing::debug!(key = key.map(|key| key.to_string()), ?from, "refused a connection");
            if let Some(told) = &self.told {
                // Where there is no room it is counted all the same.
                let _ = told.try_send(Refusal { from, key });
            }
        }
        let reply = [b"1.0", id, status.as_bytes(), text.as_bytes(), user.as_bytes(), b""];
        // An asker that has gone meanwhile needs no answer.
        let _ = self.link.socket().send_multipart(reply, zmq::DONTWAIT);
    }
}
