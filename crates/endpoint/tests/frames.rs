//! The worker socket's frames: round trips, garbage, and the golden frames that the Python side writes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bursa_core::executor::{Verdict, WorkerDone};
use bursa_core::id::{Hash, TaskId};
use bursa_core::limits;
use bursa_core::wire::Attempt;
use bursa_endpoint::worker::frames::{self, FromWorker, Garbage};
use bytes::{BufMut, Bytes, BytesMut};

fn frame(kind: u8, fields: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(u32::try_from(1 + fields.len()).unwrap());
    bytes.put_u8(kind);
    bytes.put_slice(fields);
    bytes
}

fn done(outcome: u8, sections: [&[u8]; 5]) -> BytesMut {
    let mut fields = BytesMut::new();
    fields.put_slice(&[1; 16]);
    fields.put_u64_le(2);
    fields.put_u8(outcome);
    for ns in [2, 3, 4] {
        fields.put_u64_le(ns);
    }
    for section in sections {
        fields.put_u32_le(u32::try_from(section.len()).unwrap());
    }
    for section in sections {
        fields.put_slice(section);
    }
    frame(18, &fields)
}

#[test]
fn frames_are_read_whatever_the_pieces() {
    let mut all = frame(16, &[7, 0, 0, 0, 3, 11]);
    all.unsplit(done(1, [b"p", b"ValueError", b"m", b"t", "out\u{e9}".as_bytes()]));
    all.unsplit(frame(19, &[9; 32]));
    for size in [1, 3, 17, all.len()] {
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for piece in all.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = frames::take(&mut buffer).unwrap() {
                found.push(frame);
            }
        }
        assert_eq!(found.len(), 3, "pieces of {size}");
        assert_eq!(found[0], FromWorker::Ready { pid: 7, python: (3, 11) });
        let FromWorker::Done(done) = &found[1] else { panic!("{:?}", found[1]) };
        assert_eq!((done.task, done.attempt), (TaskId::from_bytes([1; 16]), Attempt(2)));
        assert_eq!((done.load_ns, done.run_ns, done.dump_ns), (2, 3, 4));
        assert_eq!(
            (done.verdict, &done.class[..], &done.output[..]),
            (Verdict::UserError, "ValueError", "outé".as_bytes())
        );
        assert_eq!(found[2], FromWorker::Need { hash: Hash([9; 32]) });
    }
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let limit = u32::try_from(limits::WORKER_FRAME_BYTES).unwrap();
    let mut long = BytesMut::from(&(limit + 1).to_le_bytes()[..]);
    assert!(matches!(frames::take(&mut long), Err(Garbage::Length(_))));
    assert!(matches!(frames::take(&mut BytesMut::from(&[0; 4][..])), Err(Garbage::Length(0))));
    assert_eq!(frames::take(&mut frame(99, b"")), Err(Garbage::Kind(99)));
    assert_eq!(frames::take(&mut frame(16, b"short")), Err(Garbage::Fields(16, 6)));
    assert_eq!(frames::take(&mut frame(18, b"short")), Err(Garbage::Fields(18, 6)));
    assert_eq!(frames::take(&mut done(9, [b""; 5])), Err(Garbage::Outcome(9)));
    let mut cut = done(0, [b"abc", b"", b"", b"", b""]);
    let len = u32::try_from(cut.len() - 4 - 1).unwrap();
    cut[..4].copy_from_slice(&len.to_le_bytes());
    cut.truncate(cut.len() - 1);
    assert!(matches!(frames::take(&mut cut), Err(Garbage::Fields(18, _))));
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = BytesMut::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.put_u8(state.to_be_bytes()[2]);
        }
        bytes[1..4].fill(0);
        bytes[4] = 16 + bytes[4] % 5;
        while let Ok(Some(_)) = frames::take(&mut bytes) {}
    }
}

#[test]
fn a_small_result_does_not_keep_its_read_buffer() {
    let mut buffer = done(0, [b"small", b"", b"", b"", b""]);
    let start = buffer.as_ptr() as usize;
    let range = start..start + buffer.len();
    let Ok(Some(FromWorker::Done(done))) = frames::take(&mut buffer) else { panic!() };
    assert_eq!(done.payload, Bytes::from_static(b"small"));
    assert!(!range.contains(&(done.payload.as_ptr() as usize)));
}

fn unhex(text: &serde_json::Value) -> Bytes {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn number<T: TryFrom<u64>>(field: &serde_json::Value) -> T {
    T::try_from(field.as_u64().unwrap()).ok().unwrap()
}

/// A frame to the worker with these fields, as this side writes it.
fn written(kind: &str, fields: &serde_json::Value) -> BytesMut {
    let hash = || Hash(unhex(&fields["hash"])[..].try_into().unwrap());
    let (mut frame, payload) = match kind {
        "load" => {
            let body = unhex(&fields["body"]);
            (frames::load(hash(), body.len()), body)
        }
        "run" => {
            let task = TaskId::from_bytes(unhex(&fields["task"])[..].try_into().unwrap());
            let (attempt, args) = (Attempt(number(&fields["attempt"])), unhex(&fields["args"]));
            (frames::run(fields["flags"] == 1, (task, attempt), hash(), None, args.len()), args)
        }
        "stop" => (frames::stop(), Bytes::new()),
        other => panic!("{other}"),
    };
    frame.extend_from_slice(&payload);
    frame
}

/// What a frame of a worker with these fields says.
fn expected(kind: &str, fields: &serde_json::Value) -> FromWorker {
    let task = || TaskId::from_bytes(unhex(&fields["task"])[..].try_into().unwrap());
    let attempt = || Attempt(number(&fields["attempt"]));
    let text = |name: &str| String::from_utf8(unhex(&fields[name]).to_vec()).unwrap();
    match kind {
        "ready" => FromWorker::Ready {
            pid: number(&fields["pid"]),
            python: (number(&fields["major"]), number(&fields["minor"])),
        },
        "started" => FromWorker::Started { task: task(), attempt: attempt() },
        "skipped" => FromWorker::Skipped { number: number(&fields["number"]) },
        "need" => FromWorker::Need { hash: Hash(unhex(&fields["hash"])[..].try_into().unwrap()) },
        "done" => FromWorker::Done(WorkerDone {
            task: task(),
            attempt: attempt(),
            verdict: [
                Verdict::Success,
                Verdict::UserError,
                Verdict::LoadFailed,
                Verdict::DeserializeMismatch,
                Verdict::ResultTooLarge,
            ][number::<usize>(&fields["outcome"])],
            load_ns: number(&fields["load_ns"]),
            run_ns: number(&fields["run_ns"]),
            dump_ns: number(&fields["dump_ns"]),
            payload: unhex(&fields["payload"]),
            class: text("class"),
            message: text("message"),
            traceback: text("traceback"),
            output: unhex(&fields["output"]),
        }),
        other => panic!("{other}"),
    }
}

/// `tests/wire/worker_frames.json`, written by the Python side (`python/tests/write_worker_frames.py`).
#[test]
fn golden_frames_of_the_python_side() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire/worker_frames.json");
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(entries.len() > 10);
    for entry in entries {
        let (name, kind) = (&entry["name"], entry["kind"].as_str().unwrap());
        let mut frame = BytesMut::from(&unhex(&entry["frame"])[..]);
        if matches!(kind, "load" | "run" | "stop") {
            assert_eq!(written(kind, &entry["fields"]), frame, "{name}");
        } else {
            let read = frames::take(&mut frame).unwrap().unwrap();
            assert_eq!(read, expected(kind, &entry["fields"]), "{name}");
            assert!(frame.is_empty(), "{name}");
        }
    }
}
