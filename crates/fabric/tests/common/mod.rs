//! What the tests of this crate share: a pair of ends on port 0, and bounds that only end a failure.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use bursa_fabric::{Acceptor, Connector, Context, Incoming, KeyPair, Timing};
use bytes::Bytes;
use std::future::Future;
use std::time::Duration;

pub const TIMING: Timing = Timing { threshold_ms: 5_000 };

pub fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("no end") })
}

pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

pub fn text(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

/// An acceptor with its key, and one key that it allows as "ann".
pub struct World {
    pub context: Context,
    pub server: KeyPair,
    pub ann: KeyPair,
    pub acceptor: Acceptor,
}

impl World {
    pub fn new() -> Self {
        Self::with(TIMING)
    }

    pub fn with(timing: Timing) -> Self {
        let context = Context::new().unwrap();
        let (server, ann) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut acceptor = Acceptor::bind(&context, "127.0.0.1:0", &server, timing).unwrap();
        acceptor.allow(ann.public, "ann");
        Self { context, server, ann, acceptor }
    }

    pub fn addr(&self) -> String {
        self.acceptor.local_addr().to_owned()
    }

    pub fn connect(&self, keys: &KeyPair) -> Connector {
        Connector::connect(&self.context, &self.addr(), &self.server.public, keys, TIMING).unwrap()
    }

    /// Serves handshakes until the connector knows its fate.
    pub async fn meet(&mut self, connector: &mut Connector) -> Result<(), bursa_fabric::Disconnected> {
        tokio::select! {
            fate = connector.connected() => fate,
            message = self.acceptor.recv() => panic!("unexpected {message:?}"),
        }
    }

    /// A connection of ann that has said "hello".
    pub async fn ann(&mut self) -> (Connector, Incoming) {
        let mut connector = self.connect(&self.ann);
        self.meet(&mut connector).await.unwrap();
        connector.send(&text("hello")).unwrap();
        let hello = self.acceptor.recv().await;
        assert_eq!(hello.frames, text("hello"));
        (connector, hello)
    }

    /// A peer that does what it likes: a bare DEALER, with these keys if any.
    pub fn stranger(&self, keys: Option<&zmq::CurveKeyPair>, set: impl FnOnce(&zmq::Socket)) -> Stranger {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        if let Some(keys) = keys {
            socket.set_curve_serverkey(&self.server.public.0).unwrap();
            socket.set_curve_publickey(&keys.public_key).unwrap();
            socket.set_curve_secretkey(&keys.secret_key).unwrap();
        }
        set(&socket);
        socket.connect(&format!("tcp://{}", self.addr())).unwrap();
        Stranger { socket }
    }

    /// Serves for so long; what came.
    pub async fn serve(&mut self, ms: u64) -> Vec<Incoming> {
        let mut came = Vec::new();
        let end = tokio::time::Instant::now() + Duration::from_millis(ms);
        while let Ok(message) = tokio::time::timeout_at(end, self.acceptor.recv()).await {
            came.push(message);
        }
        came
    }

    /// Serves until `done`.
    pub async fn until(&mut self, mut done: impl FnMut(&Acceptor) -> bool) {
        for _ in 0..500 {
            if done(&self.acceptor) {
                return;
            }
            self.serve(10).await;
        }
        panic!("still not: {:?}", self.acceptor.counters());
    }

    /// Whether an honest peer is still served.
    pub async fn check(&mut self) {
        let (mut connector, hello) = self.ann().await;
        self.acceptor.send(hello.conn, &text("welcome")).unwrap();
        assert_eq!(connector.recv().await, Ok(text("welcome")));
        drop(connector);
    }
}

pub struct Stranger {
    pub socket: zmq::Socket,
}

impl Stranger {
    pub fn heard(&self) -> Option<Vec<Vec<u8>>> {
        self.socket.recv_multipart(zmq::DONTWAIT).ok()
    }
}
