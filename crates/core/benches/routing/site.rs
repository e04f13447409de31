//! An endpoint's manager with its executors, and a service that gives it calls. Messages take no time.

use crate::load::{CONTAINERS, Call};
use crate::node::Node;
use bursa_core::container::{Container, ContainerKind};
use bursa_core::id::{ConnId, ContainerId, EndpointId, ExecutorId, Hash, ManagerId, TaskId, UserId};
use bursa_core::manager::route::Routing;
use bursa_core::manager::{Action, Allows, Config, Event, Manager, Scale};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Assign, Attempt, Blob, Item, Message, Session};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

const BODY: &[u8] = b"a function's body";
const DAY_MS: u64 = 86_400_000;

/// What became of the calls.
pub(crate) struct Outcome {
    /// From the first call to the last end.
    pub(crate) makespan_ms: u64,
    /// From a call's coming to its end, on average.
    pub(crate) response_ms: u64,
    /// Workers that were started.
    pub(crate) starts: u64,
}

pub(crate) struct Site {
    now: u64,
    manager: Manager,
    inbox: Vec<Event>,
    hub: Option<Session>,
    nodes: BTreeMap<ConnId, (ExecutorId, Node)>,
    workers: u32,
    run_ms: u64,
    containers: Vec<Arc<Container>>,
    came: BTreeMap<TaskId, u64>,
    ended: u64,
    waited_ms: u64,
    last: u64,
}

impl Site {
    pub(crate) fn new(routing: Routing, executors: u64, workers: u32, seed: u64) -> Self {
        let config = Config {
            endpoint: EndpointId::from_bytes([1; 16]),
            manager: ManagerId::from_bytes([2; 16]),
            generation: 1,
            host: "node".into(),
            software: "routing".into(),
            python: "3.12".into(),
            scale: Scale::fixed(u32::try_from(executors).expect("few executors")),
            found: Vec::new(),
            hints: Vec::new(),
            heartbeat_ms: 2_000,
            threshold_ms: 6_000,
            adopt_ms: 12_000,
            routing,
            allows: Allows::default(),
            seed,
        };
        let image = |n: u64| {
            let container = ContainerId::from_bytes(bytes(1 + n));
            Arc::new(Container { container, kind: ContainerKind::Docker, location: format!("image:{n}") })
        };
        Self {
            now: 1,
            manager: Manager::new(config, clock(1)),
            inbox: vec![Event::Tick],
            hub: None,
            nodes: BTreeMap::new(),
            workers,
            run_ms: 0,
            containers: (0..CONTAINERS).map(image).collect(),
            came: BTreeMap::new(),
            ended: 0,
            waited_ms: 0,
            last: 0,
        }
    }

    /// Runs all calls to their ends.
    pub(crate) fn run(mut self, calls: &[Call]) -> Outcome {
        self.run_ms = calls.first().map_or(0, |call| call.run_ms);
        // Long enough for everybody to be welcomed.
        self.until(20_000);
        let first = self.now;
        let mut next = 0;
        while self.ended < calls.len() as u64 {
            while let Some(call) = calls.get(next).filter(|call| first + call.at_ms <= self.now) {
                self.submit(next as u64, *call);
                next += 1;
            }
            self.settle();
            let came = calls.get(next).map(|call| Mono(first + call.at_ms));
            let due = self.next().into_iter().chain(came).min().expect("something goes on");
            self.now = due.0.max(self.now + 1);
            assert!(self.now < first + 10 * DAY_MS, "{} of {} calls ended", self.ended, calls.len());
        }
        Outcome {
            makespan_ms: self.last - first,
            response_ms: self.waited_ms / self.ended.max(1),
            starts: self.nodes.values().map(|(_, node)| node.starts).sum(),
        }
    }

    fn until(&mut self, end: u64) {
        while self.now < end {
            self.settle();
            self.now = self.next().map_or(end, |at| at.0).clamp(self.now + 1, end);
        }
    }

    fn next(&self) -> Option<Mono> {
        self.nodes.values().filter_map(|(_, node)| node.next()).chain(self.manager.next_deadline()).min()
    }

