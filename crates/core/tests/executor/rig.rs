//! An executor with a manager's session at its other end.

use crate::words::image;
use bursa_core::container::Container;
use bursa_core::executor::{Action, Config, Event, Executor, Verdict, WorkerDone, WorkerExit};
use bursa_core::id::{ExecutorId, Hash, TaskId, UserId, WorkerId};
use bursa_core::limits;
use bursa_core::resources::{Resources, Share};
use bursa_core::task::{Begun, FailureCode, Outcome};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Assign, Attempt, Blob, Capacity, Done, Hello, Item, Message, Session};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const BODY: &[u8] = b"c\x03\x0bdef f(): ...";

pub(crate) struct Rig {
    pub(crate) executor: Executor,
    pub(crate) now: u64,
    pub(crate) session: Option<Session>,
    /// What the manager heard and no test has taken yet.
    pub(crate) heard: Vec<Item>,
    pub(crate) result_window: u64,
    /// What was asked for while connecting.
    pub(crate) aside: Vec<Action>,
    /// What the workers' counts say when they are read.
    pub(crate) begun: BTreeMap<u32, u64>,
    /// When calls of the workers were withheld last.
    pub(crate) withheld_at: BTreeMap<u32, u64>,
}

pub(crate) fn config(workers: u32) -> Config {
    Config {
        executor: ExecutorId::from_bytes([7; 16]),
        host: "node1".into(),
        software: "bursa 0.1.0".into(),
        workers,
        has: Resources { cores: workers, memory_mb: 8_000, gpus: 1, nodes: 1, ranks_per_node: 0 },
        accelerated: false,
        idle_ms: 60_000,
        min_warm: 0,
        prefetch: 512,
        orphan_start_ms: 60_000,
        orphan_ms: 1_800_000,
        seed: 1,
    }
}

pub(crate) fn task(n: u64) -> TaskId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

