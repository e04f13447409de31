//! A peer that says anything, a store that says anything: nothing panics, no number runs below zero, and honest work
//! still ends.

use crate::rig::*;
use bursa_core::hub::{Answer, Event, Token};
use bursa_core::id::Hash;
use bursa_core::rng::Rng;
use bursa_core::task::{Begun, Outcome, TaskState};
use bursa_core::wire::{Attempt, Hello, Item, Message, ResetReason};
use bytes::Bytes;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[usize::try_from(rng.below(from.len() as u64)).unwrap()]
}

fn small(rng: &mut Rng, bound: u64) -> u32 {
    u32::try_from(rng.below(bound)).unwrap()
}

fn attempt(rng: &mut Rng) -> Attempt {
    Attempt::new(pick(rng, &[0, 1, 1, 1, 9]), small(rng, 4))
}

fn begun(rng: &mut Rng) -> Begun {
    pick(rng, &[Begun::Yes, Begun::No, Begun::Unknown])
}

fn words(rng: &mut Rng, connection: u64) -> Hello {
    let generation = if rng.below(50) == 0 { 3 } else { 1 + rng.below(2) };
    let connection = if rng.below(8) == 0 { rng.below(500) } else { connection };
    let mut words = hello(generation, pick(rng, &[1, 1, 1, 2]), connection);
    words.held = (0..rng.below(6)).map(|_| holding(small(rng, 40), attempt(rng), begun(rng))).collect();
    (words.complete, words.last) = (rng.below(2) == 0, rng.below(8) > 0);
    words.capacity = capacity(small(rng, 20));
    words
}

fn item(rng: &mut Rng) -> Item {
    match rng.below(14) {
        0 | 1 => started(small(rng, 40), attempt(rng)),
        2..=6 => result(small(rng, 40), attempt(rng), pick(rng, &Outcome::ALL), begun(rng)),
        7 | 8 => {
            let list = (0..rng.below(6)).map(|_| holding(small(rng, 40), attempt(rng), begun(rng))).collect();
            held(list, rng.below(2) == 0, rng.below(2) == 0)
        }
        9 | 10 => Item::Capacity(capacity(small(rng, 20))),
        11 => Item::WantFunction { hash: pick(rng, &[Hash::of(BODY), Hash::of(b"gone")]) },
        12 if rng.below(20) == 0 => Item::Reset { reason: ResetReason::Gap },
        13 if rng.below(20) == 0 => Item::Hello(Box::new(words(rng, 1))),
        _ => Item::Ping,
    }
}

fn step(rig: &mut Rig, peer: &mut Mgr, rng: &mut Rng) {
    rig.mono += 1;
    match rng.below(20) {
        0 => rig.submit((0..3).map(|_| spec(small(rng, 40))).collect()),
        1 => {
            let tasks = (0..2).map(|_| task(small(rng, 45))).collect();
            rig.cancel(tasks);
        }
        2 if rng.below(4) == 0 => *peer = rig.open(words(rng, rig.mono + 500)),
        3 => rig.handle(Event::Body { hash: Hash::of(BODY), body: Some(Bytes::from_static(BODY)) }),
        4 => {
            rig.handle(Event::Args { task: task(small(rng, 40)), args: (rng.below(2) == 0).then(Bytes::new) })
        }
        5 => {
            let answer = pick(rng, &[0_u8, 1, 2]);
            let answer = [Answer::Done, Answer::Unknown, Answer::AlreadyEnded { state: TaskState::Failed }]
                [usize::from(answer)]
            .clone();
            rig.handle(Event::Stored { token: Token(1 << 40 | rng.below(9)), answer });
        }
        6 if rng.below(4) == 0 => rig.handle(Event::Unreachable { conn: peer.conn }),
        7 => {
            rig.mono += rng.below(4_000);
            rig.handle(Event::Tick);
        }
        8 => {
            let mut message: Message = peer.session.ping(bursa_core::time::Mono(rig.mono));
            message.envelope.seq = rng.below(3);
            rig.handle(Event::Message { conn: peer.conn, endpoint: endpoint(1), message });
        }
        9..=12 if !rig.ops.is_empty() => {
            if rng.below(10) == 0 {
                rig.fail_one();
            } else {
                rig.store_one();
            }
        }
        _ => {
            let items = (0..rng.below(4)).map(|_| item(rng)).collect();
            rig.say(peer, items);
            rig.flush();
            for message in rig.mail.remove(&peer.conn).unwrap_or_default() {
                let _ = peer.session.receive(bursa_core::time::Mono(rig.mono), message);
            }
        }
    }
}

#[test]
fn anything_may_be_said_in_any_order() {
    let mut sessions = 0;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut rig = Rig::new();
        let mut peer = rig.connect(hello(1, 1, 1));
        for _ in 0..2_000 {
            step(&mut rig, &mut peer, &mut rng);
        }
        rig.pass(600);
        rig.settle();
        sessions += rig.count(bursa_core::hub::Counter::Sessions);
        // An honest manager comes, holds nothing, and runs what is left.
        rig.run_out(9, 50);
        assert!(rig.store.live().is_empty(), "seed {seed}: {:?}", rig.store.live().len());
        assert!(rig.store.rows.values().all(|row| row.writes == 1), "seed {seed}");
        let status = rig.hub.endpoint(&endpoint(1)).unwrap();
        assert_eq!((status.queued, status.held), (0, 0), "seed {seed}");
    }
    assert!(sessions > 200, "{sessions} sessions were opened");
}
