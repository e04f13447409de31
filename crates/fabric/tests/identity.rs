//! Who gets in, and whose messages are whose (FABRIC §3, F2).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use bursa_fabric::{Acceptor, Connector, Context, Disconnected, Error, KeyPair, PublicKey, SendError};
use common::{TIMING, World, pause, run, text};
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn the_right_key_gets_in_under_its_user() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        assert_eq!((&*hello.user, hello.key), ("ann", world.ann.public));
        world.acceptor.send(hello.conn, &text("welcome")).unwrap();
        assert_eq!(ann.recv().await, Ok(text("welcome")));
        assert_eq!(world.acceptor.counters(), bursa_fabric::Counters::default());
    });
}

#[test]
fn an_unknown_key_is_refused_and_counted() {
    run(async {
        let mut world = World::new();
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        world.acceptor.tell_refusals(tell);
        let keys = KeyPair::generate().unwrap();
        let mut eve = world.connect(&keys);
        assert_eq!(world.meet(&mut eve).await, Err(Disconnected::KeyRefused));
        let from = Some([127, 0, 0, 1].into());
        assert_eq!(told.try_recv(), Ok(bursa_fabric::Refusal { from, key: Some(keys.public) }));
        assert_eq!(eve.send(&text("hello")), Err(SendError::Unreachable));
        assert_eq!(eve.recv().await, Err(Disconnected::KeyRefused));
        assert_eq!(world.acceptor.counters().refused_keys, 1);
        assert_eq!(world.acceptor.counters().failed_handshakes, 0);
        world.check().await;
    });
}

#[test]
fn a_connector_talks_to_the_pinned_server_only() {
    run(async {
        let mut world = World::new();
        let other = KeyPair::generate().unwrap().public;
        let mut ann = Connector::connect(&world.context, &world.addr(), &other, &world.ann, TIMING).unwrap();
        assert_eq!(world.meet(&mut ann).await, Err(Disconnected::HandshakeFailed));
        world.until(|acceptor| acceptor.counters().failed_handshakes == 1).await;
        assert_eq!(world.acceptor.counters().refused_keys, 0);
    });
}

#[test]
fn peers_without_encryption_get_no_reply() {
    run(async {
        let mut world = World::new();
        let null = world.stranger(None, |_| ());
        let plain = world.stranger(None, |socket| {
            socket.set_plain_username(Some("ann")).unwrap();
            socket.set_plain_password(Some("x")).unwrap();
        });
        null.socket.send("hello", zmq::DONTWAIT).unwrap();
        plain.socket.send("hello", zmq::DONTWAIT).unwrap();
        world.until(|acceptor| acceptor.counters().failed_handshakes >= 2).await;
        assert_eq!(world.serve(200).await, []);
        assert!(null.heard().is_none() && plain.heard().is_none());
        world.check().await;
    });
}

#[test]
fn garbage_on_the_port_does_no_harm() {
    run(async {
        let mut world = World::new();
        let greeting = |mechanism: &[u8]| {
            let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
            bytes.extend_from_slice(mechanism);
            bytes.resize(64, 0);
            bytes
        };
        let mut pieces: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0; 4096],
            vec![0xff; 70_000],
            // ZMTP 1.0 and 2.0, which know no mechanism: a routing id, then a message.
            b"\x01\x00\x06\x00hello".to_vec(),
            b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x05\x00\x00\x00\x05hello".to_vec(),
            greeting(b"NULL"),
            greeting(b"CURVE"),
        ];
        // A CURVE greeting, then a HELLO of nonsense, then a frame that claims 2^62 bytes.
        let mut nonsense = greeting(b"CURVE");
        nonsense.extend_from_slice(b"\x04\xc8\x05HELLO\x01\x00");
        nonsense.extend(std::iter::repeat_n(7, 192));
        pieces.push(nonsense);
        let mut huge = greeting(b"CURVE");
        huge.extend_from_slice(b"\x02\x40\x00\x00\x00\x00\x00\x00\x00");
        pieces.push(huge);
        let mut open = Vec::new();
        for piece in pieces {
            let mut stream = TcpStream::connect(world.addr()).unwrap();
            let _ = stream.write_all(&piece);
            open.push(stream);
            assert_eq!(world.serve(20).await, []);
        }
        world.check().await;
        for mut stream in open {
            stream.set_nonblocking(true).unwrap();
            let mut said = [0; 4096];
            let count = stream.read(&mut said).unwrap_or(0);
            assert!(!said[..count].windows(7).any(|part| part == b"welcome"));
        }
        world.check().await;
        assert!(world.acceptor.counters().failed_handshakes > 0);
    });
}

#[test]
fn a_revoked_key_is_silent_at_once() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        let bob = KeyPair::generate().unwrap();
        world.acceptor.allow(bob.public, "ann");
        // Sent before it was revoked, looked at after.
        ann.send(&text("before")).unwrap();
        pause(100).await;
        assert!(world.acceptor.revoke(&world.ann.public));
        assert!(!world.acceptor.revoke(&world.ann.public));
        for _ in 0..3 {
            ann.send(&text("after")).unwrap();
        }
        world.until(|acceptor| acceptor.counters().revoked_dropped == 4).await;
        assert_eq!(world.acceptor.try_recv(), None);
        // The last word is still possible.
        world.acceptor.send(hello.conn, &text("refused")).unwrap();
        assert_eq!(ann.recv().await, Ok(text("refused")));
        world.acceptor.forget(hello.conn);
        assert_eq!(world.acceptor.send(hello.conn, &text("x")), Err(SendError::Unreachable));
        // Not back in, while the same user's other key is.
        let mut again = world.connect(&world.ann);
        assert_eq!(world.meet(&mut again).await, Err(Disconnected::KeyRefused));
        let mut other = world.connect(&bob);
        world.meet(&mut other).await.unwrap();
        other.send(&text("hello")).unwrap();
        let message = world.acceptor.recv().await;
        assert_eq!((&*message.user, message.key), ("ann", bob.public));
    });
}

