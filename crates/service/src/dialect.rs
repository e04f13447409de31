//! The bytes in which a foreign client's code, arguments and results travel: its own text behind a header of ours.
//!
//! `g 0 0` (of a function `g major minor`, if it is known which Python wrote it), then for a function its `function_code`; for arguments a `u32` length, JSON of that length with what the worker
//! must know beside them, and the packed arguments; for a result the serialized value (docs/protocol.md §1). The service
//! reads none of the text: the worker does.

use crate::http::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursa_core::limits;
use bursa_core::task::{Failure, FailureCode};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

const MARK: u8 = b'g';
const HEADER: &[u8; 3] = b"g\0\0";
/// What Python's `base64.encodebytes` puts into a line.
const LINE: usize = 76;

/// What goes to the worker with the arguments of one call.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Beside<'a> {
    /// Import paths of the serializers to try on the result, in order.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) result_serializers: &'a [String],
    /// Only for endpoints of Globus Compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) abroad: Option<Abroad<'a>>,
}

/// What an endpoint of Globus Compute must know of a call.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Abroad<'a> {
    pub(crate) function: &'a str,
    pub(crate) username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_endpoint_config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_runtime: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_specification: Option<&'a Value>,
}

/// A function's body: its packed code. Source that is not packed yet (`serialized: false`) is, under the function's name.
pub(crate) fn body(name: &str, code: &str, serialized: bool, python: Option<&str>) -> Bytes {
    let packed;
    let code = if serialized {
        code
    } else {
        let source = format!("st\n{name}:{code}");
        packed = format!("{}\n{source}", source.chars().count());
        &packed
    };
    let (major, minor) = python.and_then(version).unwrap_or_default();
    [&[MARK, major, minor], code.as_bytes()].concat().into()
}

/// Major and minor of `3.11.7`.
fn version(python: &str) -> Option<(u8, u8)> {
    let mut parts = python.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// The code in a function's body; `None`: a client of another dialect registered it.
pub(crate) fn code(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body.strip_prefix(&[MARK])?.get(2..)?).ok()
}

/// The arguments of one call.
pub(crate) fn args(beside: &Beside<'_>, payload: &str) -> Result<Bytes, ApiError> {
    let beside = match (beside.result_serializers, &beside.abroad) {
        ([], None) => Vec::new(),
        _ => serde_json::to_vec(beside).map_err(ApiError::internal)?,
    };
    let length = u32::try_from(beside.len()).map_err(|_| {
        ApiError::too_large("the list of result serializers", beside.len(), limits::TEXT_BYTES, "bytes")
    })?;
    Ok([HEADER.as_slice(), &length.to_le_bytes(), &beside, payload.as_bytes()].concat().into())
}

/// What is beside the packed arguments of a call, and these; `None`: they are no call of these clients.
fn split(args: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = args.strip_prefix(HEADER)?.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The JSON beside the arguments of one call.
pub(crate) fn beside(args: &[u8]) -> Option<&[u8]> {
    split(args).map(|(beside, _)| beside)
}

/// The packed arguments of one call.
pub(crate) fn packed(args: &[u8]) -> Option<&str> {
    std::str::from_utf8(split(args)?.1).ok()
}

/// A result that such a worker serialized.
pub(crate) fn answered(text: &str) -> Bytes {
    [HEADER.as_slice(), text.as_bytes()].concat().into()
}

/// A result as those clients read it. One of Bursa's own clients' calls is a pickle, which they read as well.
pub(crate) fn result(payload: &[u8]) -> String {
    match payload.strip_prefix(HEADER) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => pickled(payload.get(HEADER.len()..).unwrap_or_default()),
    }
}

/// A pickle as their serializer `00` writes it: base64 in lines.
pub(crate) fn pickled(pickle: &[u8]) -> String {
    let encoded = STANDARD.encode(pickle);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE + 4);
    text.push_str("00\n");
    for line in encoded.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// Why a task failed, as text: the traceback where its own code failed, else the sentence.
pub(crate) fn failure_text(failure: Option<&Failure>) -> String {
    let Some(failure) = failure else { return "the task was cancelled by its user".to_owned() };
    // Where code cannot be loaded the traceback is the loader's, and says nothing of what to do.
    let loaded = !matches!(failure.code, FailureCode::LoadFailed | FailureCode::DeserializeMismatch);
    let traceback = failure.traceback.clone().filter(|text| loaded && !text.is_empty());
    traceback.unwrap_or_else(|| failure.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_packed_by_its_count_of_characters() {
        let body = body("f", "def f(): return 'é'", false, Some("3.11.7"));
        assert_eq!(body[..3], [b'g', 3, 11]);
        assert_eq!(code(&body), Some("24\nst\nf:def f(): return 'é'"));
    }

    #[test]
    fn arguments_carry_what_is_beside_them() {
        assert_eq!(&args(&Beside::default(), "2\nab").unwrap()[..], b"g\0\0\0\0\0\x002\nab");
        let with = args(&Beside { result_serializers: &["a.B".to_owned()], abroad: None }, "x").unwrap();
        assert_eq!(&with[..], b"g\0\0\x1e\0\0\0{\"result_serializers\":[\"a.B\"]}x");
    }

    #[test]
    fn a_pickle_of_our_own_is_read_by_them() {
        // As `base64.encodebytes(pickle.dumps(11, 5))` has it.
        assert_eq!(result(b"p\0\0\x80\x05K\x0b."), "00\ngAVLCy4=\n");
        assert_eq!(result("g\0\0é".as_bytes()), "é");
        let long = result(&[b"p\0\0".as_slice(), &[0; 60]].concat());
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [2, 76, 4]);
    }
}
