//! How an attempt ended, and the sentence for the person who submitted it: what happened, why, what to do next.

use super::attempt::Key;
use super::event::{Verdict, WorkerDone, WorkerExit};
use crate::limits;
use crate::resources::{Resources, unsatisfiable};
use crate::task::{Begun, Failure, FailureCode, Outcome, signal_name};
use crate::timings::Timings;
use crate::wire::{Blob, Done};
use bytes::Bytes;

/// What `done` says, within the limits.
pub(super) fn from_worker(done: WorkerDone, host: &str) -> Box<Done> {
    let key = Key { task: done.task, attempt: done.attempt };
    let (code, size) = (code(done.verdict), done.payload.len());
    let mut result = match code {
        None if size <= limits::RESULT_BYTES => ended(key, Outcome::Success, Begun::Yes, None),
        None => ended(key, Outcome::Error, Begun::Yes, Some(too_large(size, host))),
        Some(code) => {
            let failure = Failure {
                class: text(done.class, limits::NAME_BYTES),
                traceback: text(done.traceback, limits::FAILURE_BYTES / 2),
                host: Some(host.to_owned()),
                ..Failure::new(code, cut(done.message, limits::FAILURE_BYTES / 4))
            };
            ended(key, Outcome::Error, Begun::Yes, Some(failure))
        }
    };
    if size <= limits::RESULT_BYTES {
        result.payload = done.payload.into();
    }
    result.output = tail(done.output);
    result.run_ns = done.run_ns;
    result.timings = Timings { load: done.load_ns, dump: done.dump_ns, ..Timings::default() };
    result
}

/// An end with nothing but its reason.
pub(super) fn ended(key: Key, outcome: Outcome, begun: Begun, failure: Option<Failure>) -> Box<Done> {
    Box::new(Done::without_result(key.task, key.attempt, outcome, begun, failure))
}

const fn code(verdict: Verdict) -> Option<FailureCode> {
    match verdict {
        Verdict::Success => None,
        Verdict::UserError => Some(FailureCode::UserError),
        Verdict::LoadFailed => Some(FailureCode::LoadFailed),
        Verdict::DeserializeMismatch => Some(FailureCode::DeserializeMismatch),
        Verdict::ResultTooLarge => Some(FailureCode::ResultTooLarge),
    }
}

fn at(code: FailureCode, host: &str, message: String) -> Failure {
    Failure { host: Some(host.to_owned()), ..Failure::new(code, message) }
}

fn too_large(size: usize, host: &str) -> Failure {
    let limit = limits::RESULT_BYTES;
    at(
        FailureCode::ResultTooLarge,
        host,
        format!(
            "The function returned, but its result has {size} bytes and the limit is {limit}; write it to a file or an \
         object store and return where it is."
        ),
    )
}

/// The worker died while it ran, or may have run, the call.
pub(super) fn died(exit: WorkerExit, begun: Begun, host: &str) -> Failure {
    let what = if begun == Begun::Yes { "while it ran this task" } else { "while it may have run this task" };
    let (how, next) = cause(exit);
    let message = format!("The worker process {how} on host '{host}' {what}. {next}");
    Failure {
        signal: exit.signal,
        exit: exit.exit,
        oom: exit.oom,
        peak_rss_kb: (exit.maxrss_kb > 0).then_some(exit.maxrss_kb),
        memory_limit_kb: exit.memory_limit_kb,
        ..at(FailureCode::WorkerDied, host, message)
    }
}

/// A worker ended before it was ready.
pub(super) fn stillborn(exit: WorkerExit, output: &[u8]) -> String {
    let (how, _) = cause(exit);
    let from = output.len().saturating_sub(limits::NAME_BYTES);
    let last = String::from_utf8_lossy(&output[from..]);
    let said =
        if last.trim().is_empty() { String::new() } else { format!("; its last output: {}", last.trim()) };
    format!(
        "the worker process {how} before it was ready{said}. Check the endpoint's Python and its container."
    )
}

