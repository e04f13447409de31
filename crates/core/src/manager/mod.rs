//! The endpoint's machine: holds attempts, routes them to executors, passes results and acknowledgements on.
//!
//! It has no disk and decides no retry: it reports (F16), and never acknowledges for the store (F21). This file owns the
//! shape of a round; each part of the work has a file of its own.

mod adopt;
mod allows;
mod attempt;
mod blocks;
mod bodies;
mod capacity;
mod ends;
mod event;
mod executors;
mod fit;
mod from_executor;
mod from_hub;
mod inquiry;
mod long;
mod patience;
pub mod route;
mod scale;
mod silent;
mod stop;
mod uplink;
mod whereabouts;

pub use allows::Allows;
pub use event::{Action, Event, ExitReason};
pub use scale::Scale;

use crate::id::{BlockId, EndpointId, ExecutorId, ManagerId};
use crate::resources::Resources;
use crate::rng::Rng;
use crate::task::FailureCode;
use crate::time::{Mono, Now};
use crate::wire::{Held, Holding, Item};
use std::collections::{BTreeMap, BTreeSet};

/// What a manager is configured with (FABRIC §7).
#[derive(Debug, Clone)]
pub struct Config {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// This process.
    pub manager: ManagerId,
    /// Raised before this process opened a socket (F4).
    pub generation: u64,
    /// The node's name, for people.
    pub host: String,
    /// Software and version, for people.
    pub software: String,
    /// The workers' Python, `major.minor`, for people.
    pub python: String,
    /// How many blocks to ask for.
    pub scale: Scale,
    /// Blocks that the manager before asked for and that may run or wait, each with its executors.
    pub found: Vec<(BlockId, Vec<ExecutorId>)>,
    /// Executors that may hold attempts, from the hints of the manager before (F8).
    pub hints: Vec<ExecutorId>,
    /// Towards executors: send something at least this often.
    pub heartbeat_ms: u64,
    /// Towards executors: silence beyond this loses one (F18).
    pub threshold_ms: u64,
    /// Longest adoption window (F8).
    pub adopt_ms: u64,
    /// How attempts find their executor.
    pub routing: route::Routing,
    /// What it runs for whom.
    pub allows: Allows,
    /// Seed of its generator: ids of executors and blocks, session numbers, jitter.
    pub seed: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    rng: Rng,
    uplink: uplink::Uplink,
    book: attempt::Book,
    executors: BTreeMap<ExecutorId, executors::Exec>,
    bodies: bodies::Bodies,
    blocks: blocks::Blocks,
    inquiry: inquiry::Inquiry,
    /// Workers of an executor, as far as is known.
    slots: u32,
    /// The most that executors have had, once there were any.
    seen: Option<Resources>,
    /// The first blocks were asked for.
    began: bool,
    silent: silent::Silent,
    adoption: adopt::Adoption,
    hints: adopt::Hints,
    pace: capacity::Pace,
    known: patience::Known,
    /// When an attempt has waited long enough for another's worker to make room.
    patience: Option<Mono>,
    stop: Option<stop::Stop>,
    /// When `handle` was last called (F34).
    handled: Option<Mono>,
    /// Answers to strangers in this second (F2).
    strays: (Mono, u32),
    capacity_changed: bool,
    ready: bool,
    exited: bool,
}

impl Manager {
    /// A manager that just started; its first actions come with the first `Tick`.
    #[must_use]
    pub fn new(config: Config, now: Now) -> Self {
        Self {
            rng: Rng::new(config.seed),
            uplink: uplink::Uplink::new(),
            book: attempt::Book::new(long::Long::new(&config.scale)),
            executors: BTreeMap::new(),
            bodies: bodies::Bodies::default(),
            blocks: blocks::Blocks::new(now.mono, &config.found),
            inquiry: inquiry::Inquiry::default(),
            slots: config.scale.slots,
            seen: None,
            began: false,
            silent: silent::Silent::default(),
            adoption: adopt::Adoption::new(&config.hints, now.mono.after(config.adopt_ms)),
            hints: adopt::Hints::new(&config.hints),
            pace: capacity::Pace::default(),
            known: patience::Known::default(),
            patience: None,
            stop: None,
            handled: None,
            strays: (now.mono, 0),
            capacity_changed: true,
            ready: false,
            exited: false,
            config,
        }
    }

