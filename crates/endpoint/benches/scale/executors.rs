//! All executors in one process: each has a key and a connection of its own, and answers every call at once. It needs four
//! open files for each: the hard limit (`ulimit -Hn`) must allow that.

use bursa_core::id::ExecutorId;
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::Mono;
use bursa_core::timings::Timings;
use bursa_core::wire::{self, Blob, Capacity, Done, Hello, Item, Peer, Session, version};
use bursa_endpoint::home::{self, EndpointDir, ManagerAddress};
use bursa_fabric::{Connector, Context, KeyPair, Timing};
use bytes::Bytes;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::time::{Duration, Instant};

/// Connections of one libzmq context: it has 1,023 sockets, and a connection needs two.
const PER_CONTEXT: usize = 256;
const HEARTBEAT_MS: u64 = 1_000;
const TIMING: Timing = Timing { threshold_ms: 60_000 };

/// Plays every executor whose key is in `home`, for ever.
pub(crate) async fn run(home: &Path, slots: u32) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit on open files");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("as many files as may be open");
    let dir = home::load(home, crate::service::NAME).expect("the endpoint's directory");
    // A manager takes for gone whose process nobody named.
    for executor in dir.executors() {
        dir.name_executor(executor, std::process::id()).expect("the endpoint's files");
    }
    println!();
    let manager = loop {
        if let Some(manager) = dir.manager().expect("the endpoint's files") {
            break manager;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let all: Vec<_> = dir.executors().into_iter().collect();
    for some in all.chunks(PER_CONTEXT) {
        let context = Context::new().expect("libzmq with CURVE");
        for executor in some {
            let connector = connect(&dir, &context, &manager, *executor);
            tokio::task::spawn_local(play(connector, *executor, slots));
        }
    }
    std::future::pending().await
}

fn connect(
    dir: &EndpointDir,
    context: &Context,
    manager: &ManagerAddress,
    executor: ExecutorId,
) -> Connector {
    let keys = KeyPair::load(&dir.executor_key(executor)).expect("the executor's key");
    Connector::connect(context, &manager.address, &manager.public_key, &keys, TIMING).expect("an address")
}

async fn play(mut connector: Connector, executor: ExecutorId, slots: u32) {
    connector.connected().await.expect("the manager listens");
    let clock = Instant::now();
    let now = || Mono(u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut session =
        Session::new(u64::from_be_bytes(executor.as_bytes()[8..].try_into().unwrap_or_default()), now());
    session.push(Item::Hello(Box::new(hello(executor, slots))));
    flush(&mut session, &mut connector, now());
    loop {
        let heard = tokio::time::timeout(Duration::from_millis(HEARTBEAT_MS), connector.recv()).await;
        let Ok(frames) = heard else {
            let ping = session.ping(now());
            connector.send(&wire::encode(ping).expect("a message")).expect("the manager takes it");
            continue;
        };
        let mut next = Some(frames.expect("the manager is there"));
        while let Some(frames) = next {
            let message = wire::decode(&frames).expect("a message");
            for item in session.receive(now(), message).expect("in order") {
                answer(&mut session, item);
            }
            next = connector.try_recv().expect("the manager is there");
        }
        flush(&mut session, &mut connector, now());
    }
}

fn answer(session: &mut Session, item: Item) {
    match item {
        Item::Assign(assign) => session.push(Item::Result(Box::new(Done {
            task: assign.task,
            attempt: assign.attempt,
            outcome: Outcome::Success,
            begun: Begun::Yes,
            payload: Blob::Here(Bytes::from_static(b"a result")),
            failure: None,
            output: Blob::empty(),
            run_ns: 5_000,
            timings: Timings::default(),
        }))),
        Item::Refused { text, .. } => panic!("{text}"),
        Item::Reset { reason } => panic!("{reason:?}"),
        _ => {}
    }
}

fn flush(session: &mut Session, connector: &mut Connector, now: Mono) {
    session.flush(now, |message| {
        connector.send(&wire::encode(message).expect("a message")).expect("the manager takes it");
    });
}

fn hello(executor: ExecutorId, slots: u32) -> Hello {
    let ahead = (slots as usize * limits::PREFETCH_PER_SLOT).min(limits::PREFETCH_TASKS);
    Hello {
        proto_min: version::OLDEST,
        proto_max: version::VERSION,
        software: "simulated".into(),
        peer: Peer::Executor { executor },
        connection: 1,
        host: "node".into(),
        python: "3.12".into(),
        held: Vec::new(),
        last: true,
        complete: true,
        capacity: Capacity {
            credit_tasks: slots + u32::try_from(ahead).unwrap_or(u32::MAX),
            credit_bytes: limits::CREDIT_BYTES as u64,
            slots_total: slots,
            slots_free: slots,
            warm: Vec::new(),
            degraded: None,
            blocks: None,
        },
        has: Resources { cores: slots, ..Resources::NONE },
        guests: false,
        have_functions: Vec::new(),
    }
}
