//! Tasks as foreign clients ask for them: pending ones without the keys of an end, ended ones with all of them.

use super::super::App;
use super::super::body::{Format, Input};
use super::super::error::ApiError;
use super::super::extract::{PathId, User};
use super::super::tasks::{group_reader, live_states, payload_bytes};
use super::failure::{self, Client};
use crate::clock;
use crate::dialect;
use crate::store::{EndRow, Page, TaskFilter, TaskRow, row_n};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bursa_core::id::{GroupId, TaskId};
use bursa_core::limits;
use bursa_core::task::TaskState;
use bursa_core::time::Wall;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `GET /v2/tasks/{id}`.
pub(super) async fn get(
    user: User,
    State(app): State<App>,
    headers: HeaderMap,
    PathId(id): PathId<TaskId>,
) -> Result<Response, ApiError> {
    let row = app.handle.reader.task(user.no, &id)?.ok_or_else(|| ApiError::not_found("task", id))?;
    let mut shown = shown(&app, &user, Client::of(&headers), vec![row]).await?;
    Ok(Format::Json.ok(&shown.pop()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    task_ids: Vec<String>,
}

/// `POST /v2/batch_status`.
pub(super) async fn get_many(
    user: User,
    State(app): State<App>,
    headers: HeaderMap,
    Input(asked): Input<Asked>,
) -> Result<Response, ApiError> {
    if asked.task_ids.len() > limits::BATCH_TASKS {
        return Err(ApiError::too_large(
            "the field 'task_ids'",
            asked.task_ids.len(),
            limits::BATCH_TASKS,
            "ids",
        ));
    }
    let (mut rows, mut results) = (Vec::new(), Map::new());
    for id in asked.task_ids {
        let found = id.parse().ok().map(|id| app.handle.reader.task(user.no, &id)).transpose()?.flatten();
        match found {
            Some(row) => rows.push(row),
            None => {
                let unknown = json!({ "task_id": &id, "status": "Failed", "reason": "Unknown task id" });
                results.insert(id, unknown);
            }
        }
    }
    let ids: Vec<_> = rows.iter().map(|row| row.task).collect();
    for (id, task) in ids.iter().zip(shown(&app, &user, Client::of(&headers), rows).await?) {
        results.insert(id.to_string(), task);
    }
    Ok(Format::Json.ok(&json!({ "response": "batch", "results": results })))
}

async fn shown(
    app: &App,
    user: &User,
    client: Client,
    mut rows: Vec<TaskRow>,
) -> Result<Vec<Value>, ApiError> {
    let states = live_states(app, &mut rows, Some(user.no)).await?;
    let mut tasks = Vec::with_capacity(rows.len());
    for (row, state) in rows.into_iter().zip(states) {
        let mut task = json!({ "task_id": row.task.to_string(), "status": word(state).as_str() });
        if let Some(end) = row.end {
            ended(app, client, state, end, &mut task).await?;
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// They know no `cancelled`, and would ask for ever.
fn word(state: TaskState) -> TaskState {
    if state == TaskState::Cancelled { TaskState::Failed } else { state }
}

async fn ended(
    app: &App,
    client: Client,
    state: TaskState,
    end: EndRow,
    task: &mut Value,
) -> Result<(), ApiError> {
    let payload = payload_bytes(app, end.payload).await?;
    task["completion_t"] = json!(seconds(end.ended));
    if state == TaskState::Success {
        task["result"] = json!(dialect::result(&payload));
        return Ok(());
    }
    let failure = end.failure.as_ref();
    task["exception"] = json!(match client {
        Client::Funcx0 => failure::wrapped(failure, &payload),
        Client::Funcx1 | Client::Globus => dialect::failure_text(failure),
    });
    Ok(())
}

/// Unix time as text.
fn seconds(at: Wall) -> String {
    format!("{}.{:03}", at.0 / 1_000, at.0 % 1_000)
}

/// `GET /v2/taskgroup/{id}`: the ids of a group's tasks, oldest first.
pub(super) async fn group(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<GroupId>,
) -> Result<Response, ApiError> {
    let no = check(&app, &user, &id)?;
    let reader = Arc::clone(&app.handle.slow_reader);
    let rows = tokio::task::spawn_blocking(move || {
        let filter = TaskFilter { group: Some(id), ..TaskFilter::default() };
        let (mut rows, mut before) = (Vec::new(), None);
        loop {
            let page = Page { limit: limits::PAGE_ROWS, before };
            let found = reader.tasks(no, &filter, page)?;
            let full = found.len() == page.limit;
            before = found.last().map(|row| row_n(row.id));
            rows.extend(found);
            if !full || rows.len() >= limits::GROUP_LISTING {
                return Ok::<_, crate::store::Error>(rows);
            }
        }
    });
    let tasks: Vec<_> = rows
        .await??
        .iter()
        .rev()
        .map(|row| json!({ "id": row.task.to_string(), "created_at": clock::text(row.submitted) }))
        .collect();
    Ok(Format::Json.ok(&json!({
        "taskgroup_id": id.to_string(),
        "create_websockets_queue": true,
        "tasks": tasks,
    })))
}

/// `GET /v2/task_groups/{id}`: whether the user may read it.
pub(super) async fn may_see_group(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<GroupId>,
) -> Result<Response, ApiError> {
    check(&app, &user, &id)?;
    Ok(Format::Json.ok(&json!({ "authorized": true })))
}

/// Whose group it is, if the user may read it.
fn check(app: &App, user: &User, id: &GroupId) -> Result<i64, ApiError> {
    group_reader(app, user, id)?.ok_or_else(|| ApiError::not_found("group", id))
}
