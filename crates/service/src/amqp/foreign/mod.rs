//! Endpoints of Globus Compute (`globus-compute-endpoint`) as endpoints of this service: they speak AMQP, and to the hub they
//! are managers like any other.
//!
//! A core endpoint registers by HTTP, is told here to start *user endpoints*, and these take tasks and give results. Each
//! endpoint has a `Manager` (pure), which says to the hub what a manager says and to its connections what they expect; the
//! loop in `driver.rs` joins them. What the hub does not know of all this: docs/decisions/0032.

mod attempts;
mod call;
mod driver;
mod end;
mod hub;
mod link;
mod manager;
mod message;
mod pace;
mod presence;
#[cfg(test)]
mod tests;

pub(crate) use driver::{Driver, Links, OfHub, is_foreign};
pub(super) use link::run as run_link;

use bursa_core::id::EndpointId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// Before the key of such an endpoint, where others have that of CURVE.
const KEY: &str = "amqp ";
/// What user and heartbeats are published to; the names say nothing here.
const RESULTS: &str = "results";
const HEARTBEATS: &str = "heartbeats";

/// The endpoints that may come, and what their passwords are made of.
#[derive(Debug)]
pub(crate) struct Foreign {
    seed: [u8; 32],
    known: Mutex<HashMap<EndpointId, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    key: String,
    about: About,
}

/// What an endpoint said of itself when it registered; empty after a restart of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) software: String,
    pub(crate) host: String,
    pub(crate) python: String,
}

/// Whose a connection is: its credentials say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) endpoint: EndpointId,
    /// One of its user endpoints; `None`: the core endpoint itself.
    pub(crate) end: Option<Uuid>,
}

impl Foreign {
    /// The passwords of a service are made of its key file: they outlive its restarts, and nobody else can make them.
    pub(crate) fn new(key_file: &Path) -> std::io::Result<Self> {
        let seed = blake3::derive_key("bursa 2026 passwords of foreign endpoints", &std::fs::read(key_file)?);
        Ok(Self { seed, known: Mutex::default() })
    }

    /// Whether a stored key is that of such an endpoint.
    pub(crate) fn owns(key: &str) -> bool {
        key.starts_with(KEY)
    }

    /// A key for a new endpoint, or for one whose key was revoked.
    pub(crate) fn new_key() -> std::io::Result<String> {
        Ok(format!("{KEY}{}", Uuid::from_bytes(crate::clock::new_id()?)))
    }

    /// Lets an endpoint in.
    pub(crate) fn allow(&self, endpoint: EndpointId, key: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let about = known.remove(&endpoint).map(|known| known.about).unwrap_or_default();
        known.insert(endpoint, Known { key: key.to_owned(), about });
    }

    /// Lets it in no longer.
    pub(crate) fn revoke(&self, key: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.key != key);
    }

    pub(crate) fn key(&self, endpoint: &EndpointId) -> Option<String> {
        self.find(endpoint).map(|known| known.key)
    }

    pub(crate) fn describe(&self, endpoint: &EndpointId, about: About) {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get_mut(endpoint) {
            known.about = about;
        }
    }

    fn about(&self, endpoint: &EndpointId) -> About {
        self.find(endpoint).map(|known| known.about).unwrap_or_default()
    }

    fn find(&self, endpoint: &EndpointId) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned()
    }

    /// A number of this kind of the endpoint's, the same in every life of the service.
    fn derived(&self, endpoint: &EndpointId, parts: &[&str]) -> Option<[u8; 32]> {
        let key = self.key(endpoint)?;
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        for part in std::iter::once(key.as_str()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Some(*hasher.finalize().as_bytes())
    }

    fn password(&self, who: &Who) -> Option<String> {
        Some(blake3::Hash::from_bytes(self.derived(&who.endpoint, &["password", &name(who)])?).to_string())
    }

    /// The id of a user endpoint: one for each user, options and runtime, whenever it is asked for.
    fn end_id(&self, endpoint: &EndpointId, parts: &[&str]) -> Option<Uuid> {
        let bytes = self.derived(endpoint, &[&["user endpoint"], parts].concat())?;
        let first = bytes.first_chunk::<16>()?;
        Some(uuid::Builder::from_custom_bytes(*first).into_uuid())
    }

    /// Whose credentials these are.
    pub(super) fn who(&self, user: &str, password: &str) -> Option<Who> {
        let (endpoint, end) = match user.split_once('.') {
            Some((endpoint, end)) => (endpoint, Some(end.parse().ok()?)),
            None => (user, None),
        };
        let who = Who { endpoint: endpoint.parse().ok()?, end };
        // The comparison of hashes takes the same time wherever they differ.
        let expected = blake3::Hash::from_hex(self.password(&who)?).ok()?;
        (blake3::Hash::from_hex(password).ok()? == expected).then_some(who)
    }

    /// What a core endpoint (or a user endpoint, in the command that starts it) is told of its queues.
    pub(crate) fn queues(&self, who: &Who, place: &str) -> Option<Value> {
        let url = super::url(place, &name(who), &self.password(who)?);
        let id = who.end.map_or_else(|| who.endpoint.to_string(), |end| end.to_string());
        let publish = |exchange: &str| {
            json!({
                "connection_url": url,
                "exchange": exchange,
                "queue": exchange,
                "queue_publish_kwargs": {
                    "exchange": exchange,
                    "routing_key": format!("{id}.{exchange}"),
                    "mandatory": true,
                    "properties": { "delivery_mode": 2 },
                },
            })
        };
        Some(json!({
            "endpoint_id": id,
            "command_queue_info": { "connection_url": url, "queue": format!("{id}.commands") },
            "task_queue_info": { "connection_url": url, "exchange": "tasks", "queue": format!("{id}.tasks") },
            "result_queue_info": publish(RESULTS),
            "heartbeat_queue_info": publish(HEARTBEATS),
        }))
    }
}

/// The name that a connection logs in with.
fn name(who: &Who) -> String {
    match who.end {
        Some(end) => format!("{}.{end}", who.endpoint),
        None => who.endpoint.to_string(),
    }
}
