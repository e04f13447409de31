//! One executor's machine, with workers that take a while to start and then run their calls one by one.

use bursa_core::executor::{Action, Config, Event, Executor, Verdict, WorkerDone, WorkerExit};
use bursa_core::id::{ExecutorId, TaskId, WorkerId};
use bursa_core::resources::Resources;
use bursa_core::time::{Mono, Now};
use bursa_core::wire::{Attempt, Message};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A worker in a container is ready after this: Singularity on Theta, as measured for funcX.
const COLD_MS: u64 = 10_400;
const DAY_MS: u64 = 86_400_000;

/// What a worker is to do, and when it is done with the first of it.
#[derive(Default)]
struct Pipe {
    /// Each with its number: 1 is the worker's first.
    calls: VecDeque<(u64, TaskId, Attempt)>,
    until: Mono,
    /// Number of the last one that it was given, and of the last one that ended.
    given: u64,
    ended: u64,
    /// It passes over what it has not begun of its first so many.
    withheld: u64,
}

impl Pipe {
    fn begun(&self) -> u64 {
        self.calls.front().map_or(self.ended, |call| call.0)
    }
}

pub(crate) struct Node {
    machine: Executor,
    inbox: Vec<Event>,
    starting: Vec<(Mono, WorkerId)>,
    workers: BTreeMap<WorkerId, Pipe>,
    run_ms: u64,
    /// Workers that were started.
    pub(crate) starts: u64,
}

impl Node {
    pub(crate) fn new(executor: ExecutorId, workers: u32, run_ms: u64, seed: u64, now: Now) -> Self {
        let config = Config {
            executor,
            host: "node".into(),
            software: "routing".into(),
            workers,
            has: Resources { cores: workers, ..Resources::NONE },
            accelerated: false,
            idle_ms: DAY_MS,
            min_warm: 0,
            prefetch: 512,
            orphan_start_ms: 60_000,
            orphan_ms: DAY_MS,
            seed,
        };
        Self {
            machine: Executor::new(config, now),
            inbox: vec![Event::Tick],
            starting: Vec::new(),
            workers: BTreeMap::new(),
            run_ms,
            starts: 0,
        }
    }

    pub(crate) fn hear(&mut self, message: Message) {
        self.inbox.push(Event::FromManager { message });
    }

    /// When something happens here by itself.
    pub(crate) fn next(&self) -> Option<Mono> {
        let starting = self.starting.iter().map(|(at, _)| *at);
        let running = self.workers.values().filter(|pipe| !pipe.calls.is_empty()).map(|pipe| pipe.until);
        starting.chain(running).chain(self.machine.next_deadline()).min()
    }

    /// One round; `None` if there was nothing to do, else what it says.
    pub(crate) fn step(&mut self, now: Now) -> Option<Vec<Message>> {
        let mut events = std::mem::take(&mut self.inbox);
        self.finish(now.mono, &mut events);
        if self.machine.next_deadline().is_some_and(|at| at <= now.mono) {
            events.push(Event::Tick);
        }
        if events.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        events.into_iter().for_each(|event| self.machine.handle(now, event, &mut out));
        self.machine.flush(now, &mut out);
        Some(out.into_iter().filter_map(|action| self.perform(now.mono, action)).collect())
    }

    /// Workers that are ready by now, and calls that ended.
    fn finish(&mut self, now: Mono, events: &mut Vec<Event>) {
        for (_, worker) in self.starting.extract_if(.., |(at, _)| *at <= now) {
            self.workers.insert(worker, Pipe::default());
            events.push(Event::WorkerReady { worker, python: "3.12".into() });
        }
        for (worker, pipe) in &mut self.workers {
            while pipe.until <= now
                && let Some((number, task, attempt)) = pipe.calls.pop_front()
            {
                pipe.ended = number;
                pipe.until = now.after(self.run_ms);
                events.push(ended(*worker, task, attempt, self.run_ms));
                while let Some((number, ..)) =
                    pipe.calls.front().copied().filter(|call| call.0 <= pipe.withheld)
                {
                    pipe.calls.pop_front();
                    events.push(Event::WorkerSkipped { worker: *worker, number });
                }
            }
        }
    }

    fn perform(&mut self, now: Mono, action: Action) -> Option<Message> {
        match action {
            Action::Connect => self.inbox.push(Event::LinkUp),
            Action::Send { message } => return Some(message),
            Action::Spawn { worker, .. } => {
                self.starts += 1;
                self.starting.push((now.after(COLD_MS), worker));
            }
            Action::Run { worker, task, attempt, .. } => {
                let pipe = self.workers.entry(worker).or_default();
                if pipe.calls.is_empty() {
                    pipe.until = now.after(self.run_ms);
                }
                pipe.given += 1;
                pipe.calls.push_back((pipe.given, task, attempt));
            }
            Action::Retire { worker } => {
                self.workers.remove(&worker);
                let exit = WorkerExit { exit: Some(0), ..WorkerExit::default() };
                self.inbox.push(Event::WorkerExited { worker, exit, begun: 0, output: Bytes::new() });
            }
            Action::Withhold { worker, calls } => self.workers.entry(worker).or_default().withheld = calls,
            Action::CountBegun { worker } => {
                let begun = self.workers.entry(worker).or_default().begun();
                self.inbox.push(Event::WorkerBegun { worker, begun });
            }
            Action::Signal { .. } | Action::Exit { .. } | Action::Disconnect => {
                panic!("not expected: {action:?}")
            }
            Action::Load { .. } | Action::Log { .. } => {}
        }
        None
    }
}

fn ended(worker: WorkerId, task: TaskId, attempt: Attempt, run_ms: u64) -> Event {
    let done = WorkerDone {
        task,
        attempt,
        verdict: Verdict::Success,
        load_ns: 0,
        run_ns: (run_ms * 1_000_000).max(10_000),
        dump_ns: 0,
        payload: Bytes::new(),
        class: String::new(),
        message: String::new(),
        traceback: String::new(),
        output: Bytes::new(),
    };
    Event::WorkerDone { worker, done }
}
