//! A hub with a fake store and fake managers around it: real sessions, no links in between.

use bursa_core::hub::{
    Action, Answer, Config, Counter, Event, Hub, KnownEndpoint, Op, Recovered, Reply, RequestId, Submit,
    Token,
};
use bursa_core::id::{ConnId, EndpointId, FunctionId, GroupId, Hash, ManagerId, TaskId, UserId};
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::task::{Args, Begun, Ending, Failure, Outcome, TaskSpec, TaskState};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::timings::Timings;
use bursa_core::wire::{
    Assign, Attempt, Blob, Capacity, Done, Held, Hello, Holding, Item, Message, Peer, Session, Stage, version,
};
use bytes::Bytes;
use std::collections::BTreeMap;

pub(crate) const BODY: &[u8] = b"the body";
pub(crate) const TASKS_PER_USER: usize = 5_000;
pub(crate) const WALL: u64 = 1_700_000_000_000;

pub(crate) fn task(n: u32) -> TaskId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

pub(crate) fn endpoint(n: u8) -> EndpointId {
    EndpointId::from_bytes([n; 16])
}

pub(crate) fn user() -> UserId {
    UserId::from_bytes([3; 16])
}

pub(crate) fn spec(n: u32) -> TaskSpec {
    TaskSpec {
        task: task(n),
        user: user(),
        group: GroupId::from_bytes([4; 16]),
        function: FunctionId::from_bytes([5; 16]),
        hash: Hash::of(BODY),
        endpoint: endpoint(1),
        container: None,
        resources: None,
        args: Args::Here(Bytes::from_static(b"arguments")),
        retries: 1,
        retry_on_error: 0,
        timeout_ms: None,
        deadline: Wall(WALL + 1_000_000),
        submitted: Wall(WALL),
        memoize: false,
    }
}

pub(crate) fn config(epoch: u32) -> Config {
    Config {
        epoch,
        heartbeat_ms: 10_000,
        threshold_ms: 30_000,
        grace_ms: 2_000,
        tasks_per_user: TASKS_PER_USER,
        fail_when_offline_ms: None,
    }
}

/// A task as the fake store has it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) spec: TaskSpec,
    pub(crate) charges: (u32, u32, u32),
    pub(crate) ending: Option<Ending>,
    pub(crate) writes: u32,
}

/// The only thing that survives a restart.
#[derive(Debug, Default, Clone)]
pub(crate) struct Store {
    pub(crate) rows: BTreeMap<TaskId, Row>,
    pub(crate) generations: BTreeMap<EndpointId, u64>,
    pub(crate) deleted: Vec<EndpointId>,
    pub(crate) bodies: BTreeMap<Hash, Bytes>,
    /// What a task that may have an earlier result gets, if there is one.
    pub(crate) memoized: Option<Ending>,
    sequence: u64,
}

impl Store {
    fn apply(&mut self, op: Op) -> Answer {
        match op {
            Op::Accept { tasks, .. } => self.accept(tasks),
            Op::End { task, ending, .. } => {
                let Some(row) = self.rows.get_mut(&task) else { return Answer::Unknown };
                if let Some(ended) = &row.ending {
                    return Answer::AlreadyEnded { state: ended.state };
                }
                row.ending = Some(ending);
                row.writes += 1;
                self.sequence += 1;
                Answer::Ended { sequence: self.sequence }
            }
            Op::Charge { task, losses, maybes, errors } => {
                let Some(row) = self.rows.get_mut(&task) else { return Answer::Unknown };
                if let Some(ended) = &row.ending {
                    return Answer::AlreadyEnded { state: ended.state };
                }
                row.charges = (losses, maybes, errors);
                Answer::Done
            }
            Op::Generation { endpoint, generation, .. } => {
                self.generations.insert(endpoint, generation);
                Answer::Done
            }
            Op::DeleteEndpoint { endpoint } => {
                self.deleted.push(endpoint);
                Answer::Done
            }
        }
    }

    fn accept(&mut self, tasks: Vec<TaskSpec>) -> Answer {
        let mut known = Vec::new();
        for spec in &tasks {
            match self.rows.get(&spec.task) {
                Some(row) if row.spec != *spec => return Answer::Conflict { task: spec.task },
                Some(_) => known.push(spec.task),
                None => {}
            }
        }
        let mut hits = Vec::new();
        for spec in tasks {
            if self.rows.contains_key(&spec.task) {
                continue;
            }
            let ending = self.memoized.clone().filter(|_| spec.memoize);
            hits.extend(ending.is_some().then_some(spec.task));
            self.rows.insert(spec.task, Row { spec, charges: (0, 0, 0), ending, writes: 0 });
        }
        Answer::Accepted { known, hits }
    }

