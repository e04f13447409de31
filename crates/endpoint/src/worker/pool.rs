//! The pool's surface towards the executor's driver: what it is asked for. What it reports is in `pool/report.rs`.

mod remains;
mod report;
mod start;

use super::frames;
use super::oom::Oom;
use super::poll::Poller;
use super::process::{House, Process};
use super::zygote::Zygote;
use crate::proc::{self, PidFd};
use crate::sandbox::Enclosure;
use bursa_core::executor::{Event, Signal};
use bursa_core::id::{Hash, TaskId, WorkerId};
use bursa_core::wire::Attempt;
use bytes::{Bytes, BytesMut};
use nix::sys::signal::Signal as Unix;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes read from a worker in one go: more than the system buffers for it.
const SCRATCH: usize = 256 * 1024;
/// A worker that was told to stop, or that closed its socket, is killed after this.
const END: Duration = Duration::from_secs(10);
/// The whole pool, told to go, is killed after this.
const SHUTDOWN: Duration = Duration::from_secs(1);

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
}

/// Where the zygote stands.
#[derive(Debug)]
enum State {
    /// Not needed yet.
    Idle,
    /// Running; until it has said hello, it must do so before the deadline.
    Running(Zygote, Option<Instant>),
    /// It died or did not start: the next try is then.
    BackOff(Instant),
}

/// All workers of one executor.
pub struct Pool {
    setup: PoolSetup,
    poller: Poller,
    zygote: State,
    /// Starts in a row that gave no ready worker.
    failures: u32,
    /// Workers that the zygote was not asked for yet.
    pending: VecDeque<u32>,
    /// Workers that the zygote was asked for and has not reported.
    forking: BTreeSet<u32>,
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
        f.debug_struct("Pool").field("zygote", &self.zygote).field("workers", &self.workers.len()).finish()
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
            zygote: State::Idle,
            failures: 0,
            pending: VecDeque::new(),
            forking: BTreeSet::new(),
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

    /// Makes a worker; answered by `WorkerReady` or `WorkerFailed`.
    pub fn spawn(&mut self, worker: WorkerId) {
        let id = worker.0;
        self.oom.look();
        let cwd = self.setup.enclosure.is_none().then(|| self.setup.work.join(id.to_string()));
        match Process::new(id, cwd, &self.poller) {
            Ok(process) => {
                self.workers.insert(id, process);
                self.pending.push_back(id);
                self.advance();
            }
            Err(error) => {
                let why = format!("cannot make a worker in {}: {error}", self.setup.work.display());
                self.ready.push_back(Event::WorkerFailed { worker, why });
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
        (task, attempt): (TaskId, Attempt),
        hash: Hash,
        args: Bytes,
        flush: bool,
    ) {
        self.send(worker, &frames::run(flush, task, attempt, hash, args.len()), Some(args));
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
        let zygote = match &self.zygote {
            State::Running(_, deadline) => *deadline,
            State::BackOff(until) if !self.pending.is_empty() => Some(*until),
            _ => None,
        };
        let worker = self.deadlines.first().map(|(at, _)| *at);
        let remains = self.remains.values().copied().flatten().min();
        let houses = self.houses.values().filter_map(|(_, until)| *until).min();
        [zygote, worker, remains, houses].into_iter().flatten().min()
    }

    /// Acts on what has taken too long.
    pub fn tick(&mut self) {
        let now = Instant::now();
        self.end_remains(now);
        match &self.zygote {
            State::Running(zygote, Some(deadline)) if *deadline <= now => {
                proc::signal(zygote.pid, Unix::SIGKILL);
                self.slow_start();
            }
            State::BackOff(until) if *until <= now => self.advance(),
            _ => {}
        }
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
        if let State::Running(zygote, _) = &mut self.zygote {
            zygote.close();
            let pid = zygote.pid;
            let gone = PidFd::watch(pid);
            let in_time = match &gone {
                Ok(gone) => tokio::time::timeout(SHUTDOWN, gone.readable()).await.is_ok(),
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
