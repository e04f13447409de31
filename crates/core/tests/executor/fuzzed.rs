//! The executor under any events in any order: it never panics, talks only to workers that live, gives none more than
//! its pipe holds, and never an attempt to two of them.

use crate::rig::{BODY, config, task};
use crate::tape::Tape;
use crate::words::Names;
use bursa_core::executor::{Action, Event, Executor, Verdict, WorkerDone, WorkerExit};
use bursa_core::id::{ExecutorId, Hash, TaskId, WorkerId};
use bursa_core::limits;
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Attempt, Item, Peer, Session};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type Key = (TaskId, Attempt);

fn names() -> Names {
    Names {
        task: |n| task(u64::from(n)),
        hashes: [Hash::of(BODY), Hash::of(b"gone")],
        peers: [1, 2, 3].map(|n| Peer::Executor { executor: ExecutorId::from_bytes([n; 16]) }),
    }
}

#[derive(Default)]
struct Fake {
    /// With the number of each call.
    pipe: VecDeque<(Key, u64)>,
    given: u64,
    begun: u64,
    withheld: u64,
}

impl Fake {
    fn has(&self, key: Key) -> bool {
        self.pipe.iter().any(|(other, _)| *other == key)
    }

    /// What it says of how far it is; what it has not begun and shall not is nobody's any more.
    fn count(&mut self) -> u64 {
        let begun = self.begun.max(self.pipe.front().map_or(0, |(_, number)| *number));
        self.begun = begun;
        self.pipe.retain(|(_, number)| *number <= begun || *number > self.withheld);
        begun
    }
}

struct Rig {
    executor: Executor,
    ms: u64,
    session: Option<Session>,
    /// Living workers.
    workers: BTreeMap<WorkerId, Fake>,
    /// Attempts that the manager assigned a second time: it may not, and then they may run twice (F14).
    assigned: BTreeSet<Key>,
    twice: BTreeSet<Key>,
    exited: bool,
}

impl Rig {
    fn new(tape: &mut Tape<'_>) -> Self {
        let executor = Executor::new(config(1 + tape.below(3)), Now::default());
        let (assigned, twice) = (BTreeSet::new(), BTreeSet::new());
        Self { executor, ms: 0, session: None, workers: BTreeMap::new(), assigned, twice, exited: false }
    }

