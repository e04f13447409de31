//! What libzmq does by itself, each the reason of an option in FABRIC §3. Bare sockets; if one of these fails with a
//! newer libzmq, the option may have become needless, or another one needful.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::thread::sleep;
use std::time::Duration;
use zmq::{Context, DEALER, DONTWAIT, ROUTER, Socket};

fn socket(context: &Context, kind: zmq::SocketType) -> Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(5_000).unwrap();
    socket
}

fn bind(socket: &Socket, addr: &str) -> String {
    // A port is free a moment after its socket was dropped.
    for _ in 0..200 {
        if socket.bind(addr).is_ok() {
            return socket.get_last_endpoint().unwrap().unwrap();
        }
        sleep(Duration::from_millis(10));
    }
    panic!("cannot bind {addr}");
}

fn text(socket: &Socket) -> Option<String> {
    socket.recv_multipart(0).ok().map(|frames| String::from_utf8(frames.last().unwrap().clone()).unwrap())
}

#[test]
fn by_default_a_new_server_gets_the_old_ones_queue() {
    let context = Context::new();
    let first = socket(&context, ROUTER);
    let addr = bind(&first, "tcp://127.0.0.1:*");
    let dealer = socket(&context, DEALER);
    dealer.set_reconnect_ivl(20).unwrap();
    dealer.connect(&addr).unwrap();
    dealer.send("hello", 0).unwrap();
    assert_eq!(text(&first).unwrap(), "hello");
    drop(first);
    sleep(Duration::from_millis(200));
    dealer.send("for the old one", DONTWAIT).unwrap();
    let second = socket(&context, ROUTER);
    bind(&second, &addr);
    assert_eq!(text(&second).unwrap(), "for the old one");
}

#[test]
fn without_mandatory_a_router_drops_and_says_nothing() {
    let context = Context::new();
    let router = socket(&context, ROUTER);
    router.set_sndhwm(5).unwrap();
    router.set_sndbuf(4_096).unwrap();
    let addr = bind(&router, "tcp://127.0.0.1:*");
    router.send_multipart(["nobody", "x"], DONTWAIT).unwrap();
    let slow = socket(&context, DEALER);
    slow.set_rcvhwm(5).unwrap();
    slow.set_rcvbuf(4_096).unwrap();
    slow.connect(&addr).unwrap();
    slow.send("hello", 0).unwrap();
    let route = router.recv_multipart(0).unwrap().swap_remove(0);
    for _ in 0..2_000 {
        router.send_multipart([&route, &vec![0; 2_000]], DONTWAIT).unwrap();
    }
    slow.set_rcvtimeo(300).unwrap();
    let mut got = 0;
    while slow.recv_bytes(0).is_ok() {
        got += 1;
    }
    assert!(got < 2_000, "{got}");
}

#[test]
fn with_handover_a_chosen_id_takes_anothers_messages() {
    for handover in [false, true] {
        let context = Context::new();
        let router = socket(&context, ROUTER);
        router.set_router_handover(handover).unwrap();
        let addr = bind(&router, "tcp://127.0.0.1:*");
        let dealer = |word: &str| {
            let dealer = socket(&context, DEALER);
            dealer.set_identity(b"E1").unwrap();
            dealer.connect(&addr).unwrap();
            dealer.send(word, 0).unwrap();
            dealer
        };
        let owner = dealer("owner");
        assert_eq!(text(&router).unwrap(), "owner");
        let thief = dealer("thief");
        router.set_rcvtimeo(if handover { 5_000 } else { 300 }).unwrap();
        assert_eq!(text(&router).is_some(), handover);
        router.send_multipart(["E1", "secret"], DONTWAIT).unwrap();
        let (gets, not) = if handover { (&thief, &owner) } else { (&owner, &thief) };
        assert_eq!(text(gets).unwrap(), "secret");
        not.set_rcvtimeo(100).unwrap();
        assert_eq!(text(not), None);
    }
}
