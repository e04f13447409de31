//! Sessions: order, window, pings, parts (F1, F3, F27).

use crate::samples::task;
use bursa_core::id::Hash;
use bursa_core::limits;
use bursa_core::rng::Rng;
use bursa_core::task::Outcome;
use bursa_core::time::Mono;
use bursa_core::wire::{
    Attempt, Blob, Envelope, Fault, Held, Holding, Item, Message, ResetReason, Session, Stage,
};
use bytes::Bytes;
use std::collections::VecDeque;

const SID: u64 = 7;
const NOW: Mono = Mono(0);

fn pair() -> (Session, Session) {
    (Session::new(SID, NOW), Session::new(SID, NOW))
}

fn flush(session: &mut Session) -> Vec<Message> {
    let mut messages = Vec::new();
    session.flush(NOW, |message| messages.push(message));
    messages
}

fn one(session: &mut Session, item: Item) -> Message {
    session.push(item);
    let [message] = <[Message; 1]>::try_from(flush(session)).expect("one message");
    message
}

fn drain(grace_ms: u64) -> Item {
    Item::Drain { grace_ms }
}

fn crafted(seq: u64, items: Vec<Item>) -> Message {
    Message { envelope: Envelope { v: 2, sid: SID, seq, ack: 0 }, items }
}

fn part(stream: u64, total: u64, len: usize) -> Item {
    Item::Part { stream, total, data: Blob::Here(vec![0; len].into()) }
}

fn named(stream: u64) -> Item {
    Item::Function { hash: Hash([0; 32]), body: Some(Blob::Stream(stream)) }
}

#[test]
fn in_order_and_once() {
    let (mut a, mut b) = pair();
    let messages: Vec<Message> = (0..3).map(|n| one(&mut a, drain(n))).collect();
    assert_eq!(b.receive(NOW, messages[0].clone()), Ok(vec![drain(0)]));
    assert_eq!(b.receive(NOW, messages[0].clone()), Err(Fault::Gap), "a repeat");
    assert_eq!(b.receive(NOW, messages[2].clone()), Err(Fault::Gap), "a gap");
    assert_eq!(b.receive(NOW, messages[1].clone()), Ok(vec![drain(1)]));
    assert_eq!(b.receive(NOW, messages[2].clone()), Ok(vec![drain(2)]));
}

#[test]
fn only_its_own_session_counts() {
    let (mut a, _) = pair();
    let mut other = Session::new(8, NOW);
    let message = one(&mut other, drain(0));
    assert_eq!(a.receive(NOW, message), Err(Fault::OtherSession));
    let mut ahead = crafted(0, vec![drain(0)]);
    ahead.envelope.ack = 1;
    assert_eq!(a.receive(NOW, ahead), Err(Fault::Gap), "it acknowledges what was never sent");
}

#[test]
fn a_ping_shows_a_loss_on_an_idle_link() {
    let (mut a, mut b) = pair();
    let ping = a.ping(NOW);
    assert_eq!(b.receive(NOW, ping), Ok(vec![Item::Ping]), "before anything else");
    one(&mut a, drain(0));
    let lost = one(&mut a, drain(1));
    drop(lost);
    let ping = a.ping(NOW);
    assert_eq!(b.receive(NOW, ping), Err(Fault::Gap));
}

#[test]
fn a_reset_is_heard_alone_whatever_its_number() {
    let (mut a, _) = pair();
    let reset = Item::Reset { reason: ResetReason::Gap };
    assert_eq!(a.receive(NOW, crafted(99, vec![named(1), reset.clone(), drain(1)])), Ok(vec![reset.clone()]));
    assert_eq!(Session::stray_reset(SID, ResetReason::Gap).items, [reset]);
}

#[test]
fn the_window_holds_and_pings_are_outside_of_it() {
    let (mut a, mut b) = pair();
    for _ in 0..limits::WINDOW {
        one(&mut a, drain(0));
    }
    a.push(drain(1));
    assert_eq!((flush(&mut a).len(), a.unsent(), a.in_flight()), (0, 1, limits::WINDOW));
    let mut ping = a.ping(NOW);
    assert_eq!(ping.envelope.seq, limits::WINDOW - 1, "it repeats the last number");
    ping.envelope.seq = 0;
    for seq in 0..limits::WINDOW {
        b.receive(NOW, crafted(seq, vec![drain(0)])).unwrap();
    }
    let owed = flush(&mut b);
    assert_eq!((owed.len(), owed[0].items.len()), (1, 1), "half a window unacknowledged: a ping is owed");
    a.receive(NOW, owed[0].clone()).unwrap();
    assert_eq!((flush(&mut a).len(), a.in_flight()), (1, 1));
    assert_eq!(flush(&mut b).len(), 0, "and only one");
}

