//! A seeded world: hub, managers, executors and workers under virtual time in one thread.
//!
//! Everything follows from one seed and one [`Plan`]: latencies, batching, run times, faults. The three machines are the
//! real ones; store, links, processes and clients are models with the faults that FABRIC §3 and §8 allow. After every
//! step the invariants I1–I12 of FABRIC §10 are checked ([`check`]); the first one that does not hold ends the run with
//! a [`Violation`] that carries the last events and the command to replay it.
//!
//! That the checks can fail was seen by breaking rules on purpose; `tests/world.rs` lists which.

mod check;
mod client;
mod endpoint;
mod faults;
mod link;
mod node;
mod records;
mod report;
mod scan;
mod scheduler;
mod service;
mod shape;
mod show;
mod store;
mod worker;
mod workers;

pub use faults::{Fault, Planned, Second, Slip};
pub use report::{Report, Violation};
pub use scheduler::Scheduler;
pub use shape::{Calls, Plan, Shape};
pub use store::{Record, Store};

use crate::id::{BlockId, ConnId, EndpointId, ExecutorId, Hash, TaskId, WorkerId};
use crate::rng::Rng;
use crate::time::Now;
use crate::{executor, hub, manager};
use bytes::Bytes;
use check::Check;
use client::Client;
use link::{Net, Way};
use node::{Directory, ExecutorProc, ManagerProc, Service};
use report::Trace;
use std::collections::{BTreeMap, BTreeSet};

/// Microseconds of the world's own clock.
type Us = u64;

/// One process; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pid(u64);

/// An event for a machine.
#[derive(Debug)]
enum Note {
    Hub(hub::Event),
    Manager(manager::Event),
    Executor(executor::Event),
}

/// Something that happens at its time.
#[derive(Debug)]
enum Due {
    /// A process does one round.
    Wake(Pid),
    /// A message may arrive.
    Arrive(ConnId, Way),
    /// A connect ends, well or not.
    Connected(Pid, u64),
    /// The connector's socket sees that its connection is dead.
    LinkLost(Pid, ConnId),
    /// The outside tells a machine something.
    Post(Pid, Box<Note>),
    /// The store's group is written.
    Commit(Pid),
    StartService,
    StartManager(usize, usize),
    Launch {
        asked_by: Pid,
        block: BlockId,
        executor: ExecutorId,
    },
    Kill(Pid, ExecutorId),
    JobStarts(usize, BlockId),
    JobEnds(usize, BlockId, Option<Pid>),
    WorkerUp(Pid, WorkerId),
    WorkerEnds(Pid, WorkerId, u64),
    WorkerDies(Pid, WorkerId, i32),
    Submit(usize),
    Retry(hub::RequestId),
    Cancel(TaskId),
    Strike(Fault),
    /// A revoked endpoint is allowed again.
    Allow(usize),
}

/// An endpoint of the world.
#[derive(Debug)]
struct Endpoint {
    id: EndpointId,
    dirs: Vec<Directory>,
    /// The directory whose manager was welcome last.
    in_charge: usize,
    revoked: bool,
    was_revoked: bool,
    /// A user asked for its deletion.
    deleted: bool,
    /// Executors asked for and not to be started any more, or dead.
    gone: BTreeSet<ExecutorId>,
    /// What its managers asked for, ever.
    blocks: BTreeMap<BlockId, ExecutorId>,
    /// What its scheduler knows, if it has one.
    jobs: BTreeMap<BlockId, scheduler::Job>,
}

/// How long a world is watched after it went quiet.
const WATCH_US: Us = 100_000_000;
/// How long a world may need to go quiet after its last fault.
const PATIENCE_US: Us = 1_800_000_000;

/// The world.
#[derive(Debug)]
pub struct World {
    shape: Shape,
    now: Us,
    order: u64,
    queue: BTreeMap<(Us, u64), Due>,
    rng: Rng,
    next_pid: u64,
    store: Store,
    store_fails_until: Us,
    store_slow: Us,
    store_slow_until: Us,
    wall_offset_ms: i64,
    /// Until then users cancel calls that are about to end.
    races_until: Us,
    net: Net,
    service: Option<Service>,
    managers: BTreeMap<Pid, ManagerProc>,
    executors: BTreeMap<Pid, ExecutorProc>,
    endpoints: Vec<Endpoint>,
    hashes: Vec<Hash>,
    has_large_bodies: bool,
    client: Client,
    check: Check,
    trace: Trace,
    steps: u64,
    /// Workers that live, and the most that ever did.
    workers: usize,
    workers_most: usize,
    /// Managers that their watchdogs are about to start again.
    restarts: u32,
    last_fault: Us,
    quiet_since: Option<Us>,
}

/// Runs a world to its quiet end.
///
/// # Errors
/// The first [`Violation`], with a trace of the events before it.
pub fn run(seed: u64, plan: &Plan) -> Result<Report, Box<Violation>> {
    // Tracing costs more than the machines themselves: only a failing world is run again with it.
    match World::new(seed, plan, false).run() {
        Ok(report) => Ok(report),
        Err(first) => match World::new(seed, plan, true).run() {
            Err(traced) => Err(traced),
            Ok(_) => Err(first),
        },
    }
}

