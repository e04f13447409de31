//! Containers of funcX clients.

use super::super::App;
use super::super::body::{Format, Input};
use super::super::containers::{add, find};
use super::super::error::ApiError;
use super::super::extract::User;
use super::super::types::NewContainer;
use axum::extract::{Path, State};
use axum::response::Response;
use bursa_core::id::ContainerId;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
pub(super) struct Registration {
    name: Option<String>,
    location: String,
    description: Option<String>,
    #[serde(rename = "type")]
    kind: String,
}

/// `POST /v2/containers`.
pub(super) async fn register(
    user: User,
    State(app): State<App>,
    Input(new): Input<Registration>,
) -> Result<Response, ApiError> {
    let Registration { name, location, description, kind } = new;
    let id = add(&app, &user, NewContainer { kind, location, name, description }).await?;
    Ok(Format::Json.ok(&json!({ "container_id": id.to_string() })))
}

/// `GET /v2/containers/{id}/{type}`.
pub(super) async fn get(
    user: User,
    State(app): State<App>,
    Path((id, _kind)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id: ContainerId = id.parse().map_err(|_| ApiError::bad("id", "it is not a UUID"))?;
    let row = find(&app, &user, &id)?;
    Ok(Format::Json.ok(&json!({
        "container": {
            "container_uuid": id.to_string(),
            "name": row.name,
            "type": row.container.kind.as_str(),
            "location": row.container.location,
        }
    })))
}