    fn event(&mut self, event: Event) {
        if self.exited {
            return;
        }
        let now = Now { mono: Mono(self.ms), fine: Fine(self.ms * 1_000_000), wall: Wall(0) };
        let mut out = Vec::new();
        self.executor.handle(now, event, &mut out);
        self.executor.flush(now, &mut out);
        for action in out {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        let now = Mono(self.ms);
        match action {
            Action::Send { message } => {
                assert!(message.items.len() <= limits::BATCH_ITEMS);
                if message.envelope.seq == 0 && matches!(message.items.first(), Some(Item::Hello(_))) {
                    self.session = Some(Session::new(message.envelope.sid, now));
                }
                if let Some(session) = &mut self.session {
                    session.receive(now, message).expect("a session in order");
                }
            }
            Action::Spawn { worker, .. } => {
                assert!(self.workers.insert(worker, Fake::default()).is_none(), "a number is used twice");
                assert!(self.workers.len() <= 3 + 1, "more workers than slots");
            }
            Action::Run { worker, task, attempt, .. } => {
                let key = (task, attempt);
                let elsewhere = self.workers.values().any(|worker| worker.has(key));
                assert!(!elsewhere || self.twice.contains(&key), "I3: {key:?} is with two workers");
                let worker = self.workers.get_mut(&worker).expect("a call for a living worker");
                worker.given += 1;
                worker.pipe.push_back((key, worker.given));
                assert!(worker.pipe.len() <= limits::WORKER_DEPTH);
            }
            Action::Withhold { worker, calls } => {
                let worker = self.workers.get_mut(&worker).expect("calls of a living worker");
                assert_eq!(calls, worker.given, "all that it was given");
                worker.withheld = calls;
            }
            Action::CountBegun { worker } => {
                let begun = self.workers.get_mut(&worker).expect("the count of a living worker").count();
                self.event(Event::WorkerBegun { worker, begun });
            }
            Action::Load { worker, .. } | Action::Signal { worker, .. } | Action::Retire { worker } => {
                assert!(self.workers.contains_key(&worker), "a word for a worker that is gone");
            }
            Action::Exit { .. } => self.exited = true,
            _ => {}
        }
    }

    fn manager_says(&mut self, items: Vec<Item>) {
        for item in &items {
            if let Item::Assign(assign) = item
                && !self.assigned.insert((assign.task, assign.attempt))
            {
                self.twice.insert((assign.task, assign.attempt));
            }
        }
        let Some(session) = &mut self.session else { return };
        items.into_iter().for_each(|item| session.push(item));
        let mut messages = Vec::new();
        session.flush(Mono(self.ms), |message| messages.push(message));
        messages.into_iter().for_each(|message| self.event(Event::FromManager { message }));
    }

    /// A worker says or does what a worker may; or, of anything, anything.
    fn work(&mut self, tape: &mut Tape<'_>) {
        let index = tape.below(4) as usize;
        let some = self.workers.keys().nth(index).or(self.workers.keys().next()).copied();
        let worker = some.unwrap_or(WorkerId(tape.below(4)));
        let head = self.workers.get(&worker).and_then(|worker| worker.pipe.front()).map(|(key, _)| *key);
        let honest = !tape.one_in(8);
        let (task, attempt) = head.filter(|_| honest).unwrap_or((names().task(tape), Names::attempt(tape)));
        match tape.below(12) {
            0..=2 => self.event(Event::WorkerReady { worker, python: "3.12".into() }),
            3 if tape.one_in(4) => {
                self.workers.remove(&worker);
                self.event(Event::WorkerFailed { worker, why: "fuzz".into() });
            }
            4 => self.event(Event::WorkerNeeds { worker, hash: names().hash(tape) }),
            5 => self.event(Event::WorkerBegun { worker, begun: tape.wild() }),
            6 => self.event(Event::WorkerStarted { worker, task, attempt }),
            7 => {
                self.workers.remove(&worker);
                let signal = tape.pick(&[None, Some(9), Some(15), Some(255)]);
                let exit = WorkerExit {
                    signal,
                    exit: None,
                    oom: tape.one_in(4),
                    maxrss_kb: tape.wild(),
                    ..WorkerExit::default()
                };
                self.event(Event::WorkerExited { worker, exit, begun: tape.wild(), output: Bytes::new() });
            }
            _ => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.pipe.retain(|(key, _)| *key != (task, attempt));
                }
                let done = some_done(tape, task, attempt);
                self.event(Event::WorkerDone { worker, done });
            }
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.below(20) {
            0 | 1 => self.event(Event::LinkUp),
            2 if tape.one_in(4) => {
                self.session = None;
                self.event(Event::LinkDown { why: "fuzz".into() });
            }
            3 => self.manager_says(vec![Item::Welcome {
                proto: 2,
                epoch: 1,
                heartbeat_ms: 2_000,
                threshold_ms: 6_000,
                result_window: tape.pick(&[1 << 20, 0, u64::MAX]),
            }]),
            4 => self.event(Event::FromManager { message: names().message(tape) }),
            5 if tape.one_in(32) => self.event(Event::Stop),
            6 => {
                self.ms += tape.pick(&[1, 20, 3_000, 70_000]);
                self.event(Event::Tick);
            }
            7..=11 => {
                let items = (0..=tape.below(3)).map(|_| names().item(tape)).collect();
                self.manager_says(items);
            }
            _ => self.work(tape),
        }
    }
}

fn some_done(tape: &mut Tape<'_>, task: TaskId, attempt: Attempt) -> WorkerDone {
    WorkerDone {
        task,
        attempt,
        verdict: tape.pick(&[
            Verdict::Success,
            Verdict::UserError,
            Verdict::LoadFailed,
            Verdict::DeserializeMismatch,
            Verdict::ResultTooLarge,
        ]),
        load_ns: tape.wild(),
        run_ns: tape.wild(),
        dump_ns: tape.wild(),
        payload: Bytes::from(vec![1; tape.pick(&[9, 0, 300_000])]),
        class: String::new(),
        message: "é".repeat(tape.below(2_000) as usize),
        traceback: "t".repeat(tape.below(2_000) as usize),
        output: Bytes::from_static(b"\xff\xfe"),
    }
}

#[test]
fn any_events_in_any_order() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        let mut rig = Rig::new(&mut tape);
        rig.event(Event::Tick);
        while !tape.is_over() && !rig.exited {
            rig.step(&mut tape);
        }
    });
}
