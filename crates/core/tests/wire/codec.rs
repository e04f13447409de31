//! Frames: round trips, foreign fields, large payloads, and garbage that must never panic.

use crate::samples;
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, UserId};
use bursa_core::limits;
use bursa_core::task::Outcome;
use bursa_core::wire::{Assign, Attempt, Blob, DecodeError, Item, Session, decode, encode};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

#[test]
fn every_item_comes_back_as_it_went() {
    for (name, message) in samples::all() {
        assert_eq!(decode(&encode(message.clone()).unwrap()), Ok(message), "{name}");
    }
    let everything: Vec<Item> = samples::all().into_iter().flat_map(|(_, message)| message.items).collect();
    let message = samples::message(everything);
    assert_eq!(decode(&encode(message.clone()).unwrap()), Ok(message));
}

/// A message whose item list is `items`, byte by byte.
fn raw(items: &[u8]) -> [Bytes; 2] {
    let envelope = encode(samples::message(Vec::new())).unwrap().swap_remove(0);
    [envelope, Bytes::copy_from_slice(items)]
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    #[derive(serde::Serialize)]
    struct Drain<'a> {
        colour: &'a str,
        grace_ms: u64,
        more: Vec<u8>,
    }
    #[derive(serde::Serialize)]
    enum Later<'a> {
        Drain(Drain<'a>),
    }
    let drain = Drain { colour: "red", grace_ms: 9, more: vec![1, 2] };
    // An envelope with a list more than it has.
    let envelope = Bytes::from_static(&[0x95, 2, 1, 2, 3, 0x91, 0xc0]);
    let frames = [envelope, rmp_serde::to_vec_named(&[Later::Drain(drain)]).unwrap().into()];
    assert_eq!(decode(&frames).unwrap().items, [Item::Drain { grace_ms: 9 }]);
    // An `Ack` with a map and a list more than it has, and a `Ping`.
    let mut short = vec![0x92, 0x96, 2, 0xc4, 16];
    short.extend([1; 16]);
    short.extend([9, 0, 0x81, 0xa1, b'x', 1, 0x91, 0xc0, 0xa4]);
    short.extend(b"Ping");
    let (attempt, outcome) = (Attempt(9), Outcome::Success);
    let ack = Item::Ack { task: samples::task(1), attempt, outcome };
    assert_eq!(decode(&raw(&short)).unwrap().items, [ack, Item::Ping]);
}

#[test]
fn assignments_in_a_row_name_user_and_function_once() {
    let plain = |n| {
        let task = samples::task(n);
        Assign { task, container: None, timeout_ms: None, ..samples::assign() }
    };
    let stranger = Assign { user: UserId::from_bytes([1; 16]), ..plain(3) };
    let items =
        [plain(1), plain(2), stranger.clone(), stranger, plain(4)].map(|one| Item::Assign(Box::new(one)));
    let size = |items: &[Item]| encode(samples::message(items.to_vec())).unwrap()[1].len();
    assert_eq!(size(&items[..2]), 2 * size(&items[..1]) - 1 - 18 - 34);
    let message = samples::message(items.to_vec());
    assert_eq!(decode(&encode(message.clone()).unwrap()), Ok(message));
    let bare = [&[0x91, 0x95, 0, 0xc4, 16][..], &[1; 16], &[9, 0xc4, 0, 7]].concat();
    assert_eq!(decode(&raw(&bare)), Err(DecodeError::Items("an assignment without user or function".into())));
}

#[test]
fn a_container_is_described_once_in_a_message_and_shared() {
    let plain = Assign { container: None, timeout_ms: None, ..samples::assign() };
    let other = Container { container: ContainerId::from_bytes([8; 16]), ..(*samples::image()).clone() };
    let in_one = |image: &Arc<Container>| Assign { container: Some(Arc::clone(image)), ..plain.clone() };
    let (image, other) = (samples::image(), Arc::new(other));
    let assigns = [in_one(&image), in_one(&other), plain.clone(), in_one(&image), in_one(&other)];
    let items = assigns.map(|assign| Item::Assign(Box::new(assign)));
    let frames = encode(samples::message(items.to_vec())).unwrap();
    let described = frames[1].windows(image.location.len()).filter(|part| *part == image.location.as_bytes());
    assert_eq!(described.count(), 2);
    let decoded = decode(&frames).unwrap().items;
    assert_eq!(decoded, items);
    let of = |n: usize| match &decoded[n] {
        Item::Assign(assign) => assign.container.as_ref().unwrap(),
        item => panic!("{item:?}"),
    };
    assert!(Arc::ptr_eq(of(0), of(3)) && Arc::ptr_eq(of(1), of(4)));
}

#[test]
fn a_container_that_cannot_be_is_refused() {
    let head = [&[0x91, 0x9b, 0, 0xc4, 16][..], &[1; 16], &[9, 0xc4, 0, 7]].concat();
    let ids = [&[0xc4, 16][..], &[1; 16], &[0xc4, 32], &[2; 32], &[0xc4, 16], &[3; 16], &[0xc0]].concat();
    let with = |tail: &[u8]| decode(&raw(&[&head[..], &ids, tail].concat()));
    assert!(with(&[1, 0xa1, b'x']).is_ok());
    let long = [&[1, 0xda, 0x04, 0x01][..], &[b'x'; limits::LOCATION_BYTES + 1]].concat();
    for (tail, why) in [
        (&[8, 0xa1, b'x'][..], "8 is no outcome"),
        (&[1, 0xa1, 0xff], "a text that is not UTF-8"),
        (&[1, 7], "not a text"),
        (&[0xc0, 0xc0], "a container that nobody described"),
        (&long, "has 1025 bytes"),
    ] {
        let said = with(tail).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
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
