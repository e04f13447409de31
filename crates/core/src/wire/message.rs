//! Messages and their items (FABRIC §2): named fields, unknown fields skipped. What is said of every task is written by
//! `short` instead.

use super::blob::Blob;
use crate::container::Container;
use crate::id::{BlockId, ContainerId, EndpointId, ExecutorId, Hash, ManagerId, TaskId, UserId, WorkerId};
use crate::limits;
use crate::resources::Resources;
use crate::secrets::Secrets;
use crate::task::{Begun, Failure, Outcome};
use crate::timings::Timings;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The head of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The oldest wire version whose readers understand the message.
    pub v: u8,
    /// The session: random, chosen by the connector.
    pub sid: u64,
    /// Place of this message in its session and direction: 0, 1, 2, … A bare `Ping`, `Reset` or `Bye` repeats the last.
    pub seq: u64,
    /// How many of the peer's messages were handled: the `seq` expected next.
    pub ack: u64,
}

/// One message: what a driver sends to one peer in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The head.
    pub envelope: Envelope,
    /// The items, in order.
    pub items: Vec<Item>,
}

/// One permission to run a task once: `epoch << 32 | n`, strictly rising per task, made only by the hub (F14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u64);

impl Attempt {
    /// The attempt `n` of service life `epoch`.
    #[must_use]
    pub const fn new(epoch: u32, n: u32) -> Self {
        Self(((epoch as u64) << 32) | n as u64)
    }
}

/// How far a held attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Not with a worker yet, or in a worker's pipe.
    Waiting,
    /// A worker runs it.
    Running,
    /// It ended and the end is not acknowledged.
    Finished,
}

/// One held attempt, as `Hello` and `Held` list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// How far it is.
    pub stage: Stage,
    /// Whether it began.
    pub begun: Begun,
}

/// One life of a connector process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// A manager: its endpoint and its incarnation.
    Manager {
        /// The endpoint it manages.
        endpoint: EndpointId,
        /// Raised under the endpoint's lease before a manager opens a socket.
        generation: u64,
        /// This process.
        manager: ManagerId,
    },
    /// An executor: its id is its incarnation.
    Executor {
        /// The executor.
        executor: ExecutorId,
    },
}

/// The first words of a session; pages until `last`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest wire version the connector speaks.
    pub proto_min: u8,
    /// Newest wire version the connector speaks.
    pub proto_max: u8,
    /// Software and version, for people.
    pub software: String,
    /// Who connects.
    pub peer: Peer,
    /// Rises with each connection of one process (F4).
    pub connection: u64,
    /// The node's name.
    pub host: String,
    /// `major.minor` of the workers' Python; empty while unknown.
    pub python: String,
    /// One page of everything held (F7).
    pub held: Vec<Holding>,
    /// This is the last page.
    pub last: bool,
    /// Nothing else can still appear (F8).
    pub complete: bool,
    /// What the connector can take.
    pub capacity: Capacity,
    /// What an executor has in total.
    #[serde(default, skip_serializing_if = "Resources::is_none")]
    pub has: Resources,
    /// Of a manager: its endpoint takes calls of others than its owner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guests: bool,
    /// Function bodies it has, at most `HELLO_HASHES`.
    pub have_functions: Vec<Hash>,
}

impl Hello {
    /// The same with its texts within their limits, whatever the peer sent.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        for text in [&mut self.software, &mut self.host, &mut self.python] {
            *text = cut(text, limits::NAME_BYTES);
        }
        self.capacity = self.capacity.within_limits();
        self
    }
}

/// Where an attempt is at its endpoint, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placed {
    /// At which executor; `None`: none has it yet.
    pub executor: Option<ExecutorId>,
    /// The node of that.
    pub host: String,
    /// The block of that, as far as it is known.
    pub block: Option<BlockId>,
    /// Why there, or what it waits for: the end of a sentence.
    pub why: String,
}

impl Placed {
    /// The same with its texts within their limits, whatever the peer sent.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        self.host = cut(&self.host, limits::NAME_BYTES);
        self.why = cut(&self.why, limits::TROUBLE_BYTES);
        self
    }
}

/// What a connector can take: absolute values, never differences (F25).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Attempts it may hold.
    pub credit_tasks: u32,
    /// Argument bytes it may hold.
    pub credit_bytes: u64,
    /// Workers it may run.
    pub slots_total: u32,
    /// Workers idle or not started yet.
    pub slots_free: u32,
    /// Idle workers ready in a container, by container.
    #[serde(default)]
    pub warm: Vec<Warm>,
    /// Why it can do less than it should, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// What it has asked its provider for, where that is not always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
}

