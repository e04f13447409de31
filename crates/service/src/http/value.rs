//! Values inside bodies: ids as text, bytes as base64 or `bin`, times, places.

use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursa_core::id::ContainerId;
use bursa_core::resources::{Resources, memory_mb};
use bursa_core::time::Wall;
use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display};
use utoipa::ToSchema;

/// Written as its text in JSON and in msgpack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// A moment: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) Wall);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::text(self.0))
    }
}

/// Opaque bytes: base64 text in JSON, `bin` in msgpack.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data(pub(crate) Bytes);

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64).map(Self)
        } else {
            serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec().into()))
        }
    }
}

struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as base64 text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        STANDARD.decode(text).map(Bytes::from).map_err(|error| E::custom(format!("not base64: {error}")))
    }
}

/// Where a call is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the endpoint's own environment.
    Raw,
    /// In this container.
    In(ContainerId),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlaceVisitor)
    }
}

/// What a call asks for, or was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asks(pub(crate) Resources);

/// The same as it is written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedResources {
    /// Cores of one node.
    #[serde(default, skip_serializing_if = "is_zero")]
    cores: u32,
    /// Memory of one node, such as `512MB` or `4GB`, in units of 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    /// GPUs of one node.
    #[serde(default, skip_serializing_if = "is_zero")]
    gpus: u32,
    /// Whole nodes.
    #[serde(default, skip_serializing_if = "is_zero")]
    nodes: u32,
    /// Processes on each of these nodes.
    #[serde(default, skip_serializing_if = "is_zero")]
    ranks_per_node: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl<'de> Deserialize<'de> for Asks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let AskedResources { cores, memory, gpus, nodes, ranks_per_node } =
            AskedResources::deserialize(deserializer)?;
        let mb = |text: &str| {
            memory_mb(text)
                .ok_or_else(|| D::Error::custom(format!("memory '{text}' is no amount such as 512MB or 4GB")))
        };
        let memory_mb = memory.as_deref().map_or(Ok(0), mb)?;
        let asked = Resources { cores, memory_mb, gpus, nodes, ranks_per_node };
        asked.checked().map(Self).map_err(|(name, why)| D::Error::custom(format!("{name}: {why}")))
    }
}

impl Serialize for Asks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Resources { cores, memory_mb, gpus, nodes, ranks_per_node } = self.0;
        let memory = (memory_mb > 0).then(|| format!("{memory_mb}MB"));
        AskedResources { cores, memory, gpus, nodes, ranks_per_node }.serialize(serializer)
    }
}

struct PlaceVisitor;

impl Visitor<'_> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a container, or `raw`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Place, E> {
        if ["raw", "none"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(Place::Raw);
        }
        let named = text.parse().map(Place::In);
        named.map_err(|error| E::custom(format!("{error}, or 'raw' for the endpoint's own environment")))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Place, E> {
        let id = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(Place::In(ContainerId::from_bytes(id)))
    }
}
