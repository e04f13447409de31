//! The users: they submit batches, ask again with the same ids when no answer came, cancel, and delete endpoints.

use super::shape::{Call, Calls};
use super::{Due, Note, Pid, Us, World};
use crate::container::{Container, ContainerKind};
use crate::hub::{Event, Reply, RequestId, Submit};
use crate::id::{ContainerId, FunctionId, GroupId, TaskId, UserId};
use crate::task::{Args, TaskSpec};
use crate::time::Wall;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a request asked for.
#[derive(Debug, Clone)]
enum Asked {
    Submit(usize),
    /// The ids of a batch that is accepted already, with other arguments.
    Conflict(usize),
    Cancel(Vec<TaskId>),
    Delete(usize),
}

#[derive(Debug)]
struct Request {
    asked: Asked,
    service: Pid,
    answered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking,
    Accepted,
    Refused,
}

#[derive(Debug)]
struct Batch {
    tasks: Vec<TaskSpec>,
    endpoint: usize,
    state: State,
}

/// All users.
#[derive(Debug, Default)]
pub(super) struct Client {
    batches: Vec<Batch>,
    requests: BTreeMap<RequestId, Request>,
    /// Requests that nobody has answered and that are asked again.
    open: BTreeSet<RequestId>,
    next: u64,
    pub(super) last_submit: Us,
}

/// A request without an answer is repeated after this.
const RETRY_US: Us = 8_000_000;

impl Client {
    /// True if nothing is asked for any more.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty() && self.batches.iter().all(|batch| batch.state != State::Asking)
    }

    /// A request of the living service that it never answered.
    pub(super) fn unanswered(&self, service: Option<Pid>) -> Option<String> {
        let lost = |request: &&Request| !request.answered && Some(request.service) == service;
        self.requests.values().find(lost).map(|request| format!("never answered: {:?}", request.asked))
    }

    /// Tasks of accepted batches.
    fn accepted(&self) -> impl Iterator<Item = &TaskSpec> {
        self.batches.iter().filter(|batch| batch.state == State::Accepted).flat_map(|batch| &batch.tasks)
    }
}

impl World {
    /// Makes the batches and spreads their submits.
    pub(super) fn plan_submits(&mut self) {
        let users: Vec<UserId> = (0..2).map(|_| UserId::from_bytes(self.rng.uuid())).collect();
        let mut left = self.shape.tasks;
        while left > 0 {
            let most = left.min(self.shape.batch) as u64;
            let count = 1 + usize::try_from(self.rng.below(most)).unwrap_or(0);
            left -= count;
            let pick =
                |rng: &mut crate::rng::Rng, len: usize| usize::try_from(rng.below(len as u64)).unwrap_or(0);
            let endpoint = pick(&mut self.rng, self.endpoints.len());
            let user = users[pick(&mut self.rng, 2)];
            let group = GroupId::from_bytes(self.rng.uuid());
            let tasks = (0..count).map(|_| self.make_task(endpoint, user, group)).collect();
            self.client.batches.push(Batch { tasks, endpoint, state: State::Asking });
            let delay = self.rng.below(self.shape.submit_ms * 1_000);
            self.client.last_submit = self.client.last_submit.max(self.now + delay);
            self.at(delay, Due::Submit(self.client.batches.len() - 1));
        }
    }

    fn make_task(&mut self, endpoint: usize, user: UserId, group: GroupId) -> TaskSpec {
        let task = TaskId::from_bytes(self.rng.uuid());
        let call = Call::of(&task, self.shape.calls);
        let large = self.rng.below(200) == 0;
        self.has_large_bodies |= large;
        let hash = self.hashes[if large { 2 } else { usize::from(self.rng.below(2) == 0) }];
        let submitted = self.clock().wall;
        self.check.name(task);
        // From its id: no draw, so that a seed's world stays what it was.
        let memoize = self.shape.calls == Calls::Mixed && task.as_bytes()[15].is_multiple_of(4);
        TaskSpec {
            task,
            user,
            group,
            function: FunctionId::from_bytes([1; 16]),
            hash,
            endpoint: self.endpoints[endpoint].id,
            resources: call.asks.filter(|asks| !asks.is_none()).map(Arc::new),
            container: (self.rng.below(5) == 0).then(image),
            args: Args::Here(Call::bytes(&task, call.args_len)),
            retries: call.retries,
            retry_on_error: call.retry_on_error,
            timeout_ms: call.timeout_ms,
            deadline: Wall(submitted.0 + self.shape.submit_ms + call.deadline_ms),
            submitted,
            memoize,
        }
    }

    pub(super) fn submit(&mut self, batch: usize) {
        self.ask(Asked::Submit(batch));
    }

    fn ask(&mut self, asked: Asked) {
        self.client.next += 1;
        let request = RequestId(self.client.next);
        self.client.open.insert(request);
        let delay = RETRY_US + self.soon(2_000_000);
        self.at(delay, Due::Retry(request));
        let service = self.service.as_ref().map_or(Pid(0), |service| service.pid);
        self.client.requests.insert(request, Request { asked: asked.clone(), service, answered: false });
        let event = match asked {
            Asked::Submit(batch) => self.submit_event(request, batch, false),
            Asked::Conflict(batch) => self.submit_event(request, batch, true),
            Asked::Cancel(tasks) => Event::Cancel { request, tasks },
            Asked::Delete(index) => Event::DeleteEndpoint { request, endpoint: self.endpoints[index].id },
        };
        self.post(service, Note::Hub(event));
    }