impl World {
    fn new(seed: u64, plan: &Plan, traced: bool) -> Self {
        let mut world = Self {
            shape: plan.shape.clone(),
            now: 1_000_000,
            order: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed),
            next_pid: 0,
            store: Store::default(),
            store_fails_until: 0,
            store_slow: 0,
            store_slow_until: 0,
            wall_offset_ms: 0,
            races_until: 0,
            net: Net::default(),
            service: None,
            managers: BTreeMap::new(),
            executors: BTreeMap::new(),
            endpoints: Vec::new(),
            hashes: Vec::new(),
            has_large_bodies: false,
            client: Client::default(),
            check: Check::default(),
            trace: Trace::new(traced),
            steps: 0,
            workers: 0,
            workers_most: 0,
            restarts: 0,
            last_fault: 0,
            quiet_since: None,
        };
        world.populate(plan);
        world
    }

    fn populate(&mut self, plan: &Plan) {
        for n in 0..3_u8 {
            let body = Bytes::from(vec![n; 100 + 2_000_000 * usize::from(n == 2)]);
            self.hashes.push(self.store.add_body(body));
        }
        for index in 0..self.shape.endpoints {
            let id = EndpointId::from_bytes(self.rng.uuid());
            self.store.add_endpoint(id);
            let dirs = vec![Directory { watchdogs: 1, ..Directory::default() }];
            let gone = BTreeSet::new();
            self.endpoints.push(Endpoint {
                id,
                dirs,
                in_charge: 0,
                revoked: false,
                was_revoked: false,
                deleted: false,
                gone,
                blocks: BTreeMap::new(),
                jobs: BTreeMap::new(),
            });
            let delay = self.rng.below(2_000_000);
            self.at(delay, Due::StartManager(index, 0));
        }
        self.start_service();
        self.plan_submits();
        for planned in &plan.faults {
            self.at(planned.at_ms * 1_000, Due::Strike(planned.fault));
            self.last_fault = self.last_fault.max(self.now + planned.over_ms() * 1_000);
        }
    }

    /// Arranges `due` to happen `delay` from now.
    fn at(&mut self, delay: Us, due: Due) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), due);
    }

    fn clock(&self) -> Now {
        node::clock(self.now, self.wall_offset_ms)
    }

    fn fresh_pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    /// A random delay of at most `bound`.
    fn soon(&mut self, bound: Us) -> Us {
        self.rng.below(bound)
    }

    fn trace(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.add(now, line);
    }

    /// Lets everything happen in its order until the world has been quiet for a while.
    fn run(mut self) -> Result<Report, Box<Violation>> {
        while let Some(((at, _), due)) = self.queue.pop_first() {
            self.now = at;
            self.happen(due);
            self.check.bound_idling(self.now, self.managers.len() + self.executors.len() + 1);
            if let Some((rule, text)) = self.check.failed.take() {
                return Err(self.violation(rule, text));
            }
            match self.quiet_since {
                Some(since) if at > since + WATCH_US && self.is_quiet() => return self.finish(),
                // Something was still on its way, such as a refusal: quiet begins anew.
                Some(since) if at > since + WATCH_US => self.quiet_since = None,
                Some(_) => {}
                None if self.is_quiet() => {
                    self.trace(|| "quiet".into());
                    self.quiet_since = Some(at);
                }
                None if at > self.last_fault.max(self.client.last_submit) + PATIENCE_US => {
                    let text = self.unrest();
                    return Err(self.violation("I11", text));
                }
                None => {}
            }
        }
        // Even heartbeats have ended: every endpoint is deleted.
        self.now = self.now.max(self.last_fault + 1);
        self.finish()
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Wake(pid) => self.wake(pid),
            Due::Arrive(conn, way) => self.arrive(conn, way),
            Due::Connected(pid, ticket) => self.connected(pid, ticket),
            Due::LinkLost(pid, conn) => self.link_lost(pid, conn),
            Due::Post(pid, note) => self.post(pid, *note),
            Due::Commit(pid) => self.commit(pid),
            Due::StartService => self.start_service(),
            Due::StartManager(endpoint, dir) => {
                self.restarts = self.restarts.saturating_sub(1);
                self.start_manager(endpoint, dir);
            }
            Due::Launch { asked_by, block, executor } => self.launch(asked_by, block, executor),
            Due::Kill(pid, executor) => self.kill(pid, executor),
            Due::JobStarts(endpoint, block) => self.job_starts(endpoint, block),
            Due::JobEnds(endpoint, block, asked_by) => self.job_ends(endpoint, block, asked_by),
            Due::WorkerUp(pid, worker) => self.worker_up(pid, worker),
            Due::WorkerEnds(pid, worker, call) => self.worker_ends(pid, worker, call),
            Due::WorkerDies(pid, worker, signal) => self.end_worker(pid, worker, Some(signal), None),
            Due::Submit(batch) => self.submit(batch),
            Due::Retry(request) => self.retry(request),
            Due::Cancel(task) => self.cancel(vec![task]),
            Due::Strike(fault) => self.strike(fault),
            Due::Allow(endpoint) => self.allow(endpoint),
        }
    }
}
