//! Around every request: its name, whether it is for this service at all, its place in log and counters, the body of its
//! error, and what every answer says to a browser.

use super::body::Format;
use super::compat::Dialect;
use super::error::{ApiError, RequestId};
use super::listen::Ends;
use super::{App, host};
use crate::audit::{self, Entry, Visit, Who};
use crate::clock;
use crate::rate::Kind;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bursa_core::limits;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tracing::Instrument as _;

/// What a page may do: nothing but be read, in no other's frame, and send its own form home.
const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = app.ids.next();
    let format = Format::wanted(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    app.handle.metrics.requests.fetch_add(1, Relaxed);
    request.extensions_mut().insert(RequestId(id.clone()));
    // Every line that is logged on its way names the request; a submit adds its group.
    let span = tracing::info_span!("request", request_id = %id, group = tracing::field::Empty);
    let ends = request.extensions().get::<Ends>().copied();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let visit = Arc::new(Visit::default());
    let mut response = match host::foreign(request.uri(), request.headers(), ends, &app.handle.about) {
        Some(host) => host::misdirected(&host).into_response(),
        None => audit::visited(Arc::clone(&visit), next.run(request)).instrument(span).await,
    };
    let status = response.status();
    tracing::debug!(request_id = %id, %method, path, status = status.as_u16(), "request");
    let error = error_of(&mut response);
    if let Some(route) = &route
        // Who logs in is not known yet, and makes a token.
        && (visit.who.get().is_some() || visit.object().is_some())
        && is_recorded(&method, route.as_str(), status)
    {
        app.handle.audit.record(Entry {
            at: clock::wall(),
            user: match visit.who.get() {
                Some(Who::User(row, token)) => Some((Arc::clone(row), *token)),
                Some(Who::Stranger) | None => None,
            },
            from: ends.map(|ends| ends.theirs),
            action: format!("{method} {}", route.as_str()),
            object: visit.object().map(str::to_owned).or_else(|| named(route.as_str(), &path)),
            tasks: visit.tasks(),
            left_out: None,
            status: status.as_u16(),
            code: error.as_ref().map(|error| error.code),
            request: Some(id.clone()),
        });
    }
    let dialect = response.extensions_mut().remove::<Dialect>();
    if let Some(error) = error {
        app.handle.metrics.errors.fetch_add(1, Relaxed);
        if status.is_server_error() {
            tracing::warn!(request_id = %id, %method, path, status = status.as_u16(), why = error.why, "failed");
        }
        let headers = std::mem::take(response.headers_mut());
        response = match dialect {
            Some(dialect) => dialect.answer(&error),
            None => format.answer(status, &error.body(&id)),
        };
        for (name, value) in &headers {
            if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    to_browsers(response.headers_mut(), app.handle.about.is_vouched_for);
    response
}

/// Whatever changes something is recorded, and what was refused to who asked for it. Who asks too often is not: that would
/// fill the log.
fn is_recorded(method: &Method, route: &str, status: StatusCode) -> bool {
    let is_refusal =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status);
    status != StatusCode::TOO_MANY_REQUESTS && (is_refusal || Kind::of(method, route) != Kind::Read)
}

/// What stands in `path` where the route has a parameter.
fn named(route: &str, path: &str) -> Option<String> {
    let pairs = route.split('/').zip(path.split('/'));
    let names: Vec<_> = pairs.filter(|(part, _)| part.starts_with('{')).map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| names.join("/").chars().take(limits::NAME_BYTES).collect())
}

/// The error that `response` is; what a library refused in words of its own is told in ours.
fn error_of(response: &mut Response) -> Option<ApiError> {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        return Some(error);
    }
    let status = response.status();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let foreign = status.is_client_error() && response.headers().get(header::CONTENT_TYPE) == Some(&text);
    foreign.then(|| ApiError::invalid(status, "", "its query or body is not what this route takes"))
}

/// Answers are for one reader and one moment, are no scripts, and pages are nobody's frame.
fn to_browsers(headers: &mut HeaderMap, is_vouched_for: bool) {
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let mut say = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say(header::CACHE_CONTROL, "no-store");
    say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_vouched_for {
        say(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if is_page {
        say(header::CONTENT_SECURITY_POLICY, PAGE);
        say(header::REFERRER_POLICY, "no-referrer");
    }
}
