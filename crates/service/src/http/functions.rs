//! Functions: register, look at, fetch the body, delete.

use super::App;
use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, PathId, User};
use super::types::{Function, Functions, NewFunction, Registered};
use super::value::{Place, Text, Time};
use super::{changed, memo, page, submit};
use crate::clock;
use crate::policy::{Action, Object, may};
use crate::store::{Change, Changed, FunctionRow, MemoFilter, Thing};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bursa_core::id::{FunctionId, Hash};
use bursa_core::limits;
use bytes::Bytes;
use std::sync::Arc;

/// Registers a function. The same body again gets another id and is stored once.
#[utoipa::path(post, path = "/api/v1/functions", tag = "functions", request_body = NewFunction,
    responses((status = 201, body = Registered), (status = "default", body = ErrorBody)))]
pub(crate) async fn register(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewFunction>,
) -> Result<Response, ApiError> {
    let (function, hash) = add(&app, &user, new).await?;
    Ok(format.answer(StatusCode::CREATED, &Registered { function_id: Text(function), hash: Text(hash) }))
}

/// Checks and stores a function, whoever's dialect it came in.
pub(super) async fn add(app: &App, user: &User, new: NewFunction) -> Result<(FunctionId, Hash), ApiError> {
    check_text("name", &new.name, limits::NAME_BYTES)?;
    let description = new.description.unwrap_or_default();
    let python = new.python.unwrap_or_default();
    if new.name.is_empty() {
        return Err(ApiError::bad("name", "it is empty"));
    }
    check_text("description", &description, limits::TEXT_BYTES)?;
    check_text("python", &python, limits::NAME_BYTES)?;
    let body = new.body.0;
    if body.is_empty() {
        return Err(ApiError::bad("body", "it is empty"));
    }
    if body.len() > limits::FUNCTION_BYTES {
        return Err(ApiError::too_large("the function's body", body.len(), limits::FUNCTION_BYTES, "bytes"));
    }
    let container = match new.container {
        Some(Place::In(id)) => Some(submit::named(app, user, &id)?.container),
        Some(Place::Raw) | None => None,
    };
    let (function, hash) = (FunctionId::from_bytes(clock::new_id()?), Hash::of(&body));
    let (user_no, now, name) = (user.no, clock::wall(), new.name);
    let change =
        Change::AddFunction { function, user_no, name, description, python, hash, body, container, now };
    changed(app, change).await?;
    Ok((function, hash))
}

/// Refuses a text that is too long.
pub(super) fn check_text(field: &str, text: &str, limit: usize) -> Result<(), ApiError> {
    if text.len() > limit {
        return Err(ApiError::too_large(&format!("the field '{field}'"), text.len(), limit, "bytes"));
    }
    Ok(())
}

/// The user's functions, newest first. `search` matches name and description; `shared`: those that others share with him.
#[utoipa::path(get, path = "/api/v1/functions", tag = "functions", params(
    ("search" = Option<String>, Query, description = "Part of name or description"),
    ("shared" = Option<bool>, Query, description = "Those that others share with you, at most 1,000"),
    ("limit" = Option<usize>, Query, description = "Rows, at most 1,000; default 100"),
    ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = Functions), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (page, search) = (page::take(&mut params)?, params.text("search"));
    let shared = params.parse::<bool>("shared")?.unwrap_or_default();
    params.done()?;
    if shared {
        let mut functions = Vec::new();
        for id in app.handle.reader.shared_with(Thing::Function, user.no, &user.groups)? {
            functions.extend(app.handle.reader.function(&FunctionId::from_bytes(id))?.map(shown));
        }
        return Ok(format.ok(&Functions { functions, next: None }));
    }
    let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
    let rows = tokio::task::spawn_blocking(move || reader.functions(no, search.as_deref(), page)).await??;
    let next = page::next(page, rows.len(), rows.last().map(|row| row.no.cast_unsigned()));
    Ok(format.ok(&Functions { functions: rows.into_iter().map(shown).collect(), next }))
}

fn shown(row: FunctionRow) -> Function {
    Function {
        function_id: Text(row.function),
        name: row.name,
        description: row.description,
        python: row.python,
        hash: Text(row.hash),
        size: row.size,
        container: row.container.map(Text),
        registered_at: Time(row.registered),
    }
}

/// A function that the user may know of.
pub(super) fn find(app: &App, user: &User, id: &FunctionId) -> Result<FunctionRow, ApiError> {
    find_to(app, user, id, Action::See)
}

/// A function with which the user may do this; where he may not it does not exist for him.
pub(super) fn find_to(
    app: &App,
    user: &User,
    id: &FunctionId,
    action: Action,
) -> Result<FunctionRow, ApiError> {
    let known = app.handle.known.function(id)?;
    let may = known.is_some_and(|known| may(user, action, Object::Function(&known.access)));
    let row = app.handle.reader.function(id)?.filter(|_| may);
    row.ok_or_else(|| ApiError::not_found("function", id))
}

/// What is known of a function.
#[utoipa::path(get, path = "/api/v1/functions/{id}", tag = "functions",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Function), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<FunctionId>,
    format: Format,
) -> Result<Response, ApiError> {
    Ok(format.ok(&shown(find(&app, &user, &id)?)))
}

/// A function's body.
#[utoipa::path(get, path = "/api/v1/functions/{id}/body", tag = "functions",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn body(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<FunctionId>,
) -> Result<Response, ApiError> {
    let body = fetch(&app, &find_to(&app, &user, &id, Action::Use)?).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

pub(super) async fn fetch(app: &App, function: &FunctionRow) -> Result<Bytes, ApiError> {
    let (id, hash) = (function.function, function.hash);
    let reader = Arc::clone(&app.handle.slow_reader);
    let body = tokio::task::spawn_blocking(move || {
        reader.body(&hash)?.map(|content| reader.load(content)).transpose()
    });
    body.await??.ok_or_else(|| ApiError::internal(format!("the body of {id} is gone")))
}

/// Deletes a function. Tasks already accepted keep its body; memoized results go with the last function of that body.
#[utoipa::path(delete, path = "/api/v1/functions/{id}", tag = "functions",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn delete(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<FunctionId>,
) -> Result<Response, ApiError> {
    let FunctionRow { hash, user_no, .. } = find_to(&app, &user, &id, Action::Delete)?;
    if changed(&app, Change::DeleteFunction { function: id, user_no }).await? == Changed::NotFound {
        return Err(ApiError::not_found("function", id));
    }
    if !app.handle.reader.has_body(user_no, &hash)? {
        memo::forget(&app, user_no, MemoFilter { function: Some(hash), endpoint: None }).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
