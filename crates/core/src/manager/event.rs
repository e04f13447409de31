//! What the manager is told and what it asks for: its whole surface towards its driver.

use crate::id::{BlockId, ConnId, ExecutorId};
use crate::wire::Message;

/// What the manager is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The socket asked for by [`Action::Connect`] is connected.
    LinkUp,
    /// The link to the service is gone, refused, or could not be made.
    LinkDown {
        /// For people.
        why: String,
    },
    /// A message from the service.
    FromHub {
        /// The message.
        message: Message,
    },
    /// A message of a connection whose key belongs to `executor`.
    FromExecutor {
        /// The connection.
        conn: ConnId,
        /// The executor that owns the connection's key.
        executor: ExecutorId,
        /// The message.
        message: Message,
    },
    /// Sending to this connection failed: its session is over.
    Unreachable {
        /// Which.
        conn: ConnId,
    },
    /// The provider has what [`Action::Launch`] asked for, and it waits.
    BlockWaiting {
        /// Which.
        block: BlockId,
        /// For what, in the provider's words.
        reason: String,
    },
    /// A block runs.
    BlockStarted {
        /// Which.
        block: BlockId,
        /// Time until the provider ends it, if it ever does.
        left_ms: Option<u64>,
    },
    /// A block ended, and every process on its nodes; or it could not be asked for.
    BlockEnded {
        /// Which.
        block: BlockId,
        /// For people.
        why: String,
    },
    /// Everything that [`Action::AskProvider`] asked for was said.
    ProviderAnswered {
        /// Why nothing could be learnt, in the provider's words.
        trouble: Option<String>,
    },
    /// The executor is known to be gone: its local process was seen dead, or none of it is left.
    ExecutorGone {
        /// Which.
        executor: ExecutorId,
        /// For people.
        why: String,
    },
    /// The hints asked for by [`Action::SaveHints`] are on disk.
    HintsSaved,
    /// The generation asked for by [`Action::RaiseGeneration`] is on disk.
    GenerationRaised {
        /// The new generation.
        generation: u64,
    },
    /// Stop in order: hand back what has not started, end the rest after `grace_ms` (F38).
    Stop {
        /// Time for running calls; 0: end them now and hand them back.
        grace_ms: u64,
    },
    /// A deadline of [`next_deadline`](super::Manager::next_deadline) may have come.
    Tick,
}

/// Why a manager ends, and whether its watchdog may start another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// Told to stop, and everything is handed back.
    Stopped,
    /// Another manager is in charge, or the endpoint is deleted or revoked: do not restart.
    Refused,
}

/// What the manager asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a fresh socket to the service; answer with `LinkUp` or `LinkDown`.
    Connect,
    /// Close the socket to the service.
    Disconnect,
    /// Send this to the service; answer a failure with `LinkDown`.
    SendHub {
        /// What.
        message: Message,
    },
    /// Send this to an executor; answer a failure with `Unreachable`.
    SendExecutor {
        /// To whom.
        conn: ConnId,
        /// What.
        message: Message,
    },
    /// This connection will not be spoken to again.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Ask the provider for a block: `BlockStarted`, `BlockWaiting` or `BlockEnded` follows.
    Launch {
        /// The request: asked for once, also over a restart of this process.
        block: BlockId,
        /// The executors to start there, one on each node.
        executors: Vec<ExecutorId>,
    },
    /// End this block, whatever runs there; answer with `BlockEnded`, or with `ExecutorGone` for each of its executors.
    CancelBlock {
        /// Which.
        block: BlockId,
    },
    /// Ask the scheduler about all blocks; answer with what is known of each, then `ProviderAnswered`.
    AskProvider,
    /// Write the list of executors that may hold attempts (F8); answer with `HintsSaved`.
    SaveHints {
        /// All of them.
        executors: Vec<ExecutorId>,
    },
    /// Raise this endpoint's generation above this one, under its lease (F4); answer with `GenerationRaised`.
    RaiseGeneration {
        /// Highest seen by the service.
        above: u64,
    },
    /// Everything works: the service welcomed us and an executor has a worker. Said once per process.
    Ready,
    /// End this process.
    Exit {
        /// Why.
        reason: ExitReason,
        /// For people.
        text: String,
    },
    /// Say this in the log.
    Log {
        /// One sentence.
        text: String,
    },
}
