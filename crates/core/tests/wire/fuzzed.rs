//! The decoder on anything: it never panics, believes no length that a peer claims, and what it takes comes back the
//! same from its own bytes.

use crate::change::mutate;
use crate::samples;
use crate::tape::Tape;
use crate::words::Names;
use bursa_core::id::{ExecutorId, Hash};
use bursa_core::limits;
use bursa_core::time::Mono;
use bursa_core::wire::{Peer, Session, decode, encode};
use bytes::Bytes;

/// Frames as a peer could send them: those of a real message with a few bytes changed, or a frame missing.
fn frames(tape: &mut Tape<'_>) -> Vec<Bytes> {
    let samples = samples::all();
    let (_, sample) = &samples[tape.below(u32::try_from(samples.len()).unwrap()) as usize];
    let mut frames = encode(sample.clone()).expect("a sample can be written");
    for frame in &mut frames {
        let mut bytes = frame.to_vec();
        mutate(tape, &mut bytes);
        *frame = bytes.into();
    }
    if tape.one_in(8) {
        frames.truncate(tape.below(3) as usize);
    }
    frames
}

fn check(frames: &[Bytes]) {
    let Ok(message) = decode(frames) else { return };
    assert!(message.items.len() <= limits::BATCH_ITEMS);
    let sid = message.envelope.sid;
    let again = encode(message.clone()).expect("what was read can be written");
    assert_eq!(decode(&again), Ok(message.clone()), "and read again");
    let mut session = Session::new(sid, Mono(0));
    let _ = session.receive(Mono(1), message);
}

fn names() -> Names {
    let executor = |n| Peer::Executor { executor: ExecutorId::from_bytes([n; 16]) };
    Names {
        task: |n| samples::task(n as u8),
        hashes: [Hash([1; 32]), Hash([2; 32])],
        peers: [1, 2, 3].map(executor),
    }
}

#[test]
fn any_words() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            let message = names().message(&mut tape);
            check(&encode(message).expect("whatever is said can be written"));
        }
    });
}

#[test]
fn changed_messages() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            check(&frames(&mut tape));
        }
    });
}

#[test]
fn any_bytes() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let at = bytes.first().map_or(0, |first| usize::from(*first).min(bytes.len()));
        let (envelope, items) = bytes.split_at(at);
        check(&[Bytes::copy_from_slice(envelope), Bytes::copy_from_slice(items)]);
        let good = encode(samples::message(Vec::new())).expect("an empty message can be written");
        check(&[good[0].clone(), Bytes::copy_from_slice(bytes)]);
    });
}
