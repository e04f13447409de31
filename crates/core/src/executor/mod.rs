//! The node's machine: a pool of workers, and the attempts they run.
//!
//! It decides which call goes into which worker's pipe, how each attempt ended, and what the manager is told. It never
//! invents, renumbers or restarts an attempt (F16). Its parts: `uplink` and `report` (the session, and what is said in
//! it), `order` (what the manager says), `dispatch` (lanes to pipes), `running` and `death` (what workers say), `recall`,
//! `stop`.

mod attempt;
mod bodies;
mod death;
mod depth;
mod dispatch;
mod event;
mod lane;
mod order;
mod patience;
mod pool;
mod recall;
mod report;
mod running;
mod spawning;
mod stop;
mod turn;
mod uplink;
mod verdict;
mod warm;

pub use event::{Action, Event, Signal, Verdict, WorkerDone, WorkerExit};

use crate::id::{ExecutorId, WorkerId};
use crate::limits;
use crate::resources::Resources;
use crate::rng::Rng;
use crate::task::Outcome;
use crate::time::{Fine, Mono, Now};
use crate::wire::{Done, Item};
use attempt::{Attempts, Entry, Key, Open, Place};
use bodies::Bodies;
use depth::Depths;
use lane::{LaneKey, Lanes};
use pool::Pool;
use spawning::Spawning;
use std::collections::BTreeSet;
use stop::Drain;
use uplink::{Link, Uplink};

/// What an executor is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// This process.
    pub executor: ExecutorId,
    /// The node's name, for people.
    pub host: String,
    /// Software and version, for people.
    pub software: String,
    /// Workers it may run at once.
    pub workers: u32,
    /// What this node has, and how many nodes this executor commands.
    pub has: Resources,
    /// Its accelerators are given to workers, one to each that asks for none.
    pub accelerated: bool,
    /// An idle worker ends after this.
    pub idle_ms: u64,
    /// Workers that are made before the first call, and stay when idle.
    pub min_warm: u32,
    /// Attempts offered per worker beyond the running one.
    pub prefetch: u32,
    /// Without a manager, nothing new is started after this (F13).
    pub orphan_start_ms: u64,
    /// Without a manager, this executor ends after this (F13).
    pub orphan_ms: u64,
    /// Seed of its generator: session numbers, jitter.
    pub seed: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Executor {
    config: Config,
    rng: Rng,
    /// The time of this event, for durations.
    clock: Fine,
    uplink: Uplink,
    attempts: Attempts,
    lanes: Lanes,
    /// Lanes that may have something to start.
    todo: BTreeSet<LaneKey>,
    pool: Pool,
    spawning: Spawning,
    /// When a call will have waited long enough for another lane's worker to make room.
    patience: Option<Mono>,
    bodies: Bodies,
    depths: Depths,
    /// Calls that began and are not told.
    begun: Vec<(Key, WorkerId)>,
    /// `major.minor` of the workers' Python.
    python: String,
    /// The manager should hear of the capacity even if there is nothing else to say.
    capacity_news: bool,
    drain: Option<Drain>,
    ignored: u64,
    ended: bool,
}

impl Executor {
    /// An executor that just started; its first actions come with the first `Tick`.
    #[must_use]
    pub fn new(config: Config, now: Now) -> Self {
        Self {
            rng: Rng::new(config.seed),
            clock: now.fine,
            uplink: Uplink::new(now.mono),
            attempts: Attempts::default(),
            lanes: Lanes::default(),
            todo: BTreeSet::new(),
            pool: Pool::new(&config.has, config.workers, config.accelerated),
            spawning: Spawning::default(),
            patience: None,
            bodies: Bodies::default(),
            depths: Depths::default(),
            begun: Vec::new(),
            python: String::new(),
            capacity_news: false,
            drain: None,
            ignored: 0,
            ended: false,
            config,
        }
    }

