//! Functions of foreign clients: register, look at, delete.

use super::super::App;
use super::super::body::{Format, Input};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::super::functions::{self, add, fetch, find_to};
use super::super::sharing::share_with;
use super::super::sharing_types::NewShare;
use super::super::types::NewFunction;
use super::super::value::{Data, Place};
use crate::dialect;
use crate::policy::Action;
use crate::store::Thing;
use axum::extract::State;
use axum::response::Response;
use bursa_core::id::{ContainerId, FunctionId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What clients of all ages send; each knows some of it.
#[derive(Debug, Deserialize)]
pub(super) struct Registration {
    function_name: String,
    function_code: String,
    description: Option<String>,
    container_uuid: Option<ContainerId>,
    /// False: `function_code` is plain source.
    serialized: Option<bool>,
    /// For everybody.
    public: Option<bool>,
    /// For a group of users, by name or id.
    group: Option<String>,
    #[serde(alias = "metadata")]
    meta: Option<Map<String, Value>>,
}

/// `POST /v2/functions`, `POST /v3/functions`.
pub(super) async fn register(
    user: User,
    State(app): State<App>,
    Input(new): Input<Registration>,
) -> Result<Response, ApiError> {
    let python = new.meta.as_ref().and_then(|meta| meta.get("python_version")?.as_str());
    let serialized = new.serialized.unwrap_or(true);
    let body = dialect::body(&new.function_name, &new.function_code, serialized, python);
    let python = python.map(minor);
    let function = NewFunction {
        name: new.function_name,
        body: Data(body),
        description: new.description,
        python,
        container: new.container_uuid.map(Place::In),
    };
    let (function, _) = add(&app, &user, function).await?;
    let group = new.group.filter(|group| !group.is_empty());
    if new.public == Some(true) || group.is_some() {
        let groups = group.map(|group| vec![group]);
        let share = NewShare { public: new.public.filter(|public| *public), groups, ..NewShare::default() };
        share_with(&app, &user, (Thing::Function, *function.as_bytes()), share).await?;
    }
    Ok(Format::Json.ok(&json!({ "function_uuid": function.to_string() })))
}

/// `3.11.7` is `3.11` here.
fn minor(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// `GET /v2/functions/{id}`.
pub(super) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<FunctionId>,
) -> Result<Response, ApiError> {
    let row = find_to(&app, &user, &id, Action::Use)?;
    let body = fetch(&app, &row).await?;
    let code = dialect::code(&body).ok_or_else(|| {
        let why = "it was registered by a client of Bursa, whose functions only its own clients read";
        ApiError { why: why.into(), ..ApiError::not_found("function", id) }
    })?;
    Ok(Format::Json.ok(&json!({
        "function_uuid": id.to_string(),
        "function_name": row.name,
        "function_code": code,
        "description": row.description,
        "metadata": { "python_version": row.python },
    })))
}

/// `DELETE /v2/functions/{id}`.
pub(super) async fn delete(
    user: User,
    app: State<App>,
    id: PathId<FunctionId>,
) -> Result<Response, ApiError> {
    functions::delete(user, app, id).await?;
    Ok(deleted())
}

/// What the funcX service says of a deletion: that number, in a 200.
pub(super) fn deleted() -> Response {
    Format::Json.ok(&json!({ "result": 302 }))
}
