//! Function bodies and large arguments on their way from the store to an endpoint (F35).
//!
//! Owns a cache of bodies, least recently used out first, and who waits for which body. One read per body at a time.

use super::event::Action;
use super::failure;
use super::slab::Slot;
use super::task::Place;
use super::{Cx, Hub};
use crate::id::{Hash, TaskId};
use crate::limits;
use crate::task::{Args, TaskState};
use crate::wire::{Blob, Item, ResetReason};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Bodies looked at in one round for one endpoint.
const SERVED: usize = 64;
/// Bodies read at once for one endpoint.
const READING: usize = 8;

/// A body in the cache.
#[derive(Debug)]
struct Cached {
    body: Bytes,
    used: u64,
}

/// Who waits for a body that is being read.
#[derive(Debug, Default)]
struct Waiting {
    tasks: Vec<TaskId>,
    endpoints: BTreeSet<u32>,
}

/// The bodies that are here or being read.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    cached: BTreeMap<Hash, Cached>,
    by_use: BTreeMap<u64, Hash>,
    bytes: usize,
    uses: u64,
    loading: BTreeMap<Hash, Waiting>,
}

impl Bodies {
    /// Bodies that are being read.
    pub(super) fn waits(&self) -> usize {
        self.loading.len()
    }

    /// The body, if it is here.
    pub(super) fn get(&mut self, hash: &Hash) -> Option<Bytes> {
        let cached = self.cached.get_mut(hash)?;
        self.by_use.remove(&cached.used);
        self.uses += 1;
        cached.used = self.uses;
        self.by_use.insert(cached.used, *hash);
        Some(cached.body.clone())
    }

    fn add(&mut self, hash: Hash, body: Bytes) {
        if self.get(&hash).is_some() {
            return;
        }
        self.uses += 1;
        self.bytes += body.len();
        self.by_use.insert(self.uses, hash);
        self.cached.insert(hash, Cached { body, used: self.uses });
        while self.bytes > limits::BODY_CACHE_BYTES && self.cached.len() > 1 {
            let Some((_, hash)) = self.by_use.pop_first() else { return };
            if let Some(evicted) = self.cached.remove(&hash) {
                self.bytes -= evicted.body.len();
            }
        }
    }

    /// The task waits for the body; true if its read must be asked for.
    pub(super) fn wait_task(&mut self, hash: Hash, task: TaskId) -> bool {
        let asked = self.loading.contains_key(&hash);
        self.loading.entry(hash).or_default().tasks.push(task);
        !asked
    }

    fn wait_endpoint(&mut self, hash: Hash, endpoint: u32) -> bool {
        let asked = self.loading.contains_key(&hash);
        self.loading.entry(hash).or_default().endpoints.insert(endpoint);
        !asked
    }
}

impl Hub {
    /// A manager lacks a body: it holds what needs it and waits.
    pub(super) fn on_want_function(&mut self, endpoint: u32, hash: Hash) -> Result<(), ResetReason> {
        let Some(link) = self.endpoints[endpoint as usize].live_link() else { return Ok(()) };
        if link.wanted.len() >= limits::SESSION_HASHES {
            return Err(ResetReason::Protocol);
        }
        link.wanted.insert(hash);
        Ok(())
    }

    /// Says bodies that are here and reads some that are not; returns the bytes said. Bounded: a peer that wants
    /// everything at once gets it message by message.
    pub(super) fn serve_functions(&mut self, endpoint: u32, cx: &mut Cx<'_>) -> usize {
        let Some(link) = self.endpoints[endpoint as usize].live_link() else { return 0 };
        let mut bytes = 0;
        let first: Vec<Hash> = link.wanted.iter().take(SERVED).copied().collect();
        for hash in first {
            if bytes >= limits::MESSAGE_BYTES || link.session.unsent() >= limits::BATCH_ITEMS {
                break;
            }
            if let Some(body) = self.bodies.get(&hash) {
                bytes += body.len();
                link.wanted.remove(&hash);
                link.learn(hash);
                link.session.push(Item::Function { hash, body: Some(Blob::Here(body)) });
            } else if link.reading.len() < READING
                && link.reading.insert(hash)
                && self.bodies.wait_endpoint(hash, endpoint)
            {
                cx.out.push(Action::LoadBody { hash });
            }
        }
        bytes
    }

    pub(super) fn on_body(&mut self, hash: Hash, body: Option<Bytes>, cx: &mut Cx<'_>) {
        let waiting = self.bodies.loading.remove(&hash).unwrap_or_default();
        if let Some(body) = &body {
            self.bodies.add(hash, body.clone());
        }
        for endpoint in waiting.endpoints {
            // The session that asked may be over; the next one asks again.
            let Some(link) = self.endpoints[endpoint as usize].live_link() else { continue };
            link.reading.remove(&hash);
            if body.is_none() && link.wanted.remove(&hash) {
                link.unlearn(&hash);
                link.session.push(Item::Function { hash, body: None });
            }
            self.touch(endpoint);
        }
        for task in waiting.tasks.into_iter().rev() {
            let Some(slot) = self.loading(&task).filter(|&slot| self.tasks[slot].hash == hash) else {
                continue;
            };
            if body.is_some() {
                self.loaded(slot);
            } else {
                self.end_with(slot, TaskState::Failed, failure::body_gone(), cx);
            }
        }
    }

    pub(super) fn on_args(&mut self, task: TaskId, args: Option<Bytes>, cx: &mut Cx<'_>) {
        let Some(slot) = self.loading(&task) else { return };
        match args {
            Some(args) => {
                // Its size, as credit counts it, stays what it was when it began to wait.
                let endpoint = self.tasks[slot].endpoint as usize;
                self.endpoints[endpoint].place(&mut self.tasks, slot, Place::Nowhere);
                self.tasks[slot].args = Args::Here(args);
                self.loaded(slot);
            }
            None => self.end_with(slot, TaskState::Failed, failure::args_gone(), cx),
        }
    }

    pub(super) fn loading(&self, task: &TaskId) -> Option<Slot> {
        self.tasks.find(task).filter(|&slot| self.tasks[slot].place == Place::Loading)
    }

    pub(super) fn loaded(&mut self, slot: Slot) {
        let endpoint = self.tasks[slot].endpoint;
        self.endpoints[endpoint as usize].place_first(&mut self.tasks, slot);
        self.touch(endpoint);
    }
}
