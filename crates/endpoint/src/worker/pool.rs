//! The pool's surface towards the executor's driver: what it is asked for. What it reports is in `pool/report.rs`.

mod nest;
mod remains;
mod report;
mod start;

use super::frames;
use super::oom::Oom;
use super::poll::Poller;
use super::process::{House, Place, Process};
use super::share::Shares;
use crate::proc::{self, PidFd};
use crate::runtime::{Runtimes, TASK};
use crate::sandbox::Enclosure;
use bursa_core::container::Container;
use bursa_core::executor::{Event, Signal};
use bursa_core::id::{ContainerId, Hash, TaskId, UserId, WorkerId};
use bursa_core::resources::{Resources, Share};
use bursa_core::secrets::Secrets;
use bursa_core::wire::Attempt;
use bytes::{Bytes, BytesMut};
use nest::{HOST, Nest, State, Trouble, What};
use nix::sys::signal::Signal as Unix;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes read from a worker in one go: more than the system buffers for it.
const SCRATCH: usize = 256 * 1024;
/// A worker that was told to stop, or that closed its socket, is killed after this.
const END: Duration = Duration::from_secs(10);
/// The whole pool, told to go, is killed after this.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// The same where containers are removed.
const SHUTDOWN_CONTAINERS: Duration = Duration::from_secs(5);

/// What a pool needs to know.
#[derive(Debug)]
pub struct PoolSetup {
    /// The workers' Python; `None`: there is none.
    pub python: Option<PathBuf>,
    /// The directory that holds the package `bursa/`.
    pub package: PathBuf,
    /// Where workers have their directories.
    pub work: PathBuf,
    /// The sandbox of all of them; `None`: none.
    pub enclosure: Option<Enclosure>,
    /// What starts containers.
    pub runtimes: Runtimes,
    /// What each worker has for itself.
    pub shares: Shares,
}

/// All workers of one executor.
pub struct Pool {
    setup: PoolSetup,
    poller: Poller,
    /// The endpoint's own environment, and the containers.
    nests: BTreeMap<u32, Nest>,
    /// Containers that were made.
    made: u32,
    /// Containers that did not start, and when the next may.
    troubles: BTreeMap<ContainerId, Trouble>,
    /// Programs that clean up what dead executors left.
    cleaners: BTreeMap<&'static str, i32>,
    workers: BTreeMap<u32, Process>,
    /// Workers with whole frames that no round had room for yet.
    backlog: VecDeque<u32>,
    /// Workers with something to write.
    dirty: BTreeSet<u32>,
    /// When to look at which worker; may hold outdated entries.
    deadlines: BTreeSet<(Instant, u32)>,
    /// What dead workers left, and when it is killed; `None`: it was.
    remains: BTreeMap<i32, Option<Instant>>,
    /// Pid namespaces of dead workers, and when they are ended; `None`: they were.
    houses: BTreeMap<u32, (House, Option<Instant>)>,
    /// Made outside `pump`.
    ready: VecDeque<Event>,
    scratch: Vec<u8>,
    oom: Oom,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("nests", &self.nests).field("workers", &self.workers.len()).finish()
    }
}

