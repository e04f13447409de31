//! Tasks: what a user asks for, the states a task passes through, and how it ends.

use crate::container::Container;
use crate::id::{EndpointId, FunctionId, GroupId, Hash, TaskId, UserId};
use crate::resources::Resources;
use crate::time::Wall;
use crate::timings::Timings;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a user asked for, as the store keeps it. Nothing in it changes after the task was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The task.
    pub task: TaskId,
    /// Who submitted it: the only one who may see it.
    pub user: UserId,
    /// The group it was submitted in.
    pub group: GroupId,
    /// The function to call.
    pub function: FunctionId,
    /// The hash of that function's body.
    pub hash: Hash,
    /// Where to call it.
    pub endpoint: EndpointId,
    /// The container to call it in; `None` is the endpoint's own environment.
    pub container: Option<Arc<Container>>,
    /// What it needs of the node; `None`: one slot.
    pub resources: Option<Arc<Resources>>,
    /// The serialized arguments: opaque here.
    pub args: Args,
    /// Lost executions that had started and are run again.
    pub retries: u32,
    /// User exceptions after which the task is run again.
    pub retry_on_error: u32,
    /// Longest run of one execution in milliseconds.
    pub timeout_ms: Option<u64>,
    /// When the task ends whatever happens.
    pub deadline: Wall,
    /// When it was submitted.
    pub submitted: Wall,
    /// The result of an equal call may be its own, and its own may be that of later ones.
    pub memoize: bool,
}

/// Serialized arguments: in memory, or in the store only (F35's sibling for arguments: large ones are read when sent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Args {
    /// The bytes themselves.
    Here(Bytes),
    /// In the store, this many bytes.
    Stored(usize),
}

impl Args {
    /// Size in bytes, wherever they are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Stored(len) => *len,
        }
    }

    /// True for no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a task stands, in funcX's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Being written to the store; not yet accepted.
    Received,
    /// Accepted; its endpoint is away, busy, or not yet asked.
    WaitingForEp,
    /// At the endpoint, which has no node for it yet.
    WaitingForNodes,
    /// At the endpoint, on or on its way to a node, waiting for a worker.
    WaitingForLaunch,
    /// A worker has begun.
    Running,
    /// Ended with a result.
    Success,
    /// Ended with a typed failure.
    Failed,
    /// Ended by its user.
    Cancelled,
}

impl TaskState {
    /// All states in the order in which a task may pass through them.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::WaitingForEp,
        Self::WaitingForNodes,
        Self::WaitingForLaunch,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Cancelled,
    ];

    /// True for the three ends.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Cancelled)
    }

    /// Whether a task in this state may be seen in `next` afterwards.
    ///
    /// A task moves forward, may fall back to waiting when its attempt was lost or handed back, may end from anywhere
    /// once it is accepted, and never leaves an end.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (ended, _) if ended.is_terminal() => false,
            (Self::Received, next) => next == Self::WaitingForEp,
            (_, Self::Received) => false,
            (from, next) => from != next,
        }
    }

    /// The word used in REST, SDK and CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::WaitingForEp => "waiting-for-ep",
            Self::WaitingForNodes => "waiting-for-nodes",
            Self::WaitingForLaunch => "waiting-for-launch",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one attempt ended, as its holder reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The function returned; the payload is its result.
    Success,
    /// The function raised, or could not be loaded: the user's own failure.
    Error,
    /// The worker died while running it.
    Died,
    /// It ran longer than its `timeout`.
    Timeout,
    /// Its deadline passed before it started.
    Expired,
    /// It was cancelled.
    Cancelled,
    /// Its executor is gone.
    Lost,
    /// Handed back unstarted: neither kept nor acknowledged (F20).
    Returned,
    /// No worker could be made for it: body gone, container or interpreter does not start.
    Environment,
}

impl Outcome {
    /// All outcomes in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Error,
        Self::Died,
        Self::Timeout,
        Self::Expired,
        Self::Cancelled,
        Self::Lost,
        Self::Returned,
        Self::Environment,
    ];
}

/// Whether an attempt that ended had begun to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begun {
    /// A worker began it.
    Yes,
    /// Proven not to have begun.
    No,
    /// Nobody knows.
    Unknown,
}