#[test]
fn messages_are_cut_by_items_and_by_bytes() {
    let (mut a, _) = pair();
    (0..limits::BATCH_ITEMS as u64 + 1).for_each(|n| a.push(drain(n)));
    let sizes: Vec<usize> = flush(&mut a).iter().map(|message| message.items.len()).collect();
    assert_eq!(sizes, [limits::BATCH_ITEMS, 1]);
    let holding = Holding {
        task: task(1),
        attempt: Attempt(u64::MAX),
        stage: Stage::Finished,
        begun: bursa_core::task::Begun::Unknown,
    };
    let page = Held { held: vec![holding; limits::HELD_PAGE], complete: false, accounted: false };
    (0..20).for_each(|_| a.push(Item::Held(page.clone())));
    for message in flush(&mut a) {
        let weight: usize = message.items.iter().map(Item::weight).sum();
        let frames = bursa_core::wire::encode(message).unwrap();
        assert!(frames[1].len() <= weight, "the weight is not below the bytes");
        assert!(frames[1].len() <= limits::MESSAGE_BYTES);
    }
}

#[test]
fn the_largest_payload_travels_in_parts() {
    let (mut a, mut b) = pair();
    let body: Bytes = (0..limits::PAYLOAD_BYTES).map(|n| (n / 4096) as u8).collect();
    let item = Item::Function { hash: Hash([1; 32]), body: Some(body.clone().into()) };
    a.push(drain(1));
    a.push(item.clone());
    a.push(drain(2));
    let mut heard = Vec::new();
    while a.unsent() > 0 {
        for message in flush(&mut a) {
            let bytes: usize = message.items.iter().filter_map(Item::blob).map(Blob::len).sum();
            assert!(bytes <= limits::MESSAGE_BYTES);
            heard.extend(b.receive(NOW, message).unwrap());
        }
        let ping = b.ping(NOW);
        a.receive(NOW, ping).unwrap();
    }
    assert!(heard == [drain(1), item, drain(2)]);
}

#[test]
fn hostile_parts_are_refused() {
    let max = limits::PARTS_BYTES as u64;
    let cases: Vec<(&str, Vec<Item>)> = vec![
        ("too large", vec![part(1, max + 1, 1)]),
        ("too large together", vec![part(1, max, 1), part(2, 1, 1)]),
        ("beyond counting", vec![part(1, u64::MAX, 1)]),
        ("nothing", vec![part(1, 0, 0)]),
        ("more than promised", vec![part(1, 3, 2), part(1, 3, 2)]),
        ("another size", vec![part(1, 3, 1), part(1, 4, 1)]),
        ("less than promised", vec![part(1, 3, 2), named(1)]),
        ("never sent", vec![named(1)]),
        ("used twice", vec![part(1, 1, 1), named(1), named(1)]),
        ("too many", (0..257).map(|stream| part(stream, 2, 1)).collect()),
        (
            "a frame that the codec did not bring",
            vec![Item::Part { stream: 1, total: 1, data: Blob::Frame(0) }],
        ),
    ];
    for (name, items) in cases {
        let (mut a, _) = pair();
        let result = a.receive(NOW, crafted(0, items));
        assert_eq!(result, Err(Fault::Protocol), "{name}");
    }
}

#[test]
fn silence_pings_and_forgiveness() {
    let mut a = Session::connecting(SID, Mono(10));
    assert_eq!((a.ping_due(5), a.silent_at(20)), (Mono(15), Mono(30)));
    a.ping(Mono(12));
    assert_eq!(a.ping_due(5), Mono(17));
    let mut b = Session::new(SID, Mono(10));
    a.receive(Mono(14), b.ping(Mono(14))).unwrap();
    assert_eq!(a.silent_at(20), Mono(34));
    a.forgive(Mono(40));
    assert_eq!(a.silent_at(20), Mono(60));
}

#[test]
fn f27_a_connector_pings_with_the_acceptor() {
    let (mut a, mut b) = (Session::connecting(SID, Mono(0)), Session::new(SID, Mono(0)));
    assert_eq!((a.ping_due(2_000), b.ping_due(2_000)), (Mono(2_000), Mono(1_750)));
    a.receive(Mono(1_750), b.ping(Mono(1_750))).unwrap();
    assert_eq!(a.ping_due(2_000), Mono(1_000), "in the same wake-up");
    b.receive(Mono(1_751), a.ping(Mono(1_750))).unwrap();
    assert_eq!((a.ping_due(2_000), b.ping_due(2_000)), (Mono(3_750), Mono(3_500)), "and no answer to it");
    a.receive(Mono(1_752), b.ping(Mono(1_752))).unwrap();
    assert_eq!(a.ping_due(2_000), Mono(3_750), "it has just spoken");
}

