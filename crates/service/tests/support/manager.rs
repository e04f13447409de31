//! A scripted manager: a real link to the service, and answers that a test chooses.

use super::Service;
use bursa_core::id::{EndpointId, ManagerId};
use bursa_core::resources::Resources;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::time::Mono;
use bursa_core::timings::Timings;
use bursa_core::wire::{self, Assign, Blob, Capacity, Done, Hello, Item, Peer, Placed, Session, version};
use bursa_fabric::{Connector, Context, Disconnected, KeyPair, Timing};
use bytes::Bytes;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What it does with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behave {
    /// The arguments are the result.
    Echo,
    /// A user error whose exception is the arguments.
    Fail,
    /// Nothing.
    Hold,
}

/// A registered endpoint with its key.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: String,
    pub keys: KeyPair,
}

pub fn register(service: &Service, name: &str) -> Endpoint {
    let keys = KeyPair::generate().unwrap();
    let made =
        service.post("/api/v1/endpoints", &json!({"name": name, "public_key": keys.public.to_string()}));
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(made["service_key"], service.ready.service_key.as_str());
    assert_eq!(made["zmq"], service.ready.zmq.as_str());
    Endpoint { id: made["endpoint_id"].as_str().unwrap().to_owned(), keys }
}

/// A running manager.
pub struct Manager {
    heard: Arc<Mutex<Vec<Item>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Option<Disconnected>>>,
}

impl Manager {
    pub fn start(service: &Service, endpoint: &Endpoint, generation: u64, behave: Behave) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (zmq, key) = (service.ready.zmq.clone(), service.ready.service_key.parse().unwrap());
        let (endpoint, list) = (endpoint.clone(), Arc::clone(&heard));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let timing = Timing { threshold_ms: 3_000 };
                let context = Context::new().unwrap();
                let mut link = Connector::connect(&context, &zmq, &key, &endpoint.keys, timing).unwrap();
                tokio::select! {
                    ended = talk(&mut link, &endpoint, generation, behave, &list) => Some(ended),
                    _ = stopped => None,
                }
            })
        });
        Self { heard, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits for an item for which `want` is true.
    pub fn hear(&self, mut want: impl FnMut(&Item) -> bool) -> Item {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = self.heard.lock().unwrap().iter().find(|item| want(item)) {
                return found.clone();
            }
            assert!(Instant::now() < end, "heard only {:?}", self.heard.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it; or why its link ended before.
    pub fn stop(mut self) -> Option<Disconnected> {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits for the end of its link.
    pub fn ended(mut self) -> Option<Disconnected> {
        self.thread.take().unwrap().join().unwrap()
    }
}

fn mono(start: Instant) -> Mono {
    Mono(start.elapsed().as_millis() as u64)
}

async fn talk(
    link: &mut Connector,
    endpoint: &Endpoint,
    generation: u64,
    behave: Behave,
    heard: &Mutex<Vec<Item>>,
) -> Disconnected {
    if let Err(why) = link.connected().await {
        return why;
    }
    let start = Instant::now();
    let mut session = Session::new(generation * 1000 + 7, mono(start));
    session.push(hello(endpoint, generation));
    loop {
        let mut messages = Vec::new();
        session.flush(mono(start), |message| messages.push(message));
        if session.ping_due(500) <= mono(start) {
            messages.push(session.ping(mono(start)));
        }
        for message in messages {
            let _ = link.send(&wire::encode(message).unwrap());
        }
        let frames = match tokio::time::timeout(Duration::from_millis(300), link.recv()).await {
            Err(_) => continue,
            Ok(Err(why)) => return why,
            Ok(Ok(frames)) => frames,
        };
        let items = session.receive(mono(start), wire::decode(&frames).unwrap()).unwrap();
        for item in items {
            if let (Item::Assign(assign), true) = (&item, behave != Behave::Hold) {
                session.push(result(assign, behave));
            }
            if let Item::Locate { task, attempt } = item {
                let place = Placed { why: "it likes it there".into(), ..Placed::default() };
                session.push(Item::Located { task, attempt, place: Some(Box::new(place)) });
            }
            heard.lock().unwrap().push(item);
        }
    }
}

fn hello(endpoint: &Endpoint, generation: u64) -> Item {
    let endpoint: EndpointId = endpoint.id.parse().unwrap();
    let capacity = Capacity {
        credit_tasks: 10_000,
        credit_bytes: 1 << 28,
        slots_total: 4,
        slots_free: 3,
        ..Capacity::default()
    };
    Item::Hello(Box::new(Hello {
        proto_min: version::OLDEST,
        proto_max: version::VERSION,
        software: "fake 1".to_owned(),
        peer: Peer::Manager { endpoint, generation, manager: ManagerId::from_bytes([2; 16]) },
        connection: 1,
        host: "node7".to_owned(),
        python: "3.11".to_owned(),
        held: vec![],
        last: true,
        complete: true,
        capacity,
        guests: true,
        has: Resources::NONE,
        have_functions: vec![],
    }))
}

fn result(assign: &Assign, behave: Behave) -> Item {
    let ok = behave == Behave::Echo;
    let failure = Failure {
        class: Some("builtins.ValueError".to_owned()),
        ..Failure::new(FailureCode::UserError, "no")
    };
    Item::Result(Box::new(Done {
        task: assign.task,
        attempt: assign.attempt,
        outcome: if ok { Outcome::Success } else { Outcome::Error },
        begun: Begun::Yes,
        payload: assign.args.clone(),
        failure: (!ok).then(|| Box::new(failure)),
        output: Blob::Here(if ok { Bytes::new() } else { Bytes::from_static(b"printed") }),
        run_ns: 1_500_000,
        timings: Timings { executor: 2_000_000, node: 3_000_000, ..Timings::default() },
    }))
}
