//! Ids: one newtype per kind of thing, all made by one macro.
//!
//! Outside the process an id is a bare lower-case UUID in text and 16 bytes in msgpack. Ids are made by the shells
//! (drivers, SDK); this module only carries and prints them.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Why a text is not an id: names the kind that was expected and the text that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not the id of a {kind}: expected a UUID such as 0192f0c1-2345-7abc-8def-0123456789ab")]
pub struct ParseIdError {
    /// The kind of id that was expected, in words.
    pub kind: &'static str,
    /// What was given instead, cut to 64 characters.
    pub given: String,
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the 64 hexadecimal digits of a hash")]
pub struct ParseHashError;

struct IdVisitor(&'static str);

impl Visitor<'_> for IdVisitor {
    type Value = [u8; 16];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} id (a UUID)", self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 16], E> {
        parse(self.0, text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; 16], E> {
        <[u8; 16]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

fn parse(kind: &'static str, text: &str) -> Result<[u8; 16], ParseIdError> {
    uuid::Uuid::try_parse(text)
        .map(uuid::Uuid::into_bytes)
        .map_err(|_| ParseIdError { kind, given: text.chars().take(64).collect() })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 16]);

        impl Ord for $name {
            /// By its bytes, compared as one number: machines look ids up all the time, and a call of `memcmp` is most
            /// of a look.
            fn cmp(&self, other: &Self) -> Ordering {
                u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The id with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of the id, in network order.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                uuid::Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse($kind, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(IdVisitor($kind)).map(Self)
            }
        }
    )*};
}

ids! {
    /// One call of a function on an endpoint.
    TaskId = "task";
    /// Tasks submitted together, or by one client object.
    GroupId = "group";
    /// A registered function.
    FunctionId = "function";
    /// A place where functions run.
    EndpointId = "endpoint";
    /// A registered image in which a function runs.
    ContainerId = "container";
    /// One life of an executor process: a new process is a new executor.
    ExecutorId = "executor";
    /// One request to a provider for nodes.
    BlockId = "block";
    /// A person or service account.
    UserId = "user";
    /// One life of a manager process (with its generation: its incarnation).
    ManagerId = "manager";
}

/// A worker of one executor: small numbers that are never reused within the executor's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u32);

/// One connection as its acceptor sees it: given by the link when the first message arrives, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// The blake3 hash of a function's body: its identity in every cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(*blake3::hash(body).as_bytes())
    }
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut hash = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(ParseHashError);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let digit =
                |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(high).ok_or(ParseHashError)? << 4 | digit(low).ok_or(ParseHashError)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let found = bytes.len();
        <[u8; 32]>::try_from(bytes.into_vec())
            .map(Self)
            .map_err(|_| de::Error::invalid_length(found, &"the 32 bytes of a blake3 hash"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let id: TaskId = "4b116d3c-1703-4f8f-9f6f-39921e5864df".parse().unwrap();
        assert_eq!(id.to_string(), "4b116d3c-1703-4f8f-9f6f-39921e5864df");
        let packed = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(packed.len(), 18, "bin8 header and 16 bytes");
        assert_eq!(rmp_serde::from_slice::<TaskId>(&packed).unwrap(), id);
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = Hash::of(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<Hash>(), Err(ParseHashError), "{wrong}");
        }
    }

    #[test]
    fn a_bad_id_names_the_kind_and_the_text() {
        let error = "nonsense".parse::<EndpointId>().unwrap_err().to_string();
        assert!(error.starts_with("'nonsense' is not the id of a endpoint"), "{error}");
    }
}