/// The kind of a failure: stable codes, the same in REST, SDK and CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The function raised.
    UserError,
    /// The worker process died: signal, exit code or out of memory.
    WorkerDied,
    /// The scheduler ended the block.
    WalltimeExceeded,
    /// It ran longer than its `timeout`.
    Timeout,
    /// Its deadline passed.
    DeadlineExceeded,
    /// Its executor was lost more often than `retries` allows.
    ExecutorLost,
    /// Its endpoint stayed away longer than `fail_when_offline`.
    EndpointOffline,
    /// Its endpoint was deleted.
    EndpointDeleted,
    /// No node of the endpoint can ever run it.
    Unsatisfiable,
    /// No worker could be started for it.
    EnvironmentFailed,
    /// The function's body could not be loaded.
    LoadFailed,
    /// Function or arguments were made by another Python minor than the worker's.
    DeserializeMismatch,
    /// The arguments are larger than the limit.
    PayloadTooLarge,
    /// The result is larger than the limit, or could not be serialized or stored.
    ResultTooLarge,
    /// Its endpoint does not run this function, or not for this user.
    NotAllowed,
    /// Cancelled by its user.
    Cancelled,
}

impl FailureCode {
    /// Every code, in the order of its declaration.
    pub const ALL: [Self; 16] = [
        Self::UserError,
        Self::WorkerDied,
        Self::WalltimeExceeded,
        Self::Timeout,
        Self::DeadlineExceeded,
        Self::ExecutorLost,
        Self::EndpointOffline,
        Self::EndpointDeleted,
        Self::Unsatisfiable,
        Self::EnvironmentFailed,
        Self::LoadFailed,
        Self::DeserializeMismatch,
        Self::PayloadTooLarge,
        Self::ResultTooLarge,
        Self::NotAllowed,
        Self::Cancelled,
    ];

    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserError => "user-error",
            Self::WorkerDied => "worker-died",
            Self::WalltimeExceeded => "walltime-exceeded",
            Self::Timeout => "timeout",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::ExecutorLost => "executor-lost",
            Self::EndpointOffline => "endpoint-offline",
            Self::EndpointDeleted => "endpoint-deleted",
            Self::Unsatisfiable => "unsatisfiable",
            Self::EnvironmentFailed => "environment-failed",
            Self::LoadFailed => "load-failed",
            Self::DeserializeMismatch => "deserialize-mismatch",
            Self::PayloadTooLarge => "payload-too-large",
            Self::ResultTooLarge => "result-too-large",
            Self::NotAllowed => "not-allowed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The code with this text, if there is one.
    #[must_use]
    pub fn from_code(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// Why a task failed, for the person who submitted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind.
    pub code: FailureCode,
    /// One sentence: what happened, why, and what to do next.
    pub message: String,
    /// The exception's class as `module.Class`, for user errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The traceback with the user's frames only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The signal that ended the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The exit code that the worker left with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The worker was ended for its use of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
    /// Most memory that the worker had, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_kb: Option<u64>,
    /// How much it could have at most: the limit of its cgroup, or the memory of its node, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_kb: Option<u64>,
    /// The node on which it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which execution of the task this was: the first is 1; 0 if none is known to have started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl Failure {
    /// A failure of this kind with this sentence and nothing else.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            class: None,
            traceback: None,
            signal: None,
            exit: None,
            oom: false,
            peak_rss_kb: None,
            memory_limit_kb: None,
            host: None,
            attempt: None,
        }
    }
}

/// The usual name of a Linux signal.
#[must_use]
pub const fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "a signal without a common name",
    }
}

/// How a task ended: what the one terminal record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `Success`, `Failed` or `Cancelled`.
    pub state: TaskState,
    /// The serialized result, or the serialized exception of a user error; may be empty.
    pub payload: Bytes,
    /// Why it failed or who cancelled it; `None` for a success.
    pub failure: Option<Box<Failure>>,
    /// Tail of what the function wrote to stdout and stderr.
    pub output: Bytes,
    /// Run time of the last execution in nanoseconds; zero if it never ran.
    pub run_ns: u64,
    /// Where the time of that execution went, and what came before it.
    pub timings: Timings,
    /// Executions that had started.
    pub starts: u32,
    /// When it ended.
    pub ended: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_left_and_received_comes_first_only() {
        for from in TaskState::ALL {
            for next in TaskState::ALL {
                let may = from.may_become(next);
                if from.is_terminal() || next == TaskState::Received || from == next {
                    assert!(!may, "{from} -> {next}");
                } else if from == TaskState::Received {
                    assert_eq!(may, next == TaskState::WaitingForEp, "{from} -> {next}");
                } else {
                    assert!(may, "{from} -> {next}");
                }
            }
        }
    }

    #[test]
    fn codes_are_their_serialized_names() {
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::from_code(code.as_str()), Some(code));
            let text = rmp_serde::from_slice::<String>(&rmp_serde::to_vec(&code).unwrap()).unwrap();
            assert_eq!(text, code.as_str());
        }
    }
}