/// Requests of an endpoint to its provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Those that run.
    pub running: u32,
    /// Those that wait.
    pub waiting: u32,
    /// Most at once.
    pub most: u32,
    /// What those that wait wait for, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Capacity {
    /// The same with its list and text within their limits, whatever the peer sent.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        self.warm.truncate(limits::WARM_CONTAINERS);
        self.degraded = self.degraded.map(|why| cut(&why, limits::TEXT_BYTES));
        if let Some(blocks) = &mut self.blocks {
            blocks.reason = blocks.reason.take().map(|why| cut(&why, limits::TEXT_BYTES));
        }
        self
    }
}

/// The first characters of `text`, at most `bytes` bytes of them.
fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

/// Workers of one container on one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// The container; `None` is the endpoint's own environment.
    pub container: Option<ContainerId>,
    /// Workers running in it.
    pub warm: u32,
    /// Of these, idle.
    pub free: u32,
}

/// Attempts that appeared with a late executor (F8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The attempts.
    pub held: Vec<Holding>,
    /// The adoption window is closed.
    pub complete: bool,
    /// Every executor of the hints registered again: what is not listed never started.
    pub accounted: bool,
}

/// Permission to run one attempt once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assign {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// Whose task it is: workers are never shared between users.
    pub user: UserId,
    /// The function's body.
    pub hash: Hash,
    /// Where to run it.
    pub container: Option<Arc<Container>>,
    /// What it needs of the node; `None`: one slot.
    pub resources: Option<Arc<Resources>>,
    /// The serialized arguments.
    pub args: Blob,
    /// Its secrets; `None`: it has none.
    pub secrets: Option<Secrets>,
    /// Time left until its deadline.
    pub ttl_ms: u64,
    /// Longest run.
    pub timeout_ms: Option<u64>,
}

impl Assign {
    /// The container it runs in; `None` is the endpoint's own environment.
    #[must_use]
    pub fn container_id(&self) -> Option<ContainerId> {
        self.container.as_ref().map(|container| container.container)
    }

    /// What it needs of the node.
    #[must_use]
    pub fn asks(&self) -> Resources {
        self.resources.as_deref().copied().unwrap_or_default()
    }
}

/// How an attempt ended; kept by its owner until `Ack` (F20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: Attempt,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it had begun.
    pub begun: Begun,
    /// The serialized result, or the serialized exception; may be empty.
    pub payload: Blob,
    /// Why, for all but a success.
    pub failure: Option<Box<Failure>>,
    /// Tail of what it wrote.
    pub output: Blob,
    /// Run time in the worker.
    pub run_ns: u64,
    /// Where the rest of its time went; each hop adds what it knows.
    pub timings: Timings,
}

impl Done {
    /// An end with nothing but its reason.
    #[must_use]
    pub fn without_result(
        task: TaskId,
        attempt: Attempt,
        outcome: Outcome,
        begun: Begun,
        failure: Option<Failure>,
    ) -> Self {
        Self {
            task,
            attempt,
            outcome,
            begun,
            payload: Blob::empty(),
            failure: failure.map(Box::new),
            output: Blob::empty(),
            run_ns: 0,
            timings: Timings::default(),
        }
    }
}

/// Why a `Hello` was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedReason {
    /// Another manager of a higher generation is in charge.
    Superseded,
    /// An older connection of the same process.
    Stale,
    /// The endpoint was deleted.
    Deleted,
    /// The key was revoked, or owns no such endpoint.
    Revoked,
    /// No wire version in common.
    Version,
    /// Another manager of this generation has a session now.
    Busy,
}

/// Why a session was ended by its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetReason {
    /// No such session here.
    UnknownSession,
    /// A message is missing.
    Gap,
    /// The peer does not take what is sent.
    Stalled,
    /// Something that the protocol does not allow.
    Protocol,
}

