//! What the executor is told and what it asks for: its whole surface towards its driver.

use crate::container::Container;
use crate::id::{Hash, TaskId, UserId, WorkerId};
use crate::resources::{Resources, Share};
use crate::secrets::Secrets;
use crate::wire::{Attempt, Message};
use bytes::Bytes;
use std::sync::Arc;

/// How a worker process ended, as the system said it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerExit {
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The code it left with.
    pub exit: Option<i32>,
    /// It was ended for its use of memory.
    pub oom: bool,
    /// Most memory it had, in KiB.
    pub maxrss_kb: u64,
    /// How much it could have at most, in KiB, as far as that is known.
    pub memory_limit_kb: Option<u64>,
}

/// What a worker says of a call that ended: the fields of its `done` frame (`docs/protocol.md` §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerDone {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// How it ended.
    pub verdict: Verdict,
    /// Time to load the function, if it was the first call of it here, and the arguments.
    pub load_ns: u64,
    /// Run time.
    pub run_ns: u64,
    /// Time to serialize the result.
    pub dump_ns: u64,
    /// The serialized result or exception; may be empty.
    pub payload: Bytes,
    /// Class, message and traceback of a failure.
    pub class: String,
    /// One sentence.
    pub message: String,
    /// User frames only.
    pub traceback: String,
    /// Tail of its output.
    pub output: Bytes,
}

/// The worker's word for the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It returned.
    Success,
    /// It raised.
    UserError,
    /// The function's body could not be loaded.
    LoadFailed,
    /// Made by another Python minor.
    DeserializeMismatch,
    /// The result is over the limit, or could not be serialized.
    ResultTooLarge,
}

/// What the executor is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The socket asked for by [`Action::Connect`] is connected.
    LinkUp,
    /// The link to the manager is gone, refused, or could not be made.
    LinkDown {
        /// For people.
        why: String,
    },
    /// A message from the manager.
    FromManager {
        /// The message.
        message: Message,
    },
    /// A worker is there and idle.
    WorkerReady {
        /// Which.
        worker: WorkerId,
        /// `major.minor` of its Python.
        python: String,
    },
    /// A worker could not be made.
    WorkerFailed {
        /// Which.
        worker: WorkerId,
        /// One sentence for the user.
        why: String,
    },
    /// A worker began a call.
    WorkerStarted {
        /// Which.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// A worker ended a call.
    WorkerDone {
        /// Which.
        worker: WorkerId,
        /// What it says.
        done: WorkerDone,
    },
    /// How far a worker is in its calls: the answer to [`Action::CountBegun`].
    WorkerBegun {
        /// Which.
        worker: WorkerId,
        /// Number of the last one, by its own count.
        begun: u64,
    },
    /// A worker passed over a call that was withheld.
    WorkerSkipped {
        /// Which.
        worker: WorkerId,
        /// Which of its calls; 1 is the first.
        number: u64,
    },
    /// A worker lacks a body.
    WorkerNeeds {
        /// Which.
        worker: WorkerId,
        /// Which body.
        hash: Hash,
    },
    /// A worker process is gone, and its socket was read to the end (F19).
    WorkerExited {
        /// Which.
        worker: WorkerId,
        /// How.
        exit: WorkerExit,
        /// Number of the last call that it began, by its own count.
        begun: u64,
        /// Tail of what its last call wrote.
        output: Bytes,
    },
    /// Stop in order.
    Stop,
    /// A deadline of [`next_deadline`](super::Executor::next_deadline) may have come.
    Tick,
}

/// A signal to a worker's process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// What the executor asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the manager's address anew and open a fresh socket to it; answer with `LinkUp` or `LinkDown`.
    Connect,
    /// Close the socket to the manager.
    Disconnect,
    /// Send this to the manager; answer a failure with `LinkDown`.
    Send {
        /// What.
        message: Message,
    },
    /// Make a worker for this user; answer with `WorkerReady` or `WorkerFailed`.
    Spawn {
        /// Its number.
        worker: WorkerId,
        /// For whom.
        user: UserId,
        /// In which container.
        container: Option<Arc<Container>>,
        /// Of calls that ask for this.
        asks: Resources,
        /// With so much to itself.
        share: Share,
        /// And these nodes, by their place in the block.
        nodes: Vec<u32>,
    },
    /// Give a worker a body.
    Load {
        /// Which.
        worker: WorkerId,
        /// Which body.
        hash: Hash,
        /// The body.
        body: Bytes,
    },
    /// Put a call into a worker's pipe.
    Run {
        /// Which.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// The function's body.
        hash: Hash,
        /// The serialized arguments.
        args: Bytes,
        /// Its secrets; `None`: it has none.
        secrets: Option<Secrets>,
        /// Send what is finished before starting it.
        flush: bool,
    },
    /// Let a worker begin none of its first calls that it has not begun.
    Withhold {
        /// Which.
        worker: WorkerId,
        /// So many.
        calls: u64,
    },
    /// Read how many calls a worker has begun; answer with `WorkerBegun`, unless it is gone.
    CountBegun {
        /// Which.
        worker: WorkerId,
    },
    /// Signal a worker's process group.
    Signal {
        /// Which.
        worker: WorkerId,
        /// How.
        signal: Signal,
    },
    /// Let an idle worker end.
    Retire {
        /// Which.
        worker: WorkerId,
    },
    /// End this process; its workers are gone or told to go.
    Exit {
        /// For people.
        text: String,
    },
    /// Say this in the log.
    Log {
        /// One sentence.
        text: String,
    },
}
