//! Endpoints: register, look at, delete.

use super::App;
use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody, Object};
use super::extract::{Params, PathId, User};
use super::functions::check_text;
use super::types::{BlockCounts, Endpoint, EndpointMade, EndpointState, Endpoints, NewEndpoint, WarmWorkers};
use super::value::{Text, Time};
use super::{changed, memo, page, reply_error};
use crate::clock;
use crate::policy::{self, Action, may};
use crate::store::{Added, Change, Changed, EndpointRow, MemoFilter, Page, Thing};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::hub::{EndpointStatus, Reply};
use bursa_core::id::EndpointId;
use bursa_core::limits;
use bursa_fabric::PublicKey;
use std::sync::Arc;

/// Registers an endpoint: its key may connect from then on. The same id, owner and key again is no news.
#[utoipa::path(post, path = "/api/v1/endpoints", tag = "endpoints", request_body = NewEndpoint, responses(
    (status = 201, body = EndpointMade), (status = 200, body = EndpointMade, description = "It was registered before"),
    (status = "default", body = ErrorBody)))]
pub(crate) async fn register(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewEndpoint>,
) -> Result<Response, ApiError> {
    new.public_key.parse::<PublicKey>().map_err(|why| ApiError::bad("public_key", why.to_string()))?;
    let endpoint = match new.endpoint_id {
        Some(id) => id,
        None => EndpointId::from_bytes(clock::new_id()?),
    };
    let status = match add(&app, &user, endpoint, new).await? {
        Added::Same => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    let about = &app.handle.about;
    let made = EndpointMade {
        endpoint_id: Text(endpoint),
        service_key: &about.service_key,
        zmq: &about.zmq,
        owner: Text(user.user),
    };
    Ok(format.answer(status, &made))
}

/// Registers an endpoint with any kind of key.
pub(super) async fn add(
    app: &App,
    user: &User,
    endpoint: EndpointId,
    new: NewEndpoint,
) -> Result<Added, ApiError> {
    if new.name.is_empty() {
        return Err(ApiError::bad("name", "it is empty"));
    }
    let description = new.description.unwrap_or_default();
    check_text("name", &new.name, limits::NAME_BYTES)?;
    check_text("description", &description, limits::TEXT_BYTES)?;
    let (user_no, name, public_key, now) = (user.no, new.name, new.public_key, clock::wall());
    let change = Change::AddEndpoint { endpoint, user_no, name, description, public_key, now };
    match changed(app, change).await? {
        Changed::Endpoint(Added::IdTaken) => Err(taken(endpoint, "this id belongs to another key or user")),
        Changed::Endpoint(Added::Revoked) => {
            let what = format!("the endpoint {endpoint} cannot be registered");
            let next = "run `bursa endpoint revoke NAME` in the endpoint's home while the service runs (`bursa serve`): \
                        that gives it a new key";
            Err(ApiError::conflict(what, "its key was revoked", next))
        }
        Changed::Endpoint(Added::Deleted) => Err(taken(endpoint, "this endpoint was deleted")),
        Changed::Endpoint(Added::KeyTaken) => Err(taken(endpoint, "its key belongs to another endpoint")),
        Changed::Endpoint(Added::Full) => {
            let why = format!("this service has had {} endpoints, and that is its limit", limits::ENDPOINTS);
            let what = format!("the endpoint {endpoint} cannot be registered");
            let next = "use an endpoint that is registered, or another service";
            Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", what, why, next))
        }
        Changed::Endpoint(added @ (Added::Same | Added::New { .. })) => Ok(added),
        other => Err(ApiError::internal(format!("an answer that does not fit the request: {other:?}"))),
    }
}

fn taken(endpoint: EndpointId, why: &str) -> ApiError {
    let what = format!("the endpoint {endpoint} cannot be registered");
    let next = "register with a new id and a new key";
    ApiError { object: Object::Endpoint, ..ApiError::conflict(what, why, next) }
}

pub(super) fn word(status: Option<&EndpointStatus>) -> &'static str {
    if status.is_some_and(|status| status.online) { "online" } else { "offline" }
}

fn shown(row: EndpointRow, status: Option<&EndpointStatus>) -> Endpoint {
    Endpoint {
        endpoint_id: Text(row.endpoint),
        name: row.name,
        description: row.description,
        public_key: row.public_key.filter(|key| key.parse::<PublicKey>().is_ok()),
        registered_at: Time(row.registered),
        status: word(status),
        degraded: status.and_then(|status| status.degraded.clone()),
    }
}