    /// Everything that happens now.
    fn settle(&mut self) {
        loop {
            let mut moved = self.manager();
            let conns: Vec<ConnId> = self.nodes.keys().copied().collect();
            for conn in conns {
                let Some((executor, node)) = self.nodes.get_mut(&conn) else { continue };
                let Some(said) = node.step(clock(self.now)) else { continue };
                let executor = *executor;
                moved = true;
                self.inbox.extend(said.into_iter().map(|message| Event::FromExecutor {
                    conn,
                    executor,
                    message,
                }));
            }
            if !moved {
                return;
            }
        }
    }

    fn manager(&mut self) -> bool {
        let now = clock(self.now);
        if self.manager.next_deadline().is_some_and(|at| at <= now.mono) {
            self.inbox.push(Event::Tick);
        }
        if self.inbox.is_empty() {
            return false;
        }
        let mut out = Vec::new();
        for event in std::mem::take(&mut self.inbox) {
            self.manager.handle(now, event, &mut out);
        }
        self.manager.flush(now, &mut out);
        for action in out {
            match action {
                Action::Connect => self.inbox.push(Event::LinkUp),
                Action::SendHub { message } => self.hear(message),
                Action::SendExecutor { conn, message } => {
                    self.nodes.get_mut(&conn).expect("a node").1.hear(message);
                }
                Action::Launch { block, executors } => {
                    for executor in executors {
                        let conn = ConnId(1 + self.nodes.len() as u64);
                        let node = Node::new(executor, self.workers, self.run_ms, conn.0, now);
                        self.nodes.insert(conn, (executor, node));
                    }
                    self.inbox.push(Event::BlockStarted { block, left_ms: None });
                }
                Action::SaveHints { .. } => self.inbox.push(Event::HintsSaved),
                Action::Exit { text, .. } => panic!("{text}"),
                _ => {}
            }
        }
        true
    }

    /// The service hears the manager, and keeps every result at once.
    fn hear(&mut self, message: Message) {
        let now = Mono(self.now);
        if matches!(message.items.first(), Some(Item::Hello(_))) {
            let mut session = Session::new(message.envelope.sid, now);
            let (heartbeat_ms, threshold_ms) = (10 * DAY_MS, 30 * DAY_MS);
            session.push(Item::Welcome {
                proto: 3,
                epoch: 1,
                heartbeat_ms,
                threshold_ms,
                result_window: 1 << 30,
            });
            self.hub = Some(session);
        }
        let session = self.hub.as_mut().expect("a session");
        for item in session.receive(now, message).expect("in order") {
            match item {
                Item::Result(done) => {
                    self.ended += 1;
                    self.last = self.now;
                    self.waited_ms += self.now - self.came[&done.task];
                    let (task, attempt, outcome) = (done.task, done.attempt, done.outcome);
                    session.push(Item::Ack { task, attempt, outcome });
                }
                Item::WantFunction { hash } => {
                    let body = Some(Blob::Here(Bytes::from_static(BODY)));
                    session.push(Item::Function { hash, body });
                }
                _ => {}
            }
        }
        self.say();
    }

    fn submit(&mut self, n: u64, call: Call) {
        let task = TaskId::from_bytes(bytes(n));
        self.came.insert(task, self.now);
        let assign = Assign {
            task,
            attempt: Attempt(1 << 32),
            user: UserId::from_bytes([3; 16]),
            hash: Hash::of(BODY),
            container: self.containers.get(usize::try_from(call.container).unwrap_or(0)).cloned(),
            resources: None,
            args: Blob::empty(),
            secrets: None,
            ttl_ms: 30 * DAY_MS,
            timeout_ms: None,
        };
        self.hub.as_mut().expect("a session").push(Item::Assign(Box::new(assign)));
        self.say();
    }

    fn say(&mut self) {
        let (now, inbox) = (Mono(self.now), &mut self.inbox);
        let session = self.hub.as_mut().expect("a session");
        // The second time nothing lingers.
        session.flush(now, |message| inbox.push(Event::FromHub { message }));
        session.flush(now.after(1_000), |message| inbox.push(Event::FromHub { message }));
    }
}

fn clock(ms: u64) -> Now {
    Now { mono: Mono(ms), fine: Fine(ms * 1_000_000), wall: Wall(ms) }
}

fn bytes(n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    bytes
}
