//! A hub, a manager and its executors in one thread: every message is encoded and decoded, stores and workers answer at
//! once. What each part costs is counted apart.

use crate::counting;
use bursa_core::executor::{self, Executor, Verdict, WorkerDone};
use bursa_core::hub::{self, Answer, Hub, KnownEndpoint, Op, RequestId, Submit};
use bursa_core::id::{
    ConnId, EndpointId, ExecutorId, FunctionId, GroupId, Hash, ManagerId, TaskId, UserId, WorkerId,
};
use bursa_core::manager::route::Routing;
use bursa_core::manager::{self, Manager};
use bursa_core::resources::Resources;
use bursa_core::task::{Args, TaskSpec};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Message, codec};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Instant;

const BODY: &[u8] = b"a function's body";
const ENDPOINT: EndpointId = EndpointId::from_bytes([1; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);
const HUB: ConnId = ConnId(0);
const DAY_MS: u64 = 86_400_000;

/// The parts whose cost is counted.
pub(crate) const PARTS: [&str; 5] = ["hub", "manager", "executor", "encode", "decode"];

/// What one part has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) allocations: usize,
    pub(crate) ns: u128,
}

struct Node {
    id: ExecutorId,
    machine: Executor,
    conn: ConnId,
    inbox: Vec<executor::Event>,
}

/// The whole of it.
pub(crate) struct Chain {
    hub: Hub,
    manager: Manager,
    nodes: Vec<Node>,
    by_conn: BTreeMap<ConnId, usize>,
    workers: u32,
    to_hub: Vec<hub::Event>,
    to_manager: Vec<manager::Event>,
    now: u64,
    tasks: u64,
    pub(crate) ended: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) costs: [Cost; 5],
}

// Never inlined: their names are what the instructions are counted by.

#[inline(never)]
fn hub_turn(hub: &mut Hub, now: Now, events: &mut Vec<hub::Event>, out: &mut Vec<hub::Action>) {
    for event in events.drain(..) {
        hub.handle(now, event, out);
    }
    hub.flush(now, out);
    std::hint::black_box(hub.next_deadline());
}

#[inline(never)]
fn manager_turn(
    machine: &mut Manager,
    now: Now,
    events: &mut Vec<manager::Event>,
    out: &mut Vec<manager::Action>,
) {
    for event in events.drain(..) {
        machine.handle(now, event, out);
    }
    if machine.next_deadline().is_some_and(|at| at <= now.mono) {
        machine.handle(now, manager::Event::Tick, out);
    }
    machine.flush(now, out);
    std::hint::black_box(machine.next_deadline());
}

#[inline(never)]
fn executor_turn(
    machine: &mut Executor,
    now: Now,
    events: &mut Vec<executor::Event>,
    out: &mut Vec<executor::Action>,
) {
    for event in events.drain(..) {
        machine.handle(now, event, out);
    }
    if machine.next_deadline().is_some_and(|at| at <= now.mono) {
        machine.handle(now, executor::Event::Tick, out);
    }
    machine.flush(now, out);
    std::hint::black_box(machine.next_deadline());
}

#[inline(never)]
fn encode_turn(message: Message) -> Vec<Bytes> {
    codec::encode(message).expect("every message can be written")
}

#[inline(never)]
fn decode_turn(frames: &[Bytes]) -> Message {
    codec::decode(frames).expect("what was written can be read")
}

fn counted<T>(cost: &mut Cost, work: impl FnOnce() -> T) -> T {
    let (calls, began) = (counting::calls(), Instant::now());
    let result = work();
    cost.ns += began.elapsed().as_nanos();
    cost.allocations += counting::calls() - calls;
    result
}

