//! Bodies in and out: JSON or msgpack, and errors that name the field.

use super::error::ApiError;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bursa_core::limits;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Msgpack,
}

impl Format {
    fn of(headers: &HeaderMap, name: HeaderName) -> Self {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if value.contains("application/msgpack") || value.contains("application/x-msgpack") {
            Self::Msgpack
        } else {
            Self::Json
        }
    }

    /// What the client wants to read.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        Self::of(headers, header::ACCEPT)
    }

    /// An answer in this format.
    pub(crate) fn answer<T: Serialize>(self, status: StatusCode, value: &T) -> Response {
        let written = match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
            Self::Msgpack => rmp_serde::to_vec_named(value).map_err(|error| error.to_string()),
        };
        let kind = match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/msgpack",
        };
        match written {
            Ok(bytes) => {
                (status, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response()
            }
            Err(error) => ApiError::internal(error).into_response(),
        }
    }

    pub(crate) fn ok<T: Serialize>(self, value: &T) -> Response {
        self.answer(StatusCode::OK, value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Format {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::wanted(&parts.headers))
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) struct Input<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let format = Format::of(request.headers(), header::CONTENT_TYPE);
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_longer =
            length.and_then(|length| length.parse().ok()).is_some_and(|n: usize| n > limits::REQUEST_BYTES);
        let length = length.map_or_else(|| format!("more than {}", limits::REQUEST_BYTES), str::to_owned);
        if is_longer {
            return Err(ApiError::too_large("the request", length, limits::REQUEST_BYTES, "bytes"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error {
            BytesRejection::FailedToBufferBody(why) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::too_large("the request", length, limits::REQUEST_BYTES, "bytes")
            }
            _ => ApiError::bad("", "its body did not arrive whole"),
        })?;
        decode(format, &bytes).map(Self)
    }
}

/// The value in `bytes`. Only what is wrong is read again to find the field.
pub(crate) fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, ApiError> {
    match format {
        Format::Json => serde_json::from_slice(bytes).or_else(|_| explain_json(bytes)),
        Format::Msgpack => rmp_serde::from_slice(bytes).or_else(|_| explain_msgpack(bytes)),
    }
}

fn explain_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            return explained(&path, &error.to_string());
        }
        ApiError::bad("", format!("its body is not JSON: {error}"))
    })?;
    reader.end().map_err(|error| ApiError::bad("", format!("its body is not JSON: {error}")))?;
    Ok(value)
}

fn explain_msgpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        match error.into_inner() {
            rmp_serde::decode::Error::Syntax(why) => explained(&path, &why),
            why @ (rmp_serde::decode::Error::TypeMismatch(_) | rmp_serde::decode::Error::OutOfRange) => {
                explained(&path, &why.to_string())
            }
            why => ApiError::bad("", format!("its body is not msgpack: {why}")),
        }
    })
}

/// Names the field: where the reader stood, and for a missing or unknown one its name from the message.
fn explained(path: &str, why: &str) -> ApiError {
    let named = ["missing field `", "unknown field `"].iter().find_map(|start| why.strip_prefix(start));
    let named = named.and_then(|rest| rest.split('`').next());
    let path = if path == "." { "" } else { path };
    let missing = why.starts_with("missing field");
    let field = match named {
        Some(name) if path.is_empty() => name.to_owned(),
        // For an unknown field the path ends with it already.
        Some(name) if missing || !path.ends_with(name) => format!("{path}.{name}"),
        _ => path.to_owned(),
    };
    let bad_value = why.starts_with("unknown field") || why.contains(" is not the id of ");
    let status = if bad_value { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
    ApiError::invalid(status, &field, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code)]
        id: bursa_core::id::TaskId,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code)]
        inner: Vec<Inner>,
    }

    #[test]
    fn the_field_is_named_in_both_formats() {
        for (json, status, field) in [
            (r#"{"inner":[{"id":"x"}]}"#, 400, "'inner[0].id'"),
            (r#"{"inner":[{"id":7}]}"#, 422, "'inner[0].id'"),
            (r#"{"inner":[{}]}"#, 422, "'inner[0].id'"),
            (r#"{"inner":[{"no":1}]}"#, 400, "'inner[0].no'"),
            (r#"{"no":1}"#, 400, "'no'"),
            (r"{}", 422, "'inner'"),
        ] {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            let packed = rmp_serde::to_vec_named(&value).unwrap();
            for error in [
                decode::<Outer>(Format::Json, json.as_bytes()).unwrap_err(),
                decode::<Outer>(Format::Msgpack, &packed).unwrap_err(),
            ] {
                assert_eq!(error.status.as_u16(), status, "{json}: {error:?}");
                assert!(error.what.contains(field), "{json}: {error:?}");
            }
        }
        let error = decode::<Outer>(Format::Json, b"{\"inner\": [").unwrap_err();
        assert!(error.status == 400 && error.why.contains("not JSON"), "{error:?}");
        let error = decode::<Outer>(Format::Msgpack, &[0x81]).unwrap_err();
        assert!(error.status == 400 && error.why.contains("not msgpack"), "{error:?}");
    }
}
