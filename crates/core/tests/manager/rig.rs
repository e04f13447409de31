//! A manager with a fake hub and fake executors around it: real sessions, no links in between.

use bursa_core::id::{ConnId, EndpointId, ExecutorId, Hash, ManagerId, TaskId, UserId};
use bursa_core::limits;
use bursa_core::manager::route::Routing;
use bursa_core::manager::{Action, Allows, Config, Event, Manager, Scale};
use bursa_core::resources::Resources;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::timings::Timings;
use bursa_core::wire::{
    Assign, Attempt, Blob, Capacity, Done, Hello, Holding, Item, Message, Peer, Session, Stage, version,
};
use std::collections::BTreeMap;

/// What each executor has, in two slots.
pub(crate) const HAS: Resources =
    Resources { cores: 4, memory_mb: 8_000, gpus: 1, nodes: 1, ranks_per_node: 0 };

pub(crate) const BODY: &[u8] = b"the body";

pub(crate) fn x(n: u8) -> ExecutorId {
    ExecutorId::from_bytes([n; 16])
}

pub(crate) fn task(n: u32) -> TaskId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

pub(crate) fn config() -> Config {
    Config {
        endpoint: EndpointId::from_bytes([1; 16]),
        manager: ManagerId::from_bytes([2; 16]),
        generation: 7,
        host: "node".into(),
        software: "bursa test".into(),
        python: "3.12".into(),
        scale: Scale::fixed(0),
        found: Vec::new(),
        hints: Vec::new(),
        heartbeat_ms: 2_000,
        threshold_ms: 6_000,
        adopt_ms: 12_000,
        routing: Routing::Soft,
        allows: Allows::default(),
        seed: 1,
    }
}

pub(crate) fn assign(n: u32, attempt: u64) -> Item {
    Item::Assign(Box::new(Assign {
        task: task(n),
        attempt: Attempt(attempt),
        user: UserId::from_bytes([3; 16]),
        hash: Hash::of(BODY),
        container: None,
        resources: None,
        args: Blob::empty(),
        secrets: None,
        ttl_ms: 100_000,
        timeout_ms: None,
    }))
}

pub(crate) fn done(n: u32, attempt: u64, outcome: Outcome, begun: Begun) -> Item {
    Item::Result(Box::new(Done {
        task: task(n),
        attempt: Attempt(attempt),
        outcome,
        begun,
        payload: Blob::empty(),
        failure: None,
        output: Blob::empty(),
        run_ns: 1_000,
        timings: Timings::default(),
    }))
}

pub(crate) fn ack(n: u32, attempt: u64, outcome: Outcome) -> Item {
    Item::Ack { task: task(n), attempt: Attempt(attempt), outcome }
}

pub(crate) fn cancel(n: u32, attempt: u64) -> Item {
    Item::Cancel { task: task(n), attempt: Attempt(attempt), grace_ms: 50 }
}

pub(crate) fn started(n: u32, attempt: u64) -> Item {
    Item::Started { task: task(n), attempt: Attempt(attempt), worker: bursa_core::id::WorkerId(1) }
}

pub(crate) fn holding(n: u32, attempt: u64, stage: Stage) -> Holding {
    let begun = if stage == Stage::Waiting { Begun::No } else { Begun::Yes };
    Holding { task: task(n), attempt: Attempt(attempt), stage, begun }
}

pub(crate) fn capacity(credit: u32, slots: u32) -> Capacity {
    Capacity {
        credit_tasks: credit,
        credit_bytes: 1 << 20,
        slots_total: slots,
        slots_free: slots,
        warm: Vec::new(),
        degraded: None,
        blocks: None,
    }
}

/// `(task, attempt, outcome, begun)` of the results among `items`.
pub(crate) fn results(items: &[Item]) -> Vec<(u32, u64, Outcome, Begun)> {
    let found = items.iter().filter_map(|item| match item {
        Item::Result(done) => Some((number(done.task), done.attempt.0, done.outcome, done.begun)),
        _ => None,
    });
    found.collect()
}

