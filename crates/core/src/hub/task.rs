//! The hub's record of a live task and the states it passes through (FABRIC §5, "Hub, task").
//!
//! Holds what dispatch, retries and deadlines need of a task and no more: the store has the rest.

use super::event::{Recovered, Token};
use super::lease::Lease;
use super::queue::Links;
use super::retry::Charges;
use crate::container::Container;
use crate::id::{Hash, TaskId, UserId};
use crate::limits;
use crate::resources::Resources;
use crate::task::{Args, Failure, TaskSpec};
use crate::time::{Fine, Mono, Now};
use crate::timings::Timings;
use crate::wire::Attempt;
use bytes::Bytes;
use std::sync::Arc;

/// What the hub is doing with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its acceptance is being written.
    Accepting,
    /// No attempt is current: it waits to be sent, or for its body or arguments.
    Queued,
    /// `Task::attempt` is current.
    Sent,
    /// A loss or an error is being charged; a success may still replace that write.
    Charging,
    /// Its end is being written.
    Ending,
}

/// The list of its endpoint that a task is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In none.
    Nowhere,
    /// Accepted in an earlier service life, before the endpoint's first `complete` (F11).
    Parked,
    /// Waiting to be sent.
    Queue,
    /// Waiting for its body or its arguments from the store.
    Loading,
    /// Its current attempt is leased.
    Held,
}

/// One live task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) user: UserId,
    pub(super) hash: Hash,
    pub(super) container: Option<Arc<Container>>,
    pub(super) resources: Option<Arc<Resources>>,
    pub(super) args: Args,
    /// Index of its endpoint.
    pub(super) endpoint: u32,
    pub(super) phase: Phase,
    pub(super) place: Place,
    /// Accepted in an earlier service life (F11).
    pub(super) old: bool,
    /// Its deadline passed while a write was under way (F33).
    pub(super) expired: bool,
    pub(super) links: [Links; 2],
    /// The write under way.
    pub(super) token: Token,
    /// The current attempt; meaningless unless `Sent`, `Charging` or `Ending`.
    pub(super) attempt: Attempt,
    /// The newest attempt whose end was judged: it and those before it are not adopted as finished (F10, F15).
    pub(super) judged: Attempt,
    /// The lease of the current attempt: there exactly if `place` is `Held`.
    pub(super) lease: Option<Lease>,
    /// Attempts made in this service life (F14).
    pub(super) made: u32,
    pub(super) charges: Charges,
    pub(super) retries: u32,
    pub(super) retry_on_error: u32,
    /// Executions that are known to have started.
    pub(super) starts: u32,
    /// Why it was queued again last, once it was charged for something: for people, in memory only.
    pub(super) last_loss: Option<Box<Failure>>,
    /// Longest run; `u64::MAX` is none.
    timeout_ms: u64,
    pub(super) deadline: Mono,
    /// The bucket of its deadline.
    pub(super) due: Mono,
    /// How long it took to be stored, how long it waited for its endpoint, and since when it is where it is.
    store_ns: u64,
    queue_ns: u64,
    since: Fine,
}

impl Task {
    /// A record of a task that is being accepted.
    pub(super) fn new(spec: &TaskSpec, endpoint: u32, token: Token, now: Now) -> Self {
        let args = match &spec.args {
            Args::Here(bytes) if bytes.len() <= limits::HELD_BYTES => {
                // A copy: a slice would keep the whole request alive for as long as this task lives (SPIKE §8).
                Args::Here(Bytes::copy_from_slice(bytes))
            }
            args => args.clone(),
        };
        Self {
            id: spec.task,
            user: spec.user,
            hash: spec.hash,
            container: spec.container.clone(),
            resources: spec.resources.clone(),
            args,
            endpoint,
            phase: Phase::Accepting,
            place: Place::Nowhere,
            old: false,
            expired: false,
            links: [Links::default(); 2],
            token,
            attempt: Attempt(0),
            judged: Attempt(0),
            lease: None,
            made: 0,
            charges: Charges::default(),
            retries: spec.retries,
            retry_on_error: spec.retry_on_error,
            starts: 0,
            last_loss: None,
            timeout_ms: spec.timeout_ms.unwrap_or(u64::MAX),
            deadline: deadline(spec, now),
            due: Mono(0),
            store_ns: 0,
            queue_ns: 0,
            since: now.fine,
        }
    }

    /// A record of a task that an earlier service life accepted.
    pub(super) fn recovered(task: &Recovered, endpoint: u32, now: Now) -> Self {
        let charges = Charges { losses: task.losses, maybes: task.maybes, errors: task.errors };
        Self {
            phase: Phase::Queued,
            old: true,
            charges,
            starts: task.losses.saturating_add(task.errors),
            ..Self::new(&task.spec, endpoint, Token(0), now)
        }
    }

    /// It is on disk.
    pub(super) const fn was_stored(&mut self, now: Fine) {
        self.store_ns = now.since(self.since);
        self.since = now;
    }

    /// It goes to its endpoint.
    pub(super) const fn goes(&mut self, now: Fine) {
        self.queue_ns = self.queue_ns.saturating_add(now.since(self.since));
        self.since = now;
    }

    /// What the service knows of its time when a result of its current attempt is there.
    pub(super) const fn time(&self, now: Fine, timings: &mut Timings) {
        timings.store = self.store_ns;
        timings.queue = self.queue_ns;
        timings.endpoint = now.since(self.since);
    }

    pub(super) fn timeout_ms(&self) -> Option<u64> {
        (self.timeout_ms != u64::MAX).then_some(self.timeout_ms)
    }

    /// Whether a write about it is under way (F10, F15, F22).
    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.phase, Phase::Charging | Phase::Ending)
    }

    /// Whether the current attempt is known to have begun.
    pub(super) fn has_begun(&self) -> bool {
        self.lease.is_some_and(|lease| lease.begun)
    }

    /// Whether it was at its endpoint, as far as this service life knows.
    pub(super) const fn was_sent(&self) -> bool {
        self.made > 0 || self.attempt.0 > 0
    }

    /// Drops arguments that are too large to wait in memory; the store has them.
    pub(super) fn drop_large_args(&mut self) {
        if self.args.len() > limits::HELD_BYTES {
            self.args = Args::Stored(self.args.len());
        }
    }

    /// Gives its memory back.
    pub(super) fn clear(&mut self) {
        self.args = Args::Stored(0);
        self.container = None;
        self.resources = None;
        self.token = Token(0);
        self.lease = None;
        self.last_loss = None;
    }
}

/// When the task's time is up on the hub's own clock (F32): never later than asked for, whatever the wall clock did.
fn deadline(spec: &TaskSpec, now: Now) -> Mono {
    let original = spec.deadline.0.saturating_sub(spec.submitted.0);
    now.mono.after(spec.deadline.0.saturating_sub(now.wall.0).min(original))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_its_place_in_the_map_takes_less_than_400_bytes() {
        let record = size_of::<Task>();
        // One entry of the map at its emptiest, and the copy of 30 bytes of arguments.
        let around = (size_of::<(TaskId, u32)>() + 1) * 16 / 7 + 48;
        assert!(record + around <= 400, "{record} + {around}");
    }
}