/// Both sides talk as much as they may over links that delay; with `loss` some messages vanish.
fn talk(seed: u64, loss: bool) -> (Vec<u64>, Vec<u64>, Option<Fault>) {
    let mut rng = Rng::new(seed);
    let (a, b) = pair();
    let mut sides = [a, b];
    let mut links = [VecDeque::new(), VecDeque::new()];
    let mut heard = [Vec::new(), Vec::new()];
    let mut said = [0, 0];
    for _ in 0..20_000 {
        let side = rng.below(2) as usize;
        if rng.below(3) == 0 {
            for _ in 0..rng.below(4) {
                if said[side] < 1_000 {
                    sides[side].push(drain(said[side]));
                    said[side] += 1;
                }
            }
            let link = &mut links[side];
            sides[side].flush(NOW, |message| {
                if !(loss && rng.below(100) == 0) {
                    link.push_back(message);
                }
            });
            assert!(sides[side].in_flight() <= limits::WINDOW);
        } else if let Some(message) = links[1 - side].pop_front() {
            match sides[side].receive(NOW, message) {
                Ok(items) => heard[side].extend(items.into_iter().filter_map(|item| match item {
                    Item::Drain { grace_ms } => Some(grace_ms),
                    _ => None,
                })),
                Err(fault) => {
                    let [left, right] = heard;
                    return (left, right, Some(fault));
                }
            }
        }
    }
    let [left, right] = heard;
    (left, right, None)
}

#[test]
fn two_sides_hear_everything_in_order_and_never_block_each_other() {
    let all: Vec<u64> = (0..1_000).collect();
    for seed in 0..50 {
        assert!(talk(seed, false) == (all.clone(), all.clone(), None), "seed {seed}");
    }
}

#[test]
fn a_loss_is_seen_and_what_was_heard_before_is_a_prefix() {
    let mut seen = 0;
    for seed in 0..100 {
        let (left, right, fault) = talk(seed, true);
        for heard in [left, right] {
            assert!(heard.iter().copied().eq(0..heard.len() as u64), "seed {seed}");
        }
        seen += usize::from(fault == Some(Fault::Gap));
    }
    assert!(seen > 90, "{seen}");
}

fn ack(n: u8) -> Item {
    Item::Ack { task: task(n), attempt: Attempt(1), outcome: Outcome::Success }
}

fn flush_at(session: &mut Session, ms: u64) -> Vec<Vec<Item>> {
    let mut messages = Vec::new();
    session.flush(Mono(ms), |message| messages.push(message.items));
    messages
}

#[test]
fn f39_what_nobody_waits_for_leaves_with_what_is_in_a_hurry() {
    let (mut a, _) = pair();
    a.push(ack(1));
    assert_eq!(flush_at(&mut a, 5), Vec::<Vec<Item>>::new());
    a.push(drain(1));
    assert_eq!(flush_at(&mut a, 6), [[ack(1), drain(1)]]);
    assert_eq!(a.lingers_until(), None);
}

#[test]
fn f39_it_leaves_alone_when_it_has_lingered_long_enough_or_is_much() {
    let (mut a, _) = pair();
    a.push(ack(1));
    flush_at(&mut a, 5);
    let until = 5 + limits::LINGER_MS;
    assert_eq!((a.lingers_until(), a.flush_due(10_000)), (Some(Mono(until)), Mono(until)));
    a.push(ack(2));
    assert_eq!(flush_at(&mut a, until - 1), Vec::<Vec<Item>>::new(), "the first one's time counts");
    assert_eq!(flush_at(&mut a, until), [[ack(1), ack(2)]]);
    assert_eq!(a.flush_due(10_000), Mono(until + 8_750), "only the ping is due");
    (0..limits::LINGER_ITEMS).for_each(|_| a.push(ack(3)));
    assert_eq!(flush_at(&mut a, until).len(), 1);
}

#[test]
fn f39_nothing_is_due_behind_a_closed_window() {
    let (mut a, mut b) = pair();
    for n in 0..limits::WINDOW {
        let message = one(&mut a, drain(n));
        b.receive(NOW, message).unwrap();
    }
    a.push(ack(1));
    assert_eq!(flush_at(&mut a, 1), Vec::<Vec<Item>>::new());
    assert_eq!(flush_at(&mut a, 1_000), Vec::<Vec<Item>>::new());
    assert_eq!(a.lingers_until(), None, "no timer opens it");
    a.receive(NOW, b.ping(NOW)).unwrap();
    assert_eq!(flush_at(&mut a, 1_000), [[ack(1)]]);
}
