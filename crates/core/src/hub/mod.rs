//! The service's machine: queues, leases, retries, deadlines (FABRIC §4, §5, the hub's side).
//!
//! `handle` takes one event; `flush` ends a driver's round. This file owns the state as a whole and who gets which
//! event; each other file owns one part of the rules. Nothing here does IO: a promise to a user or a peer is an action
//! that follows `Stored`.

mod body;
mod cancel;
mod deadline;
mod delete;
mod dispatch;
mod endpoint;
mod event;
mod explain;
mod failure;
mod held;
mod hello;
mod lease;
mod link;
mod offline;
mod queue;
mod result;
mod retry;
mod secrets;
mod slab;
mod store;
mod submit;
mod task;
mod turns;
mod view;
mod whereabouts;
mod write;

pub use event::{Action, Answer, Counter, Event, Op, Recovered, Reply, RequestId, Submit, Token, Whose};
pub use explain::{Explanation, Reason};
pub use view::{Guest, LeaseView, SessionView};

use crate::id::{ConnId, EndpointId, TaskId, UserId};
use crate::limits;
use crate::task::{Failure, TaskState};
use crate::time::{Mono, Now};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers the hub is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// Life of this service: raised in the store before it opens a port (F14).
    pub epoch: u32,
    /// Send something at least this often.
    pub heartbeat_ms: u64,
    /// Silence beyond this ends a session.
    pub threshold_ms: u64,
    /// SIGTERM to SIGKILL of a cancelled task.
    pub grace_ms: u64,
    /// Live tasks of one user beyond which nothing new of his is taken.
    pub tasks_per_user: usize,
    /// An endpoint that is offline for this long fails its tasks; `None`: they wait until their deadlines.
    pub fail_when_offline_ms: Option<u64>,
}

/// What the hub knows of an endpoint, for its status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointStatus {
    /// It has a session now.
    pub online: bool,
    /// Since when it is on- or offline; `None`: never seen since this service started.
    pub since: Option<crate::time::Wall>,
    /// Its node.
    pub host: String,
    /// Its software.
    pub software: String,
    /// Its workers' Python.
    pub python: String,
    /// Workers it may run.
    pub slots_total: u32,
    /// Workers that are idle.
    pub slots_free: u32,
    /// Its workers, by container.
    pub warm: Vec<crate::wire::Warm>,
    /// Why it can do less than it should, in its own words: its workers or executors do not start, or it stops.
    pub degraded: Option<String>,
    /// What it has asked its provider for, where that is not always the same.
    pub blocks: Option<crate::wire::Blocks>,
    /// Tasks waiting here for it.
    pub queued: usize,
    /// Attempts it holds.
    pub held: usize,
}

/// An endpoint as the store has it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEndpoint {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Highest generation seen.
    pub generation: u64,
    /// It was deleted: refuse it for ever.
    pub deleted: bool,
    /// Its last manager said that it takes calls of others than its owner.
    pub guests: bool,
}

impl KnownEndpoint {
    /// One of which no manager was seen.
    #[must_use]
    pub const fn new(endpoint: EndpointId) -> Self {
        Self { endpoint, generation: 0, deleted: false, guests: false }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Hub {
    config: Config,
    tasks: slab::Tasks,
    endpoints: Vec<endpoint::Endpoint>,
    by_id: BTreeMap<EndpointId, u32>,
    /// Connections of current sessions.
    conns: BTreeMap<ConnId, u32>,
    writes: write::Writes,
    /// Acknowledgements that wait for a write beside the one that the write itself remembers (F22).
    owed: BTreeMap<TaskId, Vec<write::Owed>>,
    cancels: cancel::Cancels,
    bodies: body::Bodies,
    secrets: secrets::Keeping,
    due: deadline::Due,
    offline: offline::Offline,
    questions: whereabouts::Questions,
    /// When each session's timers are looked at.
    timers: BTreeSet<(Mono, u32)>,
    trouble: store::Trouble,
    /// Endpoints that are being deleted.
    deleting: Vec<u32>,
    /// Endpoints that may have something to be told.
    dirty: Vec<u32>,
    bells: BTreeSet<UserId>,
    counts: BTreeMap<Counter, u64>,
    /// When `handle` was called last (F34).
    last: Mono,
}

/// What each handler is given: the time, and where actions go.
struct Cx<'a> {
    now: Now,
    out: &'a mut Vec<Action>,
}

impl Hub {
    /// The hub of a service that just started: endpoints and live tasks as the store has them.
    #[must_use]
    pub fn new(config: Config, now: Now, endpoints: Vec<KnownEndpoint>, tasks: Vec<Recovered>) -> Self {
        let mut hub = Self {
            offline: offline::Offline::new(config.fail_when_offline_ms),
            config,
            tasks: slab::Tasks::default(),
            endpoints: Vec::with_capacity(endpoints.len()),
            by_id: BTreeMap::new(),
            conns: BTreeMap::new(),
            writes: write::Writes::default(),
            owed: BTreeMap::new(),
            cancels: cancel::Cancels::default(),
            bodies: body::Bodies::default(),
            secrets: secrets::Keeping::default(),
            due: deadline::Due::default(),
            questions: whereabouts::Questions::default(),
            timers: BTreeSet::new(),
            trouble: store::Trouble::default(),
            deleting: Vec::new(),
            dirty: Vec::new(),
            bells: BTreeSet::new(),
            counts: BTreeMap::new(),
            last: now.mono,
        };
        for known in endpoints {
            hub.add_endpoint(&known, now.mono);
        }
        // In slices from its end, so that what the hub has taken over is not in memory twice.
        let (mut tasks, mut slices) = (tasks, Vec::new());
        while !tasks.is_empty() {
            slices.push(tasks.split_off(tasks.len().saturating_sub(limits::BATCH_TASKS)));
            tasks.shrink_to_fit();
        }
        for task in slices.into_iter().rev().flatten() {
            hub.recover(&task, now);
        }
        hub
    }

