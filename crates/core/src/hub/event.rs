//! What the hub is told and what it asks for: its whole surface towards the service's driver.

use crate::id::{ConnId, EndpointId, GroupId, Hash, TaskId, UserId};
use crate::secrets::Secrets;
use crate::task::{Ending, Failure, TaskSpec, TaskState};
use crate::wire::Message;
use bytes::Bytes;

/// A request that waits for a [`Reply`]: numbered by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A write that waits for its [`Answer`]: numbered by the hub, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Tasks submitted together, authorized and within limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Who asks.
    pub request: RequestId,
    /// The user; every spec names the same.
    pub user: UserId,
    /// The group; every spec names the same.
    pub group: GroupId,
    /// The tasks, `Args::Here` all.
    pub tasks: Vec<TaskSpec>,
}

/// A live task as the store has it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What was asked for; large arguments are `Args::Stored`.
    pub spec: TaskSpec,
    /// Losses charged so far.
    pub losses: u32,
    /// Losses whose start is unknown so far, free of charge.
    pub maybes: u32,
    /// User exceptions charged so far.
    pub errors: u32,
}

/// What the hub is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A user submits. Answered by [`Reply`] when stored.
    Submit(Submit),
    /// A user cancels tasks of his own. Answered when every record is stored.
    Cancel {
        /// Who asks.
        request: RequestId,
        /// The tasks; live or not.
        tasks: Vec<TaskId>,
    },
    /// A user asks why a task stands where it stands. Answered by [`Reply::Explained`].
    Explain {
        /// Who asks.
        request: RequestId,
        /// The task.
        task: TaskId,
    },
    /// An endpoint was registered (or a deleted id is known again): it may connect and be given tasks.
    EndpointAdded {
        /// Which.
        endpoint: EndpointId,
    },
    /// A user deletes an endpoint: its live tasks end first (F37).
    DeleteEndpoint {
        /// Who asks.
        request: RequestId,
        /// Which.
        endpoint: EndpointId,
    },
    /// The store did what was asked: it is on disk.
    Stored {
        /// Which write.
        token: Token,
        /// What came of it.
        answer: Answer,
    },
    /// The store could not write; nothing of this write is on disk.
    StoreFailed {
        /// Which write.
        token: Token,
        /// For people.
        why: String,
    },
    /// A function's body from the store; `None`: there is none.
    Body {
        /// Which.
        hash: Hash,
        /// The body.
        body: Option<Bytes>,
    },
    /// A task's arguments from the store; `None`: there are none.
    Args {
        /// Which.
        task: TaskId,
        /// The arguments.
        args: Option<Bytes>,
    },
    /// What a user granted to the function of this body is another from now on.
    Granted {
        /// Whose secrets.
        user: UserId,
        /// To which body.
        hash: Hash,
        /// Whether anything still is.
        granted: bool,
    },
    /// Secrets of calls from the store; none: nothing is granted any more. Or why such calls may not run there.
    Secrets {
        /// Whose.
        user: UserId,
        /// For which body.
        hash: Hash,
        /// Where.
        endpoint: EndpointId,
        /// The secrets.
        found: Result<Secrets, Box<Failure>>,
    },
    /// A message of a connection whose key belongs to `endpoint`.
    Message {
        /// The connection.
        conn: ConnId,
        /// The endpoint that owns the connection's key (F2): all it may speak of.
        endpoint: EndpointId,
        /// The message.
        message: Message,
    },
    /// Sending to this connection failed: its session is over.
    Unreachable {
        /// Which.
        conn: ConnId,
    },
    /// The key of this endpoint was revoked: its session is closed, its tasks stay.
    Revoked {
        /// Which.
        endpoint: EndpointId,
    },
    /// Messages of peers were left waiting until now: their silence says nothing (F34).
    Deaf,
    /// A deadline of [`next_deadline`](super::Hub::next_deadline) may have come.
    Tick,
}

/// One write. Writes of one round may share a transaction; their order is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Append accepted tasks, all or none.
    Accept {
        /// The user.
        user: UserId,
        /// Their group.
        group: GroupId,
        /// The tasks.
        tasks: Vec<TaskSpec>,
    },
    /// Write the terminal record if the task is live (F24).
    End {
        /// The task.
        task: TaskId,
        /// Whose.
        user: UserId,
        /// The record.
        ending: Ending,
    },
    /// Write what a live task has been charged so far (F17): absolute values.
    Charge {
        /// The task.
        task: TaskId,
        /// Losses that count.
        losses: u32,
        /// Losses whose start is unknown.
        maybes: u32,
        /// User exceptions.
        errors: u32,
    },
    /// Remember the highest generation seen (F5), and what its manager says of its workers.
    Generation {
        /// Of this endpoint.
        endpoint: EndpointId,
        /// The generation.
        generation: u64,
        /// The workers' Python: results of another one are not those of equal calls.
        python: String,
        /// It takes calls of others than the endpoint's owner.
        guests: bool,
    },
    /// Mark the endpoint deleted.
    DeleteEndpoint {
        /// Which.
        endpoint: EndpointId,
    },
}