impl Chain {
    /// An endpoint of this many executors with this many workers each; it is away.
    pub(crate) fn new(executors: u32, workers: u32) -> Self {
        let now = Now { mono: Mono(1), fine: Fine(1_000_000), wall: Wall(1_000_000) };
        let hub = hub::Config {
            epoch: 1,
            heartbeat_ms: 10_000,
            threshold_ms: 30_000,
            grace_ms: 1_000,
            tasks_per_user: usize::MAX,
            fail_when_offline_ms: None,
        };
        let manager = manager::Config {
            endpoint: ENDPOINT,
            manager: ManagerId::from_bytes([3; 16]),
            generation: 1,
            host: "node".into(),
            software: "costs".into(),
            python: "3.12".into(),
            scale: manager::Scale::fixed(executors),
            found: Vec::new(),
            hints: Vec::new(),
            heartbeat_ms: 2_000,
            threshold_ms: 6_000,
            adopt_ms: 12_000,
            routing: Routing::Soft,
            allows: manager::Allows::default(),
            seed: 1,
        };
        let known = KnownEndpoint::new(ENDPOINT);
        Self {
            hub: Hub::new(hub, now, vec![known], Vec::new()),
            manager: Manager::new(manager, now),
            nodes: Vec::new(),
            by_conn: BTreeMap::new(),
            workers,
            to_hub: Vec::new(),
            to_manager: Vec::new(),
            now: 1,
            tasks: 0,
            ended: 0,
            messages: 0,
            bytes: 0,
            costs: [Cost::default(); 5],
        }
    }

    /// The endpoint comes: it takes what is queued.
    pub(crate) fn connect(&mut self) {
        self.to_manager.push(manager::Event::Tick);
    }

    /// One client's request.
    pub(crate) fn submit(&mut self, count: u64) {
        let tasks = (self.tasks..self.tasks + count).map(|n| spec(n, self.now)).collect();
        self.tasks += count;
        let group = GroupId::from_bytes([4; 16]);
        self.to_hub.push(hub::Event::Submit(Submit {
            request: RequestId(self.tasks),
            user: USER,
            group,
            tasks,
        }));
    }

    /// Everything that is under way, to its end.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }

    /// One round of everybody; false if nothing was under way.
    pub(crate) fn step(&mut self) -> bool {
        let mut moved = self.hub();
        moved |= self.manager();
        for node in 0..self.nodes.len() {
            moved |= self.node(node);
        }
        self.now += 1;
        moved
    }

    fn now(&self) -> Now {
        let fine = Fine(self.now * 1_000_000 + 12_345);
        Now { mono: Mono(self.now), fine, wall: Wall(1_000_000 + self.now) }
    }

    fn hub(&mut self) -> bool {
        if self.to_hub.is_empty() {
            return false;
        }
        let (mut events, mut out, now) = (std::mem::take(&mut self.to_hub), Vec::new(), self.now());
        counted(&mut self.costs[0], || hub_turn(&mut self.hub, now, &mut events, &mut out));
        for action in out {
            match action {
                hub::Action::Store { token, op } => {
                    let answer = match op {
                        Op::Accept { .. } => Answer::Accepted { known: Vec::new(), hits: Vec::new() },
                        Op::End { .. } => {
                            self.ended += 1;
                            Answer::Ended { sequence: self.ended }
                        }
                        _ => Answer::Done,
                    };
                    self.to_hub.push(hub::Event::Stored { token, answer });
                }
                hub::Action::LoadBody { hash } => {
                    self.to_hub.push(hub::Event::Body { hash, body: Some(Bytes::from_static(BODY)) });
                }
                hub::Action::Send { message, .. } => {
                    let message = self.carry(message);
                    self.to_manager.push(manager::Event::FromHub { message });
                }
                _ => {}
            }
        }
        true
    }

    fn manager(&mut self) -> bool {
        if self.to_manager.is_empty() {
            return false;
        }
        let (mut events, mut out, now) = (std::mem::take(&mut self.to_manager), Vec::new(), self.now());
        counted(&mut self.costs[1], || manager_turn(&mut self.manager, now, &mut events, &mut out));
        for action in out {
            match action {
                manager::Action::Connect => self.to_manager.push(manager::Event::LinkUp),
                manager::Action::SendHub { message } => {
                    let message = self.carry(message);
                    self.to_hub.push(hub::Event::Message { conn: HUB, endpoint: ENDPOINT, message });
                }
                manager::Action::SendExecutor { conn, message } => {
                    let message = self.carry(message);
                    let node = self.by_conn[&conn];
                    self.nodes[node].inbox.push(executor::Event::FromManager { message });
                }
                manager::Action::Launch { block, executors } => {
                    executors.into_iter().for_each(|executor| self.launch(executor));
                    self.to_manager.push(manager::Event::BlockStarted { block, left_ms: None });
                }
                manager::Action::SaveHints { .. } => self.to_manager.push(manager::Event::HintsSaved),
                manager::Action::Exit { text, .. } => panic!("{text}"),
                _ => {}
            }
        }
        true
    }

