//! What the hub keeps of one endpoint: its lists of tasks, its leases, its session, and what its status page shows.
//!
//! Owns which list a task is in and how much credit is left; takes no decisions about tasks.

use super::lease::Leases;
use super::queue::{List, WORK};
use super::slab::{Slot, Tasks};
use super::task::{Place, Task};
use super::turns::Queue;
use super::{EndpointStatus, KnownEndpoint, RequestId};
use crate::id::{ConnId, EndpointId, Hash, ManagerId, TaskId};
use crate::limits;
use crate::time::{Mono, Wall};
use crate::wire::{Attempt, Capacity, Holding, Item, Peer, Session};
use std::collections::BTreeSet;

/// The last `Hello` that was accepted: what later ones are compared with (F4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) manager: ManagerId,
    pub(super) generation: u64,
    pub(super) connection: u64,
}

/// The endpoint's one current session (F2, I10).
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) session: Session,
    pub(super) peer: Peer,
    pub(super) seen: Seen,
    pub(super) proto: u8,
    /// The last page of `Hello` was handled.
    pub(super) paged: bool,
    /// `Welcome` was said: items count from here on.
    pub(super) live: bool,
    /// All pages of holdings, until `Welcome`.
    pub(super) held: Vec<Holding>,
    pub(super) complete: bool,
    pub(super) capacity: Capacity,
    /// Bodies that the manager has, or was sent in this session (F35).
    pub(super) functions: BTreeSet<Hash>,
    /// The hash found there last: most tasks in a row share one.
    last_function: Option<Hash>,
    /// Bodies asked for and not said yet.
    pub(super) wanted: BTreeSet<Hash>,
    /// Of these, being read.
    pub(super) reading: BTreeSet<Hash>,
    /// When its timers are looked at next.
    pub(super) timer: Mono,
}

impl Link {
    pub(super) const fn new(conn: ConnId, session: Session, peer: Peer, seen: Seen, proto: u8) -> Self {
        Self {
            conn,
            session,
            peer,
            seen,
            proto,
            paged: false,
            live: false,
            held: Vec::new(),
            complete: false,
            capacity: Capacity {
                credit_tasks: 0,
                credit_bytes: 0,
                slots_total: 0,
                slots_free: 0,
                warm: Vec::new(),
                degraded: None,
                blocks: None,
            },
            functions: BTreeSet::new(),
            last_function: None,
            wanted: BTreeSet::new(),
            reading: BTreeSet::new(),
            timer: Mono(0),
        }
    }

    /// Whether the manager has, or was sent, this body.
    pub(super) fn knows(&mut self, hash: &Hash) -> bool {
        if self.last_function == Some(*hash) {
            return true;
        }
        let known = self.functions.contains(hash);
        if known {
            self.last_function = Some(*hash);
        }
        known
    }

    /// The manager lacks this body and the store has none.
    pub(super) fn unlearn(&mut self, hash: &Hash) {
        self.functions.remove(hash);
        self.last_function = None;
    }

    /// This body was sent.
    pub(super) fn learn(&mut self, hash: Hash) {
        if self.functions.len() >= limits::SESSION_HASHES {
            self.functions.clear();
        }
        self.functions.insert(hash);
        self.last_function = Some(hash);
    }
}

