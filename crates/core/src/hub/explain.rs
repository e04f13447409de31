//! Why a live task stands where it stands, for the person who waits for it: reads only.

use super::endpoint::Endpoint;
use super::slab::Slot;
use super::task::{Phase, Place, Task};
use super::{EndpointStatus, Hub};
use crate::id::{EndpointId, TaskId};
use crate::limits;
use crate::resources::Resources;
use crate::task::{Failure, TaskState};
use crate::time::{Now, Wall};
use crate::wire::Placed;
use std::sync::Arc;

/// What a live task waits for, or does: the most telling of what is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its acceptance is being written.
    Accepting,
    /// The store cannot be written, and the task's next step is a write.
    StoreFailing {
        /// Why.
        why: String,
    },
    /// Its endpoint has no session.
    EndpointOffline {
        /// It holds the task all the same, as far as is known.
        holds_it: bool,
    },
    /// Its endpoint takes no work for now, and says why.
    EndpointDegraded {
        /// Why, in the endpoint's words.
        why: String,
    },
    /// Its endpoint is back and has not said yet all that it holds (F8, F11).
    EndpointSettling,
    /// Its endpoint holds as many tasks as it takes; it waits for its turn.
    Turn {
        /// Tasks before it in the queue; `None`: more than are counted ([`limits::EXPLAIN_STEPS`]).
        ahead: Option<usize>,
    },
    /// Its function's body or its arguments are being read from the store.
    Loading,
    /// Its endpoint has it and no node.
    Node {
        /// What the blocks that were asked for wait for, in the scheduler's words.
        waits: Option<String>,
    },
    /// Its endpoint has it and no worker for it yet.
    Worker {
        /// What the further blocks that were asked for wait for.
        waits: Option<String>,
        /// Workers in its container that are ready, and how many of these are idle; `None`: it needs no container.
        warm: Option<(u32, u32)>,
    },
    /// A worker runs it.
    Running {
        /// Since when; `None`: it ran before this service, or the session, began.
        since: Option<Wall>,
    },
    /// An attempt was lost or failed: that is being written, then the task waits again.
    Charging,
    /// Its end is being written.
    Ending,
}

/// A live task, as far as its user may wonder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it stands.
    pub state: TaskState,
    /// What it asks for, if for anything.
    pub resources: Option<Arc<Resources>>,
    /// What it waits for.
    pub reason: Reason,
    /// A user asked for its end, and that waits for the write under way.
    pub cancelling: bool,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// How that is.
    pub status: EndpointStatus,
    /// When it ends whatever happens.
    pub deadline: Wall,
    /// Executions that are known to have started.
    pub starts: u32,
    /// Losses charged, of [`Explanation::retries`].
    pub losses: u32,
    /// Losses allowed.
    pub retries: u32,
    /// Losses whose start is unknown, free of charge so far.
    pub maybes: u32,
    /// User exceptions charged, of [`Explanation::retry_on_error`].
    pub errors: u32,
    /// User exceptions allowed.
    pub retry_on_error: u32,
    /// Where it is at its endpoint, if that said so: [`Event::Explain`](super::Event::Explain).
    pub place: Option<Box<Placed>>,
    /// Why it was queued again last, in this life of the service.
    pub last_loss: Option<Failure>,
}

impl Hub {
    /// Why a live task stands where it stands; `None`: not live, ask the store.
    #[must_use]
    pub fn explain(&self, id: &TaskId, now: Now) -> Option<Explanation> {
        let slot = self.tasks.find(id)?;
        let task = &self.tasks[slot];
        let endpoint = &self.endpoints[task.endpoint as usize];
        Some(Explanation {
            state: self.state(id)?,
            resources: task.resources.clone(),
            reason: self.reason(slot, task, endpoint),
            cancelling: self.cancels.waits_for(id),
            endpoint: endpoint.id,
            status: endpoint.status(),
            deadline: Wall(now.wall.0 + task.deadline.since(now.mono)),
            starts: task.starts,
            losses: task.charges.losses,
            retries: task.retries,
            maybes: task.charges.maybes,
            errors: task.charges.errors,
            retry_on_error: task.retry_on_error,
            place: None,
            last_loss: task.last_loss.as_deref().cloned(),
        })
    }

    fn reason(&self, slot: Slot, task: &Task, endpoint: &Endpoint) -> Reason {
        let writes = matches!(task.phase, Phase::Accepting | Phase::Charging | Phase::Ending);
        if let (true, Some(why)) = (writes, self.trouble.why()) {
            return Reason::StoreFailing { why: why.to_owned() };
        }
        match task.phase {
            Phase::Accepting => Reason::Accepting,
            Phase::Charging => Reason::Charging,
            Phase::Ending => Reason::Ending,
            Phase::Queued | Phase::Sent => self.waits_at(slot, task, endpoint),
        }
    }

    fn waits_at(&self, slot: Slot, task: &Task, endpoint: &Endpoint) -> Reason {
        let holds_it = task.place == Place::Held;
        let Some(capacity) = endpoint.live_capacity() else { return Reason::EndpointOffline { holds_it } };
        let waits = || capacity.blocks.as_ref().and_then(|blocks| blocks.reason.clone());
        match (task.place, &capacity.degraded) {
            (Place::Held, _) if task.has_begun() => {
                Reason::Running { since: task.lease.and_then(|lease| lease.begun_at) }
            }
            (_, Some(why)) => Reason::EndpointDegraded { why: why.clone() },
            (Place::Held, _) if capacity.slots_total == 0 => Reason::Node { waits: waits() },
            (Place::Held, _) => Reason::Worker {
                waits: waits(),
                warm: task.container.as_ref().map(|container| {
                    let mut here =
                        capacity.warm.iter().filter(|one| one.container == Some(container.container));
                    here.next().map_or((0, 0), |one| (one.warm, one.free))
                }),
            },
            (Place::Loading, _) => Reason::Loading,
            _ if !endpoint.completed => Reason::EndpointSettling,
            _ => Reason::Turn { ahead: endpoint.queue.ahead(&self.tasks, slot, limits::EXPLAIN_STEPS) },
        }
    }
}