/// What the store says of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Accepted. What is named here is not to be queued.
    Accepted {
        /// The tasks that are not new: they were there already with the same bytes, live or ended.
        known: Vec<TaskId>,
        /// New tasks whose result was memoized: they ended in the same write, with success.
        hits: Vec<TaskId>,
    },
    /// Not accepted, none of them: this task id exists with other bytes, or its group is someone else's.
    Conflict {
        /// The task.
        task: TaskId,
    },
    /// The terminal record is written; the user's sequence number of it.
    Ended {
        /// Cursor position of this record in its user's stream.
        sequence: u64,
    },
    /// The task had ended before: with this.
    AlreadyEnded {
        /// The recorded end.
        state: TaskState,
    },
    /// No such task.
    Unknown,
    /// This write can never succeed, while others can: repeating it is of no use.
    Refused {
        /// For people.
        why: String,
    },
    /// Done.
    Done,
}

/// Whose live tasks have reached their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the user who asks.
    User,
    /// Those of all users.
    Service,
}

/// The answer to a request: leaves only after `Stored` (a promise).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// All tasks are on disk.
    Accepted,
    /// This task id exists with other bytes; nothing was accepted.
    Conflict {
        /// The task.
        task: TaskId,
    },
    /// No such endpoint (any more); nothing was accepted.
    NoEndpoint {
        /// Which.
        endpoint: EndpointId,
    },
    /// As many tasks live as may; nothing was accepted, try later.
    Full {
        /// Whose tasks.
        whose: Whose,
        /// How many live.
        live: usize,
        /// How many may.
        limit: usize,
    },
    /// The store cannot be written now; nothing was accepted, try later.
    Unavailable {
        /// For people.
        why: String,
    },
    /// The end of each task, in the order asked; `None`: no such task.
    Cancelled {
        /// Task and its terminal state.
        tasks: Vec<(TaskId, Option<TaskState>)>,
    },
    /// The endpoint is deleted.
    Deleted,
    /// Where a task stands, and at its endpoint; `None`: it is not live, ask the store.
    Explained(Option<Box<super::Explanation>>),
}

/// What the hub counts; the driver adds them up for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Tasks accepted.
    Accepted,
    /// Submits refused since as many tasks live as may.
    Refused,
    /// Tasks ended in success.
    Succeeded,
    /// Those of them that had a memoized result and were never sent.
    MemoHits,
    /// Tasks ended in failure.
    Failed,
    /// Tasks cancelled.
    Cancelled,
    /// Attempts sent.
    Dispatched,
    /// Results that were duplicates or came too late.
    DuplicateResults,
    /// Losses charged.
    Losses,
    /// Messages dropped because they were not of the current session, or broke the protocol.
    DroppedMessages,
    /// Sessions opened.
    Sessions,
}

/// What the hub asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this; answer with `Stored` or `StoreFailed`.
    Store {
        /// Number of the write.
        token: Token,
        /// The write.
        op: Op,
    },
    /// Fetch a function's body; answer with `Body`.
    LoadBody {
        /// Which.
        hash: Hash,
    },
    /// Fetch a task's arguments; answer with `Args`.
    LoadArgs {
        /// Which.
        task: TaskId,
    },
    /// Fetch the secrets of calls; answer with `Secrets`.
    LoadSecrets {
        /// Whose.
        user: UserId,
        /// For which body.
        hash: Hash,
        /// Where.
        endpoint: EndpointId,
    },
    /// Send this; answer a failure with `Unreachable`.
    Send {
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
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// New terminal records of this user are on disk: wake who waits for them.
    Bell {
        /// Whose.
        user: UserId,
    },
    /// Add to a counter.
    Count {
        /// Which.
        counter: Counter,
        /// How much.
        by: u64,
    },
    /// Say this in the log.
    Log {
        /// The endpoint concerned.
        endpoint: EndpointId,
        /// One sentence.
        text: String,
    },
}