#[test]
fn a_key_given_to_another_user_is_another_connection() {
    run(async {
        let mut world = World::new();
        let (mut ann, hello) = world.ann().await;
        world.acceptor.allow(world.ann.public, "bob");
        ann.send(&text("me")).unwrap();
        let message = world.acceptor.recv().await;
        assert_eq!(&*message.user, "bob");
        assert_ne!(message.conn, hello.conn);
        assert_eq!(world.acceptor.send(hello.conn, &text("x")), Err(SendError::Unreachable));
    });
}

#[test]
fn a_squatted_routing_id_steals_nothing() {
    run(async {
        let mut world = World::new();
        let mut guest = |user: &str| {
            let keys = zmq::CurveKeyPair::new().unwrap();
            world.acceptor.allow(PublicKey(keys.public_key), user);
            keys
        };
        let (bob, eve) = (guest("bob"), guest("eve"));
        let named = |socket: &zmq::Socket| socket.set_identity(b"E1").unwrap();
        let bobs = world.stranger(Some(&bob), named);
        bobs.socket.send("from bob", zmq::DONTWAIT).unwrap();
        let first = world.acceptor.recv().await;
        assert_eq!(&*first.user, "bob");
        // Eve takes the same id while bob lives: she is not heard, and hears nothing.
        let eves = world.stranger(Some(&eve), named);
        eves.socket.send("from eve", zmq::DONTWAIT).unwrap();
        assert_eq!(world.serve(500).await, []);
        world.acceptor.send(first.conn, &text("for bob")).unwrap();
        world.serve(200).await;
        assert_eq!(bobs.heard(), Some(vec![b"for bob".to_vec()]));
        assert_eq!(eves.heard(), None);
        drop(eves);
        // After bob's end the id is hers, and the messages are hers too: another connection, another user.
        drop(bobs);
        world.until(|_| true).await;
        pause(200).await;
        let eves = world.stranger(Some(&eve), named);
        eves.socket.send("from eve", zmq::DONTWAIT).unwrap();
        let second = world.acceptor.recv().await;
        assert_eq!((&*second.user, second.frames), ("eve", text("from eve")));
        assert_ne!(second.conn, first.conn);
        assert_eq!(world.acceptor.send(first.conn, &text("for bob")), Err(SendError::Unreachable));
        assert_eq!(eves.heard(), None);
    });
}

#[test]
fn connections_of_one_key_are_told_apart() {
    run(async {
        let mut world = World::new();
        let (mut one, first) = world.ann().await;
        let (mut two, second) = world.ann().await;
        assert_ne!(first.conn, second.conn);
        world.acceptor.send(second.conn, &text("two")).unwrap();
        world.acceptor.send(first.conn, &text("one")).unwrap();
        assert_eq!(one.recv().await, Ok(text("one")));
        assert_eq!(two.recv().await, Ok(text("two")));
        assert_eq!(world.acceptor.connections(), 2);
    });
}

#[test]
fn each_context_has_its_own_list() {
    run(async {
        let mut one = World::new();
        let mut two = World::new();
        let mut stray =
            Connector::connect(&one.context, &two.addr(), &two.server.public, &one.ann, TIMING).unwrap();
        assert_eq!(two.meet(&mut stray).await, Err(Disconnected::KeyRefused));
        one.check().await;
        two.check().await;
        assert_eq!((one.acceptor.counters().refused_keys, two.acceptor.counters().refused_keys), (0, 1));
    });
}

#[test]
fn addresses_that_cannot_be_used_are_named() {
    run(async {
        let world = World::new();
        let bind = |context: &Context, addr: &str| Acceptor::bind(context, addr, &world.server, TIMING);
        let other = Context::new().unwrap();
        let addr = world.addr();
        let taken = bind(&other, &addr).unwrap_err();
        assert!(matches!(taken, Error::PortInUse { .. }));
        assert_eq!(
            taken.to_string(),
            format!(
                "cannot listen on {addr}: the port is in use; stop the other process or choose another port"
            )
        );
        assert!(matches!(bind(&world.context, "127.0.0.1:0"), Err(Error::SecondAcceptor)));
        for wrong in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:1", "", "a\0:1"] {
            // A new context each time: libzmq lets go of the ZAP address a moment after a failure.
            let error = bind(&Context::new().unwrap(), wrong).unwrap_err();
            assert!(matches!(error, Error::Bind { .. }), "{wrong}: {error}");
        }
        for wrong in ["nonsense", "127.0.0.1", "a b:1", "", "127.0.0.1:65536", "1.2.3.4:1;5.6.7.8:2"] {
            let made = Connector::connect(&other, wrong, &world.server.public, &world.ann, TIMING);
            assert!(matches!(made, Err(Error::Connect { .. })), "{wrong}: {made:?}");
        }
    });
}
