//! What people read when a task fails: one sentence of what happened, why, and what to do next.

use super::retry::{Cause, Charges};
use super::task::Task;
use crate::limits;
use crate::task::{Begun, Ending, Failure, FailureCode, Outcome, TaskState, signal_name};
use crate::time::Wall;
use crate::timings::Timings;
use crate::wire::Done;
use bytes::Bytes;

/// The record of a task that ends without ever having a result.
pub(super) fn ending(state: TaskState, failure: Failure, starts: u32, ended: Wall) -> Ending {
    Ending {
        state,
        payload: Bytes::new(),
        failure: Some(Box::new(failure)),
        output: Bytes::new(),
        run_ns: 0,
        timings: Timings::default(),
        starts,
        ended,
    }
}

/// The failure of an attempt whose result ends its task, with the hub's own words where it knows more.
pub(super) fn of_result(task: &Task, done: &Done, cause: Cause, host: &str) -> Failure {
    let what = match done.outcome {
        Outcome::Died | Outcome::Lost | Outcome::Environment => None,
        Outcome::Timeout => Some(timeout_text(task)),
        Outcome::Expired => Some(deadline_text()),
        Outcome::Error | Outcome::Success | Outcome::Returned | Outcome::Cancelled => {
            let what = "the function failed and its worker did not say how";
            Some(format!("{what}; look at its output, then submit the task again"))
        }
    };
    let mut failure = reported(done, host);
    match what {
        Some(what) if failure.message.is_empty() => failure.message = what,
        Some(_) => {}
        None => failure.message = loss_text(task, &failure, cause),
    }
    cut(failure)
}

/// Why an attempt whose result cost its task something is over: the task goes on.
pub(super) fn of_loss(done: &Done, cause: Cause, host: &str) -> Failure {
    let mut failure = reported(done, host);
    if done.outcome != Outcome::Error {
        failure.message = loss(&failure, cause);
    }
    failure.traceback = None;
    cut_middle(&mut failure.message, limits::LOSS_BYTES);
    cut(failure)
}

/// What the result says, and where.
fn reported(done: &Done, host: &str) -> Failure {
    let code = match done.outcome {
        Outcome::Died => FailureCode::WorkerDied,
        Outcome::Lost => FailureCode::ExecutorLost,
        Outcome::Environment => FailureCode::EnvironmentFailed,
        Outcome::Timeout => FailureCode::Timeout,
        Outcome::Expired => FailureCode::DeadlineExceeded,
        Outcome::Error | Outcome::Success | Outcome::Returned | Outcome::Cancelled => FailureCode::UserError,
    };
    let failure = done.failure.as_deref().cloned().unwrap_or_else(|| Failure::new(code, ""));
    on_host(failure, host)
}

fn on_host(mut failure: Failure, host: &str) -> Failure {
    if failure.host.is_none() && !host.is_empty() {
        failure.host = Some(host.to_owned());
    }
    failure
}

/// The failure of a task that the endpoint did not hold any more, once too often.
pub(super) fn not_held(task: &Task, cause: Cause, host: &str) -> Failure {
    let mut failure = on_host(Failure::new(FailureCode::ExecutorLost, ""), host);
    failure.message = loss_text(task, &failure, cause);
    failure
}

/// Why a task that the endpoint did not hold any more was charged: it goes on.
pub(super) fn not_held_loss(cause: Cause, host: &str) -> Failure {
    let mut failure = on_host(Failure::new(FailureCode::ExecutorLost, ""), host);
    failure.message = loss(&failure, cause);
    failure
}

/// What happened to an attempt.
fn loss(failure: &Failure, cause: Cause) -> String {
    let at = failure.host.as_deref().map_or(String::new(), |host| format!(" on {host}"));
    let reported = failure.message.trim();
    let because = if reported.is_empty() { String::new() } else { format!(" ({reported})") };
    match cause {
        Cause::Ended { outcome: Outcome::Died, .. } => died_text(failure, &at, &because),
        Cause::Ended { outcome: Outcome::Environment, .. } => {
            format!("no worker could be started for this task{at}{because}")
        }
        Cause::Ended { preempted: true, .. } => format!("the block of this task's node{at} ended{because}"),
        Cause::Ended { begun: Begun::Yes, .. } | Cause::NotHeld { begun: true, .. } => {
            format!("the executor running this task{at} was lost{because}")
        }
        Cause::Ended { .. } | Cause::NotHeld { .. } => {
            format!("the executor holding this task{at} was lost{because}")
        }
    }
}

fn loss_text(task: &Task, failure: &Failure, cause: Cause) -> String {
    let what = loss(failure, cause);
    let Charges { losses, maybes, .. } = task.charges;
    let times = losses + maybes + 1;
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    let next = match cause {
        Cause::Ended { outcome: Outcome::Died, .. } if failure.oom => {
            "give its workers more memory, or let the task use less"
        }
        Cause::Ended { outcome: Outcome::Died, .. } => {
            "look at its output and at what it loads, then submit it again"
        }
        Cause::Ended { outcome: Outcome::Environment, .. } => {
            "check the container and the Python of the endpoint, then submit it again"
        }
        Cause::Ended { preempted: true, .. } => "ask for longer blocks, or submit shorter tasks",
        Cause::Ended { .. } | Cause::NotHeld { .. } => {
            "check the endpoint's nodes, or submit it again with more retries"
        }
    };
    format!("{what}, {times} (retries = {}); {next}", task.retries)
}