    pub(crate) fn live(&self) -> Vec<Recovered> {
        let live = self.rows.values().filter(|row| row.ending.is_none());
        live.map(|row| Recovered {
            spec: row.spec.clone(),
            losses: row.charges.0,
            maybes: row.charges.1,
            errors: row.charges.2,
        })
        .collect()
    }

    pub(crate) fn state(&self, n: u32) -> Option<TaskState> {
        self.rows[&task(n)].ending.as_ref().map(|ending| ending.state)
    }

    pub(crate) fn failure(&self, n: u32) -> Failure {
        self.rows[&task(n)].ending.as_ref().unwrap().failure.clone().map(|failure| *failure).unwrap()
    }
}

/// A hub and what it asked for.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) mono: u64,
    next_request: u64,
    next_conn: u64,
    /// Writes asked for and not answered.
    pub(crate) ops: Vec<(Token, Op)>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) mail: BTreeMap<ConnId, Vec<Message>>,
    pub(crate) closed: Vec<ConnId>,
    pub(crate) counts: BTreeMap<Counter, u64>,
    pub(crate) bells: usize,
    pub(crate) bodies_asked: Vec<Hash>,
    pub(crate) args_asked: Vec<TaskId>,
    pub(crate) secrets_asked: Vec<UserId>,
    pub(crate) actions: Vec<Action>,
}

/// Both clocks, `mono` milliseconds after the start.
pub(crate) fn at(mono: u64) -> Now {
    Now { mono: Mono(mono), fine: Fine(mono * 1_000_000), wall: Wall(WALL + mono) }
}

impl Rig {
    pub(crate) fn new() -> Self {
        let mut store = Store::default();
        store.generations.insert(endpoint(1), 0);
        store.bodies.insert(Hash::of(BODY), Bytes::from_static(BODY));
        Self::start(1, store, 1_000)
    }

    /// A service that starts on what is stored.
    pub(crate) fn start(epoch: u32, store: Store, mono: u64) -> Self {
        Self::start_with(config(epoch), store, mono)
    }

    pub(crate) fn start_with(config: Config, store: Store, mono: u64) -> Self {
        let known = |(endpoint, generation): (&EndpointId, &u64)| KnownEndpoint {
            generation: *generation,
            deleted: store.deleted.contains(endpoint),
            ..KnownEndpoint::new(*endpoint)
        };
        let endpoints = store.generations.iter().map(known).collect();
        let now = at(mono);
        let epoch = config.epoch;
        let hub = Hub::new(config, now, endpoints, store.live());
        Self {
            hub,
            store,
            mono,
            next_request: 0,
            next_conn: 100 * u64::from(epoch),
            ops: Vec::new(),
            replies: Vec::new(),
            mail: BTreeMap::new(),
            closed: Vec::new(),
            counts: BTreeMap::new(),
            bells: 0,
            bodies_asked: Vec::new(),
            args_asked: Vec::new(),
            secrets_asked: Vec::new(),
            actions: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        at(self.mono)
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let mut out = Vec::new();
        self.hub.handle(self.now(), event, &mut out);
        self.take(out);
    }

    pub(crate) fn flush(&mut self) {
        let mut out = Vec::new();
        self.hub.flush(self.now(), &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            self.actions.push(action.clone());
            match action {
                Action::Store { token, op } => self.ops.push((token, op)),
                Action::LoadBody { hash } => self.bodies_asked.push(hash),
                Action::LoadArgs { task } => self.args_asked.push(task),
                Action::LoadSecrets { user, .. } => self.secrets_asked.push(user),
                Action::Send { conn, message } => self.mail.entry(conn).or_default().push(message),
                Action::Close { conn } => self.closed.push(conn),
                Action::Reply { reply, .. } => self.replies.push(reply),
                Action::Bell { .. } => self.bells += 1,
                Action::Count { counter, by } => *self.counts.entry(counter).or_default() += by,
                Action::Log { .. } => {}
            }
        }
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.counts.get(&counter).copied().unwrap_or_default()
    }

    /// Time passes; the hub is called when it asked to be, so that it never seems to have slept.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.mono + ms;
        while let Some(at) = self.hub.next_deadline().filter(|at| at.0 <= end) {
            self.mono = self.mono.max(at.0);
            self.handle(Event::Tick);
            self.flush();
            self.settle();
        }
        self.mono = end;
        self.handle(Event::Tick);
        self.flush();
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) fn submit(&mut self, tasks: Vec<TaskSpec>) {
        let request = self.request();
        let (user, group) = (tasks[0].user, tasks[0].group);
        self.handle(Event::Submit(Submit { request, user, group, tasks }));
    }

