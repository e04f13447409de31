//! The hub under any events in any order: it never panics, keeps its limits, and honest work still ends afterwards.

use crate::rig::{BODY, Mgr, Rig, assigns, endpoint, hello, spec, task};
use crate::tape::Tape;
use crate::words::{Names, image};
use bursa_core::hub::{Action, Answer, Event, Token};
use bursa_core::id::{Hash, ManagerId};
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::task::{Args, TaskSpec, TaskState};
use bursa_core::time::{Mono, Wall};
use bursa_core::wire::{Attempt, Item, Peer, Session};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

fn names() -> Names {
    let peer = |of, generation, manager| Peer::Manager {
        endpoint: endpoint(of),
        generation,
        manager: ManagerId::from_bytes([manager; 16]),
    };
    Names {
        task,
        hashes: [Hash::of(BODY), Hash::of(b"gone")],
        peers: [peer(1, 1, 1), peer(1, 2, 2), peer(2, 1, 3)],
    }
}

fn some_spec(tape: &mut Tape<'_>) -> TaskSpec {
    let known = spec(tape.below(12));
    let (submitted, deadline) = (known.submitted.0, known.deadline.0);
    TaskSpec {
        endpoint: endpoint(tape.pick(&[1, 1, 1, 2, 3])),
        hash: names().hash(tape),
        container: tape.one_in(4).then(image),
        resources: tape
            .one_in(4)
            .then(|| Arc::new(Resources { cores: 1 + tape.below(9), ..Resources::NONE })),
        args: Args::Here(Bytes::from(vec![1; tape.pick(&[9, 0, 5_000, 300_000])])),
        retries: tape.pick(&[1, 0, 3]),
        retry_on_error: tape.pick(&[0, 0, 2]),
        timeout_ms: tape.pick(&[None, None, Some(1)]),
        deadline: Wall(tape.pick(&[deadline, deadline, submitted, submitted + 3_000, u64::MAX])),
        ..known
    }
}

/// A manager connects and says anything as its first words.
fn open(rig: &mut Rig, tape: &mut Tape<'_>) -> Mgr {
    let conn = rig.new_conn();
    let of = tape.pick(&[1, 1, 1, 2, 9]);
    let session = Session::new(conn.0 * 77, Mono(rig.mono));
    let mut peer = Mgr { conn, endpoint: endpoint(of), session, extra: Vec::new() };
    let mut words = names().hello(tape);
    // Mostly the connection that a real one would say, so that sessions open.
    if !tape.one_in(4) {
        words.connection = conn.0;
    }
    rig.say(&mut peer, vec![Item::Hello(Box::new(words))]);
    peer
}

fn stored(rig: &mut Rig, tape: &mut Tape<'_>) {
    match tape.below(8) {
        0 => {
            let answer = match tape.below(5) {
                0 => Answer::Done,
                1 => Answer::Unknown,
                2 => Answer::AlreadyEnded { state: TaskState::Failed },
                3 => Answer::Ended { sequence: 1 },
                _ => Answer::Accepted { known: vec![task(tape.below(12))], hits: vec![task(tape.below(12))] },
            };
            rig.handle(Event::Stored { token: Token(1 << 40 | tape.wild()), answer });
        }
        1 if !rig.ops.is_empty() => rig.fail_one(),
        _ if !rig.ops.is_empty() => rig.store_one(),
        _ => {}
    }
}

fn step(rig: &mut Rig, peers: &mut Vec<Mgr>, tape: &mut Tape<'_>) {
    let index = tape.below(2) as usize;
    match tape.below(24) {
        0 => rig.submit((0..=tape.below(3)).map(|_| some_spec(tape)).collect()),
        1 => rig.cancel((0..=tape.below(3)).map(|_| task(tape.below(14))).collect()),
        2 => peers[index] = open(rig, tape),
        3 => {
            let body = (!tape.one_in(4)).then(|| Bytes::from_static(BODY));
            rig.handle(Event::Body { hash: names().hash(tape), body });
        }
        4 => {
            let args = (!tape.one_in(4)).then(|| Bytes::from(vec![1; 5_000]));
            rig.handle(Event::Args { task: task(tape.below(12)), args });
        }
        5 if tape.one_in(4) => rig.handle(Event::Unreachable { conn: peers[index].conn }),
        6 if tape.one_in(8) => rig.handle(Event::Revoked { endpoint: endpoint(tape.pick(&[1, 2, 3])) }),
        7 if tape.one_in(8) => {
            let request = rig.request();
            // Endpoint 1 stays: honest work is done there in the end.
            rig.handle(Event::DeleteEndpoint { request, endpoint: endpoint(tape.pick(&[2, 3])) });
        }
        8 if tape.one_in(4) => rig.handle(Event::EndpointAdded { endpoint: endpoint(2) }),
        9 => {
            rig.mono += tape.pick(&[1, 100, 5_000, 40_000]);
            rig.handle(Event::Tick);
        }
        10 => {
            let (conn, endpoint) = (peers[index].conn, peers[index].endpoint);
            rig.handle(Event::Message { conn, endpoint, message: names().message(tape) });
        }
        11..=14 => stored(rig, tape),
        _ => {
            let items = (0..=tape.below(3)).map(|_| names().item(tape)).collect();
            rig.say(&mut peers[index], items);
        }
    }
    rig.flush();
    for peer in peers {
        for message in rig.mail.remove(&peer.conn).unwrap_or_default() {
            assert!(message.items.len() <= limits::BATCH_ITEMS);
            let _ = peer.session.receive(Mono(rig.mono), message);
        }
    }
}

/// An honest manager of a newer generation holds nothing and runs what is left (F9): everything ends, once.
fn ends_well(rig: &mut Rig) {
    rig.settle();
    rig.run_out(u64::MAX, 40);
    let alive = rig.store.live().into_iter().filter(|row| row.spec.endpoint == endpoint(1)).count();
    assert_eq!(alive, 0, "tasks of a living endpoint did not end");
    assert!(rig.store.rows.values().all(|row| row.writes <= 1), "I1");
    let status = rig.hub.endpoint(&endpoint(1)).unwrap();
    assert_eq!((status.queued, status.held), (0, 0), "I11");
}

#[test]
fn any_events_in_any_order() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        let mut rig = Rig::new();
        rig.store.generations.insert(endpoint(2), 0);
        rig.handle(Event::EndpointAdded { endpoint: endpoint(2) });
        let mut peers = vec![rig.connect(hello(1, 1, 1)), open(&mut rig, &mut tape)];
        while !tape.is_over() {
            step(&mut rig, &mut peers, &mut tape);
        }
        let mut attempts = BTreeMap::<_, Attempt>::new();
        for action in std::mem::take(&mut rig.actions) {
            let Action::Send { message, .. } = action else { continue };
            for assign in assigns(&message.items) {
                let before = attempts.insert(assign.task, assign.attempt);
                assert!(
                    before.is_none_or(|before| before < assign.attempt),
                    "I10: attempt numbers only rise"
                );
            }
        }
        ends_well(&mut rig);
    });
}
