//! Containers: register, look at, delete.

use super::App;
use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, PathId, User};
use super::functions::check_text;
use super::types::{ContainerMade, Containers, NewContainer, ShownContainer};
use super::value::{Text, Time};
use super::{changed, page};
use crate::clock;
use crate::policy::{Action, Object, may};
use crate::store::{Change, Changed, ContainerRow};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::container::{Container, ContainerKind};
use bursa_core::id::ContainerId;
use bursa_core::limits;
use std::sync::Arc;

/// Registers a container. Its type and location never change: another image is another container.
#[utoipa::path(post, path = "/api/v1/containers", tag = "containers", request_body = NewContainer,
    responses((status = 201, body = ContainerMade), (status = "default", body = ErrorBody)))]
pub(crate) async fn register(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewContainer>,
) -> Result<Response, ApiError> {
    let id = add(&app, &user, new).await?;
    Ok(format.answer(StatusCode::CREATED, &ContainerMade { container_id: Text(id) }))
}

/// Checks and stores a container.
pub(super) async fn add(app: &App, user: &User, new: NewContainer) -> Result<ContainerId, ApiError> {
    let (name, description) = (new.name.unwrap_or_default(), new.description.unwrap_or_default());
    check_text("name", &name, limits::NAME_BYTES)?;
    check_text("description", &description, limits::TEXT_BYTES)?;
    let kind = kind_named(&new.kind)?;
    check_location(&new.location)?;
    let id = ContainerId::from_bytes(clock::new_id()?);
    let container = Container { container: id, kind, location: new.location };
    let (user_no, now) = (user.no, clock::wall());
    changed(app, Change::AddContainer { container, user_no, name, description, now }).await?;
    Ok(id)
}

fn kind_named(word: &str) -> Result<ContainerKind, ApiError> {
    if word.eq_ignore_ascii_case("raw") {
        let why =
            "'raw' is the endpoint's own environment, which needs no container: call with container='raw'";
        return Err(ApiError::bad("type", why));
    }
    word.parse()
        .map_err(|error: bursa_core::container::ParseKindError| ApiError::bad("type", error.to_string()))
}

/// It becomes an argument of a program on the endpoint.
fn check_location(location: &str) -> Result<(), ApiError> {
    check_text("location", location, limits::LOCATION_BYTES)?;
    let why = if location.trim().is_empty() {
        "it is empty; say where the image is"
    } else if location.starts_with('-') {
        "it begins with '-', which a program would take for an option"
    } else if location.chars().any(char::is_control) {
        "it holds control characters"
    } else {
        return Ok(());
    };
    Err(ApiError::bad("location", why))
}

/// The user's containers, newest first. `search` matches name, location and description.
#[utoipa::path(get, path = "/api/v1/containers", tag = "containers", params(
    ("search" = Option<String>, Query, description = "Part of name, location or description"),
    ("limit" = Option<usize>, Query, description = "Rows, at most 1,000; default 100"),
    ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Containers), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (page, search) = (page::take(&mut params)?, params.text("search"));
    params.done()?;
    let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
    let rows = tokio::task::spawn_blocking(move || reader.containers(no, search.as_deref(), page)).await??;
    let next = page::next(page, rows.len(), rows.last().map(|row| row.no.cast_unsigned()));
    Ok(format.ok(&Containers { containers: rows.into_iter().map(shown).collect(), next }))
}

fn shown(row: ContainerRow) -> ShownContainer {
    ShownContainer {
        container_id: Text(row.container.container),
        name: row.name,
        kind: row.container.kind.as_str(),
        location: row.container.location,
        description: row.description,
        registered_at: Time(row.registered),
    }
}

/// What is known of a container.
#[utoipa::path(get, path = "/api/v1/containers/{id}", tag = "containers",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = ShownContainer), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<ContainerId>,
    format: Format,
) -> Result<Response, ApiError> {
    Ok(format.ok(&shown(find(&app, &user, &id)?)))
}

pub(super) fn find(app: &App, user: &User, id: &ContainerId) -> Result<ContainerRow, ApiError> {
    find_to(app, user, id, Action::See)
}

/// A container with which the user may do this; where he may not it does not exist for him.
fn find_to(app: &App, user: &User, id: &ContainerId, action: Action) -> Result<ContainerRow, ApiError> {
    let known = app.handle.known.container(id)?;
    let may = known.is_some_and(|known| may(user, action, Object::Container(&known.access)));
    let row = app.handle.reader.container(id)?.filter(|_| may);
    row.ok_or_else(|| ApiError::not_found("container", id))
}

/// Deletes a container. Tasks already accepted still run in it; later calls in it are refused.
#[utoipa::path(delete, path = "/api/v1/containers/{id}", tag = "containers",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn delete(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<ContainerId>,
) -> Result<Response, ApiError> {
    let user_no = find_to(&app, &user, &id, Action::Delete)?.user_no;
    match changed(&app, Change::DeleteContainer { container: id, user_no }).await? {
        Changed::NotFound => Err(ApiError::not_found("container", id)),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
