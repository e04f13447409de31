//! Anything that a peer may say, of few tasks, so that what it says often concerns what is there.

use super::tape::Tape;
use bursa_core::container::{Container, ContainerKind};
use bursa_core::id::{ContainerId, Hash, TaskId, UserId, WorkerId};
use bursa_core::resources::Resources;
use bursa_core::secrets::Secrets;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::timings::Timings;
use bursa_core::wire::{
    Assign, Attempt, Blob, Capacity, Done, Envelope, Held, Hello, Holding, Item, Message, Peer, Placed,
    RefusedReason, ResetReason, Stage, Warm,
};
use bytes::Bytes;
use std::sync::Arc;

/// The few names that a fuzzed peer knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) task: fn(u32) -> TaskId,
    pub(crate) hashes: [Hash; 2],
    pub(crate) peers: [Peer; 3],
}

impl Names {
    pub(crate) fn task(&self, tape: &mut Tape<'_>) -> TaskId {
        (self.task)(tape.below(12))
    }

    pub(crate) fn attempt(tape: &mut Tape<'_>) -> Attempt {
        match tape.below(16) {
            0 => Attempt(tape.wild()),
            _ => Attempt::new(1, tape.below(5)),
        }
    }

    pub(crate) fn hash(&self, tape: &mut Tape<'_>) -> Hash {
        tape.pick(&self.hashes)
    }

    /// A session's first words, in one page or more.
    pub(crate) fn hello(&self, tape: &mut Tape<'_>) -> Hello {
        Hello {
            proto_min: tape.pick(&[1, 1, 1, 0, 2]),
            proto_max: tape.pick(&[1, 1, 1, 2, 0]),
            software: "fuzz".into(),
            peer: tape.pick(&self.peers),
            connection: u64::from(tape.below(8)),
            host: "h".repeat(tape.below(300) as usize),
            python: String::new(),
            held: self.holdings(tape),
            last: !tape.one_in(8),
            complete: tape.below(2) == 0,
            capacity: Self::capacity(tape),
            has: Self::asks(tape),
            guests: tape.one_in(2),
            have_functions: (0..tape.below(3)).map(|_| self.hash(tape)).collect(),
        }
    }

    /// Any item; `large` payloads now and then.
    pub(crate) fn item(&self, tape: &mut Tape<'_>) -> Item {
        let (task, attempt) = (self.task(tape), Self::attempt(tape));
        match tape.below(24) {
            0 if tape.one_in(4) => Item::Hello(Box::new(self.hello(tape))),
            1 => Item::Welcome {
                proto: tape.pick(&[1, 1, 1, 0, 9]),
                epoch: u64::from(tape.below(3)),
                heartbeat_ms: tape.pick(&[2_000, 10_000, 0, u64::MAX]),
                threshold_ms: tape.pick(&[6_000, 30_000, 0, u64::MAX]),
                result_window: tape.wild(),
            },
            2 if tape.one_in(4) => Item::Refused {
                reason: tape.pick(&[
                    RefusedReason::Busy,
                    RefusedReason::Stale,
                    RefusedReason::Superseded,
                    RefusedReason::Version,
                ]),
                is_final: tape.one_in(8),
                text: "no".into(),
                other_host: None,
                seen_generation: tape.wild(),
                live: tape.below(2) == 0,
            },
            3 if tape.one_in(8) => Item::Reset { reason: ResetReason::Gap },
            4 => Item::Held(Held {
                held: self.holdings(tape),
                complete: tape.below(2) == 0,
                accounted: tape.below(2) == 0,
            }),
            5 => Item::Capacity(Self::capacity(tape)),
            6..=9 => Item::Assign(Box::new(self.assign(tape, task, attempt))),
            10 | 11 => Item::Started { task, attempt, worker: WorkerId(tape.below(4)) },
            12..=15 => Item::Result(Box::new(Self::done(tape, task, attempt))),
            16 | 17 => Item::Ack { task, attempt, outcome: tape.pick(&Outcome::ALL) },
            18 | 19 => Item::Cancel { task, attempt, grace_ms: tape.pick(&[0, 50, 2_000, u64::MAX]) },
            20 if tape.one_in(3) => Item::Locate { task, attempt },
            20 if tape.one_in(3) => {
                let why = "w".repeat(tape.below(3_000) as usize);
                let place = (!tape.one_in(4)).then(|| Box::new(Placed { why, ..Placed::default() }));
                Item::Located { task, attempt, place }
            }
            20 => Item::WantFunction { hash: self.hash(tape) },
            21 => Item::Function { hash: self.hash(tape), body: (!tape.one_in(4)).then(|| Self::blob(tape)) },
            22 if tape.one_in(8) => Item::Drain { grace_ms: tape.pick(&[0, 2_000, u64::MAX]) },
            22 => Item::Part {
                stream: u64::from(tape.below(3)),
                total: tape.pick(&[0, 10, 5_000, u64::MAX]),
                data: Self::blob(tape),
            },
            23 if tape.one_in(8) => Item::Bye { reason: "b".repeat(tape.below(600) as usize) },
            _ => Item::Ping,
        }
    }