    /// Handles one event; appends what is to be done. Never fails, never blocks.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        self.forgive(now.mono);
        let cx = &mut Cx { now, out };
        match event {
            Event::Submit(submit) => self.on_submit(submit, cx),
            Event::Cancel { request, tasks } => self.on_cancel(request, tasks, cx),
            Event::Explain { request, task } => self.on_explain(request, task, cx),
            Event::EndpointAdded { endpoint } => self.on_endpoint_added(endpoint, now.mono),
            Event::DeleteEndpoint { request, endpoint } => self.on_delete(request, endpoint, cx),
            Event::Stored { token, answer } => self.on_stored(token, answer, cx),
            Event::StoreFailed { token, why } => self.on_store_failed(token, why, cx),
            Event::Body { hash, body } => self.on_body(hash, body, cx),
            Event::Args { task, args } => self.on_args(task, args, cx),
            Event::Granted { user, hash, granted } => self.on_granted(user, hash, granted),
            Event::Secrets { user, hash, endpoint, found } => {
                self.on_secrets((user, hash, endpoint), found, cx);
            }
            Event::Message { conn, endpoint, message } => self.on_message(conn, endpoint, message, cx),
            Event::Unreachable { conn } => self.on_unreachable(conn, cx),
            Event::Revoked { endpoint } => self.on_revoked(endpoint, cx),
            Event::Deaf => self.forgive_all(now.mono),
            Event::Tick => self.on_tick(cx),
        }
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) {
        self.run_link_timers(cx);
        self.run_deadlines(cx);
        self.run_offline(cx);
        self.run_questions(cx);
        self.repeat_writes(cx);
        self.run_deletions(cx);
    }

    /// Ends a driver round: emits the messages that the round's events made due, one per peer.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        let cx = &mut Cx { now, out };
        let mut dirty = std::mem::take(&mut self.dirty);
        for endpoint in dirty.drain(..) {
            self.endpoints[endpoint as usize].dirty = false;
            self.dispatch(endpoint, cx);
        }
        self.dirty = dirty;
        cx.out.extend(std::mem::take(&mut self.bells).into_iter().map(|user| Action::Bell { user }));
        let counts = std::mem::take(&mut self.counts);
        cx.out.extend(counts.into_iter().map(|(counter, by)| Action::Count { counter, by }));
    }

    /// When `Tick` is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let deletion = (!self.deleting.is_empty() && self.may_delete_more()).then_some(self.last);
        let timer = self.timers.first().map(|(at, _)| *at);
        [
            deletion,
            timer,
            self.due.next(),
            self.offline.next(),
            self.questions.next(),
            self.trouble.again_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Where a live task stands; `None`: not live, ask the store.
    #[must_use]
    pub fn state(&self, task: &TaskId) -> Option<TaskState> {
        let task = &self.tasks[self.tasks.find(task)?];
        Some(match task.phase {
            task::Phase::Accepting => TaskState::Received,
            _ if task.place != task::Place::Held => TaskState::WaitingForEp,
            _ if task.has_begun() => TaskState::Running,
            _ => match self.endpoints[task.endpoint as usize].status_slots() {
                Some(0) => TaskState::WaitingForNodes,
                _ => TaskState::WaitingForLaunch,
            },
        })
    }

    /// Why a live task was queued again last, once it was charged for something in this service life.
    #[must_use]
    pub fn last_loss(&self, task: &TaskId) -> Option<&Failure> {
        self.tasks[self.tasks.find(task)?].last_loss.as_deref()
    }

    /// What is known of an endpoint; `None`: no such endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: &EndpointId) -> Option<EndpointStatus> {
        let endpoint = &self.endpoints[*self.by_id.get(endpoint)? as usize];
        (!endpoint.deleted).then(|| endpoint.status())
    }

    fn count(&mut self, counter: Counter, by: u64) {
        *self.counts.entry(counter).or_default() += by;
    }

    /// Something may have to be sent to this endpoint at the end of the round.
    fn touch(&mut self, endpoint: u32) {
        let state = &mut self.endpoints[endpoint as usize];
        if !state.dirty {
            state.dirty = true;
            self.dirty.push(endpoint);
        }
    }

    fn add_endpoint(&mut self, known: &KnownEndpoint, now: Mono) -> u32 {
        let index = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX);
        self.endpoints.push(endpoint::Endpoint::new(known));
        self.by_id.insert(known.endpoint, index);
        self.offline.left(index, now);
        index
    }

    fn on_endpoint_added(&mut self, id: EndpointId, now: Mono) {
        match self.by_id.get(&id) {
            Some(&index) => {
                let endpoint = &mut self.endpoints[index as usize];
                if endpoint.deleting.is_none() {
                    endpoint.deleted = false;
                }
            }
            None => {
                self.add_endpoint(&KnownEndpoint::new(id), now);
            }
        }
    }
}
