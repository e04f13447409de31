//! Listing and cancelling tasks.

use super::App;
use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, User};
use super::page;
use super::submit::reply_error;
use super::tasks::{group_reader, live_states, shown};
use super::types::{CancelTasks, Cancelled, CancelledTask, Task, TaskPage};
use super::value::Text;
use crate::store::{Page, TaskFilter, row_n};
use axum::extract::State;
use axum::response::Response;
use bursa_core::hub::Reply;
use bursa_core::id::{GroupId, TaskId};
use bursa_core::limits;
use bursa_core::task::TaskState;
use std::sync::Arc;

/// Pages that one request reads in search of live tasks in a state: bounds its work; `next` goes on from there.
const PAGES: usize = 20;

/// The user's tasks without payloads, newest first; of a group that is shared with him its user's.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(
    ("state" = Option<String>, Query, description = "Only tasks in this state"),
    ("endpoint_id" = Option<String>, Query, format = "uuid"),
    ("function_id" = Option<String>, Query, format = "uuid"),
    ("group_id" = Option<String>, Query, format = "uuid"),
    ("limit" = Option<usize>, Query, description = "Rows, at most 1,000; default 100"),
    ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = TaskPage), (status = "default", body = ErrorBody)))]
pub(crate) async fn list(
    user: User,
    State(app): State<App>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let mut page = page::take(&mut params)?;
    let state = params.text("state").map(|text| state_named(&text)).transpose()?;
    let filter = TaskFilter {
        state: state.map(|state| Some(state).filter(|state| state.is_terminal())),
        endpoint: params.parse("endpoint_id")?,
        function: params.parse("function_id")?,
        group: params.parse("group_id")?,
    };
    params.done()?;
    let no = match &filter.group {
        Some(group) => group_reader(&app, &user, group)?.unwrap_or(user.no),
        None => user.no,
    };
    let (mut tasks, mut next) = (Vec::new(), None);
    for _ in 0..PAGES {
        next = add_page(&app, no, &filter, state, page, &mut tasks).await?;
        match &next {
            Some(last) if tasks.len() < page.limit => page.before = last.parse().ok(),
            _ => break,
        }
    }
    Ok(format.ok(&TaskPage { tasks, next }))
}

/// Adds the tasks of one page that are in `state`; the cursor behind what was looked at.
async fn add_page(
    app: &App,
    no: i64,
    filter: &TaskFilter,
    state: Option<TaskState>,
    page: Page,
    tasks: &mut Vec<Task>,
) -> Result<Option<String>, ApiError> {
    let (reader, filter) = (Arc::clone(&app.handle.slow_reader), filter.clone());
    let wanted = page.limit - tasks.len().min(page.limit);
    let mut rows = tokio::task::spawn_blocking(move || reader.tasks(no, &filter, page)).await??;
    let next = page::next(page, rows.len(), rows.last().map(|row| row_n(row.id)));
    let states = live_states(app, &mut rows, None).await?;
    let mut last = None;
    let mut matching = rows.iter().zip(states).filter(|(_, found)| state.is_none_or(|state| state == *found));
    for (row, found) in matching.by_ref().take(wanted) {
        tasks.push(shown(row, found));
        last = Some(row_n(row.id));
    }
    // The page ended before its rows did: go on behind the last one shown.
    let more = matching.next().is_some();
    Ok(if more { last.map(|n| n.to_string()) } else { next })
}

fn state_named(text: &str) -> Result<TaskState, ApiError> {
    TaskState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let known: Vec<_> = TaskState::ALL.iter().map(|state| state.as_str()).collect();
        ApiError::bad("state", format!("'{text}' is not one of {}", known.join(", ")))
    })
}

/// Cancels tasks, or all live ones of a group: answered when each has its record.
#[utoipa::path(post, path = "/api/v1/tasks/cancel", tag = "tasks",
    request_body(content((CancelTasks = "application/json"), (CancelTasks = "application/msgpack"))),
    responses((status = 200, body = Cancelled), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(asked): Input<CancelTasks>,
) -> Result<Response, ApiError> {
    let tasks = match (asked.task_ids, asked.group_id) {
        (Some(ids), None) => cancel_tasks(&app, &user, ids).await?,
        (None, Some(group)) => cancel_group(&app, &user, group).await?,
        _ => return Err(ApiError::bad("task_ids", "give either 'task_ids' or 'group_id'")),
    };
    Ok(format.ok(&Cancelled { tasks }))
}

async fn cancel_tasks(app: &App, user: &User, ids: Vec<TaskId>) -> Result<Vec<CancelledTask>, ApiError> {
    if ids.len() > limits::BATCH_TASKS {
        return Err(ApiError::too_large("the field 'task_ids'", ids.len(), limits::BATCH_TASKS, "ids"));
    }
    for id in &ids {
        if app.handle.reader.ended(user.no, id)?.is_none() {
            return Err(ApiError::not_found("task", id));
        }
    }
    cancel_now(app, user, ids).await
}

async fn cancel_group(app: &App, user: &User, group: GroupId) -> Result<Vec<CancelledTask>, ApiError> {
    let mut cancelled = Vec::new();
    loop {
        let (reader, no) = (Arc::clone(&app.handle.slow_reader), user.no);
        let live = tokio::task::spawn_blocking(move || reader.live_of_group(no, &group, limits::BATCH_TASKS));
        let live = live.await??.ok_or_else(|| ApiError::not_found("group", group))?;
        if live.is_empty() {
            return Ok(cancelled);
        }
        cancelled.append(&mut cancel_now(app, user, live).await?);
    }
}

async fn cancel_now(app: &App, user: &User, ids: Vec<TaskId>) -> Result<Vec<CancelledTask>, ApiError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let tasks = match app.handle.cancel(ids).await? {
        Reply::Cancelled { tasks } => tasks,
        reply => return Err(reply_error(reply)),
    };
    let mut cancelled = Vec::with_capacity(tasks.len());
    for (task, state) in tasks {
        // The hub knows live tasks only: one that had ended before has its end in the store.
        let state = match state {
            Some(state) => Some(state),
            None => app.handle.reader.task(user.no, &task)?.and_then(|row| row.state),
        };
        let state = state.ok_or_else(|| ApiError::not_found("task", task))?;
        cancelled.push(CancelledTask { task_id: Text(task), state });
    }
    Ok(cancelled)
}
