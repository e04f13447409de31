//! What a worker writes on its socket, of any bytes: frames or garbage, never a panic, never more memory than came.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../core/tests/fuzz/change.rs"]
mod change;
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../../core/tests/fuzz/tape.rs"]
mod tape;

use bursa_core::limits;
use bursa_endpoint::worker::frames::{self, FromWorker};
use bytes::{BufMut, BytesMut};
use change::mutate;
use tape::Tape;

fn frame(kind: u8, fields: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(1 + fields.len()).unwrap().to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(fields);
    bytes
}

/// One frame of each kind.
fn samples() -> Vec<u8> {
    let mut done = vec![1; 16];
    done.put_u64_le(2);
    done.push(1);
    done.put_u64_le(3);
    for section in [5_u32, 1, 2, 3, 4] {
        done.put_u32_le(section);
    }
    done.extend([b'x'; 15]);
    let all = [frame(16, &[7, 0, 0, 0, 3, 11]), frame(17, &[1; 24]), frame(18, &done), frame(19, &[9; 32])];
    all.concat()
}

#[test]
fn fuzzed_frames() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            let mut sent = samples();
            mutate(&mut tape, &mut sent);
            let (mut buffer, mut taken) = (BytesMut::new(), 0);
            'frames: for piece in sent.chunks(1 + tape.below(64) as usize) {
                buffer.extend_from_slice(piece);
                loop {
                    match frames::take(&mut buffer) {
                        Ok(None) => break,
                        Ok(Some(FromWorker::Done(done))) => taken += done.payload.len() + done.output.len(),
                        Ok(Some(_)) => {}
                        Err(_) => break 'frames,
                    }
                }
                assert!(buffer.len() <= 4 + limits::WORKER_FRAME_BYTES);
            }
            assert!(taken <= sent.len(), "{taken} bytes were taken out of {}", sent.len());
        }
    });
}
