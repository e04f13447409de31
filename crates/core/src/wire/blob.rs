//! Payload bytes inside an item: in the item list when small, a frame of their own when large, parts when huge.
//!
//! Machines only ever see [`Blob::Here`]; the codec and the session put bytes elsewhere and bring them back.

use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Opaque user bytes, or on the wire where to find them.
///
/// In msgpack: `bin` is the bytes themselves, a number `n` is frame `n` of this message (counted from the first
/// payload frame), `[id]` is the stream of `Part`s with this id.
#[derive(Clone, PartialEq, Eq)]
pub enum Blob {
    /// The bytes.
    Here(Bytes),
    /// Payload frame of this message.
    Frame(u32),
    /// The parts sent before, under this stream id.
    Stream(u64),
}

impl Blob {
    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Here(Bytes::new())
    }

    /// The bytes; empty if they are not here (which a session never lets a machine see).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Here(bytes) => bytes,
            Self::Frame(_) | Self::Stream(_) => &[],
        }
    }

    /// The bytes, taken.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Here(bytes) => bytes,
            Self::Frame(_) | Self::Stream(_) => Bytes::new(),
        }
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// True for no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self::Here(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(bytes) => write!(f, "Blob({} bytes)", bytes.len()),
            Self::Frame(index) => write!(f, "Blob(frame {index})"),
            Self::Stream(id) => write!(f, "Blob(stream {id:x})"),
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Here(bytes) => serializer.serialize_bytes(bytes),
            Self::Frame(index) => serializer.serialize_u32(*index),
            Self::Stream(id) => [*id].serialize(serializer),
        }
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, a frame number, or [stream id]")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob::Here(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob::Here(bytes.into()))
    }

    fn visit_u64<E: de::Error>(self, index: u64) -> Result<Blob, E> {
        u32::try_from(index).map(Blob::Frame).map_err(|_| E::custom("frame number beyond 32 bits"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Blob, A::Error> {
        let id = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        match seq.next_element::<de::IgnoredAny>()? {
            None => Ok(Blob::Stream(id)),
            Some(_) => Err(de::Error::invalid_length(2, &"one stream id")),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlobVisitor)
    }
}
