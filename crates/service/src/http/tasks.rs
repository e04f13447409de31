//! Tasks: submit, look at, wait for.

use super::App;
use super::body::{Format, Input};
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, PathId, User};
use super::submit::{Batch, Options, accept, check_group};
use super::timings::TaskTimings;
use super::types::{GetTasks, NewTasks, Submitted, Task, Tasks};
use super::value::{Asks, Data, Text, Time};
use crate::clock;
use crate::policy::{Action, Object, may};
use crate::store::{Content, EndRow, Memoized, TaskRow, Thing};
use axum::extract::State;
use axum::response::Response;
use bursa_core::id::{GroupId, TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::TaskState;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// Submits tasks: answered when all are on disk. The same ids and bytes again get the same answer.
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks",
    request_body(content((NewTasks = "application/json"), (NewTasks = "application/msgpack"))),
    responses((status = 200, body = Submitted), (status = "default", body = ErrorBody)))]
pub(crate) async fn submit(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(new): Input<NewTasks>,
) -> Result<Response, ApiError> {
    let group = match new.group_id {
        Some(group) => group,
        None => GroupId::from_bytes(clock::new_id()?),
    };
    tracing::Span::current().record("group", tracing::field::display(group));
    check_group(&app, &user, &group)?;
    let mut batch = Batch::new(&app, &user, group, new.tasks.len())?;
    let mut made = clock::new_ids(new.tasks.iter().filter(|task| task.task_id.is_none()).count())?;
    let mut last = None;
    for task in new.tasks {
        let options = Options {
            retries: task.retries,
            retry_on_error: task.retry_on_error,
            timeout: task.timeout,
            deadline: task.deadline,
            memoize: task.memoize.unwrap_or_default(),
            container: task.container,
            resources: task.resources.unwrap_or_default().0,
        };
        let key = (task.function_id, task.endpoint_id, options);
        let target = match last.take() {
            Some((known, target)) if known == key => target,
            _ => batch.target(task.function_id, task.endpoint_id, options)?,
        };
        let id = task.task_id.or_else(|| made.pop().map(TaskId::from_bytes));
        let id = id.ok_or_else(|| ApiError::internal("ids ran out"))?;
        batch.push(&target, id, task.args.0)?;
        last = Some((key, target));
    }
    let tasks = batch.finish()?;
    let task_ids = tasks.iter().map(|spec| Text(spec.task)).collect();
    accept(&app, &user, group, tasks).await?;
    Ok(format.ok(&Submitted { group_id: Text(group), task_ids }))
}

/// A task. `wait` holds the answer until it has ended.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(
    ("id" = String, Path, format = "uuid"),
    ("wait" = Option<f64>, Query, description = "Seconds, at most 50")),
    responses((status = 200, body = Task), (status = "default", body = ErrorBody)))]
pub(crate) async fn get(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<TaskId>,
    format: Format,
    mut params: Params,
) -> Result<Response, ApiError> {
    let until = deadline(params.parse("wait")?)?;
    params.done()?;
    let whose = whose(&app, &user, &[id])?;
    wait_all(&app, whose, &[id], until).await?;
    let task = load(&app, whose.no, &[id]).await?.pop();
    Ok(format.ok(&task.ok_or_else(|| ApiError::not_found("task", id))?))
}

/// Tasks, in the order of the request. `wait` holds the answer until all have ended.
#[utoipa::path(post, path = "/api/v1/tasks/get", tag = "tasks",
    request_body(content((GetTasks = "application/json"), (GetTasks = "application/msgpack"))),
    responses((status = 200, body = Tasks), (status = "default", body = ErrorBody)))]
pub(crate) async fn get_many(
    user: User,
    State(app): State<App>,
    format: Format,
    Input(asked): Input<GetTasks>,
) -> Result<Response, ApiError> {
    let ids = asked.task_ids;
    if ids.len() > limits::PAGE_ROWS {
        return Err(ApiError::too_large("the field 'task_ids'", ids.len(), limits::PAGE_ROWS, "ids"));
    }
    let until = deadline(asked.wait)?;
    let whose = whose(&app, &user, &ids)?;
    wait_all(&app, whose, &ids, until).await?;
    let tasks = load(&app, whose.no, &ids).await?;
    let left = ids[tasks.len()..].iter().copied().map(Text).collect();
    Ok(format.ok(&Tasks { tasks, left }))
}

/// The moment until which an answer may be held.
fn deadline(wait: Option<f64>) -> Result<Option<Instant>, ApiError> {
    let limit = Duration::from_millis(limits::LONG_POLL_MS);
    let Some(wait) = wait else { return Ok(None) };
    match Duration::try_from_secs_f64(wait) {
        Ok(wait) if wait <= limit => Ok(Some(Instant::now() + wait)),
        _ => Err(ApiError::bad("wait", format!("{wait} is not between 0 and {} seconds", limit.as_secs()))),
    }
}

/// Who submitted the tasks that are asked for.
#[derive(Debug, Clone, Copy)]
struct Whose {
    no: i64,
    user: UserId,
}

/// The user himself, or the one who shares the groups of all these tasks with him.
fn whose(app: &App, user: &User, ids: &[TaskId]) -> Result<Whose, ApiError> {
    let own = Whose { no: user.no, user: user.user };
    let reader = &app.handle.reader;
    let Some(first) = ids.first() else { return Ok(own) };
    if reader.ended(user.no, first)?.is_some() {
        return Ok(own);
    }
    let mut whose = None;
    for id in ids {
        let none = || ApiError::not_found("task", id);
        let (no, group) = reader.submitted_by(id)?.ok_or_else(none)?;
        if group_reader(app, user, &group)? != Some(no) || whose.is_some_and(|known: Whose| known.no != no) {
            return Err(none());
        }
        if whose.is_none() {
            whose = reader.user_id(no)?.map(|user| Whose { no, user });
        }
    }
    Ok(whose.unwrap_or(own))
}

