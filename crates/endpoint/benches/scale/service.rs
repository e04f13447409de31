//! The service: the real hub, and a store that answers at once.

use bursa_core::hub::{self, Action, Answer, Event, Hub, KnownEndpoint, Op, RequestId, Submit};
use bursa_core::id::{EndpointId, ExecutorId, FunctionId, GroupId, Hash, TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::{Args, TaskSpec};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire;
use bursa_endpoint::home::{self, Registration};
use bursa_fabric::{Acceptor, Context, Incoming, KeyPair, Timing};
use bytes::Bytes;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const NAME: &str = "lab";
const ENDPOINT: EndpointId = EndpointId::from_bytes([1; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);
const GROUP: GroupId = GroupId::from_bytes([4; 16]);
const BODY: &[u8] = b"a function's body";
const BATCH: u64 = 10_000;
/// Tasks that wait at the hub: more than the endpoint may hold.
const AHEAD: u64 = 3 * limits::CREDIT_TASKS as u64;
/// Long enough for any pause of a busy machine.
const HEARTBEAT_MS: u64 = 10_000;
const TIMING: Timing = Timing { threshold_ms: 60_000 };
const TICKS_PER_S: f64 = 100.0;

pub(crate) struct Service {
    hub: Hub,
    acceptor: Acceptor,
    clock: Instant,
    out: Vec<Action>,
    submitted: u64,
    ended: u64,
    messages: u64,
}

impl Service {
    /// A service for one endpoint, whose home is made in `home` with the keys of this many executors.
    pub(crate) fn new(home: &Path, executors: u32) -> Self {
        let keys = KeyPair::generate().expect("a key");
        let context = Context::new().expect("libzmq with CURVE");
        let mut acceptor =
            Acceptor::bind(&context, "127.0.0.1:0", &keys, TIMING).expect("a port of this machine");
        let dir = home::create(home, NAME).expect("the endpoint's directory");
        let registration = Registration {
            endpoint_id: ENDPOINT,
            name: NAME.into(),
            zmq: acceptor.local_addr().into(),
            service_key: keys.public,
            owner: None,
        };
        dir.register(&registration).expect("the endpoint's files");
        acceptor.allow(dir.keys().expect("the endpoint's key").public, "manager");
        for n in 1..=executors {
            let mut id = [0; 16];
            id[12..].copy_from_slice(&n.to_be_bytes());
            let key = KeyPair::generate().expect("a key");
            key.save(&dir.executor_key(ExecutorId::from_bytes(id))).expect("an executor's key");
        }
        let config = hub::Config {
            epoch: 1,
            heartbeat_ms: HEARTBEAT_MS,
            threshold_ms: u64::from(TIMING.threshold_ms),
            grace_ms: 1_000,
            tasks_per_user: usize::MAX,
            fail_when_offline_ms: None,
        };
        let known = KnownEndpoint::new(ENDPOINT);
        let hub = Hub::new(config, Now::default(), vec![known], Vec::new());
        Self { hub, acceptor, clock: Instant::now(), out: Vec::new(), submitted: 0, ended: 0, messages: 0 }
    }

    /// Once all slots are there, has `tasks` tasks run: what that took, as JSON. `pids` are the manager and the executors.
    pub(crate) async fn run(&mut self, tasks: u64, slots: u32, pids: [u32; 2]) -> String {
        while self.hub.endpoint(&ENDPOINT).is_none_or(|status| status.slots_total < slots) {
            self.round().await;
        }
        let (began, before, messages) = (Instant::now(), cpu(pids), self.messages);
        while self.ended < tasks {
            while self.submitted < tasks && self.submitted - self.ended < AHEAD {
                self.submit(BATCH.min(tasks - self.submitted));
            }
            self.round().await;
        }
        let took = began.elapsed().as_secs_f64();
        let us = |n: usize| (cpu(pids)[n] - before[n]) * 1e6 / tasks as f64;
        format!(
            r#"{{"slots": {slots}, "tasks": {tasks}, "seconds": {took:.2}, "tasks_per_s": {:.0}, "service_us": {:.2}, "manager_us": {:.2}, "executors_us": {:.2}, "messages_at_the_service": {}}}"#,
            tasks as f64 / took,
            us(0),
            us(1),
            us(2),
            self.messages - messages
        )
    }

    fn submit(&mut self, count: u64) {
        let tasks = (self.submitted..self.submitted + count).map(spec).collect();
        self.submitted += count;
        let submit = Submit { request: RequestId(self.submitted), user: USER, group: GROUP, tasks };
        let now = self.now();
        self.hub.handle(now, Event::Submit(submit), &mut self.out);
    }

    fn now(&self) -> Now {
        let ns = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let ms = ns / 1_000_000;
        Now { mono: Mono(ms), fine: Fine(ns), wall: Wall(ms) }
    }

    /// As the service's driver does: what waits, then what is to be done, then what is to be said.
    async fn round(&mut self) {
        if self.out.is_empty() {
            let heartbeat = Duration::from_millis(HEARTBEAT_MS / 4);
            match tokio::time::timeout(heartbeat, self.acceptor.recv()).await {
                Ok(incoming) => self.heard(incoming),
                Err(_) => {
                    let now = self.now();
                    self.hub.handle(now, Event::Tick, &mut self.out);
                }
            }
        }
        for _ in 0..limits::ROUND_EVENTS {
            let Some(incoming) = self.acceptor.try_recv() else { break };
            self.heard(incoming);
        }
        loop {
            let now = self.now();
            self.hub.flush(now, &mut self.out);
            if self.out.is_empty() {
                return;
            }
            for action in std::mem::take(&mut self.out) {
                self.perform(now, action);
            }
        }
    }

    fn heard(&mut self, incoming: Incoming) {
        self.messages += 1;
        let message = wire::decode(&incoming.frames).expect("a message");
        let event = Event::Message { conn: incoming.conn, endpoint: ENDPOINT, message };
        let now = self.now();
        self.hub.handle(now, event, &mut self.out);
    }

    fn perform(&mut self, now: Now, action: Action) {
        let event = match action {
            Action::Store { token, op } => {
                let answer = match op {
                    Op::Accept { .. } => Answer::Accepted { known: Vec::new(), hits: Vec::new() },
                    Op::End { .. } => {
                        self.ended += 1;
                        Answer::Ended { sequence: self.ended }
                    }
                    _ => Answer::Done,
                };
                Event::Stored { token, answer }
            }
            Action::LoadBody { hash } => Event::Body { hash, body: Some(Bytes::from_static(BODY)) },
            Action::Send { conn, message } => {
                let frames = wire::encode(message).expect("a message");
                return self.acceptor.send(conn, &frames).expect("the manager takes it");
            }
            Action::Log { text, .. } => return eprintln!("{text}"),
            _ => return,
        };
        self.hub.handle(now, event, &mut self.out);
    }
}

/// Ids that look random, as those of clients do.
fn spec(n: u64) -> TaskSpec {
    let mut id = [0x70; 16];
    id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TaskSpec {
        task: TaskId::from_bytes(id),
        user: USER,
        group: GROUP,
        function: FunctionId::from_bytes([5; 16]),
        hash: Hash::of(BODY),
        endpoint: ENDPOINT,
        container: None,
        resources: None,
        args: Args::Here(Bytes::from_static(&[7; 30])),
        retries: 2,
        retry_on_error: 0,
        timeout_ms: None,
        deadline: Wall(u64::from(u32::MAX)),
        submitted: Wall(0),
        memoize: false,
    }
}

/// Seconds of processor time of this process and those.
fn cpu(pids: [u32; 2]) -> [f64; 3] {
    [std::process::id(), pids[0], pids[1]].map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name: state is the first, user and system time are the 12th and 13th.
        let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        words.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_S
    })
}