    fn submit_event(&self, request: RequestId, batch: usize, differing: bool) -> Event {
        let mut tasks = self.client.batches[batch].tasks.clone();
        if differing && let Some(spec) = tasks.last_mut() {
            spec.args = Args::Here(Bytes::from_static(b"other"));
        }
        let (user, group) = (tasks[0].user, tasks[0].group);
        Event::Submit(Submit { request, user, group, tasks })
    }

    pub(super) fn retry(&mut self, request: RequestId) {
        if !self.client.open.remove(&request) {
            return;
        }
        if let Some(asked) = self.client.requests.get(&request).map(|request| request.asked.clone()) {
            self.ask(asked);
        }
    }

    /// The hub answered a request: what it says must be true of the disk (I1, I2).
    pub(super) fn answered(&mut self, request: RequestId, reply: Reply) {
        self.trace(|| format!("S reply {} {reply:?}", request.0));
        let Some(known) = self.client.requests.get_mut(&request) else {
            return self.check.fail("F36", "a reply to a request that was not asked".into());
        };
        if std::mem::replace(&mut known.answered, true) {
            return self.check.fail("I1", format!("request {} is answered twice", request.0));
        }
        let asked = known.asked.clone();
        self.client.open.remove(&request);
        match (asked, reply) {
            (again, Reply::Unavailable { .. }) => {
                self.client.open.insert(request);
                self.check
                    .expect("F22", self.store_fails_until > 0, || "unavailable without a reason".into());
                let _ = again;
                self.at(1_000_000, Due::Retry(request));
            }
            (Asked::Submit(batch), Reply::Accepted) => self.accepted(batch),
            (Asked::Submit(batch) | Asked::Conflict(batch), Reply::NoEndpoint { .. }) => {
                let index = self.client.batches[batch].endpoint;
                let deleted = self.endpoints[index].deleted;
                self.check.expect("F37", deleted, || "no such endpoint, but nobody deleted it".into());
                if self.client.batches[batch].state == State::Asking {
                    self.client.batches[batch].state = State::Refused;
                }
            }
            (Asked::Conflict(_), Reply::Conflict { .. }) => {}
            (Asked::Cancel(tasks), Reply::Cancelled { tasks: answers }) => self.cancelled(&tasks, &answers),
            (Asked::Delete(index), Reply::Deleted) => {
                let endpoint = self.endpoints[index].id;
                let deleted = self.store.deleted(&endpoint);
                self.check.expect("I2", deleted, || "deleted is said before it is on disk".into());
            }
            (asked, reply) => self.check.fail("F36", format!("{asked:?} was answered with {reply:?}")),
        }
    }

    fn accepted(&mut self, batch: usize) {
        let missing =
            self.client.batches[batch].tasks.iter().find(|spec| self.store.record(&spec.task).is_none());
        if let Some(spec) = missing {
            return self.check.fail("I2", format!("{} is accepted and not on disk", spec.task));
        }
        let first = std::mem::replace(&mut self.client.batches[batch].state, State::Accepted);
        if first != State::Accepted {
            match self.rng.below(12) {
                0 => self.ask(Asked::Submit(batch)),
                1 => self.ask(Asked::Conflict(batch)),
                _ => {}
            }
        }
    }

    fn cancelled(&mut self, tasks: &[TaskId], answers: &[(TaskId, Option<crate::task::TaskState>)]) {
        let same = tasks.iter().eq(answers.iter().map(|(task, _)| task));
        self.check.expect("F30", same, || "a cancel is answered for other tasks".into());
        for (task, told) in answers {
            let stored =
                self.store.record(task).and_then(|record| record.ending.as_ref()).map(|end| end.state);
            let known = self.store.record(task).is_some();
            self.check.expect("I1", *told == stored && known == told.is_some(), || {
                format!("a cancel of {task} is told {told:?}, stored is {stored:?}")
            });
        }
    }

    pub(super) fn cancel_some(&mut self, every: u8) {
        let step = usize::from(every) + 1;
        let mut tasks: Vec<TaskId> = self.client.accepted().step_by(step).map(|spec| spec.task).collect();
        if self.rng.below(4) == 0 {
            tasks.push(TaskId::from_bytes(self.rng.uuid()));
        }
        if !tasks.is_empty() {
            self.cancel(tasks);
        }
    }

    pub(super) fn cancel(&mut self, tasks: Vec<TaskId>) {
        self.check.cancel_asked(&tasks);
        self.ask(Asked::Cancel(tasks));
    }

    pub(super) fn delete_endpoint(&mut self, victim: u8) {
        let index = usize::from(victim) % self.endpoints.len();
        if !self.endpoints[index].deleted {
            self.endpoints[index].deleted = true;
            self.check.disturb();
            self.ask(Asked::Delete(index));
        }
    }
}

/// The one container of these worlds.
fn image() -> Arc<Container> {
    let (container, kind) = (ContainerId::from_bytes([2; 16]), ContainerKind::Docker);
    Arc::new(Container { container, kind, location: "python:3".to_owned() })
}