    /// Handles one event; appends what is to be done. Never fails, never blocks.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        if self.exited {
            return;
        }
        self.book.clock = now.fine;
        let now = now.mono;
        self.wake(now);
        match event {
            Event::LinkUp => self.link_up(now, out),
            Event::LinkDown { why } => {
                out.push(Action::Log { text: format!("the link to the service is down: {why}") });
                self.uplink.down(now, &mut self.rng);
            }
            Event::FromHub { message } => self.hub_message(now, message, out),
            Event::FromExecutor { conn, executor, message } => {
                self.executor_message(now, conn, executor, message, out);
            }
            Event::Unreachable { conn } => self.unreachable(now, conn, out),
            Event::BlockWaiting { block, reason } => {
                self.capacity_changed |= self.blocks.waits(block, reason);
            }
            Event::BlockStarted { block, left_ms } => {
                self.capacity_changed |= self.blocks.started(now, block, left_ms);
            }
            Event::BlockEnded { block, why } => self.block_over(now, block, &why, out),
            Event::ProviderAnswered { trouble } => {
                self.capacity_changed |= self.inquiry.answered(now, trouble);
            }
            Event::ExecutorGone { executor, why } => match self.blocks.home(&executor) {
                Some(block) => self.block_over(now, block, &why, out),
                None => {
                    self.adoption.gone(&executor);
                    self.silent.gone(&executor);
                    self.lose(now, executor, FailureCode::ExecutorLost, &why, out);
                }
            },
            Event::HintsSaved => self.hints.written(),
            Event::GenerationRaised { generation } => {
                self.config.generation = self.config.generation.max(generation);
                self.uplink.raised(now, &mut self.rng);
            }
            Event::Stop { grace_ms } => self.stop(now, grace_ms),
            Event::Tick => self.tick(now, out),
        }
    }

    /// After a gap that only our own sleep explains, nobody is declared dead (F34).
    fn wake(&mut self, now: Mono) {
        let slept_ms = self.handled.map_or(0, |handled| now.since(handled));
        self.handled = Some(now);
        self.uplink.forgive(now, slept_ms);
        if slept_ms > self.config.threshold_ms / 2 {
            let threshold_ms = self.config.threshold_ms;
            self.executors.values_mut().for_each(|exec| exec.forgive(now, threshold_ms));
            self.adoption.extend(now.after(threshold_ms));
            self.silent.extend(now.after(threshold_ms));
        }
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.uplink.tick(now, &mut self.rng, out);
        self.watch_executors(now, out);
        self.end_silent(now, out);
        for end in self.book.expire(now) {
            self.uplink.say(end);
        }
    }

    /// Ends a driver round: emits the messages that the round's events made due, one per peer.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.exited {
            return;
        }
        self.book.clock = now.fine;
        let now = now.mono;
        if let Some(missing) = self.adoption.step(now) {
            missing.into_iter().for_each(|executor| self.fell_silent(now, executor));
            self.hints.touch();
        } else if self.uplink.complete_known() && self.adoption.known() {
            self.hints.touch();
        }
        self.fit(now);
        self.scale(now, out);
        if self.hints.wants_saving() {
            let mut all = self.expected();
            all.extend(self.book.fading());
            all.extend(self.adoption.given_up());
            self.hints.save(all, out);
        }
        self.stop_step(now);
        self.route(now);
        self.say_state();
        self.uplink.flush(now, out);
        for exec in self.executors.values_mut() {
            exec.flush(now, self.config.heartbeat_ms, out);
        }
        self.say_ready(out);
        self.stop_end(now, out);
    }

    /// Executors that may hold attempts, or soon will. What never spoke holds none: where it may be long in coming, the
    /// next manager need not wait for it.
    fn expected(&self) -> BTreeSet<ExecutorId> {
        let soon = self.blocks.executors().filter(|_| !self.config.scale.scheduler);
        let here = self.executors.keys().chain(soon);
        here.chain(self.adoption.missing()).chain(self.silent.executors()).copied().collect()
    }

    /// What each session must know of the manager as a whole: the end of the window, and the capacity after it.
    fn say_state(&mut self) {
        if !self.adoption.is_open() && self.uplink.owes_complete() {
            let accounted = self.adoption.accounted();
            self.uplink.say(Item::Held(Held { held: Vec::new(), complete: true, accounted }));
        }
        if self.capacity_changed && self.uplink.is_up() {
            self.capacity_changed = false;
            let capacity = self.capacity();
            self.uplink.say_capacity(capacity);
        }
    }

    fn say_ready(&mut self, out: &mut Vec<Action>) {
        let works = |(id, exec): (&ExecutorId, &executors::Exec)| {
            exec.is_up() && self.hints.has(id) && (exec.capacity.slots_free > 0 || self.book.open_at(id) > 0)
        };
        let empty = self.config.scale.starts_empty();
        if !self.ready && self.uplink.is_up() && (empty || self.executors.iter().any(works)) {
            self.ready = true;
            out.push(Action::Ready);
        }
    }

    /// Everything held, in the order of its keys.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        self.book.holdings()
    }

    fn exit(&mut self, reason: ExitReason, text: String, out: &mut Vec<Action>) {
        self.exited = true;
        out.push(Action::Exit { reason, text });
    }

    /// When `Tick` is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.exited {
            return None;
        }
        let Some(handled) = self.handled else { return Some(Mono(0)) };
        let (heartbeat_ms, threshold_ms) = (self.config.heartbeat_ms, self.config.threshold_ms);
        let mut due: Vec<Mono> = Vec::with_capacity(8);
        due.extend(self.uplink.next_deadline());
        due.extend(self.executors.values().map(|exec| exec.next_deadline(heartbeat_ms, threshold_ms)).min());
        due.extend(self.adoption.next_deadline());
        due.extend(self.book.next_expiry());
        due.extend(self.patience);
        due.extend(self.stop.as_ref().map(stop::Stop::next_deadline));
        due.extend(self.blocks_due(handled));
        due.extend(self.silent.next_deadline().filter(|_| self.uplink.is_up()));
        // Often enough that a long gap can only mean that we slept (F34).
        due.push(handled.after(self.uplink.awake_ms()));
        let awaited = self.adoption.is_open() || self.silent.next_deadline().is_some();
        if !self.executors.is_empty() || awaited {
            due.push(handled.after(threshold_ms / 3));
        }
        due.into_iter().min()
    }
}
