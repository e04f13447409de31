//! Frames of the worker socket (`docs/protocol.md` §4): bytes to frames and frames to bytes, no policy.
//!
//! A worker runs its user's code and may say anything: what is no frame is an error, never a panic.

use bursa_core::executor::{Verdict, WorkerDone};
use bursa_core::id::{Hash, TaskId};
use bursa_core::limits;
use bursa_core::secrets::Secrets;
use bursa_core::wire::Attempt;
use bytes::{Buf, BufMut, Bytes, BytesMut};

const LOAD: u8 = 1;
const RUN: u8 = 2;
const STOP: u8 = 3;
const READY: u8 = 16;
const STARTED: u8 = 17;
const DONE: u8 = 18;
const NEED: u8 = 19;
const SKIPPED: u8 = 20;

/// Before the arguments of a call with secrets: a header as payloads have, the length of the secrets and these.
const SECRETS: &[u8; 3] = b"e\0\0";
/// Flag of `run`: send what is finished before starting this.
const FLUSH_FIRST: u8 = 1;
/// Larger sections keep the read buffer they came in; smaller ones are copied out, so that no small result keeps a
/// large buffer alive.
const COPY_BELOW: usize = limits::INLINE_BYTES;

/// What a worker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// It is there.
    Ready {
        /// Its process.
        pid: u32,
        /// Its Python's major and minor.
        python: (u8, u8),
    },
    /// It began a call.
    Started {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// It ended a call.
    Done(WorkerDone),
    /// It lacks a body.
    Need {
        /// Which.
        hash: Hash,
    },
    /// It passed over a call that was withheld.
    Skipped {
        /// Which of its calls; 1 is the first.
        number: u64,
    },
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// A length beyond the limit, or zero.
    #[error("a frame of {0} bytes, the limit is {limit}", limit = limits::WORKER_FRAME_BYTES)]
    Length(usize),
    /// No such kind.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// The fields do not fill the frame.
    #[error("a frame of kind {0} with {1} bytes, which do not fit its fields")]
    Fields(u8, usize),
    /// No such outcome.
    #[error("a call that ended in the unknown way {0}")]
    Outcome(u8),
}

/// Takes the next whole frame out of `buffer`; `None` while it is not complete.
///
/// # Errors
/// [`Garbage`], after which nothing of this worker can be believed.
pub fn take(buffer: &mut BytesMut) -> Result<Option<FromWorker>, Garbage> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*head) as usize;
    if len == 0 || len > limits::WORKER_FRAME_BYTES {
        return Err(Garbage::Length(len));
    }
    if buffer.len() < 4 + len {
        buffer.reserve(4 + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    let mut frame = buffer.split_to(len);
    let kind = frame.get_u8();
    let bad = |_| Garbage::Fields(kind, len);
    match kind {
        READY if frame.len() == 6 => {
            Ok(Some(FromWorker::Ready { pid: frame.get_u32_le(), python: (frame.get_u8(), frame.get_u8()) }))
        }
        STARTED if frame.len() == 24 => {
            let (task, attempt) = call(&mut frame).map_err(bad)?;
            Ok(Some(FromWorker::Started { task, attempt }))
        }
        NEED if frame.len() == 32 => {
            let mut hash = [0; 32];
            frame.copy_to_slice(&mut hash);
            Ok(Some(FromWorker::Need { hash: Hash(hash) }))
        }
        SKIPPED if frame.len() == 8 => Ok(Some(FromWorker::Skipped { number: frame.get_u64_le() })),
        DONE => done(frame, len).map(|done| Some(FromWorker::Done(done))),
        READY | STARTED | NEED | SKIPPED => Err(Garbage::Fields(kind, len)),
        kind => Err(Garbage::Kind(kind)),
    }
}

fn call(frame: &mut BytesMut) -> Result<(TaskId, Attempt), bytes::TryGetError> {
    let mut task = [0; 16];
    frame.try_copy_to_slice(&mut task)?;
    Ok((TaskId::from_bytes(task), Attempt(frame.try_get_u64_le()?)))
}

fn done(mut frame: BytesMut, len: usize) -> Result<WorkerDone, Garbage> {
    let bad = |_| Garbage::Fields(DONE, len);
    let (task, attempt) = call(&mut frame).map_err(bad)?;
    let verdict = match frame.try_get_u8().map_err(bad)? {
        0 => Verdict::Success,
        1 => Verdict::UserError,
        2 => Verdict::LoadFailed,
        3 => Verdict::DeserializeMismatch,
        4 => Verdict::ResultTooLarge,
        other => return Err(Garbage::Outcome(other)),
    };
    let mut took = [0; 3];
    for ns in &mut took {
        *ns = frame.try_get_u64_le().map_err(bad)?;
    }
    let [load_ns, run_ns, dump_ns] = took;
    let mut sizes = [0_usize; 5];
    for size in &mut sizes {
        *size = frame.try_get_u32_le().map_err(bad)? as usize;
    }
    if sizes.iter().sum::<usize>() != frame.len() {
        return Err(Garbage::Fields(DONE, len));
    }
    let mut rest = frame.freeze();
    let [payload, class, message, traceback, output] = sizes.map(|size| rest.split_to(size));
    Ok(WorkerDone {
        task,
        attempt,
        verdict,
        load_ns,
        run_ns,
        dump_ns,
        payload: detach(payload),
        class: text(&class),
        message: text(&message),
        traceback: text(&traceback),
        output: detach(output),
    })
}

fn detach(section: Bytes) -> Bytes {
    if section.len() < COPY_BELOW { Bytes::copy_from_slice(&section) } else { section }
}

fn text(section: &[u8]) -> String {
    String::from_utf8_lossy(section).into_owned()
}

/// The head of a frame of `kind` with `fields` more bytes of which `rest` come apart.
fn head(kind: u8, fields: usize, rest: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(5 + fields);
    // Bodies and arguments are far below 4 GiB (limits), so this never cuts.
    bytes.put_u32_le(u32::try_from(1 + fields + rest).unwrap_or(u32::MAX));
    bytes.put_u8(kind);
    bytes
}

/// The head of `load`; the body follows.
#[must_use]
pub fn load(hash: Hash, body: usize) -> BytesMut {
    let mut bytes = head(LOAD, 32, body);
    bytes.put_slice(&hash.0);
    bytes
}

/// The head of `run`; the arguments follow, behind the secrets if there are some.
#[must_use]
pub fn run(
    flush: bool,
    (task, attempt): (TaskId, Attempt),
    hash: Hash,
    secrets: Option<&Secrets>,
    args: usize,
) -> BytesMut {
    let beside = secrets.map_or(0, |secrets| SECRETS.len() + 4 + secrets.len());
    let mut bytes = head(RUN, 57 + beside, args);
    bytes.put_u8(if flush { FLUSH_FIRST } else { 0 });
    bytes.put_slice(task.as_bytes());
    bytes.put_u64_le(attempt.0);
    bytes.put_slice(&hash.0);
    if let Some(secrets) = secrets {
        bytes.put_slice(SECRETS);
        // Far below 4 GiB too.
        bytes.put_u32_le(u32::try_from(secrets.len()).unwrap_or(u32::MAX));
        bytes.put_slice(secrets.block());
    }
    bytes
}

/// `stop`.
#[must_use]
pub fn stop() -> BytesMut {
    head(STOP, 0, 0)
}
