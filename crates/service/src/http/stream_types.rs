//! Messages of the stream (docs/protocol.md §3): msgpack maps with a `type`; ids are 16 raw bytes.

use super::error::ErrorDetail;
use super::value::{Asks, Place};
use bursa_core::id::{EndpointId, FunctionId, GroupId};
use bursa_core::task::Failure;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::Bytes;

/// What a client says: one shape for all types, so that nothing is copied to find out which it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientMessage<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) groups: Option<Vec<GroupId>>,
    pub(super) cursor: Option<u64>,
    pub(super) id: Option<u64>,
    pub(super) group: Option<GroupId>,
    #[serde(borrow)]
    pub(super) calls: Option<Vec<Call<'a>>>,
}

/// Calls of one function on one endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call<'a> {
    pub(super) function: FunctionId,
    pub(super) endpoint: EndpointId,
    #[serde(borrow)]
    pub(super) tasks: &'a Bytes,
    #[serde(borrow)]
    pub(super) args: Vec<&'a Bytes>,
    pub(super) retries: Option<u32>,
    pub(super) retry_on_error: Option<u32>,
    pub(super) timeout: Option<f64>,
    pub(super) deadline: Option<f64>,
    pub(super) memoize: Option<bool>,
    pub(super) container: Option<Place>,
    pub(super) resources: Option<Asks>,
}

/// What the service says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerMessage<'a> {
    Welcome {
        cursor: u64,
    },
    Accepted {
        id: u64,
    },
    Error {
        id: Option<u64>,
        error: ErrorDetail<'a>,
    },
    Results {
        cursor: u64,
        tasks: &'a Bytes,
        states: &'a Bytes,
        payloads: Vec<&'a Bytes>,
        failures: Indexed<'a, Failure>,
        outputs: Indexed<'a, Bytes>,
        /// Absent where no result has a part in memoization.
        #[serde(skip_serializing_if = "Option::is_none")]
        memo: Option<&'a Bytes>,
    },
}

/// A map from places in the batch to what only some results have.
#[derive(Debug)]
pub(super) struct Indexed<'a, T: ?Sized>(pub(super) Vec<(u32, &'a T)>);

impl<T: Serialize + ?Sized> Serialize for Indexed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (place, value) in &self.0 {
            map.serialize_entry(place, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_results_message_has_the_documented_bytes() {
        let failure = Failure::new(bursa_core::task::FailureCode::Timeout, "late");
        let message = ServerMessage::Results {
            cursor: 7,
            tasks: Bytes::new(&[1; 16]),
            states: Bytes::new(&[1]),
            payloads: vec![Bytes::new(b"x")],
            failures: Indexed(vec![(0, &failure)]),
            outputs: Indexed(vec![(0, Bytes::new(b"out"))]),
            memo: None,
        };
        let packed = rmp_serde::to_vec_named(&message).unwrap();
        let mut expected = b"\x87\xa4type\xa7results\xa6cursor\x07\xa5tasks\xc4\x10".to_vec();
        expected.extend([1; 16]);
        expected.extend(b"\xa6states\xc4\x01\x01\xa8payloads\x91\xc4\x01x\xa8failures\x81\x00");
        expected.extend(b"\x82\xa4code\xa7timeout\xa7message\xa4late\xa7outputs\x81\x00\xc4\x03out");
        assert_eq!(packed, expected);
    }
}
