//! Endpoints as foreign clients look at them.

use super::super::body::{Format, Input};
use super::super::endpoints::{self, find, find_to_change, shared_with, status_of, word};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::super::sharing::allow_more;
use super::super::{App, changed};
use super::functions::deleted;
use crate::store::{Change, Changed, EndpointRow, Page};
use axum::extract::{Path, State};
use axum::response::Response;
use bursa_core::id::{EndpointId, FunctionId};
use bursa_core::limits;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v2/endpoints`.
pub(super) async fn list(user: User, State(app): State<App>) -> Result<Response, ApiError> {
    let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
    let page = Page { limit: limits::PAGE_ROWS, before: None };
    let rows = tokio::task::spawn_blocking(move || reader.endpoints(no, page)).await??;
    let owner = user.user.to_string();
    let mut shown: Vec<_> = rows.iter().map(|row| shown(row, Some(&owner))).collect();
    shown.extend(shared_with(&app, &user)?.iter().map(|row| self::shown(row, None)));
    Ok(Format::Json.ok(&shown))
}

/// Of others' endpoints it is not told whose they are.
fn shown(row: &EndpointRow, owner: Option<&str>) -> Value {
    json!({ "uuid": row.endpoint.to_string(), "name": row.name, "display_name": row.name, "owner": owner })
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
    let functions = allowed(&app, &id)?;
    let restricted = !functions.is_empty();
    Ok(Format::Json
        .ok(&json!({ "endpoint_id": id.to_string(), "restricted": restricted, "functions": functions })))
}

/// `GET /v2/endpoints/{id}/whitelist`.
pub(super) async fn whitelist(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    find(&app, &user, &id)?;
    Ok(Format::Json.ok(&json!({ "status": "Success", "result": allowed(&app, &id)? })))
}

fn allowed(app: &App, id: &EndpointId) -> Result<Vec<String>, ApiError> {
    Ok(app.handle.reader.allowed_functions(id)?.iter().map(ToString::to_string).collect())
}

/// What is to be added to the list: one id, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Func {
    One(FunctionId),
    Many(Vec<FunctionId>),
}

#[derive(Debug, Deserialize)]
pub(super) struct Addition {
    func: Func,
}

/// `POST /v2/endpoints/{id}/whitelist`: the endpoint runs these as well, and from the first one on no others.
pub(super) async fn add_to_whitelist(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    Input(Addition { func }): Input<Addition>,
) -> Result<Response, ApiError> {
    find_to_change(&app, &user, &id)?;
    let functions = match func {
        Func::One(function) => vec![function],
        Func::Many(some) => some,
    };
    let count = allow_more(&app, &user, id, functions).await?;
    let reason = format!("{count} added to the list of {id}");
    Ok(Format::Json.ok(&json!({ "status": "Success", "reason": reason })))
}

/// `DELETE /v2/endpoints/{id}/whitelist/{function}`: without the last one the endpoint runs any again.
pub(super) async fn delete_from_whitelist(
    user: User,
    State(app): State<App>,
    Path((id, function)): Path<(EndpointId, FunctionId)>,
) -> Result<Response, ApiError> {
    find_to_change(&app, &user, &id)?;
    if changed(&app, Change::AllowLess { endpoint: id, function }).await? == Changed::NotFound {
        return Err(ApiError::not_found("function", function));
    }
    Ok(Format::Json.ok(&json!({ "status": "Success", "result": function.to_string() })))
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
