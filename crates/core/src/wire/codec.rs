//! Messages to frames and back: frame 0 the envelope, frame 1 the items, frames 2… large payloads as they are.

use super::blob::Blob;
use super::message::{Item, Message};
use super::version;
use crate::limits;
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
    frames.push(pack(&message.envelope, 48)?);
    let weight = |item: &Item| item.weight().min(limits::MESSAGE_BYTES);
    frames.push(pack(&message.items, message.items.iter().map(weight).sum())?);
    frames.append(&mut payloads);
    Ok(frames)
}

/// `value` in msgpack with named fields; `size` is a guess that saves growing the buffer.
fn pack<T: serde::Serialize>(value: &T, size: usize) -> Result<Bytes, DecodeError> {
    let mut bytes = Vec::with_capacity(size);
    rmp_serde::encode::write_named(&mut bytes, value)
        .map_err(|error| DecodeError::Encode(error.to_string()))?;
    Ok(bytes.into())
}

/// The message in `frames`. Small payloads are copied out, so that no frame is kept alive by one of them.
///
/// # Errors
/// Whatever is wrong with the frames; nothing of a bad message is used.
pub fn decode(frames: &[Bytes]) -> Result<Message, DecodeError> {
    let [envelope, items, payloads @ ..] = frames else {
        return Err(DecodeError::TooFewFrames(frames.len()));
    };
    let envelope: super::Envelope =
        rmp_serde::from_slice(envelope).map_err(|error| DecodeError::Envelope(error.to_string()))?;
    if !(version::OLDEST..=version::VERSION).contains(&envelope.v) {
        return Err(DecodeError::Version(envelope.v));
    }
    // Before anything is made of them: the shortest items take far less on the wire than in memory.
    if let Some(count) = list_len(items).filter(|&count| count > limits::BATCH_ITEMS) {
        return Err(DecodeError::TooManyItems(count));
    }
    let mut items: Vec<Item> =
        rmp_serde::from_slice(items).map_err(|error| DecodeError::Items(error.to_string()))?;
    for blob in items.iter_mut().filter_map(Item::blob_mut) {
        if let Blob::Frame(index) = *blob {
            let payload = payloads.get(index as usize).ok_or(DecodeError::NoSuchFrame(index))?;
            *blob = Blob::Here(payload.clone());
        }
    }
    Ok(Message { envelope, items })
}

/// The length that a msgpack list says it has; `None` for what is no list.
fn list_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [head @ 0x90..=0x9f, ..] => Some(usize::from(head & 0x0f)),
        [0xdc, a, b, ..] => Some(usize::from(u16::from_be_bytes([*a, *b]))),
        [0xdd, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize),
        _ => None,
    }
}