/// One thing said. What `serde` skips is written by `short`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Opens a session.
    Hello(Box<Hello>),
    /// The session is open.
    Welcome {
        /// The wire version to speak.
        proto: u8,
        /// The acceptor's life: the service's epoch, or the manager's generation.
        epoch: u64,
        /// Send something at least this often.
        heartbeat_ms: u64,
        /// Silence beyond this ends the session.
        threshold_ms: u64,
        /// Result bytes the connector may hold unacknowledged (F28).
        result_window: u64,
    },
    /// Turned away.
    Refused {
        /// Why.
        reason: RefusedReason,
        /// Stop and exit with the text; else retry with back-off.
        is_final: bool,
        /// For people.
        text: String,
        /// Where the one in charge runs.
        other_host: Option<String>,
        /// Highest generation seen.
        seen_generation: u64,
        /// Whether that generation's manager has a session now.
        live: bool,
    },
    /// This session is over.
    Reset {
        /// Why.
        reason: ResetReason,
    },
    /// Late holdings.
    Held(Held),
    /// What the connector can take now.
    Capacity(Capacity),
    /// Run this.
    #[serde(skip)]
    Assign(Box<Assign>),
    /// A worker has begun.
    #[serde(skip)]
    Started {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// Which worker.
        worker: WorkerId,
    },
    /// An attempt ended.
    #[serde(skip)]
    Result(Box<Done>),
    /// The store has it, or it will never matter: forget it (F21, F23).
    #[serde(skip)]
    Ack {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// The outcome that is acknowledged.
        outcome: Outcome,
    },
    /// Stop it.
    Cancel {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// SIGTERM to SIGKILL.
        grace_ms: u64,
    },
    /// Where is it, and why there? Answered by `Located`.
    Locate {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
    },
    /// Where an attempt is.
    Located {
        /// The task.
        task: TaskId,
        /// Its attempt.
        attempt: Attempt,
        /// Where; `None`: it is not here.
        place: Option<Box<Placed>>,
    },
    /// A body is missing here.
    WantFunction {
        /// Which.
        hash: Hash,
    },
    /// A body, or the news that there is none (F35).
    Function {
        /// Which.
        hash: Hash,
        /// The body; `None`: gone.
        body: Option<Blob>,
    },
    /// One part of a payload that a later item names by its stream id.
    Part {
        /// The stream.
        stream: u64,
        /// Size of the whole payload.
        total: u64,
        /// The next bytes of it.
        data: Blob,
    },
    /// Alive; the envelope's `ack` is the news.
    Ping,
    /// Take no more; return what has not started (F38).
    Drain {
        /// Running calls may finish until then.
        grace_ms: u64,
    },
    /// Last item of a session that ends in order.
    Bye {
        /// Why, for people.
        reason: String,
    },
}

impl Item {
    /// True for what travels outside the window (F27).
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        matches!(self, Self::Ping | Self::Reset { .. } | Self::Bye { .. })
    }

    /// True for what nobody waits for: it may wait for company (F39).
    #[must_use]
    pub const fn may_linger(&self) -> bool {
        matches!(self, Self::Ack { .. } | Self::Started { .. })
    }

    /// About what it takes in a message, in bytes, all of its texts and lists included.
    #[must_use]
    pub fn weight(&self) -> usize {
        const BASE: usize = 128;
        const HOLDING: usize = 80;
        const HASH: usize = 34;
        let payload = self.blob().map_or(0, Blob::len);
        BASE + payload
            + match self {
                Self::Hello(hello) => hello.held.len() * HOLDING + hello.have_functions.len() * HASH,
                Self::Held(held) => held.held.len() * HOLDING,
                Self::Assign(assign) => {
                    assign.container.as_ref().map_or(0, |image| image.location.len())
                        + assign.secrets.as_ref().map_or(0, Secrets::len)
                }
                Self::Result(done) => {
                    let texts = |failure: &Failure| {
                        failure.message.len() + failure.traceback.as_ref().map_or(0, String::len)
                    };
                    done.output.len() + done.failure.as_deref().map_or(0, texts)
                }
                Self::Located { place: Some(place), .. } => place.host.len() + place.why.len(),
                Self::Refused { text, .. } | Self::Bye { reason: text } => text.len(),
                _ => 0,
            }
    }

    /// The item's large payload, if it can have one.
    #[must_use]
    pub fn blob(&self) -> Option<&Blob> {
        match self {
            Self::Assign(assign) => Some(&assign.args),
            Self::Result(done) => Some(&done.payload),
            Self::Function { body, .. } => body.as_ref(),
            Self::Part { data, .. } => Some(data),
            _ => None,
        }
    }

    /// The item's large payload, to be moved elsewhere or brought back.
    pub fn blob_mut(&mut self) -> Option<&mut Blob> {
        match self {
            Self::Assign(assign) => Some(&mut assign.args),
            Self::Result(done) => Some(&mut done.payload),
            Self::Function { body, .. } => body.as_mut(),
            Self::Part { data, .. } => Some(data),
            _ => None,
        }
    }
}
