//! Why a task waits, or how it ended: one sentence, its facts, and what to do next.

use super::App;
use super::body::Format;
use super::endpoints::endpoint_state;
use super::error::{ApiError, ErrorBody};
use super::extract::{PathId, User};
use super::submit::reply_error;
use super::timings::TaskTimings;
use super::types::{Charges, Explained, TaskPlace};
use super::value::{Text, Time};
use crate::clock;
use crate::store::{EndRow, Memoized, TaskRow};
use axum::extract::State;
use axum::response::Response;
use bursa_core::hub::{Explanation, Reason, Reply};
use bursa_core::id::TaskId;
use bursa_core::task::{Failure, FailureCode, TaskState};
use bursa_core::timings::Timings;
use bursa_core::wire::Placed;
use std::time::Duration;

/// Last lines of output shown, and bytes of them.
const LINES: (usize, usize) = (10, 2_000);

/// Why a task waits, or how it ended, and what to do next.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/explain", tag = "tasks",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, body = Explained), (status = "default", body = ErrorBody)))]
pub(crate) async fn explain(
    user: User,
    State(app): State<App>,
    PathId(id): PathId<TaskId>,
    format: Format,
) -> Result<Response, ApiError> {
    let find = || app.handle.reader.task(user.no, &id)?.ok_or_else(|| ApiError::not_found("task", id));
    let mut row = find()?;
    let mut live = None;
    if row.state.is_none() {
        live = match app.handle.explain(id).await? {
            Reply::Explained(live) => live,
            reply => return Err(reply_error(reply)),
        };
        if live.is_none() {
            // It ended just now: its record says how.
            row = find()?;
        }
    }
    let name = app.handle.reader.endpoint(&row.endpoint)?.map(|endpoint| endpoint.name);
    let name = name.unwrap_or_else(|| row.endpoint.to_string());
    Ok(format.ok(&match live {
        Some(live) => of_live(&row, name, *live),
        None => of_ended(row, name),
    }))
}

fn of_live(row: &TaskRow, name: String, live: Explanation) -> Explained {
    let (mut message, next) = sentences(&name, &live);
    if let Some(loss) = &live.last_loss {
        message.push_str(&format!(" It was queued again after an execution ended: {}", failed(loss)));
    }
    let place = live.place.map(|place| at_place(&mut message, *place, &live.reason));
    if live.cancelling {
        message.push_str(" Its cancel waits for the write that is under way.");
    }
    let (ahead, since) = match &live.reason {
        Reason::Turn { ahead } => (*ahead, None),
        Reason::Running { since } => (None, *since),
        Reason::EndpointOffline { .. } => (None, live.status.since),
        _ => (None, None),
    };
    Explained {
        reason: word(&live.reason),
        since: since.map(Time),
        ahead,
        endpoint: Some(endpoint_state(live.status)),
        charges: Some(Charges {
            losses: live.losses,
            retries: live.retries,
            unknown_starts: live.maybes,
            errors: live.errors,
            retry_on_error: live.retry_on_error,
        }),
        deadline: Some(Time(live.deadline)),
        place,
        starts: live.starts,
        failure: live.last_loss,
        ..blank(row, name, live.state, message, next)
    }
}

/// Where it is at its endpoint, and why: said once more as a sentence.
fn at_place(message: &mut String, placed: Placed, reason: &Reason) -> TaskPlace {
    let Placed { executor, host, block, why } = placed;
    let holds_still = matches!(reason, Reason::Running { .. } | Reason::Worker { .. } | Reason::Node { .. });
    if holds_still && let Some(executor) = executor {
        let block = block.map_or_else(String::new, |block| format!(" of block {block}"));
        message.push_str(&format!(" It is at executor {executor} on node {host}{block}, since {why}."));
    } else if holds_still && !why.is_empty() {
        message.push_str(&format!(" No executor has it yet: {why}."));
    }
    TaskPlace { executor_id: executor.map(Text), host, block_id: block.map(Text), why }
}

fn blank(row: &TaskRow, name: String, state: TaskState, message: String, next: String) -> Explained {
    Explained {
        task_id: Text(row.task),
        endpoint_id: Text(row.endpoint),
        endpoint_name: name,
        state,
        reason: state.as_str(),
        message,
        next,
        since: None,
        ahead: None,
        endpoint: None,
        charges: None,
        deadline: None,
        place: None,
        starts: 0,
        ended_at: None,
        run_seconds: None,
        timings: None,
        failure: None,
        last_lines: None,
    }
}

const fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Accepting => "accepting",
        Reason::StoreFailing { .. } => "store-failing",
        Reason::EndpointOffline { .. } => "endpoint-offline",
        Reason::EndpointDegraded { .. } => "endpoint-degraded",
        Reason::EndpointSettling => "endpoint-settling",
        Reason::Turn { .. } => "endpoint-busy",
        Reason::Loading => "loading",
        Reason::Node { .. } => "no-node",
        Reason::Worker { .. } => "no-worker",
        Reason::Running { .. } => "running",
        Reason::Charging => "charging",
        Reason::Ending => "ending",
    }
}