pub(crate) fn user(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

pub(crate) fn hash() -> Hash {
    Hash::of(BODY)
}

pub(crate) fn assign(n: u64) -> Assign {
    Assign {
        task: task(n),
        attempt: Attempt(1),
        user: user(1),
        hash: hash(),
        container: None,
        resources: None,
        args: Blob::Here(Bytes::from_static(b"p\0\0args")),
        secrets: None,
        ttl_ms: 3_600_000,
        timeout_ms: None,
    }
}

pub(crate) fn function() -> Item {
    Item::Function { hash: hash(), body: Some(Blob::Here(Bytes::from_static(BODY))) }
}

pub(crate) fn done(n: u64, run_ns: u64) -> WorkerDone {
    WorkerDone {
        task: task(n),
        attempt: Attempt(1),
        verdict: Verdict::Success,
        load_ns: 0,
        run_ns,
        dump_ns: 0,
        payload: Bytes::from_static(b"p\0\0result"),
        class: String::new(),
        message: String::new(),
        traceback: String::new(),
        output: Bytes::new(),
    }
}

pub(crate) fn run(worker: u32, n: u64, flush: bool) -> Action {
    Action::Run {
        worker: WorkerId(worker),
        task: task(n),
        attempt: Attempt(1),
        hash: hash(),
        args: Bytes::from_static(b"p\0\0args"),
        secrets: None,
        flush,
    }
}

pub(crate) fn load(worker: u32) -> Action {
    Action::Load { worker: WorkerId(worker), hash: hash(), body: Bytes::from_static(BODY) }
}

pub(crate) fn spawn(worker: u32, of: u8) -> Action {
    spawn_of(worker, of, None)
}

fn spawn_of(worker: u32, of: u8, container: Option<Arc<Container>>) -> Action {
    let (worker, user) = (WorkerId(worker), user(of));
    Action::Spawn { worker, user, container, asks: Resources::NONE, share: Share::SLOT, nodes: Vec::new() }
}

pub(crate) fn spawn_in_container(worker: u32, of: u8) -> Action {
    spawn_of(worker, of, Some(image()))
}

pub(crate) fn signalled(signal: i32) -> WorkerExit {
    WorkerExit { signal: Some(signal), maxrss_kb: 300 * 1024, ..WorkerExit::default() }
}

impl Rig {
    /// Not yet connected.
    pub(crate) fn cold(workers: u32) -> Self {
        Self::with(config(workers))
    }

    pub(crate) fn with(config: Config) -> Self {
        let executor = Executor::new(config, Now::default());
        Self {
            executor,
            now: 0,
            session: None,
            heard: Vec::new(),
            result_window: 64 << 20,
            aside: Vec::new(),
            begun: BTreeMap::new(),
            withheld_at: BTreeMap::new(),
        }
    }

    /// Connected, welcomed, and the function's body is there.
    pub(crate) fn up(workers: u32) -> Self {
        let mut rig = Self::cold(workers);
        rig.connect();
        assert_eq!(rig.say([function()]), []);
        rig.heard.clear();
        rig
    }

    /// As [`up`](Self::up), with one worker that has run a call of `run_ns` and is idle.
    pub(crate) fn warm(workers: u32, run_ns: u64) -> Self {
        let mut rig = Self::up(workers);
        rig.assign([0]);
        rig.ready(1);
        rig.done(1, 0, run_ns);
        rig.say([Item::Ack { task: task(0), attempt: Attempt(1), outcome: Outcome::Success }]);
        rig.heard.clear();
        rig
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: Mono(self.now), fine: Fine(self.now * 1_000_000), wall: Wall(0) }
    }

    /// One driver round with this event; what was sent goes to `heard`, the other actions are returned.
    pub(crate) fn event(&mut self, event: Event) -> Vec<Action> {
        self.round(vec![event])
    }

    pub(crate) fn round(&mut self, events: Vec<Event>) -> Vec<Action> {
        let now = self.now();
        let mut out = Vec::new();
        for event in events {
            self.executor.handle(now, event, &mut out);
        }
        self.executor.flush(now, &mut out);
        let (mut rest, mut counts) = (Vec::new(), Vec::new());
        for action in out {
            match action {
                Action::CountBegun { worker } => counts.push(worker),
                Action::Send { message } => self.hear(message),
                Action::Withhold { worker, .. } => {
                    self.withheld_at.insert(worker.0, self.now);
                    rest.push(action);
                }
                other => rest.push(other),
            }
        }
        for worker in counts {
            let begun = self.begun.get(&worker.0).copied().unwrap_or_default();
            rest.extend(self.event(Event::WorkerBegun { worker, begun }));
        }
        rest
    }

    fn hear(&mut self, message: Message) {
        let now = Mono(self.now);
        let session = self.session.get_or_insert_with(|| Session::new(message.envelope.sid, now));
        self.heard.extend(session.receive(now, message).expect("the executor's session is in order"));
    }

    /// The manager says this, in one message.
    pub(crate) fn say(&mut self, items: impl IntoIterator<Item = Item>) -> Vec<Action> {
        let events = self.messages(items).into_iter().map(|message| Event::FromManager { message }).collect();
        self.round(events)
    }

    /// Assigns calls of user 1 in the container.
    pub(crate) fn assign_in_container(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<Action> {
        let assign = |n| Assign { container: Some(image()), ..assign(n) };
        self.say(numbers.into_iter().map(|n| Item::Assign(Box::new(assign(n)))))
    }

    pub(crate) fn messages(&mut self, items: impl IntoIterator<Item = Item>) -> Vec<Message> {
        let now = Mono(self.now);
        let session = self.session.as_mut().expect("a session");
        items.into_iter().for_each(|item| session.push(item));
        let mut messages = Vec::new();
        // The second time nothing lingers.
        session.flush(now, |message| messages.push(message));
        session.flush(now.after(limits::LINGER_MS), |message| messages.push(message));
        messages
    }

    pub(crate) fn welcome(&self) -> Item {
        let result_window = self.result_window;
        Item::Welcome { proto: 2, epoch: 3, heartbeat_ms: 2_000, threshold_ms: 6_000, result_window }
    }

    /// Ticks until a socket is asked for, connects, is welcomed; returns the `Hello`.
    pub(crate) fn connect(&mut self) -> Hello {
        let hello = self.greet();
        let actions = self.say([self.welcome()]);
        assert!(!actions.iter().any(|action| matches!(action, Action::Disconnect)), "{actions:?}");
        self.aside.extend(actions);
        hello
    }

    /// Ticks until a socket is asked for, and connects; returns the `Hello`.
    pub(crate) fn greet(&mut self) -> Hello {
        self.session = None;
        self.heard.clear();
        for _ in 0..1_000 {
            let actions = self.event(Event::Tick);
            let connects = actions.contains(&Action::Connect);
            self.aside.extend(actions);
            if connects {
                assert_eq!(self.event(Event::LinkUp), []);
                return match self.heard.remove(0) {
                    Item::Hello(hello) => *hello,
                    other => panic!("{other:?} before Hello"),
                };
            }
            self.now = self.executor.next_deadline().expect("a deadline").0;
        }
        panic!("no Connect");
    }

    pub(crate) fn assign(&mut self, tasks: impl IntoIterator<Item = u64>) -> Vec<Action> {
        self.say(tasks.into_iter().map(|n| Item::Assign(Box::new(assign(n)))))
    }

    pub(crate) fn assign_for(&mut self, of: u8, n: u64) -> Vec<Action> {
        self.say([Item::Assign(Box::new(Assign { user: user(of), ..assign(n) }))])
    }

    pub(crate) fn ack(&mut self, n: u64, outcome: Outcome) -> Vec<Action> {
        self.say([Item::Ack { task: task(n), attempt: Attempt(1), outcome }])
    }

    pub(crate) fn ready(&mut self, worker: u32) -> Vec<Action> {
        self.event(Event::WorkerReady { worker: WorkerId(worker), python: "3.11".into() })
    }

    pub(crate) fn started(&mut self, worker: u32, n: u64) -> Vec<Action> {
        self.event(Event::WorkerStarted { worker: WorkerId(worker), task: task(n), attempt: Attempt(1) })
    }

    pub(crate) fn done(&mut self, worker: u32, n: u64, run_ns: u64) -> Vec<Action> {
        self.event(Event::WorkerDone { worker: WorkerId(worker), done: done(n, run_ns) })
    }

    /// A worker that began no call ends, or one whose count is not believed.
    pub(crate) fn exited(&mut self, worker: u32, exit: WorkerExit) -> Vec<Action> {
        self.exited_in(worker, 0, exit)
    }

    /// A worker ends in its call number `begun`.
    pub(crate) fn exited_in(&mut self, worker: u32, begun: u64, exit: WorkerExit) -> Vec<Action> {
        let output = Bytes::from_static(b"last words");
        self.event(Event::WorkerExited { worker: WorkerId(worker), exit, begun, output })
    }

    pub(crate) fn cancel(&mut self, n: u64, grace_ms: u64) -> Vec<Action> {
        self.say([Item::Cancel { task: task(n), attempt: Attempt(1), grace_ms }])
    }

    /// Time passes, with every tick that becomes due.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Action> {
        let end = self.now + ms;
        let mut actions = Vec::new();
        while self.step(end, &mut actions) {}
        self.now = end;
        actions
    }

    /// As [`pass`](Self::pass), but ends as soon as `wanted` is asked for; false if it was not.
    pub(crate) fn pass_until(&mut self, ms: u64, wanted: &Action) -> bool {
        let end = self.now + ms;
        let mut actions = Vec::new();
        while !actions.contains(wanted) {
            if !self.step(end, &mut actions) {
                self.now = end;
                return false;
            }
        }
        true
    }

    /// The next deadline until `end`, if there is one.
    fn step(&mut self, end: u64, actions: &mut Vec<Action>) -> bool {
        let Some(Mono(at)) = self.executor.next_deadline().filter(|at| at.0 <= end) else { return false };
        self.now = self.now.max(at);
        actions.extend(self.event(Event::Tick));
        if let Some(session) = &mut self.session {
            let message = session.ping(Mono(self.now));
            actions.extend(self.event(Event::FromManager { message }));
        }
        true
    }

    /// The results heard since last asked, as (task, outcome, begun, code).
    pub(crate) fn results(&mut self) -> Vec<(u64, Outcome, Begun, Option<FailureCode>)> {
        let short = |done: &Done| {
            (number(done.task), done.outcome, done.begun, done.failure.as_ref().map(|f| f.code))
        };
        self.full_results().iter().map(short).collect()
    }

    /// The results that the manager was told since it listened last, what lingers too.
    pub(crate) fn full_results(&mut self) -> Vec<Done> {
        let (mut now, mut out) = (self.now(), Vec::new());
        now.mono = now.mono.after(limits::RESULT_LINGER_MS);
        self.executor.flush(now, &mut out);
        for action in out {
            if let Action::Send { message } = action {
                self.hear(message);
            }
        }
        let results = |item: Item| match item {
            Item::Result(done) => Some(*done),
            _ => None,
        };
        std::mem::take(&mut self.heard).into_iter().filter_map(results).collect()
    }

    pub(crate) fn capacity(&self) -> Option<&Capacity> {
        self.heard.iter().rev().find_map(|item| match item {
            Item::Capacity(capacity) => Some(capacity),
            _ => None,
        })
    }

    pub(crate) fn took(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.heard)
    }
}

pub(crate) fn number(task: TaskId) -> u64 {
    u64::from_be_bytes(task.as_bytes()[8..].try_into().expect("8 bytes"))
}
