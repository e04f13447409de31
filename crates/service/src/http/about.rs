//! Version, health, the OpenAPI document, who am I, metrics.

use super::body::Format;
use super::error::{ApiError, ErrorBody};
use super::extract::User;
use super::types::{Health, Version};
use super::user_types::WhoAmI;
use super::value::{Text, Time};
use super::{App, openapi_json};
use crate::store::Change;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The software's version.
#[utoipa::path(get, path = "/api/v1/version", tag = "service", security(()), responses((status = 200, body = Version)))]
pub(crate) async fn version(format: Format) -> Response {
    format.ok(&Version { version: env!("CARGO_PKG_VERSION"), api: "v1" })
}

/// Whether the service can do its work: 503 while its store cannot be written, or something in it cannot be read.
#[utoipa::path(get, path = "/api/v1/health", tag = "service", security(()), responses(
    (status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn health(State(app): State<App>, format: Format) -> Response {
    let mut why = app.handle.metrics.troubles.why();
    if why.is_some() {
        // Something failed the last time: see whether writes succeed now.
        why = match app.handle.change(Change::Probe).await {
            Ok(Ok(_)) => app.handle.metrics.troubles.why(),
            Ok(Err(why)) => Some(why),
            Err(_) => Some("the service is stopping".to_owned()),
        };
    }
    match why {
        None => format.ok(&Health { status: "ok", why: None }),
        why => format.answer(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "failing", why }),
    }
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "service", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

/// The user of the token.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "service",
    responses((status = 200, body = WhoAmI), (status = "default", body = ErrorBody)))]
pub(crate) async fn whoami(user: User, format: Format) -> Response {
    format.ok(&WhoAmI {
        user_id: Text(user.user),
        name: &user.name,
        admin: user.admin,
        scopes: user.scopes.words().collect(),
        expires_at: user.expires.map(Time),
    })
}

/// Counters and gauges as Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String), (status = "default", body = ErrorBody)))]
pub(crate) async fn metrics(_: User, State(app): State<App>) -> Result<Response, ApiError> {
    let gauges = app.handle.gauges().await?;
    let text = app.handle.metrics.text(&gauges);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