/// The user's endpoints, newest first; `shared`: those that others share with him.
#[utoipa::path(get, path = "/api/v1/endpoints", tag = "endpoints", params(
    ("shared" = Option<bool>, Query, description = "Those that others share with you, at most 1,000"),
    ("limit" = Option<usize>, Query, description = "Rows, at most 1,000; default 100"),
    ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Endpoints), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let page = page::take(&mut params)?;
    let shared = params.parse::<bool>("shared")?.unwrap_or_default();
    params.done()?;
    let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
    let rows = match shared {
        true => shared_with(&app, &user)?,
        false => tokio::task::spawn_blocking(move || reader.endpoints(no, page)).await??,
    };
    let page = Page { limit: if shared { usize::MAX } else { page.limit }, ..page };
    let next = page::next(page, rows.len(), rows.last().map(|row| row.no.cast_unsigned()));
    let states = app.handle.endpoints(rows.iter().map(|row| row.endpoint).collect()).await?;
    let endpoints = rows.into_iter().zip(&states).map(|(row, status)| shown(row, status.as_ref())).collect();
    Ok(format.ok(&Endpoints { endpoints, next }))
}

/// Endpoints of others that the user may use.
pub(super) fn shared_with(app: &App, user: &User) -> Result<Vec<EndpointRow>, ApiError> {
    let mut rows = Vec::new();
    for id in app.handle.reader.shared_with(Thing::Endpoint, user.no, &user.groups)? {
        rows.extend(app.handle.reader.endpoint(&EndpointId::from_bytes(id))?);
    }
    Ok(rows)
}

/// An endpoint that the user may change; where he may not it does not exist for him.
pub(super) fn find_to_change(app: &App, user: &User, id: &EndpointId) -> Result<EndpointRow, ApiError> {
    find_to(app, user, id, Action::Change)
}

/// An endpoint that the user may know of.
pub(super) fn find(app: &App, user: &User, id: &EndpointId) -> Result<EndpointRow, ApiError> {
    find_to(app, user, id, Action::See)
}

/// An endpoint with which the user may do this; where he may not it does not exist for him.
pub(super) fn find_to(
    app: &App,
    user: &User,
    id: &EndpointId,
    action: Action,
) -> Result<EndpointRow, ApiError> {
    let known = app.handle.known.endpoint(id)?;
    let may = known.is_some_and(|known| may(user, action, policy::Object::Endpoint(&known.access)));
    let row = app.handle.reader.endpoint(id)?.filter(|_| may);
    row.ok_or_else(|| ApiError::not_found("endpoint", id))
}

pub(super) async fn status_of(app: &App, id: EndpointId) -> Result<Option<EndpointStatus>, ApiError> {
    Ok(app.handle.endpoints(vec![id]).await?.pop().flatten())
}

/// What is known of an endpoint.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}", tag = "endpoints",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Endpoint), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    format: Format,
) -> Result<Response, ApiError> {
    let row = find(&app, &user, &id)?;
    let status = status_of(&app, id).await?;
    Ok(format.ok(&shown(row, status.as_ref())))
}

/// How an endpoint is now.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}/status", tag = "endpoints",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = EndpointState), (status = "default", body = ErrorBody)))]
pub(crate) async fn status(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
    format: Format,
) -> Result<Response, ApiError> {
    find(&app, &user, &id)?;
    let status = status_of(&app, id).await?;
    Ok(format.ok(&endpoint_state(status.unwrap_or_default())))
}

pub(super) fn endpoint_state(now: EndpointStatus) -> EndpointState {
    EndpointState {
        status: word(Some(&now)),
        since: now.since.map(Time),
        host: now.host,
        software: now.software,
        python: now.python,
        slots_total: now.slots_total,
        slots_free: now.slots_free,
        warm: now.warm.into_iter().map(WarmWorkers::of).collect(),
        degraded: now.degraded,
        blocks: now.blocks.map(BlockCounts::of),
        queued: now.queued,
        held: now.held,
    }
}

/// Revokes an endpoint's key: its manager is told to stop, tasks stay. Register the same id with another key to go on.
#[utoipa::path(post, path = "/api/v1/endpoints/{id}/revoke-key", tag = "endpoints",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke_key(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    let user_no = find_to(&app, &user, &id, Action::Change)?.user_no;
    changed(&app, Change::RevokeKey { endpoint: id, user_no }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes an endpoint: its live tasks end as `endpoint-deleted` first, its manager is told to stop, and memoized results
/// of it are forgotten.
#[utoipa::path(delete, path = "/api/v1/endpoints/{id}", tag = "endpoints",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn delete(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<EndpointId>,
) -> Result<Response, ApiError> {
    let user_no = find_to(&app, &user, &id, Action::Delete)?.user_no;
    match app.handle.delete_endpoint(id).await? {
        Reply::Deleted => {
            memo::forget(&app, user_no, MemoFilter { function: None, endpoint: Some(id) }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        reply => Err(reply_error(reply)),
    }
}