    fn launch(&mut self, executor: ExecutorId) {
        let config = executor::Config {
            executor,
            host: "node".into(),
            software: "costs".into(),
            workers: self.workers,
            has: Resources { cores: self.workers, nodes: 1, ..Resources::NONE },
            accelerated: false,
            idle_ms: DAY_MS,
            min_warm: 0,
            prefetch: 512,
            orphan_start_ms: 60_000,
            orphan_ms: DAY_MS,
            seed: self.nodes.len() as u64,
        };
        let conn = ConnId(1 + self.nodes.len() as u64);
        self.by_conn.insert(conn, self.nodes.len());
        let machine = Executor::new(config, self.now());
        self.nodes.push(Node { id: executor, machine, conn, inbox: vec![executor::Event::Tick] });
    }

    fn node(&mut self, index: usize) -> bool {
        let now = self.now();
        let node = &mut self.nodes[index];
        if node.inbox.is_empty() {
            return false;
        }
        let (mut events, mut out) = (std::mem::take(&mut node.inbox), Vec::new());
        counted(&mut self.costs[2], || executor_turn(&mut node.machine, now, &mut events, &mut out));
        let executor = node.id;
        for action in out {
            let event = match action {
                executor::Action::Connect => executor::Event::LinkUp,
                executor::Action::Spawn { worker, .. } => {
                    executor::Event::WorkerReady { worker, python: "3.12".into() }
                }
                executor::Action::Run { worker, task, attempt, .. } => ran(worker, task, attempt),
                executor::Action::Send { message } => {
                    let (conn, message) = (self.nodes[index].conn, self.carry(message));
                    self.to_manager.push(manager::Event::FromExecutor { conn, executor, message });
                    continue;
                }
                executor::Action::Exit { text } => panic!("{text}"),
                _ => continue,
            };
            self.nodes[index].inbox.push(event);
        }
        true
    }

    /// A message as it arrives: written, and read again.
    fn carry(&mut self, message: Message) -> Message {
        let frames = counted(&mut self.costs[3], || encode_turn(message));
        self.messages += 1;
        self.bytes += frames.iter().map(Bytes::len).sum::<usize>() as u64;
        counted(&mut self.costs[4], || decode_turn(&frames))
    }
}

fn ran(worker: WorkerId, task: TaskId, attempt: bursa_core::wire::Attempt) -> executor::Event {
    let done = WorkerDone {
        task,
        attempt,
        verdict: Verdict::Success,
        load_ns: 2_000,
        run_ns: 5_000,
        dump_ns: 1_000,
        payload: Bytes::from_static(b"a result"),
        class: String::new(),
        message: String::new(),
        traceback: String::new(),
        output: Bytes::new(),
    };
    executor::Event::WorkerDone { worker, done }
}

/// Ids as clients make them: a time, a counter, and bits that look random.
fn spec(n: u64, now: u64) -> TaskSpec {
    let mut id = [0x70; 16];
    id[..6].copy_from_slice(&(1_700_000_000_000 + now).to_be_bytes()[2..]);
    id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TaskSpec {
        task: TaskId::from_bytes(id),
        user: USER,
        group: GroupId::from_bytes([4; 16]),
        function: FunctionId::from_bytes([5; 16]),
        hash: Hash::of(BODY),
        endpoint: ENDPOINT,
        container: None,
        resources: None,
        args: Args::Here(Bytes::from_static(&[7; 30])),
        retries: 2,
        retry_on_error: 0,
        timeout_ms: None,
        deadline: Wall(1_000_000 + 14 * DAY_MS),
        submitted: Wall(1_000_000 + now),
        memoize: false,
    }
}