impl Pool {
    /// An empty pool; nothing is started before the first [`Pool::spawn`]. Within a runtime.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn new(setup: PoolSetup) -> io::Result<Self> {
        Ok(Self {
            setup,
            poller: Poller::new()?,
            nests: BTreeMap::from([(HOST, Nest::new(What::Host, State::Idle))]),
            made: HOST,
            troubles: BTreeMap::new(),
            cleaners: BTreeMap::new(),
            workers: BTreeMap::new(),
            backlog: VecDeque::new(),
            dirty: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            remains: BTreeMap::new(),
            houses: BTreeMap::new(),
            ready: VecDeque::new(),
            scratch: vec![0; SCRATCH],
            oom: Oom::new(),
        })
    }

    /// Puts by for a worker to be made what of the executor its calls have for themselves.
    pub fn equip(&mut self, worker: WorkerId, asks: &Resources, share: &Share, nodes: &[u32]) {
        self.setup.shares.take(worker.0, asks, share, nodes, |other| self.workers.contains_key(&other));
    }

    /// Makes a worker; one in a container for this user alone. Answered by `WorkerReady` or `WorkerFailed`.
    pub fn spawn(&mut self, worker: WorkerId, user: UserId, container: Option<Arc<Container>>) {
        let id = worker.0;
        self.oom.look();
        let place = match &container {
            None if self.setup.enclosure.is_none() => Place::Host(self.setup.work.join(id.to_string())),
            None => Place::Inside(""),
            Some(_) => Place::Inside(TASK),
        };
        let nest = container.map_or(HOST, |container| self.nest_for(user, container));
        match Process::new(id, nest, place, &self.poller) {
            Ok(process) => {
                self.workers.insert(id, process);
                if let Some(nest) = self.nests.get_mut(&nest) {
                    nest.pending.push_back(id);
                }
                self.advance(nest);
            }
            Err(error) => {
                let why = format!("cannot make a worker in {}: {error}", self.setup.work.display());
                self.ready.push_back(Event::WorkerFailed { worker, why });
                self.left_nest(nest, false);
            }
        }
    }

    /// Gives a worker a body.
    pub fn load(&mut self, worker: WorkerId, hash: Hash, body: Bytes) {
        self.send(worker, &frames::load(hash, body.len()), Some(body));
    }

    /// Puts a call into a worker's pipe.
    pub fn run(
        &mut self,
        worker: WorkerId,
        call: (TaskId, Attempt),
        hash: Hash,
        args: Bytes,
        secrets: Option<Secrets>,
        flush: bool,
    ) {
        let head = frames::run(flush, call, hash, secrets.as_ref(), args.len());
        if let Some(process) = self.workers.get_mut(&worker.0) {
            secrets.iter().for_each(|secrets| process.masks.add(secrets));
        }
        self.send(worker, &head, Some(args));
    }

    /// Lets a worker begin none of its first `calls` calls that it has not begun.
    pub fn withhold(&self, worker: WorkerId, calls: u64) {
        if let Some(process) = self.workers.get(&worker.0) {
            process.withhold(calls);
        }
    }

    /// The number of the last call that a worker began. What it has to tell of those before is told next.
    pub fn begun(&mut self, worker: WorkerId) -> Option<u64> {
        let begun = self.workers.get(&worker.0).map(Process::begun);
        self.deliver_unsent(worker.0);
        begun
    }

    /// Signals a worker's process group.
    pub fn signal(&mut self, worker: WorkerId, signal: Signal) {
        let Some(process) = self.workers.get_mut(&worker.0) else { return };
        match signal {
            Signal::Term => process.terminate(),
            Signal::Kill => process.kill(),
        }
    }

    /// Lets a worker end when its pipe is empty.
    pub fn retire(&mut self, worker: WorkerId) {
        if let Some(process) = self.workers.get_mut(&worker.0) {
            process.is_retired = true;
        }
        self.send(worker, &frames::stop(), None);
        self.set_deadline(worker.0, END);
    }

    /// One that is gone is no error: its end is on its way to the machine.
    fn send(&mut self, worker: WorkerId, head: &BytesMut, payload: Option<Bytes>) {
        let Some(process) = self.workers.get_mut(&worker.0) else { return };
        if process.is_closed {
            return;
        }
        if process.queue(head, payload) {
            self.dirty.insert(worker.0);
        } else {
            process.distrust("it did not take its calls".into(), &self.poller);
        }
    }

    /// Writes what was queued: once per driver round, so that a worker gets all its calls at once.
    pub fn flush(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            self.write(id);
        }
    }

    fn write(&mut self, id: u32) {
        let Some(process) = self.workers.get_mut(&id) else { return };
        if let Err(error) = process.flush(&self.poller) {
            process.distrust(format!("its socket failed: {error}"), &self.poller);
        }
    }

    fn set_deadline(&mut self, id: u32, after: Duration) {
        if let Some(process) = self.workers.get_mut(&id) {
            let at = Instant::now() + after;
            process.deadline = Some(at);
            self.deadlines.insert((at, id));
        }
    }

    /// Waits until [`Pool::pump`] may have something. Cancel-safe.
    pub async fn news(&self) {
        if self.ready.is_empty() && self.backlog.is_empty() {
            self.poller.wait().await;
        }
    }

    /// When [`Pool::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let nest = self.nests.values().filter_map(Nest::next_deadline).min();
        let worker = self.deadlines.first().map(|(at, _)| *at);
        let remains = self.remains.values().copied().flatten().min();
        let houses = self.houses.values().filter_map(|(_, until)| *until).min();
        [nest, worker, remains, houses].into_iter().flatten().min()
    }

    /// Acts on what has taken too long.
    pub fn tick(&mut self) {
        let now = Instant::now();
        self.end_remains(now);
        self.tick_nests(now);
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            let Some(process) = self.workers.get_mut(&id).filter(|process| process.deadline == Some(at))
            else {
                continue;
            };
            let why = if process.is_ready { "it did not end in time" } else { "it was not ready in time" };
            process.fault.get_or_insert_with(|| why.into());
            process.kill();
        }
    }

    /// Ends every worker and the zygote. Returns when they are gone, or killed after a second.
    pub async fn shutdown(mut self) {
        for process in self.workers.values_mut() {
            process.kill();
        }
        let limit = if self.nests.len() > 1 { SHUTDOWN_CONTAINERS } else { SHUTDOWN };
        let until = Instant::now() + limit;
        let zygotes: Vec<_> = self.nests.values_mut().filter_map(|nest| nest.state.zygote()).collect();
        let mut pids = Vec::new();
        for zygote in zygotes {
            zygote.close();
            pids.push((zygote.pid, PidFd::watch(zygote.pid)));
        }
        for (pid, gone) in pids {
            let in_time = match &gone {
                Ok(gone) => tokio::time::timeout_at(until, gone.readable()).await.is_ok(),
                Err(_) => false,
            };
            if !in_time {
                proc::signal(pid, Unix::SIGKILL);
            }
        }
        proc::end_descendants();
        if let Err(error) = std::fs::remove_dir_all(&self.setup.work)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the workers' directory could not be removed");
        }
    }
}
