//! The life of one connection: its beginning, its end, and what it carries (FABRIC §3, F1, F27).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use bursa_core::limits::{HIGH_WATER, LINK_FRAME_BYTES, LINK_FRAMES};
use bursa_fabric::{Acceptor, ConnId, Connector, Context, Disconnected, KeyPair, SendError, Timing};
use bytes::Bytes;
use common::{TIMING, World, pause, run, text};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Sends until the acceptor says that the connection is gone; how long that took.
async fn until_unreachable(acceptor: &mut Acceptor, conn: ConnId) -> Duration {
    let start = Instant::now();
    while acceptor.send(conn, &text("x")) != Err(SendError::Unreachable) {
        assert!(start.elapsed() < Duration::from_secs(10), "still reachable");
        while acceptor.try_recv().is_some() {}
        pause(2).await;
    }
    start.elapsed()
}

/// A process of its own with one connection; ended with the test.
struct Peer(Child);

impl Peer {
    fn start(world: &World, dir: &std::path::Path) -> Self {
        let key = dir.join("key");
        world.ann.save(&key).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "peer_process", "--ignored"]).env("PEER_KEY", key);
        command.env("PEER_ADDR", world.addr()).env("PEER_SERVER", world.server.public.to_string());
        Self(command.stdout(std::process::Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the other process of the tests below"]
fn peer_process() {
    let Ok(addr) = std::env::var("PEER_ADDR") else { return };
    let keys = KeyPair::load(std::env::var_os("PEER_KEY").unwrap().as_ref()).unwrap();
    let server = std::env::var("PEER_SERVER").unwrap().parse().unwrap();
    run(async {
        let context = Context::new().unwrap();
        let mut connector = Connector::connect(&context, &addr, &server, &keys, TIMING).unwrap();
        connector.connected().await.unwrap();
        connector.send(&text("hello")).unwrap();
        while connector.recv().await.is_ok() {}
    });
}

#[test]
fn a_killed_peer_is_unreachable_at_once() {
    run(async {
        let (mut world, dir) = (World::new(), tempfile::tempdir().unwrap());
        let mut peer = Peer::start(&world, dir.path());
        let conn = world.acceptor.recv().await.conn;
        world.acceptor.send(conn, &text("x")).unwrap();
        peer.0.kill().unwrap();
        peer.0.wait().unwrap();
        let took = until_unreachable(&mut world.acceptor, conn).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(world.acceptor.connections(), 0);
        world.check().await;
    });
}

#[test]
fn a_frozen_peer_is_unreachable_after_the_threshold() {
    run(async {
        let mut world = World::with(Timing { threshold_ms: 600 });
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::start(&world, dir.path());
        let conn = world.acceptor.recv().await.conn;
        peer.signal("-STOP");
        let took = until_unreachable(&mut world.acceptor, conn).await;
        assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn an_idle_connection_outlives_the_threshold() {
    run(async {
        let mut world = World::with(Timing { threshold_ms: 200 });
        let (mut ann, hello) = world.ann().await;
        assert_eq!(world.serve(800).await, []);
        world.acceptor.send(hello.conn, &text("still")).unwrap();
        assert_eq!(ann.recv().await, Ok(text("still")));
    });
}

#[test]
fn a_dropped_connector_is_unreachable_at_once() {
    run(async {
        let mut world = World::new();
        let (ann, hello) = world.ann().await;
        drop(ann);
        let took = until_unreachable(&mut world.acceptor, hello.conn).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn nothing_is_sent_before_there_is_a_connection() {
    run(async {
        let mut world = World::new();
        let mut ann = world.connect(&world.ann);
        // The handshake cannot end before the acceptor is asked: TCP alone is no connection.
        for _ in 0..20 {
            assert_eq!(ann.send(&text("early")), Err(SendError::Unreachable));
            assert_eq!(ann.try_recv(), Ok(None));
            pause(10).await;
        }
        world.meet(&mut ann).await.unwrap();
        // At once, without another round of the loop.
        ann.send(&text("first")).unwrap();
        assert_eq!(world.acceptor.recv().await.frames, text("first"));
    });
}

/// A busy driver looks and never waits, so the runtime never tells it that a descriptor has spoken.
#[test]
fn who_only_looks_finds_what_came() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        assert_eq!(ann.try_recv(), Ok(None));
        world.acceptor.send(hello.conn, &text("down")).unwrap();
        ann.send(&text("up")).unwrap();
        let bound = Instant::now() + Duration::from_secs(10);
        let (mut up, mut down) = (None, None);
        while up.is_none() || down.is_none() {
            assert!(Instant::now() < bound, "{up:?} {down:?}");
            up = up.or_else(|| world.acceptor.try_recv());
            down = down.or_else(|| ann.try_recv().unwrap());
        }
        assert_eq!((up.unwrap().frames, down.unwrap()), (text("up"), text("down")));
    });
}

#[test]
fn once_connected_the_first_send_works() {
    run(async {
        let mut world = World::new();
        for _ in 0..50 {
            let mut ann = world.connect(&world.ann);
            // A failed send just before: libzmq then does not look at its mailbox for a millisecond.
            while ann.send(&text("first")).is_err() {
                assert_eq!(world.acceptor.try_recv(), None);
                if let Ok(fate) = tokio::time::timeout(Duration::ZERO, ann.connected()).await {
                    fate.unwrap();
                    ann.send(&text("first")).unwrap();
                    break;
                }
            }
            assert_eq!(world.acceptor.recv().await.frames, text("first"));
        }
    });
}

#[test]
fn a_refused_port_is_told_at_once() {
    run(async {
        let world = World::new();
        let addr = world.addr();
        let (server, ann) = (world.server.public, world.ann.clone());
        drop(world);
        let context = Context::new().unwrap();
        let start = Instant::now();
        let mut connector = Connector::connect(&context, &addr, &server, &ann, TIMING).unwrap();
        assert_eq!(connector.connected().await, Err(Disconnected::NotReached));
        assert_eq!(connector.recv().await, Err(Disconnected::NotReached));
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn a_listener_that_is_silent_or_no_bursa_ends_the_handshake() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let keys = KeyPair::generate().unwrap();
        let context = Context::new().unwrap();
        let connect = || Connector::connect(&context, &addr, &keys.public, &keys, TIMING).unwrap();
        let mut told = connect();
        let (stream, _) = listener.accept().await.unwrap();
        stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        drop(stream);
        assert_eq!(told.connected().await, Err(Disconnected::HandshakeFailed));
        let mut silent = connect();
        let held = listener.accept().await.unwrap();
        let start = Instant::now();
        assert_eq!(silent.connected().await, Err(Disconnected::HandshakeFailed));
        let took = start.elapsed();
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
        drop(held);
    });
}

#[test]
fn a_replaced_server_gets_nothing_of_the_old_one() {
    run(async {
        let mut world = World::new();
        let (mut ann, _) = world.ann().await;
        let (addr, server, keys) = (world.addr(), world.server.clone(), world.ann.clone());
        let outside = Context::new().unwrap();
        let mut other = Connector::connect(&outside, &addr, &server.public, &keys, TIMING).unwrap();
        world.meet(&mut other).await.unwrap();
        drop(ann.recv());
        drop(ann);
        drop(world);
        let start = Instant::now();
        assert_eq!(other.recv().await, Err(Disconnected::Lost));
        assert!(start.elapsed() < Duration::from_secs(1));
        let context = Context::new().unwrap();
        let mut second = Acceptor::bind(&context, &addr, &server, TIMING).unwrap();
        second.allow(keys.public, "ann");
        for _ in 0..5 {
            assert_eq!(other.send(&text("old")), Err(SendError::Unreachable));
            assert!(tokio::time::timeout(Duration::from_millis(100), second.recv()).await.is_err());
        }
        assert_eq!(other.recv().await, Err(Disconnected::Lost));
        // A new connector is a new session.
        let mut fresh = Connector::connect(&outside, &addr, &server.public, &keys, TIMING).unwrap();
        tokio::select! {
            fate = fresh.connected() => fate.unwrap(),
            message = second.recv() => panic!("{message:?}"),
        }
        fresh.send(&text("hello")).unwrap();
        assert_eq!(second.recv().await.frames, text("hello"));
    });
}

#[test]
fn what_came_before_the_end_is_received_before_it() {
    run(async {
        let mut world = World::new();
        let addr = world.addr();
        let outside = Context::new().unwrap();
        let mut ann = Connector::connect(&outside, &addr, &world.server.public, &world.ann, TIMING).unwrap();
        world.meet(&mut ann).await.unwrap();
        ann.send(&text("hello")).unwrap();
        let conn = world.acceptor.recv().await.conn;
        for n in 0..50 {
            world.acceptor.send(conn, &text(&n.to_string())).unwrap();
        }
        // Long enough for the wire, while nobody looks.
        std::thread::sleep(Duration::from_millis(300));
        drop(world);
        std::thread::sleep(Duration::from_millis(100));
        for n in 0..50 {
            assert_eq!(ann.recv().await, Ok(text(&n.to_string())));
        }
        assert_eq!(ann.recv().await, Err(Disconnected::Lost));
    });
}

#[test]
fn ten_thousand_messages_both_ways_in_order() {
    run(async {
        const COUNT: usize = 10_000;
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        let body = |n: usize| vec![Bytes::from(n.to_string()), Bytes::from(vec![7; n % 300])];
        let window = usize::try_from(HIGH_WATER / 2).unwrap();
        let near = async {
            let (mut sent, mut got) = (0, 0);
            while got < COUNT {
                while sent < COUNT && sent < got + window {
                    ann.send(&body(sent)).unwrap();
                    sent += 1;
                }
                assert_eq!(ann.recv().await, Ok(body(got)));
                got += 1;
            }
        };
        let far = async {
            for n in 0..COUNT {
                let message = world.acceptor.recv().await;
                assert_eq!((message.conn, message.frames), (hello.conn, body(n)));
                world.acceptor.send(hello.conn, &body(n)).unwrap();
            }
        };
        tokio::join!(near, far);
    });
}

#[test]
fn a_slow_peer_is_full_and_others_are_not() {
    run(async {
        let mut world = World::new();
        let (mut slow, first) = world.ann().await;
        let (mut fast, second) = world.ann().await;
        let part = vec![Bytes::from(vec![7; 100_000])];
        let mut sent = 0;
        while world.acceptor.send(first.conn, &part).is_ok() {
            sent += 1;
            assert!(sent < 5_000, "no end");
            if sent % 50 == 0 {
                pause(5).await;
            }
        }
        assert_eq!(world.acceptor.send(first.conn, &part), Err(SendError::Full));
        assert!(sent >= HIGH_WATER, "{sent}");
        world.acceptor.send(second.conn, &text("go")).unwrap();
        assert_eq!(fast.recv().await, Ok(text("go")));
        // What was accepted arrives, all of it and once.
        for _ in 0..sent {
            assert_eq!(slow.recv().await.as_ref(), Ok(&part));
        }
        assert_eq!(slow.try_recv(), Ok(None));
        world.acceptor.send(first.conn, &text("again")).unwrap();
        assert_eq!(slow.recv().await, Ok(text("again")));
    });
}

#[test]
fn a_connector_is_full_too() {
    run(async {
        let mut world = World::new();
        let (mut ann, _) = world.ann().await;
        let part = vec![Bytes::from(vec![7; 100_000])];
        let mut sent = 0;
        while let Ok(()) = ann.send(&part) {
            sent += 1;
            assert!(sent < 5_000, "no end");
        }
        assert_eq!(ann.send(&part), Err(SendError::Full));
        for _ in 0..sent {
            assert_eq!(world.acceptor.recv().await.frames, part);
        }
    });
}

#[test]
fn frames_to_the_limit_pass_and_more_is_our_own_error() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        let full = Bytes::from(vec![42; LINK_FRAME_BYTES]);
        let sizes = [1, 0, 29, 33, 34, 255, 256, 4_096, 4_097, 65_536, 1_048_576];
        let mut frames: Vec<Bytes> = sizes.iter().map(|&size| Bytes::from(vec![1; size])).collect();
        frames.extend([full.clone(), full.clone()]);
        ann.send(&frames).unwrap();
        assert_eq!(world.acceptor.recv().await.frames, frames);
        world.acceptor.send(hello.conn, &frames).unwrap();
        assert_eq!(ann.recv().await.as_ref(), Ok(&frames));
        let many = vec![Bytes::from_static(b"x"); LINK_FRAMES];
        ann.send(&many).unwrap();
        assert_eq!(world.acceptor.recv().await.frames, many);

        let over = Bytes::from(vec![0; LINK_FRAME_BYTES + 1]);
        let too_many = vec![Bytes::new(); LINK_FRAMES + 1];
        // An empty first frame is what the links tell each other.
        let note = vec![Bytes::new(), Bytes::from_static(b"x")];
        for bad in [vec![], vec![over], too_many, note] {
            assert_eq!(ann.send(&bad), Err(SendError::TooLarge));
            assert_eq!(world.acceptor.send(hello.conn, &bad), Err(SendError::TooLarge));
        }
        world.acceptor.send(hello.conn, &text("fine")).unwrap();
        assert_eq!(ann.recv().await, Ok(text("fine")));
    });
}

#[test]
fn an_oversized_frame_ends_that_connection_only() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        let keys = zmq::CurveKeyPair::new().unwrap();
        world.acceptor.allow(bursa_fabric::PublicKey(keys.public_key), "eve");
        let eve = world.stranger(Some(&keys), |socket| socket.set_reconnect_ivl(-1).unwrap());
        eve.socket.send("hello", zmq::DONTWAIT).unwrap();
        let conn = world.acceptor.recv().await.conn;
        eve.socket.send(vec![0; LINK_FRAME_BYTES + 1], zmq::DONTWAIT).unwrap();
        eve.socket.send("after", zmq::DONTWAIT).unwrap();
        assert_eq!(world.serve(300).await, []);
        until_unreachable(&mut world.acceptor, conn).await;
        world.acceptor.send(hello.conn, &text("you stay")).unwrap();
        assert_eq!(ann.recv().await, Ok(text("you stay")));
    });
}