/// A deletion that is under way (F37).
#[derive(Debug, Default)]
pub(super) struct Deleting {
    /// Who waits for it.
    pub(super) requests: Vec<RequestId>,
    /// The endpoint itself is being marked.
    pub(super) marking: bool,
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) id: EndpointId,
    pub(super) deleted: bool,
    pub(super) deleting: Option<Deleting>,
    /// Highest generation that is stored (F5).
    pub(super) generation: u64,
    /// Highest generation that is stored or being stored.
    pub(super) asked_generation: u64,
    pub(super) seen: Option<Seen>,
    pub(super) link: Option<Box<Link>>,
    pub(super) leases: Leases,
    /// The manager that the leases of this life were given to.
    pub(super) lease_manager: Option<ManagerId>,
    /// The endpoint's first `complete` since the service started has come (F11).
    pub(super) completed: bool,
    parked: Queue,
    pub(super) queue: Queue,
    pub(super) loading: List<WORK>,
    pub(super) held: List<WORK>,
    loading_bytes: u64,
    /// Records that name this endpoint.
    pub(super) live: usize,
    /// Something may have to be sent to it.
    pub(super) dirty: bool,
    /// Answers to strays that may still be given, and when that number was true.
    resets: (u64, Mono),
    /// When it went on- or offline.
    pub(super) since: Option<Wall>,
    pub(super) host: String,
    pub(super) software: String,
    pub(super) python: String,
    /// Its last manager said that it takes calls of others than its owner.
    pub(super) guests: bool,
}

impl Endpoint {
    pub(super) fn new(known: &KnownEndpoint) -> Self {
        let KnownEndpoint { endpoint: id, generation, deleted, guests } = *known;
        Self {
            id,
            deleted,
            deleting: None,
            generation,
            asked_generation: generation,
            seen: None,
            link: None,
            leases: Leases::default(),
            lease_manager: None,
            completed: false,
            parked: Queue::default(),
            queue: Queue::default(),
            loading: List::default(),
            held: List::default(),
            loading_bytes: 0,
            live: 0,
            dirty: false,
            resets: (RESETS, Mono(0)),
            since: None,
            host: String::new(),
            software: String::new(),
            python: String::new(),
            guests,
        }
    }

    /// Whether new tasks may be submitted to it.
    pub(super) const fn is_open(&self) -> bool {
        !self.deleted && self.deleting.is_none()
    }

    /// Its session, once `Welcome` was said.
    pub(super) fn live_link(&mut self) -> Option<&mut Link> {
        self.link.as_deref_mut().filter(|link| link.live)
    }

    /// Says `item` in the live session; what cannot be said now follows from the next session's holdings (F7).
    pub(super) fn say(&mut self, item: Item) {
        if let Some(link) = self.live_link() {
            link.session.push(item);
        }
    }

    pub(super) fn cancel_attempt(&mut self, task: TaskId, attempt: Attempt, grace_ms: u64) {
        self.say(Item::Cancel { task, attempt, grace_ms });
    }

    /// The queue behind a place. Parked tasks are in the queue once the endpoint completed.
    fn queue(&mut self, place: Place) -> Option<&mut Queue> {
        match place {
            Place::Parked if !self.completed => Some(&mut self.parked),
            Place::Parked | Place::Queue => Some(&mut self.queue),
            Place::Nowhere | Place::Loading | Place::Held => None,
        }
    }

    /// The list behind a place at the endpoint, or on the way there.
    const fn there(&mut self, place: Place) -> Option<&mut List<WORK>> {
        match place {
            Place::Nowhere | Place::Parked | Place::Queue => None,
            Place::Loading => Some(&mut self.loading),
            Place::Held => Some(&mut self.held),
        }
    }

    /// Moves a task to the end of another list, or to none.
    pub(super) fn place(&mut self, tasks: &mut Tasks, slot: Slot, place: Place) {
        self.leave(tasks, slot);
        tasks[slot].place = place;
        self.count_loading(&tasks[slot], true);
        if let Some(queue) = self.queue(place) {
            queue.push_back(tasks, slot);
        } else if let Some(list) = self.there(place) {
            list.push_back(tasks, slot);
            self.queue.goes(tasks[slot].user);
        }
    }

    /// Moves a task to the head of its user's queue.
    pub(super) fn place_first(&mut self, tasks: &mut Tasks, slot: Slot) {
        self.leave(tasks, slot);
        tasks[slot].place = Place::Queue;
        self.queue.push_front(tasks, slot);
    }