    /// Handles one event; appends what is to be done. Never fails, never blocks.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        self.clock = now.fine;
        let now = now.mono;
        self.uplink.awake(now);
        match event {
            Event::LinkUp => self.link_up(now),
            Event::LinkDown { why } => self.link_down(now, &why, out),
            Event::FromManager { message } => self.hear(now, message, out),
            Event::WorkerReady { worker, python } => self.worker_ready(now, worker, python),
            Event::WorkerFailed { worker, why } => self.worker_failed(now, worker, &why, out),
            Event::WorkerStarted { worker, task, attempt } => {
                self.worker_started(now, worker, Key { task, attempt });
            }
            Event::WorkerDone { worker, done } => self.worker_done(now, worker, done, out),
            Event::WorkerBegun { worker, begun } => self.worker_begun(now, worker, begun, out),
            Event::WorkerSkipped { worker, number } => self.worker_skipped(now, worker, number, out),
            Event::WorkerNeeds { worker, hash } => self.worker_needs(worker, hash, out),
            Event::WorkerExited { worker, exit, begun, output } => {
                self.worker_exited(now, worker, exit, begun, output, out)
            }
            Event::Stop => self.stop(now, out),
            Event::Tick => self.tick(now, out),
        }
        if !self.ended {
            self.dispatch(now, out);
            self.withdraw();
            self.keep_warm(now, out);
            self.watch_patience(now);
        }
    }

    /// Ends a driver round: emits the messages that the round's events made due.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        self.report(now.mono);
        self.uplink.flush(now.mono, out);
        self.leave_if_drained(now.mono, out);
    }

    /// When `Tick` is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.ended {
            return None;
        }
        let idle_ms = self.idle_ms();
        let workers = self.pool.workers.values().filter_map(|worker| worker.next_deadline(idle_ms)).min();
        let drain = self.drain.as_ref().and_then(Drain::next_deadline);
        let spawn = self.spawning.next_deadline();
        let alone = self.uplink.alone_since.map(|since| since.after(self.config.orphan_ms));
        [self.uplink.next_deadline(), self.attempts.earliest(), workers, drain, spawn, alone, self.patience]
            .into_iter()
            .flatten()
            .min()
    }

    /// Events and items that meant nothing here: late, unknown or not allowed.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Attempts held: not ended, and ended but not acknowledged.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.attempts.open(), self.attempts.len() - self.attempts.open())
    }

    fn link_up(&mut self, now: Mono) {
        if self.uplink.link == Link::Connecting {
            let sid = self.rng.next();
            self.uplink.open(now, sid);
            self.say_hello();
        } else {
            self.ignored += 1;
        }
    }

    fn link_down(&mut self, now: Mono, why: &str, out: &mut Vec<Action>) {
        if self.uplink.link == Link::Down {
            return;
        }
        if self.uplink.is_up() {
            out.push(Action::Log {
                text: format!("the link to the manager is lost: {why}; connecting anew"),
            });
        }
        self.uplink.lost(now, &mut self.rng);
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.uplink.tick(now, &mut self.rng, out);
        self.expire(now);
        self.tick_workers(now, out);
        self.tick_stop(now, out);
        self.tick_spawning(now, out);
        self.tick_patience(now);
    }

    /// An attempt has ended: its one live result is kept until `Ack`, and said (F20).
    fn finish(&mut self, done: Box<Done>) {
        let key = Key { task: done.task, attempt: done.attempt };
        let Some(open) = self.attempts.finish(key, done.clone()) else {
            self.ignored += 1;
            return;
        };
        self.unplace(key, &open);
        if self.may_linger(&done) {
            self.uplink.say_soon(Item::Result(done));
        } else {
            self.uplink.say(Item::Result(done));
        }
    }

    /// Whether a result may wait for others (F39): it is small, calls like it end often, and the workers have more to do.
    fn may_linger(&self, done: &Done) -> bool {
        done.outcome == Outcome::Success
            && done.run_ns <= depth::QUICK_NS
            && done.payload.len() <= limits::FRAME_BYTES
            && self.lanes.with_work().next().is_some()
    }

    /// Takes an attempt that ended out of where it waited.
    fn unplace(&mut self, key: Key, open: &Open) {
        self.bodies.unpin(open.assign.hash, key);
        if open.place == Place::Lane {
            self.lanes.remove(open.lane(), open.arrival);
            self.lanes.tidy(open.lane());
        }
    }
}