    /// A message under any head.
    pub(crate) fn message(&self, tape: &mut Tape<'_>) -> Message {
        let envelope = Envelope {
            v: tape.pick(&[1, 1, 1, 0, 9]),
            sid: tape.pick(&[77, 154, 231, 1_001, 1_002, u64::MAX]),
            seq: u64::from(tape.below(4)),
            ack: tape.pick(&[0, 1, 2, u64::MAX]),
        };
        Message { envelope, items: (0..tape.below(4)).map(|_| self.item(tape)).collect() }
    }

    fn asks(tape: &mut Tape<'_>) -> Resources {
        Resources {
            cores: tape.pick(&[0, 1, 2, 3, u32::MAX]),
            memory_mb: tape.pick(&[0, 0, 1_000, u64::MAX]),
            gpus: tape.pick(&[0, 0, 1, u32::MAX]),
            nodes: tape.pick(&[0, 0, 1, u32::MAX]),
            ranks_per_node: tape.below(3),
        }
    }

    pub(crate) fn assign(&self, tape: &mut Tape<'_>, task: TaskId, attempt: Attempt) -> Assign {
        Assign {
            task,
            attempt,
            user: UserId::from_bytes([3 + u8::from(tape.one_in(4)); 16]),
            hash: self.hash(tape),
            container: tape.one_in(4).then(image),
            resources: tape.one_in(4).then(|| Arc::new(Self::asks(tape))),
            args: Self::blob(tape),
            secrets: tape.one_in(4).then(|| Secrets::of([("TOKEN", b"s3cr3t".as_slice())])),
            ttl_ms: tape.pick(&[100_000, 100_000, 0, 50, u64::MAX]),
            timeout_ms: tape.pick(&[None, None, Some(0), Some(50), Some(u64::MAX)]),
        }
    }

    fn done(tape: &mut Tape<'_>, task: TaskId, attempt: Attempt) -> Done {
        let failure = tape
            .one_in(3)
            .then(|| Box::new(Failure::new(FailureCode::WorkerDied, "m".repeat(tape.below(400) as usize))));
        Done {
            task,
            attempt,
            outcome: tape.pick(&Outcome::ALL),
            begun: tape.pick(&[Begun::Yes, Begun::No, Begun::Unknown]),
            payload: Self::blob(tape),
            failure,
            output: Blob::empty(),
            run_ns: tape.wild(),
            timings: Timings::unpack(&[tape.wild().to_le_bytes(), tape.wild().to_le_bytes()].concat()),
        }
    }

    fn holdings(&self, tape: &mut Tape<'_>) -> Vec<Holding> {
        let one = |tape: &mut Tape<'_>| Holding {
            task: self.task(tape),
            attempt: Self::attempt(tape),
            stage: tape.pick(&[Stage::Waiting, Stage::Running, Stage::Finished]),
            begun: tape.pick(&[Begun::Yes, Begun::No, Begun::Unknown]),
        };
        (0..tape.below(5)).map(|_| one(tape)).collect()
    }

    fn capacity(tape: &mut Tape<'_>) -> Capacity {
        let number = |tape: &mut Tape<'_>| tape.pick(&[4, 1, 2, 9, 0, u32::MAX]);
        Capacity {
            credit_tasks: number(tape),
            credit_bytes: tape.pick(&[1 << 20, 1 << 20, 0, u64::MAX]),
            slots_total: number(tape),
            slots_free: number(tape),
            warm: (0..tape.below(3))
                .map(|_| Warm { container: None, warm: number(tape), free: number(tape) })
                .collect(),
            degraded: tape.one_in(8).then(|| "why".into()),
            blocks: None,
        }
    }

    fn blob(tape: &mut Tape<'_>) -> Blob {
        match tape.below(16) {
            0 => Blob::Frame(tape.below(3)),
            1 => Blob::Stream(u64::from(tape.below(3))),
            2 => Blob::Here(Bytes::from(vec![1; 300_000])),
            n => Blob::Here(Bytes::from(vec![1; n as usize])),
        }
    }
}

/// The one container there is.
pub(crate) fn image() -> Arc<Container> {
    let (container, kind) = (ContainerId::from_bytes([2; 16]), ContainerKind::Docker);
    Arc::new(Container { container, kind, location: "python:3".to_owned() })
}