/// How it ended, and what a person can do about it.
fn cause(exit: WorkerExit) -> (String, &'static str) {
    let peak = exit.maxrss_kb / 1024;
    let of = exit.memory_limit_kb.map_or(String::new(), |limit| format!(" of {} MiB", limit / 1024));
    match (exit.oom, exit.signal, exit.exit) {
        (true, ..) => (
            format!("was killed because memory ran out (it had used up to {peak} MiB{of})"),
            "Use less memory per task, run fewer workers on the node, or ask for nodes with more memory.",
        ),
        (_, Some(9), _) => (
            format!("was killed by SIGKILL (signal 9; it had used up to {peak} MiB{of})"),
            "Usually the system killed it for its use of memory: look at the node's kernel log, or use less memory.",
        ),
        (_, Some(signal @ (4 | 6 | 7 | 8 | 11)), _) => (
            format!("crashed with {} (signal {signal})", signal_name(signal)),
            "This comes from native code, not from Python: run the function alone under `python -X faulthandler`.",
        ),
        (_, Some(signal), _) => (
            format!("was ended by {} (signal {signal})", signal_name(signal)),
            "Somebody or something on the node sent it: submit again, or allow `retries`.",
        ),
        (_, None, Some(code)) => (
            format!("left with exit code {code}"),
            "The function, or a library it uses, ended the whole process: return or raise instead of exiting.",
        ),
        (_, None, None) => ("went away".to_owned(), "Submit again, or allow `retries`."),
    }
}

pub(super) fn timeout(ms: u64, host: &str) -> Failure {
    at(
        FailureCode::Timeout,
        host,
        format!(
            "The task ran longer than its timeout of {ms} ms on host '{host}' and was stopped. Raise `timeout`, or split \
         the work into smaller tasks."
        ),
    )
}

pub(super) fn expired(host: &str) -> Failure {
    at(
        FailureCode::DeadlineExceeded,
        host,
        format!(
            "The deadline passed while the task waited for a worker on host '{host}'; it never started. Allow a later \
         `deadline`, or add workers to the endpoint."
        ),
    )
}

pub(super) fn cancelled(begun: Begun, host: &str) -> Failure {
    let message = match begun {
        Begun::No => format!("The task was cancelled before it started on host '{host}'."),
        _ => format!("The task was cancelled while it ran on host '{host}', and its worker was stopped."),
    };
    at(FailureCode::Cancelled, host, message)
}

/// Stopped because the node is taken away (F38).
pub(super) fn preempted(host: &str) -> Failure {
    at(
        FailureCode::WalltimeExceeded,
        host,
        format!(
            "Host '{host}' was shut down while it ran this task. It is run again if its `retries` allow; shorter tasks \
         or longer blocks make this rarer."
        ),
    )
}

/// Its worker ended with another call of the same pipe, before this one's result was sent.
pub(super) fn bystander(host: &str) -> Failure {
    at(
        FailureCode::WorkerDied,
        host,
        format!(
            "The worker on host '{host}' ended with another task of the same user, and with it the result of this one, \
         which it had not sent. Nothing is wrong with this task: it is run again if its `retries` allow."
        ),
    )
}

pub(super) fn environment(why: &str, host: &str) -> Failure {
    let message = format!("No worker could be started for the task on host '{host}': {why}");
    at(FailureCode::EnvironmentFailed, host, cut(message, limits::FAILURE_BYTES / 4))
}

/// It asks for more than this executor has.
pub(super) fn too_large_for(asks: &Resources, has: &Resources, host: &str) -> Failure {
    at(FailureCode::Unsatisfiable, host, unsatisfiable(asks, has, &format!("host '{host}'")))
}

/// The body is gone, or is not what its hash says (F35).
pub(super) fn no_body(what: &str, host: &str) -> Failure {
    at(
        FailureCode::EnvironmentFailed,
        host,
        format!(
            "The function's body {what}, so the task could not start on host '{host}'. Register the function again and \
         submit again."
        ),
    )
}

/// `text` cut in the middle to about `limit` bytes, on character borders.
fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let border = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=limit / 2).rev().find(border).unwrap_or(0);
    let tail = (text.len() - limit / 2..text.len()).find(border).unwrap_or(text.len());
    let left = tail - head;
    format!("{}\n… {left} bytes left out …\n{}", &text[..head], &text[tail..])
}

fn text(text: String, limit: usize) -> Option<String> {
    (!text.is_empty()).then(|| cut(text, limit))
}

/// The last [`limits::OUTPUT_BYTES`] of what was written.
pub(super) fn tail(output: Bytes) -> Blob {
    let from = output.len().saturating_sub(limits::OUTPUT_BYTES);
    if from == 0 { output.into() } else { Bytes::copy_from_slice(&output[from..]).into() }
}