    pub(crate) fn cancel(&mut self, tasks: Vec<TaskId>) {
        let request = self.request();
        self.handle(Event::Cancel { request, tasks });
    }

    /// The store does the oldest write.
    pub(crate) fn store_one(&mut self) {
        let (token, op) = self.ops.remove(0);
        let answer = self.store.apply(op);
        self.handle(Event::Stored { token, answer });
    }

    /// The store cannot do the oldest write.
    pub(crate) fn fail_one(&mut self) {
        let (token, _) = self.ops.remove(0);
        self.handle(Event::StoreFailed { token, why: "disk full".into() });
    }

    /// Store and hub do all they can without anyone else.
    pub(crate) fn settle(&mut self) {
        loop {
            self.flush();
            if !self.ops.is_empty() {
                self.store_one();
            } else if let Some(hash) = self.bodies_asked.pop() {
                let body = self.store.bodies.get(&hash).cloned();
                self.handle(Event::Body { hash, body });
            } else if let Some(task) = self.args_asked.pop() {
                let args = self.store.rows.get(&task).and_then(|row| match &row.spec.args {
                    Args::Here(args) => Some(args.clone()),
                    Args::Stored(_) => None,
                });
                self.handle(Event::Args { task, args });
            } else {
                return;
            }
        }
    }

    pub(crate) fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// A manager says something.
    pub(crate) fn say(&mut self, peer: &mut Mgr, items: Vec<Item>) {
        for item in items {
            peer.session.push(item);
        }
        let mut messages = Vec::new();
        // The second time nothing lingers.
        peer.session.flush(Mono(self.mono), |message| messages.push(message));
        peer.session.flush(Mono(self.mono + limits::LINGER_MS), |message| messages.push(message));
        for message in messages {
            self.handle(Event::Message { conn: peer.conn, endpoint: peer.endpoint, message });
        }
    }

    pub(crate) fn ping(&mut self, peer: &mut Mgr) {
        let message = peer.session.ping(Mono(self.mono));
        self.handle(Event::Message { conn: peer.conn, endpoint: peer.endpoint, message });
    }

    /// What a manager was told since it listened last, what lingers too.
    pub(crate) fn hear(&mut self, peer: &mut Mgr) -> Vec<Item> {
        let end = self.mono + limits::LINGER_MS;
        if self.hub.next_deadline().is_some_and(|at| at.0 <= end) {
            self.mono = end;
            self.handle(Event::Tick);
            self.flush();
        }
        let messages = self.mail.remove(&peer.conn).unwrap_or_default();
        let now = Mono(self.mono);
        messages.into_iter().flat_map(|message| peer.session.receive(now, message).unwrap()).collect()
    }

    /// A manager connects, is welcomed, and has said all it holds.
    pub(crate) fn connect(&mut self, hello: Hello) -> Mgr {
        let mut peer = self.open(hello);
        self.settle();
        let heard = self.hear(&mut peer);
        assert!(matches!(heard.first(), Some(Item::Welcome { .. })), "{heard:?}");
        peer.extra = heard.into_iter().skip(1).collect();
        peer
    }

    /// A manager says its first words.
    pub(crate) fn open(&mut self, hello: Hello) -> Mgr {
        let conn = self.new_conn();
        let session = Session::new(conn.0 * 77, Mono(self.mono));
        let mut peer = Mgr { conn, endpoint: endpoint(1), session, extra: Vec::new() };
        self.say(&mut peer, vec![Item::Hello(Box::new(hello))]);
        peer
    }

    /// An honest manager of this generation comes, holds nothing, and runs what is left, in so many rounds (F9).
    pub(crate) fn run_out(&mut self, generation: u64, rounds: usize) {
        let mut words = hello(generation, 9, 1);
        words.capacity = capacity(100);
        let mut peer = self.connect(words);
        let mut left = assigns(&peer.extra);
        for _ in 0..rounds {
            for assign in std::mem::take(&mut left) {
                let mut ended = done(0, assign.attempt, Outcome::Success, Begun::Yes);
                ended.task = assign.task;
                self.say(&mut peer, vec![Item::Result(Box::new(ended))]);
            }
            self.settle();
            left = assigns(&self.hear(&mut peer));
        }
    }

