//! Connections come and go for weeks: nothing of them stays. Alone in its process, because it counts descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use bursa_fabric::{Disconnected, KeyPair, SendError};
use common::{World, pause, run, text};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_connections_leave_nothing() {
    run(async {
        let mut world = World::new();
        world.check().await;
        pause(200).await;
        let before = descriptors();
        let unknown = KeyPair::generate().unwrap();
        for n in 0..250 {
            let (_ann, hello) = world.ann().await;
            world.acceptor.send(hello.conn, &text("welcome")).unwrap();
            // Dropped while it connects, while messages are on their way, and after it was refused.
            drop(world.connect(&world.ann));
            let mut refused = world.connect(&unknown);
            if n % 10 == 0 {
                assert_eq!(world.meet(&mut refused).await, Err(Disconnected::KeyRefused));
            }
            drop(refused);
        }
        for _ in 0..500 {
            if descriptors() <= before {
                break;
            }
            world.serve(20).await;
        }
        assert!(descriptors() <= before, "{} of {before}", descriptors());
        // The map forgets what a send finds gone.
        let known = world.acceptor.connections();
        for id in 0..u64::try_from(known).unwrap() {
            let sent = world.acceptor.send(bursa_fabric::ConnId(id), &text("x"));
            assert_eq!(sent, Err(SendError::Unreachable));
        }
        assert_eq!((known, world.acceptor.connections()), (251, 0));
    });
}