/// What is, and what to do next.
fn sentences(name: &str, live: &Explanation) -> (String, String) {
    let host =
        if live.status.host.is_empty() { String::new() } else { format!(" (on {})", live.status.host) };
    let at = format!("endpoint {name}{host}");
    let soon = "nothing is wrong: ask again in a moment".to_owned();
    match &live.reason {
        Reason::Accepting => ("The task is being written to disk.".into(), soon),
        Reason::StoreFailing { why } => (
            format!("The task's next step cannot be written to the service's disk: {why}."),
            "whoever runs the service must repair its disk or make room; the task then goes on by itself"
                .into(),
        ),
        Reason::EndpointOffline { holds_it } => offline(name, &at, *holds_it, live),
        Reason::EndpointDegraded { why } => (
            format!("The task waits since {at} takes no work for now: {}.", why.trim_end_matches('.')),
            "repair what the endpoint names; it tries again by itself and the task then starts".into(),
        ),
        Reason::EndpointSettling => (
            format!(
                "The task waits until {at}, which has just connected, has said which tasks it still holds."
            ),
            soon,
        ),
        Reason::Turn { ahead } => (turn(&at, *ahead, live), busy(name)),
        Reason::Loading => {
            (format!("The task's function or arguments are being read, to be sent to {at}."), soon)
        }
        Reason::Node { waits } => (
            format!("The task is at {at}, which has no node to run it on yet{}.", because(waits.as_ref())),
            format!(
                "it starts with the first node; see `bursa endpoint status {name}` and the endpoint's log"
            ),
        ),
        Reason::Worker { waits, .. } if live.resources.is_some() => (
            format!(
                "The task is at {at} and waits until an executor has {} free for it{}.",
                live.resources.as_deref().copied().unwrap_or_default(),
                because(waits.as_ref())
            ),
            busy(name),
        ),
        Reason::Worker { waits, warm } => {
            (format!("{}{}.", worker(&at, *warm, live), because(waits.as_ref())), busy(name))
        }
        Reason::Running { since } => (
            format!(
                "The task runs at {at}{}.",
                since.map_or(String::new(), |at| format!(" since {}", clock::text(at)))
            ),
            "wait for its end, or cancel it with `bursa task cancel`".into(),
        ),
        Reason::Charging => {
            ("An execution of the task was lost or failed; it is about to be queued again.".into(), soon)
        }
        Reason::Ending => ("The task has ended, and its record is being written.".into(), soon),
    }
}

/// For which worker it waits, and why it has none.
fn worker(at: &str, warm: Option<(u32, u32)>, live: &Explanation) -> String {
    let (slots, free) = (live.status.slots_total, live.status.slots_free);
    match warm {
        None => {
            format!("The task is at {at} and waits for one of its {slots} workers, of which {free} are idle")
        }
        Some((0, _)) if free > 0 => {
            format!("The task is at {at} and waits for the start of a worker in its container")
        }
        Some((0, _)) => format!(
            "The task is at {at}, where all {slots} workers are busy with calls in other containers; it gets the place of \
             one of them"
        ),
        Some((ready, idle)) => format!(
            "The task is at {at} and waits for one of the {ready} workers in its container, of which {idle} are idle; \
             idle workers of other containers make room where these would be later than a start"
        ),
    }
}

fn because(waits: Option<&String>) -> String {
    waits.map_or(String::new(), |why| format!("; for more nodes: {}", why.trim_end_matches('.')))
}

fn busy(name: &str) -> String {
    format!("wait, cancel what is not wanted any more, or give endpoint {name} more workers")
}

fn offline(name: &str, at: &str, holds_it: bool, live: &Explanation) -> (String, String) {
    let since = match live.status.since {
        Some(since) => format!("has been offline since {}", clock::text(since)),
        None => "has not connected since the service started".into(),
    };
    let next = format!("start it with `bursa endpoint start {name}`, or check its network");
    if holds_it {
        return (
            format!(
                "The task was sent to {at}, which {since}: how far it got is not known before it is back."
            ),
            format!("{next}; the task then goes on by itself"),
        );
    }
    (format!("The task waits for {at}, which {since}."), format!("{next}; the task then starts by itself"))
}

fn turn(at: &str, ahead: Option<usize>, live: &Explanation) -> String {
    let ahead = match ahead {
        Some(1) => "1 task is".into(),
        Some(ahead) => format!("{ahead} tasks are"),
        None => format!("more than {} tasks are", bursa_core::limits::EXPLAIN_STEPS),
    };
    let (held, slots) = (live.status.held, live.status.slots_total);
    format!(
        "The task waits for its turn: {ahead} ahead of it, and {at} has {held} tasks for its {slots} workers."
    )
}