    /// Submits, stores, and returns what the manager is then assigned.
    pub(crate) fn run(&mut self, peer: &mut Mgr, tasks: Vec<TaskSpec>) -> Vec<Assign> {
        self.submit(tasks);
        self.settle();
        assigns(&self.hear(peer))
    }
}

/// A fake manager.
#[derive(Debug)]
pub(crate) struct Mgr {
    pub(crate) conn: ConnId,
    pub(crate) endpoint: EndpointId,
    pub(crate) session: Session,
    /// What came with the welcome.
    pub(crate) extra: Vec<Item>,
}

pub(crate) fn capacity(credit: u32) -> Capacity {
    Capacity {
        credit_tasks: credit,
        credit_bytes: 1 << 20,
        slots_total: credit,
        slots_free: credit,
        warm: Vec::new(),
        degraded: None,
        blocks: None,
    }
}

pub(crate) fn hello(generation: u64, manager: u8, connection: u64) -> Hello {
    Hello {
        proto_min: version::OLDEST,
        proto_max: version::VERSION,
        software: "bursa test".into(),
        peer: Peer::Manager {
            endpoint: endpoint(1),
            generation,
            manager: ManagerId::from_bytes([manager; 16]),
        },
        connection,
        host: format!("host{manager}"),
        python: "3.12".into(),
        held: Vec::new(),
        last: true,
        complete: true,
        capacity: capacity(10),
        has: Resources::NONE,
        guests: false,
        have_functions: Vec::new(),
    }
}

pub(crate) fn holding(n: u32, attempt: Attempt, begun: Begun) -> Holding {
    let stage = if begun == Begun::Yes { Stage::Running } else { Stage::Waiting };
    Holding { task: task(n), attempt, stage, begun }
}

pub(crate) fn held(held: Vec<Holding>, complete: bool, accounted: bool) -> Item {
    Item::Held(Held { held, complete, accounted })
}

pub(crate) fn assigns(items: &[Item]) -> Vec<Assign> {
    let assign = |item: &Item| match item {
        Item::Assign(assign) => Some((**assign).clone()),
        _ => None,
    };
    items.iter().filter_map(assign).collect()
}

pub(crate) fn acks(items: &[Item]) -> Vec<(TaskId, Attempt, Outcome)> {
    let ack = |item: &Item| match item {
        Item::Ack { task, attempt, outcome } => Some((*task, *attempt, *outcome)),
        _ => None,
    };
    items.iter().filter_map(ack).collect()
}

pub(crate) fn cancels(items: &[Item]) -> Vec<(TaskId, Attempt)> {
    let cancel = |item: &Item| match item {
        Item::Cancel { task, attempt, .. } => Some((*task, *attempt)),
        _ => None,
    };
    items.iter().filter_map(cancel).collect()
}

pub(crate) fn started(n: u32, attempt: Attempt) -> Item {
    Item::Started { task: task(n), attempt, worker: bursa_core::id::WorkerId(1) }
}

pub(crate) fn done(n: u32, attempt: Attempt, outcome: Outcome, begun: Begun) -> Done {
    Done {
        task: task(n),
        attempt,
        outcome,
        begun,
        payload: Blob::Here(Bytes::from_static(b"result")),
        failure: None,
        output: Blob::empty(),
        run_ns: 5,
        timings: Timings::default(),
    }
}

pub(crate) fn result(n: u32, attempt: Attempt, outcome: Outcome, begun: Begun) -> Item {
    Item::Result(Box::new(done(n, attempt, outcome, begun)))
}

pub(crate) fn success(n: u32, attempt: Attempt) -> Item {
    result(n, attempt, Outcome::Success, Begun::Yes)
}

pub(crate) fn refused(items: &[Item]) -> Option<(bursa_core::wire::RefusedReason, bool)> {
    items.iter().find_map(|item| match item {
        Item::Refused { reason, is_final, .. } => Some((*reason, *is_final)),
        _ => None,
    })
}

pub(crate) fn reset(items: &[Item]) -> Option<bursa_core::wire::ResetReason> {
    items.iter().find_map(|item| match item {
        Item::Reset { reason } => Some(*reason),
        _ => None,
    })
}
