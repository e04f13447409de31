//! Frames from and to bytes, each at most as large as both sides agreed on.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};
use amq_protocol::types::ShortString;
use bytes::{Buf as _, BytesMut};
use std::io;

/// Largest frame, its head and end included. What the client says is far smaller.
pub(super) const FRAME: usize = 131_072;
/// Type, channel and length before a frame's payload, and the end mark behind it.
const AROUND: usize = 8;

/// The next whole frame in `bytes`, taken out of them.
///
/// # Errors
/// One that is too large, or is no frame.
pub(super) fn take(bytes: &mut BytesMut) -> io::Result<Option<AMQPFrame>> {
    let Some(length) = length(bytes)? else { return Ok(None) };
    if bytes.len() < length {
        return Ok(None);
    }
    let (rest, frame) = parse_frame(&bytes[..length]).map_err(|_| invalid("it sent what is no frame"))?;
    if !rest.is_empty() {
        return Err(invalid("it sent a frame that is not filled"));
    }
    bytes.advance(length);
    Ok(Some(frame))
}

/// The length of the frame that begins `bytes`, if enough of it is there.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.first_chunk::<7>() else { return Ok(None) };
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if size > FRAME - AROUND {
        return Err(invalid("it sent a frame above the size that was agreed on"));
    }
    Ok(Some(size + AROUND))
}

pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Adds a frame to `out`.
///
/// # Errors
/// One that cannot be written as it is: a bug.
pub(super) fn put(out: &mut Vec<u8>, frame: &AMQPFrame) -> io::Result<()> {
    let written =
        gen_frame(frame)(WriteContext::from(Vec::new())).map_err(|error| invalid(&error.to_string()))?;
    out.extend_from_slice(&written.into_inner().0);
    Ok(())
}

/// Adds a message for the consumer `tag` of channel `at` to `out`, in frames of at most `frame` bytes.
///
/// # Errors
/// As [`put`].
pub(super) fn deliver(
    out: &mut Vec<u8>,
    (at, frame): (u16, usize),
    (tag, delivery_tag): (String, u64),
    properties: BasicProperties,
    body: &[u8],
) -> io::Result<()> {
    let deliver = basic::Deliver {
        consumer_tag: short(tag),
        delivery_tag,
        redelivered: false,
        exchange: "".into(),
        routing_key: "".into(),
    };
    put(out, &AMQPFrame::Method(at, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))))?;
    let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
    put(out, &AMQPFrame::Header(at, header))?;
    for part in body.chunks(frame - AROUND) {
        put(out, &AMQPFrame::Body(at, part.to_vec()))?;
    }
    Ok(())
}

/// A text of AMQP's with at most 255 bytes.
pub(super) fn short(mut text: String) -> ShortString {
    let end = (0..=text.len().min(255)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text.into()
}
