//! Endpoints as foreign clients look at them.

use super::super::App;
use super::super::body::Format;
use super::super::endpoints::{self, find, status_of, word};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::functions::deleted;
use crate::store::Page;
use axum::extract::State;
use axum::response::Response;
use bursa_core::id::EndpointId;
use bursa_core::limits;
use serde_json::json;
use std::sync::Arc;

/// `GET /v2/endpoints`.
pub(super) async fn list(user: User, State(app): State<App>) -> Result<Response, ApiError> {
    let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
    let page = Page { limit: limits::PAGE_ROWS, before: None };
    let rows = tokio::task::spawn_blocking(move || reader.endpoints(no, page)).await??;
    let owner = user.user.to_string();
    let shown = rows.iter().map(|row| {
        json!({ "uuid": row.endpoint.to_string(), "name": row.name, "display_name": row.name, "owner": owner })
    });
    Ok(Format::Json.ok(&shown.collect::<Vec<_>>()))
}

/// `GET /v2/endpoints/{id}`.
pub(super) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    let row = find(&app, &user, &id)?;
    let status = status_of(&app, id).await?.unwrap_or_default();
    Ok(Format::Json.ok(&json!({
        "uuid": id.to_string(),
        "name": row.name,
        "display_name": row.name,
        "description": row.description,
        "hostname": status.host,
        "endpoint_version": status.software,
        "python_version": status.python,
        "multi_user": false,
        "public": false,
        "high_assurance": false,
        "subscription_uuid": null,
    })))
}

/// `GET /v2/endpoints/{id}/status`.
pub(super) async fn status(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    find(&app, &user, &id)?;
    let status = status_of(&app, id).await?.unwrap_or_default();
    Ok(Format::Json.ok(&json!({
        "status": word(Some(&status)),
        "details": {
            "total_workers": status.slots_total,
            "idle_workers": status.slots_free,
            "pending_tasks": status.queued,
            "outstanding_tasks": status.held,
            "managers": u32::from(status.online),
        },
        "logs": [],
    })))
}

/// `GET /v3/endpoints/{id}/allowed_functions`.
pub(super) async fn allowed_functions(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    find(&app, &user, &id)?;
    Ok(Format::Json.ok(&json!({ "endpoint_id": id.to_string(), "restricted": false, "functions": [] })))
}

/// `GET /v2/endpoints/{id}/whitelist`.
pub(super) async fn whitelist(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    find(&app, &user, &id)?;
    Ok(Format::Json.ok(&json!({ "status": "Success", "result": [] })))
}

/// `DELETE /v2/endpoints/{id}`.
pub(super) async fn delete(
    user: User,
    app: State<App>,
    id: PathId<EndpointId>,
) -> Result<Response, ApiError> {
    endpoints::delete(user, app, id).await?;
    Ok(deleted())
}
