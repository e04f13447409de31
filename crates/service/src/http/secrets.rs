//! Secrets of the user who asks: set, list, grant to functions, revoke, delete. Their values come in and never go out.

use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{PathId, User};
use super::value::{Text, Time};
use super::{App, changed};
use crate::clock;
use crate::policy::{Action, Object, may};
use crate::secrets::wrong_name;
use crate::store::{Change, Changed, SecretRow};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bursa_core::id::{EndpointId, FunctionId};
use bursa_core::limits;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A secret's value. No `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    /// At most 32 KiB, without zero bytes.
    value: String,
}

/// Where calls of a function have a secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGrant {
    /// Endpoints of others that may have it too, beside all of one's own.
    #[schema(value_type = Option<Vec<String>>)]
    endpoints: Option<Vec<EndpointId>>,
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Secret {
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
    functions: Vec<SecretGrant>,
}

/// A function whose calls have a secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretGrant {
    #[schema(value_type = String, format = "uuid")]
    function_id: Text<FunctionId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    endpoints: Vec<Text<EndpointId>>,
}

/// All secrets of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretList {
    secrets: Vec<Secret>,
}

/// Sets a secret, or another value for it: calls that are sent from now on have that.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    request_body = NewSecret, responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn set(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
    Input(NewSecret { value }): Input<NewSecret>,
) -> Result<Response, ApiError> {
    if let Some(why) = wrong_name(&name) {
        return Err(ApiError::bad("name", why));
    }
    if value.len() > limits::SECRET_BYTES {
        return Err(ApiError::too_large("the field 'value'", value.len(), limits::SECRET_BYTES, "bytes"));
    }
    if value.is_empty() || value.contains('\0') {
        return Err(ApiError::bad("value", "it is empty or has a zero byte, which no environment takes"));
    }
    let sealed = app.handle.vault.seal(&user.user, &name, value.as_bytes())?;
    let change = Change::SetSecret { user_no: user.no, name: name.clone(), sealed, now: clock::wall() };
    match changed(&app, change).await? {
        Changed::Full => {
            let why = format!("you have {} secrets, which is the most", limits::SECRETS);
            Err(ApiError::conflict(format!("the secret {name} cannot be set"), &why, "delete one first"))
        }
        done => answer(&name, &done),
    }
}

/// The user's secrets by name, never their values.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets",
    responses((status = 200, body = SecretList), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(user: User, State(app): State<App>, format: Format) -> Result<Response, ApiError> {
    let rows = app.handle.reader.secrets(user.no)?;
    let rows = rows.into_iter().filter(|row| may(&user, Action::See, Object::Secret(row.user_no)));
    Ok(format.ok(&SecretList { secrets: rows.map(shown).collect() }))
}

fn shown(row: SecretRow) -> Secret {
    let grant = |(function, endpoints): (FunctionId, Vec<EndpointId>)| SecretGrant {
        function_id: Text(function),
        endpoints: endpoints.into_iter().map(Text).collect(),
    };
    Secret {
        name: row.name,
        created_at: Time(row.created),
        updated_at: Time(row.updated),
        functions: row.grants.into_iter().map(grant).collect(),
    }
}

/// Deletes a secret: calls that are sent from now on have it no longer.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn delete(
    user: User,
    State(app): State<App>,
    PathId(name): PathId<String>,
) -> Result<Response, ApiError> {
    let done = changed(&app, Change::DeleteSecret { user_no: user.no, name: name.clone() }).await?;
    answer(&name, &done)
}

/// Lets the user's own calls of a function have a secret: at his endpoints, and at those that are named.
#[utoipa::path(put, path = "/api/v1/secrets/{name}/functions/{id}", tag = "secrets",
    params(("name" = String, Path), ("id" = String, Path, format = "uuid")), request_body = NewGrant,
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn grant(
    user: User,
    State(app): State<App>,
    Path((name, function)): Path<(String, FunctionId)>,
    Input(new): Input<NewGrant>,
) -> Result<Response, ApiError> {
    let known = &app.handle.known;
    let found = known.function(&function)?;
    let found = found.filter(|found| may(&user, Action::Use, Object::Function(&found.access)));
    let hash = found.ok_or_else(|| ApiError::not_found("function", function))?.hash;
    let endpoints = new.endpoints.unwrap_or_default();
    if endpoints.len() > limits::SECRET_GRANTS {
        return Err(ApiError::too_large(
            "the field 'endpoints'",
            endpoints.len(),
            limits::SECRET_GRANTS,
            "endpoints",
        ));
    }
    for endpoint in &endpoints {
        let at = known.endpoint(endpoint)?;
        at.filter(|at| may(&user, Action::Use, Object::Endpoint(&at.access)))
            .ok_or_else(|| ApiError::not_found("endpoint", endpoint))?;
    }
    let change = Change::GrantSecret { user_no: user.no, name: name.clone(), function, hash, endpoints };
    match changed(&app, change).await? {
        Changed::Full => {
            let why = format!("it is granted to {} functions, which is the most", limits::SECRET_GRANTS);
            let what = format!("the secret {name} cannot be granted to function {function}");
            Err(ApiError::conflict(what, &why, "revoke a grant first"))
        }
        done => answer(&name, &done),
    }
}

/// Lets calls of a function have a secret no longer.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}/functions/{id}", tag = "secrets",
    params(("name" = String, Path), ("id" = String, Path, format = "uuid")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
pub(crate) async fn revoke(
    user: User,
    State(app): State<App>,
    Path((name, function)): Path<(String, FunctionId)>,
) -> Result<Response, ApiError> {
    let change = Change::RevokeSecret { user_no: user.no, name: name.clone(), function };
    match changed(&app, change).await? {
        Changed::NotFound => Err(no_secret(&format!("{name} that is granted to function {function}"))),
        done => answer(&name, &done),
    }
}

fn answer(name: &str, done: &Changed) -> Result<Response, ApiError> {
    match done {
        Changed::NotFound => Err(no_secret(name)),
        Changed::TooLarge(bytes) => {
            let (what, limit) = ("all secrets of one function together", limits::CALL_SECRETS_BYTES);
            Err(ApiError::too_large(what, bytes, limit, "bytes"))
        }
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn no_secret(named: &str) -> ApiError {
    let shown: String = named.chars().take(128).collect();
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is no secret {shown}"),
        "you have none of this name",
        "see `bursa secret list`",
    )
}
