//! Errors as REST tells them: what happened, why, and what to do next. One shape for all.

use crate::handle::Stopping;
use crate::rate::{Kind, Wait};
use crate::{clock, store};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bursa_core::limits;
use serde::Serialize;
use utoipa::ToSchema;

/// An error on its way to the client; the outermost layer gives it its request id and writes it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) next: String,
    pub(crate) object: Object,
    /// Seconds after which the same request may succeed.
    pub(crate) retry_after: Option<u64>,
}

/// What an error is about, where other dialects than ours have a word of their own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Function,
    Endpoint,
    Container,
    Task,
    Group,
    /// An id that is none.
    Id,
    /// A code, or another part of a login, that is good for nothing.
    Login,
    Other,
}

impl Object {
    fn named(word: &str) -> Self {
        match word {
            "function" => Self::Function,
            "endpoint" => Self::Endpoint,
            "container" => Self::Container,
            "task" => Self::Task,
            "group" => Self::Group,
            "id" => Self::Id,
            "code" => Self::Login,
            _ => Self::Other,
        }
    }
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    #[schema(inline)]
    error: ErrorDetail<'a>,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail<'a> {
    /// Stable: `unauthorized`, `forbidden`, `not-found`, `invalid`, `conflict`, `too-large`, `unavailable`, `busy`, `internal`.
    code: &'a str,
    /// The HTTP status.
    status: u16,
    /// What, why and what to do next, as one text.
    message: String,
    /// What happened.
    what: &'a str,
    /// Why.
    why: &'a str,
    /// What to do next.
    next: &'a str,
    /// Names the request in the service's log.
    request_id: &'a str,
    /// Seconds after which the same request may succeed: with `busy` and `unavailable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            what: what.into(),
            why: why.into(),
            next: next.into(),
            object: Object::Other,
            retry_after: None,
        }
    }

    fn of(self, object: Object) -> Self {
        Self { object, ..self }
    }

    /// What, why and what to do next, as one text.
    pub(crate) fn message(&self) -> String {
        format!("{}: {}; {}", self.what, self.why, self.next)
    }

    pub(crate) fn body<'a>(&'a self, request_id: &'a str) -> ErrorBody<'a> {
        ErrorBody { error: self.detail(request_id) }
    }

    pub(crate) fn detail<'a>(&'a self, request_id: &'a str) -> ErrorDetail<'a> {
        let message = self.message();
        let (code, status) = (self.code, self.status.as_u16());
        let (what, why, next) = (&self.what, &self.why, &self.next);
        ErrorDetail { code, status, message, what, why, next, request_id, retry_after: self.retry_after }
    }

    pub(crate) fn unauthorized(why: &str) -> Self {
        let next = "send 'Authorization: Bearer TOKEN'; `bursa token show` prints the token of this machine";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the request is not authorized", why, next)
    }

    /// Known, and not allowed.
    pub(crate) fn forbidden(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the request is not allowed", why, next)
    }

    /// There is none, or it is someone else's: the same answer for both.
    pub(crate) fn not_found(kind: &str, id: impl std::fmt::Display) -> Self {
        let removed = match kind {
            "task" => ", or it ended longer ago than results are kept (`service.retention_days`)",
            _ => "",
        };
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no {kind} {id}"),
            format!("no {kind} of yours has this id{removed}"),
            format!("check the id, or list your {kind}s with GET /api/v1/{kind}s"),
        )
        .of(Object::named(kind))
    }

    /// A value that its field cannot have. `status` is 400, or 422 for a missing field or a wrong type.
    pub(crate) fn invalid(status: StatusCode, field: &str, why: impl Into<String>) -> Self {
        let what = match field {
            "" => "the request is not valid".to_owned(),
            field => format!("the field '{field}' is not valid"),
        };
        Self::new(status, "invalid", what, why, "correct the request; /api/v1/openapi.json describes it")
            .of(Object::named(field))
    }

    pub(crate) fn bad(field: &str, why: impl Into<String>) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, field, why)
    }

    pub(crate) fn conflict(what: impl Into<String>, why: &str, next: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", what, why, next)
    }

    pub(crate) fn too_large(what: &str, found: impl std::fmt::Display, limit: usize, unit: &str) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("{what} is too large"),
            format!("it has {found} {unit}, the limit is {limit}"),
            "send less at once, or pass large data by a file or URL",
        )
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        let next = "try again; `bursa` logs the cause, a full disk is the usual one";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the service cannot do this now", why, next)
            .later()
    }

    /// The same request may succeed soon.
    fn later(self) -> Self {
        Self { retry_after: Some(limits::RETRY_AFTER_S), ..self }
    }

    pub(crate) fn busy(why: impl Into<String>) -> Self {
        let next = "submit again when some have ended; Retry-After says when to try";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "the service takes no more tasks now", why, next)
            .later()
    }

    /// One user asks more often than he may.
    pub(crate) fn too_often(kind: Kind, Wait(seconds): Wait) -> Self {
        let why = format!("you ask more often than {} allows", kind.key());
        let next = "ask again later; Retry-After says when";
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "the service does not do this now", why, next)
        }
    }

    /// Too many unknown tokens came from where this one came.
    pub(crate) fn too_many_strangers(Wait(seconds): Wait) -> Self {
        let why =
            "its token is not known, and too many such came from this address (service.rate_bad_logins)";
        let next = "send a token that is valid; `bursa token show` prints the token of this machine";
        Self {
            retry_after: Some(seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "unauthorized",
                "the request is not authorized",
                why,
                next,
            )
        }
    }

    /// A bug or a broken machine. The cause goes to the log, not to the client.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service failed",
            "its log has the cause",
            "look for the request_id in the log, and report it",
        )
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        if !error.may_pass() {
            return Self::internal(error);
        }
        tracing::error!(%error, "the store could not be read");
        Self::unavailable(error.to_string())
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(error)
    }
}

impl From<Stopping> for ApiError {
    fn from(_: Stopping) -> Self {
        Self::unavailable("the service is stopping")
    }
}

impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"bursa\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The name of the request under way.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Makes the names of requests in log and errors: unique in this life of the service, and hard to confuse with another's.
#[derive(Debug)]
pub(crate) struct RequestIds {
    life: u32,
    last: std::sync::atomic::AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let mut life = [0; 4];
        // Without random bytes the start has failed already; 0 would do as well.
        let _ = clock::random(&mut life);
        Self { life: u32::from_le_bytes(life), last: std::sync::atomic::AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> String {
        let n = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        format!("{:08x}-{n:x}", self.life)
    }
}
