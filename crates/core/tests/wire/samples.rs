//! One message of each item kind, with every field set to something of its own.

use bursa_core::container::{Container, ContainerKind};
use bursa_core::id::{
    BlockId, ContainerId, EndpointId, ExecutorId, Hash, ManagerId, TaskId, UserId, WorkerId,
};
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

pub(crate) fn task(n: u8) -> TaskId {
    TaskId::from_bytes([n; 16])
}

pub(crate) fn message(items: Vec<Item>) -> Message {
    Message { envelope: Envelope { v: 2, sid: 0x0123_4567_89ab_cdef, seq: 4, ack: 300 }, items }
}

fn blob(bytes: &'static [u8]) -> Blob {
    Blob::Here(Bytes::from_static(bytes))
}

fn placed() -> Placed {
    Placed {
        executor: Some(ExecutorId::from_bytes([7; 16])),
        host: "node7".into(),
        block: Some(BlockId::from_bytes([8; 16])),
        why: "a worker was idle there".into(),
    }
}

fn holdings() -> Vec<Holding> {
    [(1, Stage::Waiting, Begun::No), (2, Stage::Running, Begun::Yes), (3, Stage::Finished, Begun::Unknown)]
        .into_iter()
        .map(|(n, stage, begun)| Holding { task: task(n), attempt: Attempt::new(2, 7), stage, begun })
        .collect()
}

fn capacity() -> Capacity {
    let container = Some(ContainerId::from_bytes([9; 16]));
    Capacity {
        credit_tasks: 1026,
        credit_bytes: 268_435_456,
        slots_total: 2,
        slots_free: 1,
        warm: vec![Warm { container: None, warm: 1, free: 1 }, Warm { container, warm: 1, free: 0 }],
        degraded: Some("workers could not be started: no such file".into()),
        blocks: None,
    }
}

fn hello(peer: Peer) -> Item {
    Item::Hello(Box::new(Hello {
        proto_min: 2,
        proto_max: 2,
        software: "bursa 0.1.0".into(),
        peer,
        connection: 3,
        host: "node1".into(),
        python: "3.11".into(),
        held: holdings(),
        last: true,
        complete: false,
        capacity: capacity(),
        has: Resources { cores: 64, memory_mb: 262_144, gpus: 4, nodes: 1, ranks_per_node: 0 },
        guests: false,
        have_functions: vec![Hash([5; 32])],
    }))
}

fn done(outcome: Outcome, failure: Option<Box<Failure>>) -> Item {
    let (payload, output) = (blob(b"p\0\0result"), blob(b"printed\n"));
    let (task, attempt, begun) = (task(1), Attempt::new(2, 7), Begun::Yes);
    Item::Result(Box::new(Done {
        task,
        attempt,
        outcome,
        begun,
        payload,
        failure,
        output,
        run_ns: 1_234_567,
        timings: Timings {
            load: 1_000,
            dump: 2_000,
            wait: 3_000_000,
            executor: 5_000_000,
            ..Timings::default()
        },
    }))
}

fn failure() -> Failure {
    Failure {
        class: Some("builtins.ValueError".into()),
        traceback: Some("Traceback (most recent call last): …".into()),
        signal: Some(11),
        exit: Some(1),
        oom: true,
        peak_rss_kb: Some(307_200),
        memory_limit_kb: Some(262_144),
        host: Some("node1".into()),
        attempt: Some(2),
        ..Failure::new(FailureCode::WorkerDied, "The worker process crashed.")
    }
}

pub(crate) fn image() -> Arc<Container> {
    let (container, kind) = (ContainerId::from_bytes([9; 16]), ContainerKind::Podman);
    Arc::new(Container { container, kind, location: "docker.io/library/python:3.11".into() })
}

pub(crate) fn assign() -> Assign {
    Assign {
        task: task(1),
        attempt: Attempt::new(2, 7),
        user: UserId::from_bytes([6; 16]),
        hash: Hash([5; 32]),
        container: Some(image()),
        resources: None,
        args: blob(b"p\0\0args"),
        secrets: None,
        ttl_ms: 1_209_600_000,
        timeout_ms: Some(60_000),
    }
}

fn secretive() -> Assign {
    let secrets = Some(Secrets::of([("TOKEN", b"s3cr3t".as_slice())]));
    Assign { container: None, secrets, timeout_ms: None, ..assign() }
}

fn sized() -> Assign {
    let asks = Resources { cores: 2, memory_mb: 4_096, gpus: 1, nodes: 0, ranks_per_node: 0 };
    Assign { container: None, resources: Some(Arc::new(asks)), timeout_ms: None, ..assign() }
}

/// By the name of their golden file.
pub(crate) fn all() -> Vec<(&'static str, Message)> {
    let (attempt, hash) = (Attempt::new(2, 7), Hash([5; 32]));
    let (endpoint, manager) = (EndpointId::from_bytes([8; 16]), ManagerId::from_bytes([4; 16]));
    let executor = ExecutorId::from_bytes([7; 16]);
    let kinds: Vec<(&'static str, Vec<Item>)> = vec![
        (
            "hello",
            vec![
                hello(Peer::Manager { endpoint, generation: 12, manager }),
                hello(Peer::Executor { executor }),
            ],
        ),
        (
            "welcome",
            vec![Item::Welcome {
                proto: 2,
                epoch: 2,
                heartbeat_ms: 2_000,
                threshold_ms: 6_000,
                result_window: 1 << 26,
            }],
        ),
        (
            "refused",
            vec![Item::Refused {
                reason: RefusedReason::Superseded,
                is_final: true,
                text: "another manager is in charge".into(),
                other_host: Some("node2".into()),
                seen_generation: 13,
                live: true,
            }],
        ),
        ("reset", vec![Item::Reset { reason: ResetReason::UnknownSession }]),
        ("held", vec![Item::Held(Held { held: holdings(), complete: true, accounted: false })]),
        ("capacity", vec![Item::Capacity(capacity()), Item::Capacity(Capacity::default())]),
        (
            "assign",
            [assign(), assign(), Assign { container: None, ..assign() }, sized(), sized(), secretive()]
                .map(|assign| Item::Assign(Box::new(assign)))
                .into(),
        ),
        ("started", vec![Item::Started { task: task(1), attempt, worker: WorkerId(70_000) }]),
        ("result", vec![done(Outcome::Success, None), done(Outcome::Died, Some(Box::new(failure())))]),
        ("ack", vec![Item::Ack { task: task(1), attempt, outcome: Outcome::Success }]),
        ("cancel", vec![Item::Cancel { task: task(1), attempt, grace_ms: 2_000 }]),
        ("locate", vec![Item::Locate { task: task(1), attempt }]),
        (
            "located",
            vec![
                Item::Located { task: task(1), attempt, place: None },
                Item::Located { task: task(1), attempt, place: Some(Box::new(placed())) },
            ],
        ),
        ("want_function", vec![Item::WantFunction { hash }]),
        (
            "function",
            vec![
                Item::Function { hash, body: Some(Blob::Here(vec![0xc3; 5_000].into())) },
                Item::Function { hash, body: None },
            ],
        ),
        ("part", vec![Item::Part { stream: 3, total: 2_000_000, data: blob(b"a piece") }]),
        ("ping", vec![Item::Ping]),
        ("drain", vec![Item::Drain { grace_ms: 30_000 }]),
        ("bye", vec![Item::Bye { reason: "drained".into() }]),
    ];
    kinds.into_iter().map(|(name, items)| (name, message(items))).collect()
}
