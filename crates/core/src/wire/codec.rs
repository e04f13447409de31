//! Messages to frames and back: frame 0 the envelope, frame 1 the items, frames 2… large payloads as they are.
//!
//! Owns the frames; what is said of every task is in `short`.

use super::blob::Blob;
use super::message::{Envelope, Item, Message};
use super::msgpack::{Problem, Reader, put_list, put_uint};
use super::short::{self, Before};
use super::version;
use crate::limits;
use crate::shelf::Shelf;
use bytes::Bytes;

/// Why frames are not a message. Such a message is dropped and counted; it never ends the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer than two frames.
    #[error("a message has at least 2 frames, this one has {0}")]
    TooFewFrames(usize),
    /// The first frame is not an envelope.
    #[error("frame 0 is not an envelope: {0}")]
    Envelope(String),
    /// A wire version that this build does not know.
    #[error("wire version {0} is not between {oldest} and {newest}", oldest = version::OLDEST, newest = version::VERSION)]
    Version(u8),
    /// The second frame is not a list of items.
    #[error("frame 1 is not a list of items: {0}")]
    Items(String),
    /// More items than a message may have.
    #[error("{0} items in one message, the limit is {limit}", limit = limits::BATCH_ITEMS)]
    TooManyItems(usize),
    /// An item points to a payload frame that is not there.
    #[error("an item names payload frame {0}, which is not in the message")]
    NoSuchFrame(u32),
    /// A message of this build that cannot be written; a bug, and still not a panic.
    #[error("the message cannot be written: {0}")]
    Encode(String),
}

/// The frames of `message`. Payloads above [`limits::FRAME_BYTES`] become frames of their own, without a copy.
///
/// # Errors
/// [`DecodeError::Encode`] only, and only for a bug in a `Serialize` implementation.
pub fn encode(mut message: Message) -> Result<Vec<Bytes>, DecodeError> {
    let mut payloads = Vec::new();
    for item in &mut message.items {
        let Some(blob) = item.blob_mut() else { continue };
        if blob.len() > limits::FRAME_BYTES {
            let index =
                u32::try_from(payloads.len()).map_err(|error| DecodeError::Encode(error.to_string()))?;
            payloads.push(std::mem::replace(blob, Blob::Frame(index)).into_bytes());
        }
    }
    let mut frames = Vec::with_capacity(2 + payloads.len());
    let fault = |error: rmp_serde::encode::Error| DecodeError::Encode(error.to_string());
    // A guess that saves growing the buffer.
    let weight = |item: &Item| item.weight().min(limits::MESSAGE_BYTES);
    let mut items = Vec::with_capacity(8 + message.items.iter().map(weight).sum::<usize>());
    put_list(&mut items, message.items.len());
    let mut before = Before::default();
    for item in &message.items {
        short::write(&mut items, item, &mut before).map_err(fault)?;
    }
    frames.extend([write_envelope(&message.envelope), items.into()]);
    frames.append(&mut payloads);
    Ok(frames)
}

/// The message in `frames`. Small payloads are copied onto shelves, so that no frame is kept alive by one of them.
///
/// # Errors
/// Whatever is wrong with the frames; nothing of a bad message is used.
pub fn decode(frames: &[Bytes]) -> Result<Message, DecodeError> {
    let [envelope, items, payloads @ ..] = frames else {
        return Err(DecodeError::TooFewFrames(frames.len()));
    };
    let envelope = read_envelope(envelope).map_err(DecodeError::Envelope)?;
    if !(version::OLDEST..=version::VERSION).contains(&envelope.v) {
        return Err(DecodeError::Version(envelope.v));
    }
    let mut items = read_items(items)?;
    for blob in items.iter_mut().filter_map(Item::blob_mut) {
        if let Blob::Frame(index) = *blob {
            let payload = payloads.get(index as usize).ok_or(DecodeError::NoSuchFrame(index))?;
            *blob = Blob::Here(payload.clone());
        }
    }
    Ok(Message { envelope, items })
}

/// `[v, sid, seq, ack]`.
fn write_envelope(envelope: &Envelope) -> Bytes {
    let Envelope { v, sid, seq, ack } = *envelope;
    let mut out = Vec::with_capacity(32);
    put_list(&mut out, 4);
    for field in [u64::from(v), sid, seq, ack] {
        put_uint(&mut out, field);
    }
    out.into()
}

fn read_envelope(frame: &[u8]) -> Result<Envelope, Problem> {
    let mut reader = Reader(frame);
    let mut list = reader.list()?;
    let v = u8::try_from(list.must()?.small()?).unwrap_or(u8::MAX);
    let (sid, seq, ack) = (list.must()?.uint()?, list.must()?.uint()?, list.must()?.uint()?);
    list.skip()?;
    Ok(Envelope { v, sid, seq, ack })
}

fn read_items(frame: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let mut reader = Reader(frame);
    let count = reader.list().map_err(DecodeError::Items)?.left;
    // Before anything is made of them: the shortest items take far less on the wire than in memory.
    if count > limits::BATCH_ITEMS {
        return Err(DecodeError::TooManyItems(count));
    }
    let (mut before, mut shelf) = (Before::default(), Shelf::new(frame.len()));
    // Nor is the number believed before the items are there.
    let mut items = Vec::with_capacity(count.min(frame.len() / 8));
    for _ in 0..count {
        items.push(short::read(&mut reader, &mut before, &mut shelf).map_err(DecodeError::Items)?);
    }
    Ok(items)
}