fn died_text(failure: &Failure, at: &str, because: &str) -> String {
    match (failure.oom, failure.signal, failure.exit) {
        (true, ..) => {
            format!("the worker running this task{at} was killed for using too much memory{because}")
        }
        (_, Some(signal), _) => {
            let name = signal_name(signal);
            format!("the worker running this task was killed by signal {signal} ({name}){at}{because}")
        }
        (_, _, Some(exit)) => format!("the worker running this task{at} left with exit code {exit}{because}"),
        _ => format!("the worker running this task{at} died{because}"),
    }
}

fn timeout_text(task: &Task) -> String {
    let limit = task.timeout_ms().map_or(String::new(), |ms| format!(" of {} s", seconds(ms)));
    format!(
        "the task ran longer than its timeout{limit}; submit it with a longer timeout, or make it smaller"
    )
}

fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) {
        (ms / 1_000).to_string()
    } else {
        format!("{}.{:03}", ms / 1_000, ms % 1_000)
    }
}

fn deadline_text() -> String {
    "the task's deadline passed before it ended; submit it again with a later deadline, or to an endpoint with \
     more free workers"
        .to_owned()
}

/// The hub's own timer ended the task (F33).
pub(super) fn deadline() -> Failure {
    Failure::new(FailureCode::DeadlineExceeded, deadline_text())
}

pub(super) fn cancelled() -> Failure {
    Failure::new(
        FailureCode::Cancelled,
        "the task was cancelled by its user; submit it again if its result is wanted after all",
    )
}

pub(super) fn endpoint_deleted() -> Failure {
    Failure::new(
        FailureCode::EndpointDeleted,
        "the endpoint of this task was deleted before the task ended; submit it to another endpoint",
    )
}

/// Its endpoint stayed away for too long.
pub(super) fn endpoint_offline(away_ms: Option<u64>) -> Failure {
    let away = away_ms.map_or_else(
        || "has not connected since the service started".to_owned(),
        |ms| format!("has been offline for {} s", seconds(ms)),
    );
    Failure::new(
        FailureCode::EndpointOffline,
        format!(
            "the endpoint of this task {away}, and its service lets no task wait longer; start the endpoint, then \
             submit the task again"
        ),
    )
}

pub(super) fn body_gone() -> Failure {
    Failure::new(
        FailureCode::LoadFailed,
        "the body of this task's function is not in the service's store; register the function again and submit \
         the task with the new function id",
    )
}

/// It would not run where its user wants it to.
pub(super) fn no_containers() -> Failure {
    Failure::new(
        FailureCode::EnvironmentFailed,
        "the endpoint's software is older than this service's and knows no containers; update it there, then submit \
         the task again",
    )
}

/// It would run without what it asks for.
pub(super) fn no_resources() -> Failure {
    Failure::new(
        FailureCode::Unsatisfiable,
        "the endpoint's software is older than this service's and gives no resources to calls; update it there, then \
         submit the task again",
    )
}

/// It would run without what was granted to it.
pub(super) fn no_secrets() -> Failure {
    Failure::new(
        FailureCode::Unsatisfiable,
        "the endpoint's software is older than this service's and gives no secrets to calls; update it there, then submit \
         the task again",
    )
}

pub(super) fn args_gone() -> Failure {
    Failure::new(
        FailureCode::LoadFailed,
        "the arguments of this task are missing in the service's store; submit the task again",
    )
}

pub(super) fn result_too_large(bytes: usize) -> Failure {
    Failure::new(
        FailureCode::ResultTooLarge,
        format!(
            "the result has {bytes} bytes, the limit is {}; write it to a file and return its path",
            limits::RESULT_BYTES
        ),
    )
}

/// The store refused the task's record for what is in it, and takes this one instead.
pub(super) fn not_storable(why: &str) -> Failure {
    Failure::new(
        FailureCode::ResultTooLarge,
        format!(
            "the task ended and the service's store cannot record its result ({why}); return less or other data, or \
             write it to a file and return its path"
        ),
    )
}

/// Keeps the texts of a failure within their limit: tracebacks of deep recursions are cut in the middle.
fn cut(mut failure: Failure) -> Failure {
    const EACH: usize = limits::FAILURE_BYTES / 4;
    cut_middle(&mut failure.message, EACH);
    failure.class.iter_mut().for_each(|class| cut_middle(class, EACH));
    failure.traceback.iter_mut().for_each(|traceback| cut_middle(traceback, 2 * EACH));
    failure.host.iter_mut().for_each(|host| cut_middle(host, limits::NAME_BYTES));
    failure
}

fn cut_middle(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    let boundary =
        |from: usize| (from..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    let (head, tail) = (boundary(limit / 2 - 8), boundary(text.len() - limit / 2 + 16));
    *text = format!("{}\n[…]\n{}", &text[..head], &text[tail..]);
}