#[test]
fn too_many_frames_are_dropped_whole_and_counted() {
    run(async {
        let mut world = World::new();
        let keys = zmq::CurveKeyPair::new().unwrap();
        world.acceptor.allow(bursa_fabric::PublicKey(keys.public_key), "eve");
        let eve = world.stranger(Some(&keys), |_| ());
        eve.socket.send_multipart(vec!["x"; LINK_FRAMES + 1], zmq::DONTWAIT).unwrap();
        eve.socket.send_multipart(vec!["y"; LINK_FRAMES], zmq::DONTWAIT).unwrap();
        assert_eq!(world.acceptor.recv().await.frames, vec![Bytes::from_static(b"y"); LINK_FRAMES]);
        assert_eq!(world.acceptor.counters().oversized, 1);
    });
}

#[test]
fn a_cancelled_receive_loses_nothing() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        let (mut got, mut back, mut sent) = (0, 0, 0);
        while got < 500 || back < 500 {
            if sent < 500 {
                ann.send(&text(&sent.to_string())).unwrap();
                sent += 1;
            }
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                message = world.acceptor.recv() => {
                    assert_eq!(message.frames, text(&got.to_string()));
                    world.acceptor.send(hello.conn, &message.frames).unwrap();
                    got += 1;
                }
                message = ann.recv() => {
                    assert_eq!(message, Ok(text(&back.to_string())));
                    back += 1;
                }
            }
            if got == sent && back == sent {
                continue;
            }
            if let Ok(message) = tokio::time::timeout(Duration::from_micros(50), ann.recv()).await {
                assert_eq!(message, Ok(text(&back.to_string())));
                back += 1;
            }
        }
    });
}

#[test]
fn futures_may_move_between_threads() {
    fn movable<T: Send>(_: T) {}
    run(async {
        let mut world = World::new();
        let mut ann = world.connect(&world.ann);
        movable(world.acceptor.recv());
        movable(ann.connected());
        movable(ann.recv());
    });
}