    fn leave(&mut self, tasks: &mut Tasks, slot: Slot) {
        let place = tasks[slot].place;
        self.count_loading(&tasks[slot], false);
        if let Some(queue) = self.queue(place) {
            queue.remove(tasks, slot);
        } else if let Some(list) = self.there(place) {
            list.remove(tasks, slot);
            self.queue.left(tasks[slot].user);
        }
        tasks[slot].place = Place::Nowhere;
    }

    fn count_loading(&mut self, task: &Task, enters: bool) {
        if task.place == Place::Loading {
            let bytes = task.args.len() as u64;
            self.loading_bytes =
                if enters { self.loading_bytes + bytes } else { self.loading_bytes.saturating_sub(bytes) };
        }
    }

    /// The first `complete` of this service life: parked tasks go before those accepted since (F11).
    pub(super) fn unpark(&mut self, tasks: &mut Tasks) {
        if !self.completed {
            self.completed = true;
            let parked = std::mem::take(&mut self.parked);
            self.queue.prepend(tasks, parked);
        }
    }

    /// Any task that can be ended for the endpoint's deletion.
    pub(super) fn any_waiting(&self) -> Option<Slot> {
        self.parked.front().or_else(|| self.queue.front()).or_else(|| self.loading.front())
    }

    /// Every list of its tasks.
    pub(super) fn lists(&self) -> impl Iterator<Item = &List<WORK>> {
        self.parked.lists().chain(self.queue.lists()).chain([&self.loading, &self.held])
    }

    pub(super) const fn waiting(&self) -> usize {
        self.parked.len() + self.queue.len() + self.loading.len()
    }

    /// Whether one more attempt may be sent (F25): credit is compared with the set of confirmed leases, and with what
    /// is being read in order to be sent.
    pub(super) fn has_credit(&self) -> bool {
        let Some(link) = self.link.as_deref().filter(|link| link.live) else { return false };
        let tasks = self.leases.confirmed() + self.loading.len();
        let bytes = self.leases.bytes() + self.loading_bytes;
        let credit = (link.capacity.credit_tasks as usize).min(limits::CREDIT_TASKS);
        let credit_bytes = link.capacity.credit_bytes.min(limits::CREDIT_BYTES as u64);
        tasks < credit && (tasks == 0 || bytes < credit_bytes)
    }

    /// Whether one more stray may be answered now: a few at once, then ten a second (F2).
    pub(super) fn may_answer_stray(&mut self, now: Mono) -> bool {
        let (left, at) = self.resets;
        let left = (left + now.since(at) / RESET_MS).min(RESETS);
        if left == 0 {
            return false;
        }
        self.resets = (left - 1, now);
        true
    }

    pub(super) const fn changed_at(&mut self, now: Wall) {
        self.since = Some(now);
    }

    /// Workers it may run; `None` while it is away.
    pub(super) fn status_slots(&self) -> Option<u32> {
        self.link.as_deref().filter(|link| link.live).map(|link| link.capacity.slots_total)
    }

    /// What it said it can take; `None` while it is away.
    pub(super) fn live_capacity(&self) -> Option<&Capacity> {
        self.link.as_deref().filter(|link| link.live).map(|link| &link.capacity)
    }

    pub(super) fn status(&self) -> EndpointStatus {
        let live = self.link.as_deref().filter(|link| link.live);
        EndpointStatus {
            online: live.is_some(),
            since: self.since,
            host: self.host.clone(),
            software: self.software.clone(),
            python: self.python.clone(),
            slots_total: live.map_or(0, |link| link.capacity.slots_total),
            slots_free: live.map_or(0, |link| link.capacity.slots_free),
            warm: live.map_or_else(Vec::new, |link| link.capacity.warm.clone()),
            degraded: live.and_then(|link| link.capacity.degraded.clone()),
            blocks: live.and_then(|link| link.capacity.blocks.clone()),
            queued: self.waiting(),
            held: self.held.len() + self.leases.strays(),
        }
    }
}

/// Strays answered in one burst.
const RESETS: u64 = 10;
/// Then one each.
const RESET_MS: u64 = 100;
