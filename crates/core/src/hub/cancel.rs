//! Cancel (F30, F31): decided in the store at once, told to the user and to the endpoint only after `Stored`.

use super::event::{Action, Answer, Reply, RequestId};
use super::failure;
use super::task::Phase;
use super::write::Write;
use super::{Cx, Hub};
use crate::id::TaskId;
use crate::task::TaskState;
use std::collections::BTreeMap;

/// One request that waits for the ends of its tasks.
#[derive(Debug)]
struct Request {
    tasks: Vec<(TaskId, Option<TaskState>)>,
    missing: usize,
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    requests: BTreeMap<RequestId, Request>,
    /// Which entry of which request waits for a task.
    waiting: BTreeMap<TaskId, Vec<(RequestId, usize)>>,
}

impl Cancels {
    /// Requests, and tasks that they wait for.
    pub(super) fn waits(&self) -> usize {
        self.requests.len() + self.waiting.len()
    }

    pub(super) fn waits_for(&self, task: &TaskId) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(task)
    }
}

impl Hub {
    pub(super) fn on_cancel(&mut self, request: RequestId, tasks: Vec<TaskId>, cx: &mut Cx<'_>) {
        if tasks.is_empty() {
            cx.out.push(Action::Reply { request, reply: Reply::Cancelled { tasks: Vec::new() } });
            return;
        }
        let entries = tasks.iter().map(|task| (*task, None)).collect();
        self.cancels.requests.insert(request, Request { tasks: entries, missing: tasks.len() });
        for (index, task) in tasks.into_iter().enumerate() {
            let waiting = self.cancels.waiting.entry(task).or_default();
            waiting.push((request, index));
            if waiting.len() > 1 {
                continue;
            }
            let Some(slot) = self.tasks.find(&task) else {
                self.ask(task, cx);
                continue;
            };
            match self.tasks[slot].phase {
                // A cancel that finds a write under way waits for it and reports what that says (F30).
                Phase::Accepting | Phase::Charging | Phase::Ending => {}
                Phase::Queued | Phase::Sent => {
                    self.end_with(slot, TaskState::Cancelled, failure::cancelled(), cx);
                }
            }
        }
    }

    /// Asks the store how a task ended that is not live here.
    pub(super) fn ask(&mut self, task: TaskId, cx: &mut Cx<'_>) {
        let ending = failure::ending(TaskState::Cancelled, failure::cancelled(), 0, cx.now.wall);
        self.write(Write::Ask { task, ending }, cx);
    }

    pub(super) fn on_asked(&mut self, task: TaskId, answer: &Answer, cx: &mut Cx<'_>) {
        let state = match answer {
            Answer::Ended { .. } => Some(TaskState::Cancelled),
            Answer::AlreadyEnded { state } => Some(*state),
            Answer::Accepted { .. }
            | Answer::Conflict { .. }
            | Answer::Unknown
            | Answer::Refused { .. }
            | Answer::Done => None,
        };
        // It may have become live since it was asked for; the store's word stands.
        let live = self.tasks.find(&task).filter(|&slot| self.tasks[slot].phase != Phase::Accepting);
        match (live, state) {
            (Some(slot), Some(state)) if !self.tasks[slot].is_writing() => self.finish(slot, state, None, cx),
            _ => self.resolve_cancels(&task, state, cx),
        }
    }

    /// The task's end is known: answers each request that waited for it alone.
    pub(super) fn resolve_cancels(&mut self, task: &TaskId, state: Option<TaskState>, cx: &mut Cx<'_>) {
        if self.cancels.waiting.is_empty() {
            return;
        }
        for (id, index) in self.cancels.waiting.remove(task).unwrap_or_default() {
            let Some(request) = self.cancels.requests.get_mut(&id) else { continue };
            if let Some(entry) = request.tasks.get_mut(index) {
                entry.1 = state;
            }
            request.missing -= 1;
            if request.missing == 0
                && let Some(request) = self.cancels.requests.remove(&id)
            {
                let reply = Reply::Cancelled { tasks: request.tasks };
                cx.out.push(Action::Reply { request: id, reply });
            }
        }
    }
}