/// The number of the user whose group of tasks this is, if the user may read its results.
pub(super) fn group_reader(app: &App, user: &User, group: &GroupId) -> Result<Option<i64>, ApiError> {
    let access = app.handle.known.access((Thing::Tasks, *group.as_bytes()))?;
    let access = access.filter(|access| may(user, Action::Use, Object::Tasks(access)));
    Ok(access.map(|access| access.owner))
}

/// Waits until all have ended, or `until`; woken by the user's bell. Refuses unknown ids at once.
async fn wait_all(app: &App, whose: Whose, ids: &[TaskId], until: Option<Instant>) -> Result<(), ApiError> {
    // Listen before the first look: nothing is missed between.
    let mut bell = app.handle.bells.listen(whose.user);
    let ended =
        |id: &TaskId| app.handle.reader.ended(whose.no, id)?.ok_or_else(|| ApiError::not_found("task", id));
    let mut open = Vec::new();
    for id in ids {
        if !ended(id)? {
            open.push(*id);
        }
    }
    let Some(until) = until else { return Ok(()) };
    let mut stopping = app.stopping.clone();
    while let Some(id) = open.last() {
        if ended(id)? {
            open.pop();
            continue;
        }
        tokio::select! {
            _ = bell.changed() => {}
            _ = stopping.changed() => return Ok(()),
            () = tokio::time::sleep_until(until) => return Ok(()),
        }
    }
    Ok(())
}

/// The first of these tasks with their payloads: one at least, and as many as fit into an answer.
async fn load(app: &App, no: i64, ids: &[TaskId]) -> Result<Vec<Task>, ApiError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for id in ids {
        let row = app.handle.reader.task(no, id)?.ok_or_else(|| ApiError::not_found("task", id))?;
        bytes += row.end.as_ref().map_or(0, |end| end.output.len() + end.payload.here());
        rows.push(row);
        if bytes >= limits::ANSWER_BYTES {
            break;
        }
    }
    let states = live_states(app, &mut rows, Some(no)).await?;
    let mut tasks = Vec::with_capacity(rows.len());
    bytes = 0;
    for (row, state) in rows.into_iter().zip(states) {
        let task = shown_whole(app, row, state).await?;
        bytes += [&task.result, &task.exception, &task.output]
            .into_iter()
            .flatten()
            .map(|data| data.0.len())
            .sum::<usize>();
        tasks.push(task);
        if bytes >= limits::ANSWER_BYTES {
            break;
        }
    }
    Ok(tasks)
}

/// Where each task stands: the hub knows live ones. One that ended just now is read again for its end.
pub(super) async fn live_states(
    app: &App,
    rows: &mut [TaskRow],
    reread: Option<i64>,
) -> Result<Vec<TaskState>, ApiError> {
    let live: Vec<usize> = (0..rows.len()).filter(|place| rows[*place].state.is_none()).collect();
    let states = app.handle.states(live.iter().map(|place| rows[*place].task).collect()).await?;
    let mut known = vec![TaskState::WaitingForEp; rows.len()];
    for (place, state) in live.into_iter().zip(states) {
        let gone = state.is_none_or(TaskState::is_terminal);
        known[place] = state.filter(|state| !state.is_terminal()).unwrap_or(TaskState::WaitingForEp);
        if let (true, Some(no)) = (gone, reread)
            && let Some(row) = app.handle.reader.task(no, &rows[place].task)?
        {
            rows[place] = row;
        }
    }
    Ok(rows.iter().zip(known).map(|(row, known)| row.state.unwrap_or(known)).collect())
}

/// A task as listings show it.
pub(super) fn shown(row: &TaskRow, state: TaskState) -> Task {
    Task {
        task_id: Text(row.task),
        group_id: Text(row.group),
        function_id: Text(row.function),
        endpoint_id: Text(row.endpoint),
        container: row.container.map(Text),
        resources: row.resources.map(Asks),
        state,
        submitted_at: Time(row.submitted),
        ended_at: row.ended.map(Time),
        result: None,
        failure: None,
        exception: None,
        output: None,
        run_seconds: None,
        timings: None,
        starts: None,
        memo: None,
    }
}

async fn shown_whole(app: &App, row: TaskRow, state: TaskState) -> Result<Task, ApiError> {
    let mut task = shown(&row, state);
    let Some(EndRow { ended, run_ns, timings, starts, failure, output, payload, memo }) = row.end else {
        return Ok(task);
    };
    let payload = payload_bytes(app, payload).await?;
    task.ended_at = Some(Time(ended));
    task.run_seconds = (run_ns > 0).then(|| Duration::from_nanos(run_ns).as_secs_f64());
    task.timings = TaskTimings::of(&timings, run_ns);
    task.starts = Some(starts);
    task.output = (!output.is_empty()).then_some(Data(output));
    task.failure = failure;
    task.memo = memo.map(Memoized::as_str);
    match state {
        TaskState::Success => task.result = Some(Data(payload)),
        _ => task.exception = (!payload.is_empty()).then_some(Data(payload)),
    }
    Ok(task)
}

/// The payload's bytes; files are read on a thread.
pub(super) async fn payload_bytes(app: &App, payload: Content) -> Result<Bytes, ApiError> {
    find_payload(app, payload).await?.ok_or_else(|| ApiError::internal("a payload file is gone"))
}

/// The same; `None`: its file is gone.
pub(super) async fn find_payload(app: &App, payload: Content) -> Result<Option<Bytes>, ApiError> {
    Ok(app.handle.payload(payload).await??)
}