fn of_ended(row: TaskRow, name: String) -> Explained {
    // A live task that the hub does not know any more and whose end is not readable yet: it is a matter of moments.
    let state = row.state.unwrap_or(TaskState::WaitingForEp);
    let Some(end) = row.end.clone() else {
        let soon = "nothing is wrong: ask again in a moment".into();
        return blank(&row, name, state, "The task is about to be shown.".into(), soon);
    };
    let EndRow { ended, run_ns, timings, starts, failure, output, memo, .. } = end;
    let seconds = (run_ns > 0).then(|| Duration::from_nanos(run_ns).as_secs_f64());
    let at = clock::text(ended);
    let (message, next) = match (&failure, state) {
        (Some(failure), TaskState::Failed) => (failed(failure), after(failure).to_owned()),
        (_, TaskState::Cancelled) => {
            (format!("The task was cancelled at {at}."), "submit it again if it is still wanted".to_owned())
        }
        _ => (
            match memo {
                Some(Memoized::Hit) => hit(&name, &at),
                _ => success(&name, &at, seconds, starts) + &came_to(&timings),
            },
            format!("read its result with `bursa.Client().result(\"{}\")`", row.task),
        ),
    };
    let lines = last_lines(&output);
    Explained {
        starts,
        ended_at: Some(Time(ended)),
        run_seconds: seconds,
        timings: TaskTimings::of(&timings, run_ns),
        failure,
        last_lines: (!lines.is_empty()).then_some(lines),
        ..blank(&row, name, state, message, next)
    }
}

fn success(name: &str, at: &str, seconds: Option<f64>, starts: u32) -> String {
    let ran = seconds.map_or(String::new(), |seconds| format!(", after running for {seconds:.3} s"));
    let times = if starts > 1 { format!(", in its execution number {starts}") } else { String::new() };
    format!("The task succeeded at {at} at endpoint {name}{ran}{times}.")
}

/// Whether it found a worker of its user and container, as far as that is known.
fn came_to(timings: &Timings) -> String {
    match timings.start {
        _ if timings.executor == 0 => String::new(),
        0 => " A worker that was there already ran it.".into(),
        ns => {
            let seconds = Duration::from_nanos(ns).as_secs_f64();
            format!(
                " It waited {seconds:.3} s for the start of its worker: none of its user and container was idle."
            )
        }
    }
}

fn hit(name: &str, at: &str) -> String {
    format!(
        "The task succeeded at {at} with the memoized result of an equal call, and was not sent to endpoint {name}; \
         `bursa memo clear` makes equal calls run again."
    )
}

/// A failure as one sentence: of a user's exception the message alone says nothing.
fn failed(failure: &Failure) -> String {
    if failure.code != FailureCode::UserError {
        return failure.message.clone();
    }
    let at = failure.host.as_deref().map_or(String::new(), |host| format!(" on {host}"));
    let class = failure.class.as_deref().unwrap_or("an exception");
    format!("The function raised {class}{at}: {}", failure.message.lines().next().unwrap_or_default())
}

/// What to do after a failure.
const fn after(failure: &Failure) -> &'static str {
    match failure.code {
        FailureCode::UserError => {
            "read the traceback, correct the function or its arguments, and submit it again"
        }
        FailureCode::WorkerDied if failure.oom => {
            "let the function use less memory, or run it where there is more"
        }
        FailureCode::WorkerDied => {
            "look at the signal or exit code and the last lines of output, and run it alone there"
        }
        FailureCode::WalltimeExceeded => "ask for longer blocks, or split the work into shorter tasks",
        FailureCode::Timeout => "give it a longer timeout, or split the work into shorter tasks",
        FailureCode::DeadlineExceeded => {
            "submit it with a later deadline, or to an endpoint that is free sooner"
        }
        FailureCode::ExecutorLost => {
            "look into the endpoint's log for why its executors end, then submit it again"
        }
        FailureCode::EndpointOffline => "start the endpoint, then submit it again",
        FailureCode::EndpointDeleted => "submit it to another endpoint",
        FailureCode::Unsatisfiable => "ask for less, or submit it to an endpoint with larger nodes",
        FailureCode::EnvironmentFailed => {
            "repair the Python that the endpoint's workers use, then submit it again"
        }
        FailureCode::LoadFailed => {
            "install at the endpoint what the function imports, or register the function again"
        }
        FailureCode::DeserializeMismatch => "use the same Python minor version on both sides",
        FailureCode::PayloadTooLarge | FailureCode::ResultTooLarge => "pass large data by a file or URL",
        FailureCode::NotAllowed => {
            "call a function that the endpoint runs, or ask its owner to allow this one"
        }
        FailureCode::Cancelled => "submit it again if it is still wanted",
    }
}

fn last_lines(output: &[u8]) -> String {
    let tail = &output[output.len().saturating_sub(LINES.1)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES.0)..].join("\n")
}
