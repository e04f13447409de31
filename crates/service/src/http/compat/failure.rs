//! Errors and failed tasks as funcX and Globus Compute clients read them.

use super::super::error::{ApiError, Object};
use super::pages;
use crate::dialect;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bursa_core::task::Failure;
use serde_json::json;

/// Which client asks, as far as it must be known: by its User-Agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Client {
    /// funcX before 0.4: errors by number, exceptions as objects.
    Funcx0,
    /// funcX 1: errors by number, exceptions as text.
    Funcx1,
    /// Globus Compute: errors by name, exceptions as text.
    Globus,
}

impl Client {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if agent.contains("globus-compute-sdk-") {
            Self::Globus
        } else if agent.contains("funcx-sdk-") {
            Self::Funcx1
        } else {
            Self::Funcx0
        }
    }
}

/// The name and number that these clients know of an error.
fn known(error: &ApiError) -> (&'static str, u32) {
    match (error.code, error.object) {
        ("unauthorized", _) => ("USER_UNAUTHENTICATED", 1),
        ("forbidden", _) => ("INSUFFICIENT_AUTH_SCOPE", 24),
        ("not-found", Object::Function) => ("FUNCTION_NOT_FOUND", 3),
        ("not-found", Object::Endpoint) => ("ENDPOINT_NOT_FOUND", 4),
        ("not-found", Object::Container) => ("CONTAINER_NOT_FOUND", 5),
        ("not-found", Object::Task) => ("TASK_NOT_FOUND", 6),
        ("not-found", Object::Group) => ("TASK_GROUP_NOT_FOUND", 20),
        ("conflict", Object::Endpoint) => ("ENDPOINT_ALREADY_REGISTERED", 11),
        ("conflict", _) => ("TASK_GROUP_ACCESS_FORBIDDEN", 21),
        ("invalid", Object::Id) => ("INVALID_UUID", 22),
        ("invalid", _) if error.status == StatusCode::UNPROCESSABLE_ENTITY => ("REQUEST_KEY_ERROR", 16),
        ("invalid", _) => ("REQUEST_MALFORMED", 17),
        ("too-large", _) => ("TASK_PAYLOAD_TOO_LARGE", 17),
        ("internal", _) => ("INTERNAL_ERROR", 18),
        _ => ("UNKNOWN_ERROR", 0),
    }
}

/// The body of an error, in the dialect of who asks.
pub(super) fn body(error: &ApiError, client: Client) -> serde_json::Value {
    let (name, number) = known(error);
    let reason = error.message();
    let code = match client {
        Client::Globus => json!(name),
        Client::Funcx1 | Client::Funcx0 => json!(number),
    };
    json!({
        "status": "Failed",
        "code": code,
        "error_args": [],
        "reason": reason,
        "detail": reason,
        "http_status_code": status(error).as_u16(),
    })
}

/// They send the same again after a 5xx: what would fail again is no 5xx.
fn status(error: &ApiError) -> StatusCode {
    match error.code {
        "conflict" if error.object != Object::Endpoint => StatusCode::FORBIDDEN,
        _ if error.status == StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        _ => error.status,
    }
}

/// How those who ask read errors: left in the answer for the layer around all requests, which writes them.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Dialect {
    /// `/v1`, `/v2` and `/v3`.
    Theirs(Client),
    /// What Globus Auth has, as RFC 6749 §5.2 wants it.
    OAuth,
    /// A person, in a browser.
    Page,
}

impl Dialect {
    pub(in super::super) fn answer(self, error: &ApiError) -> Response {
        let (status, body) = match self {
            Self::Theirs(client) => (status(error), body(error, client)),
            Self::OAuth => {
                let name = match (error.code, error.object) {
                    ("unauthorized", _) => "invalid_client",
                    ("invalid", Object::Login) => "invalid_grant",
                    _ => "invalid_request",
                };
                (error.status, json!({ "error": name, "error_description": error.message() }))
            }
            Self::Page => return pages::refused(error),
        };
        (status, axum::Json(body)).into_response()
    }
}

/// Around the routes of `/v1`, `/v2` and `/v3`.
pub(super) async fn in_dialect(request: Request, next: Next) -> Response {
    let client = Client::of(request.headers());
    marked(next.run(request).await, Dialect::Theirs(client))
}

/// Around the routes that Globus Auth has.
pub(super) async fn of_oauth(request: Request, next: Next) -> Response {
    marked(next.run(request).await, Dialect::OAuth)
}

/// Around the page on which a person logs a program in.
pub(super) async fn of_page(request: Request, next: Next) -> Response {
    marked(next.run(request).await, Dialect::Page)
}

fn marked(mut response: Response, dialect: Dialect) -> Response {
    response.extensions_mut().insert(dialect);
    response
}

/// Why a task failed, for a client of funcX before 0.4, which unpickles it and calls `reraise()`: the exception itself where it is
/// plain data, else one that says the text.
///
/// Written by hand: no Python is here. `exception` is the payload of the user's exception, if there is one.
pub(super) fn wrapped(failure: Option<&Failure>, exception: &[u8]) -> String {
    let mut pickle =
        b"\x80\x05cfuncx.serialize.base\nRemoteExceptionWrapper\n(cbuiltins\nException\n".to_vec();
    // The opcodes between its protocol and its end leave the object on the stack.
    match exception.strip_prefix(b"p\0\0\x80\x05".as_slice()).and_then(|rest| rest.strip_suffix(b".")) {
        Some(opcodes) => pickle.extend_from_slice(opcodes),
        None => {
            let text = dialect::failure_text(failure);
            pickle.extend_from_slice(b"cbuiltins\nRuntimeError\n(X");
            pickle.extend_from_slice(&u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
            pickle.extend_from_slice(text.as_bytes());
            pickle.extend_from_slice(b"tR");
        }
    }
    pickle.extend_from_slice(b"NtR.");
    dialect::pickled(&pickle)
}
