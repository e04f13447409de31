//! Frames: round trips, foreign fields, large payloads, and garbage that must never panic.

use crate::samples;
use bursa_core::limits;
use bursa_core::wire::{Blob, DecodeError, Item, Session, decode, encode};
use bytes::Bytes;
use proptest::prelude::*;

#[test]
fn every_item_comes_back_as_it_went() {
    for (name, message) in samples::all() {
        assert_eq!(decode(&encode(message.clone()).unwrap()), Ok(message), "{name}");
    }
    let everything: Vec<Item> = samples::all().into_iter().flat_map(|(_, message)| message.items).collect();
    let message = samples::message(everything);
    assert_eq!(decode(&encode(message.clone()).unwrap()), Ok(message));
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    #[derive(serde::Serialize)]
    struct Ack<'a> {
        task: &'a serde_bytes::Bytes,
        colour: &'a str,
        attempt: u64,
        outcome: &'a str,
        more: Vec<u8>,
    }
    #[derive(serde::Serialize)]
    enum Later<'a> {
        Ack(Ack<'a>),
    }
    #[derive(serde::Serialize)]
    struct Envelope {
        v: u8,
        sid: u64,
        seq: u64,
        ack: u64,
        hops: Option<u8>,
    }
    let ack = Ack {
        task: serde_bytes::Bytes::new(&[1; 16]),
        colour: "red",
        attempt: 9,
        outcome: "success",
        more: vec![1, 2],
    };
    let frames = [
        rmp_serde::to_vec_named(&Envelope { v: 1, sid: 1, seq: 2, ack: 3, hops: None }).unwrap().into(),
        rmp_serde::to_vec_named(&[Later::Ack(ack)]).unwrap().into(),
    ];
    let message = decode(&frames).unwrap();
    assert!(matches!(message.items[..], [Item::Ack { task, .. }] if task == samples::task(1)), "{message:?}");
}

#[test]
fn a_large_payload_is_a_frame_of_its_own_and_is_not_copied() {
    let body: Bytes = vec![1; limits::FRAME_BYTES + 1].into();
    let small: Bytes = vec![1; limits::FRAME_BYTES].into();
    let item = |body: &Bytes| Item::Function {
        hash: bursa_core::id::Hash([0; 32]),
        body: Some(body.clone().into()),
    };
    let frames = encode(samples::message(vec![item(&small), item(&body)])).unwrap();
    assert_eq!((frames.len(), frames[2].as_ptr()), (3, body.as_ptr()));
    let message = decode(&frames).unwrap();
    let blob = message.items[1].blob().unwrap();
    assert_eq!(blob.bytes().as_ptr(), body.as_ptr());
    let copied = message.items[0].blob().unwrap().bytes().as_ptr_range();
    assert!(!frames[1].as_ptr_range().contains(&copied.start), "a small one keeps no frame alive");
}

#[test]
fn what_is_wrong_is_said() {
    let good = encode(samples::message(vec![Item::Ping])).unwrap();
    assert_eq!(decode(&[]), Err(DecodeError::TooFewFrames(0)));
    assert_eq!(decode(&good[..1]), Err(DecodeError::TooFewFrames(1)));
    let mut later = samples::message(vec![Item::Ping]);
    later.envelope.v = 9;
    assert_eq!(decode(&encode(later).unwrap()), Err(DecodeError::Version(9)));
    let many = samples::message(vec![Item::Ping; limits::BATCH_ITEMS + 1]);
    assert_eq!(decode(&encode(many).unwrap()), Err(DecodeError::TooManyItems(limits::BATCH_ITEMS + 1)));
    let absent = Item::Part { stream: 0, total: 1, data: Blob::Frame(1) };
    assert_eq!(decode(&encode(samples::message(vec![absent])).unwrap()), Err(DecodeError::NoSuchFrame(1)));
    let swapped = [good[1].clone(), good[0].clone()];
    assert!(matches!(decode(&swapped), Err(DecodeError::Envelope(_))));
    let twice = [good[0].clone(), good[0].clone()];
    assert!(matches!(decode(&twice), Err(DecodeError::Items(_))));
}

/// All frames of the samples, to be damaged.
fn frames(index: usize) -> Vec<Bytes> {
    let mut samples = samples::all();
    let count = samples.len();
    encode(samples.swap_remove(index % count).1).unwrap()
}

/// Whatever is decoded is taken by a session without a panic, too.
fn digest(frames: &[Bytes]) {
    if let Ok(message) = decode(frames) {
        let mut session = Session::new(message.envelope.sid, bursa_core::time::Mono(0));
        let _ = session.receive(bursa_core::time::Mono(1), message);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
        digest(&frames);
    }

    #[test]
    fn damaged_frames_never_panic(index in 0..64_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut frames = frames(index);
        for frame in &mut frames[..2] {
            let mut bytes = frame.to_vec();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            *frame = bytes.into();
        }
        digest(&frames);
    }

    #[test]
    fn cut_frames_never_panic_and_are_never_a_message(index in 0..64_usize, at in any::<prop::sample::Index>()) {
        for frame in 0..2 {
            let mut frames = frames(index);
            let keep = at.index(frames[frame].len());
            frames[frame].truncate(keep);
            prop_assert!(decode(&frames).is_err());
        }
    }
}