/// `(task, attempt)` of the assignments among `items`.
pub(crate) fn assigned(items: &[Item]) -> Vec<(u32, u64)> {
    let found = items.iter().filter_map(|item| match item {
        Item::Assign(assign) => Some((number(assign.task), assign.attempt.0)),
        _ => None,
    });
    found.collect()
}

pub(crate) fn number(task: TaskId) -> u32 {
    u32::from_be_bytes(task.as_bytes()[..4].try_into().unwrap())
}

#[derive(Debug)]
pub(crate) struct FakeExecutor {
    pub(crate) conn: ConnId,
    pub(crate) session: Session,
    pub(crate) heard: Vec<Item>,
}

pub(crate) struct Rig {
    pub(crate) manager: Manager,
    pub(crate) ms: u64,
    pub(crate) hub: Option<Session>,
    /// What the hub heard since last asked.
    pub(crate) said: Vec<Item>,
    pub(crate) executors: BTreeMap<ExecutorId, FakeExecutor>,
    /// Everything but messages since last asked.
    pub(crate) actions: Vec<Action>,
    conns: u64,
    /// `SaveHints` is answered at once.
    pub(crate) disk: bool,
    pub(crate) messages: usize,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let ms = 1_000_000;
        let now = Now { mono: Mono(ms), fine: Fine(ms * 1_000_000), wall: Wall(0) };
        Self {
            manager: Manager::new(config, now),
            ms,
            hub: None,
            said: Vec::new(),
            executors: BTreeMap::new(),
            actions: Vec::new(),
            conns: 0,
            disk: true,
            messages: 0,
        }
    }

    /// A manager welcomed by the hub, with nothing else.
    pub(crate) fn up(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.event(Event::Tick);
        rig.event(Event::LinkUp);
        rig.welcome();
        rig.said.clear();
        rig.actions.clear();
        rig
    }

    /// The same with executor 1 of `slots` slots and `credit`.
    pub(crate) fn with_one(credit: u32, slots: u32) -> Self {
        let mut rig = Self::up(config());
        rig.hello(x(1), 1, Vec::new(), capacity(credit, slots));
        rig.clear();
        rig
    }

    pub(crate) fn clear(&mut self) {
        self.said.clear();
        self.actions.clear();
        self.executors.values_mut().for_each(|executor| executor.heard.clear());
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: Mono(self.ms), fine: Fine(self.ms * 1_000_000), wall: Wall(0) }
    }

    /// One round with one event; messages arrive at once.
    pub(crate) fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.manager.handle(self.now(), event, &mut out);
        self.manager.flush(self.now(), &mut out);
        self.perform(out);
    }

    pub(crate) fn perform(&mut self, out: Vec<Action>) {
        let now = Mono(self.ms);
        let mut save = false;
        for action in out {
            match action {
                Action::SendHub { message } => {
                    self.messages += 1;
                    if let Some(Item::Hello(hello)) = message.items.first()
                        && (self.hub.is_none() || message.envelope.seq == 0)
                    {
                        assert!(matches!(hello.peer, Peer::Manager { .. }));
                        self.hub = Some(Session::new(message.envelope.sid, now));
                    }
                    if let Some(session) = &mut self.hub {
                        self.said.extend(session.receive(now, message).expect("in order"));
                    }
                }
                Action::SendExecutor { conn, message } => {
                    self.messages += 1;
                    if let Some(executor) = self.executors.values_mut().find(|e| e.conn == conn) {
                        executor.heard.extend(executor.session.receive(now, message).expect("in order"));
                    } else {
                        self.actions.push(Action::SendExecutor { conn, message });
                    }
                }
                Action::SaveHints { executors } => {
                    save = true;
                    self.actions.push(Action::SaveHints { executors });
                }
                Action::Disconnect => {
                    self.hub = None;
                    self.actions.push(Action::Disconnect);
                }
                other => self.actions.push(other),
            }
        }
        if save && self.disk {
            self.event(Event::HintsSaved);
        }
    }

    pub(crate) fn welcome(&mut self) {
        self.hub_says(vec![Item::Welcome {
            proto: 2,
            epoch: 1,
            heartbeat_ms: 10_000,
            threshold_ms: 30_000,
            result_window: 1 << 20,
        }]);
    }

    pub(crate) fn hub_says(&mut self, items: Vec<Item>) {
        let now = Mono(self.ms);
        let session = self.hub.as_mut().expect("a session");
        items.into_iter().for_each(|item| session.push(item));
        let mut messages = Vec::new();
        // The second time nothing lingers.
        session.flush(now, |message| messages.push(message));
        session.flush(now.after(limits::LINGER_MS), |message| messages.push(message));
        for message in messages {
            self.event(Event::FromHub { message });
        }
    }

    /// A new session of `executor`, with these holdings.
    pub(crate) fn hello(
        &mut self,
        executor: ExecutorId,
        connection: u64,
        held: Vec<Holding>,
        capacity: Capacity,
    ) -> ConnId {
        self.greets(executor, executor_hello(executor, connection, held, capacity))
    }

    /// A new session of `executor` with these first words.
    pub(crate) fn greets(&mut self, executor: ExecutorId, hello: Item) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        let session = Session::new(1_000 + self.conns, Mono(self.ms));
        let fake = FakeExecutor { conn, session, heard: Vec::new() };
        self.executors.insert(executor, fake);
        self.executor_says(executor, vec![hello]);
        conn
    }

    pub(crate) fn executor_says(&mut self, executor: ExecutorId, items: Vec<Item>) {
        let now = Mono(self.ms);
        let fake = self.executors.get_mut(&executor).expect("an executor");
        let conn = fake.conn;
        items.into_iter().for_each(|item| fake.session.push(item));
        let mut messages = Vec::new();
        fake.session.flush(now, |message| messages.push(message));
        fake.session.flush(now.after(limits::LINGER_MS), |message| messages.push(message));
        for message in messages {
            self.event(Event::FromExecutor { conn, executor, message });
        }
    }

    pub(crate) fn raw(&mut self, executor: ExecutorId, conn: ConnId, message: Message) {
        self.event(Event::FromExecutor { conn, executor, message });
    }

    /// What an executor was told, what lingers too.
    pub(crate) fn heard(&mut self, executor: ExecutorId) -> Vec<Item> {
        let end = self.ms + limits::LINGER_MS;
        if self.manager.next_deadline().is_some_and(|at| at.0 <= end) {
            self.ms = end;
            self.event(Event::Tick);
        }
        std::mem::take(&mut self.executors.get_mut(&executor).expect("an executor").heard)
    }

    pub(crate) fn said(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.said)
    }

    /// Lets `ms` pass, with a tick whenever the machine asks for one. Peers marked alive answer with a `Ping`.
    pub(crate) fn pass(&mut self, ms: u64, hub_alive: bool, alive: &[ExecutorId]) {
        let end = self.ms + ms;
        while self.ms < end {
            let due = self.manager.next_deadline().map_or(end, |at| at.0);
            self.ms = due.clamp(self.ms + 1, end);
            if hub_alive && self.hub.is_some() {
                let message = self.hub.as_mut().unwrap().ping(Mono(self.ms));
                self.event(Event::FromHub { message });
            }
            for executor in alive {
                let fake = self.executors.get_mut(executor).unwrap();
                let (conn, message) = (fake.conn, fake.session.ping(Mono(self.ms)));
                self.event(Event::FromExecutor { conn, executor: *executor, message });
            }
            self.event(Event::Tick);
        }
    }

    pub(crate) fn reconnect_hub(&mut self) {
        self.event(Event::LinkDown { why: "test".into() });
        self.hub = None;
        self.said.clear();
        self.ms += 5_001;
        self.event(Event::Tick);
        self.event(Event::LinkUp);
    }
}

pub(crate) fn executor_hello(
    executor: ExecutorId,
    connection: u64,
    held: Vec<Holding>,
    capacity: Capacity,
) -> Item {
    Item::Hello(Box::new(Hello {
        proto_min: version::OLDEST,
        proto_max: version::VERSION,
        software: "bursa test".into(),
        peer: Peer::Executor { executor },
        connection,
        host: "node".into(),
        python: "3.12".into(),
        held,
        last: true,
        complete: true,
        capacity,
        guests: false,
        has: HAS,
        have_functions: vec![Hash::of(BODY)],
    }))
}
