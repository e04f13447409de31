//! Submit: records are made at once, tasks are queued once the store has them (F36).
//!
//! The store alone judges what is new, known or in conflict. A task that is named again while its first acceptance is
//! still being written is put aside with the second one, whose verdict then stands on its own.

use super::event::{Action, Answer, Counter, Op, Reply, RequestId, Submit, Token, Whose};
use super::slab::Slot;
use super::task::{Phase, Place, Task};
use super::write::Write;
use super::{Cx, Hub, KnownEndpoint, Recovered};
use crate::id::{EndpointId, TaskId, UserId};
use crate::limits;
use crate::task::TaskState;
use crate::time::Now;
use std::collections::BTreeSet;

impl Hub {
    /// A live task of an earlier service life: parked until its endpoint says what it holds (F11, F32).
    pub(super) fn recover(&mut self, task: &Recovered, now: Now) {
        if self.tasks.find(&task.spec.task).is_some() {
            return;
        }
        let id = task.spec.endpoint;
        let known = self.by_id.get(&id).copied();
        let endpoint = known.unwrap_or_else(|| self.add_endpoint(&KnownEndpoint::new(id), now.mono));
        let slot = self.tasks.insert(Task::recovered(task, endpoint, now));
        self.due.add(&mut self.tasks, slot, now.mono);
        let state = &mut self.endpoints[endpoint as usize];
        state.live += 1;
        state.place(&mut self.tasks, slot, Place::Parked);
        if state.deleted {
            self.resume_deletion(endpoint);
        }
    }

    pub(super) fn on_submit(&mut self, submit: Submit, cx: &mut Cx<'_>) {
        let Submit { request, user, group, tasks } = submit;
        if let Some(reply) = self.refuse_submit(&user, &tasks) {
            self.count(Counter::Refused, u64::from(matches!(reply, Reply::Full { .. })));
            cx.out.push(Action::Reply { request, reply });
            return;
        }
        let token = self.writes.next_token();
        let mut created = Vec::with_capacity(tasks.len());
        let mut aside = Vec::new();
        let mut last: Option<(EndpointId, u32)> = None;
        for spec in &tasks {
            let endpoint = match last {
                Some((id, index)) if id == spec.endpoint => index,
                _ => {
                    let Some(&index) = self.by_id.get(&spec.endpoint) else { continue };
                    last = Some((spec.endpoint, index));
                    index
                }
            };
            match self.tasks.find(&spec.task) {
                None => {
                    created.push(self.tasks.insert(Task::new(spec, endpoint, token, cx.now)));
                    self.endpoints[endpoint as usize].live += 1;
                }
                Some(slot) if self.tasks[slot].phase == Phase::Accepting => {
                    if self.tasks[slot].token != token {
                        aside.push(Task::new(spec, endpoint, token, cx.now));
                    }
                }
                Some(_) => {}
            }
        }
        let token = self.writes.add(Write::Accept { request, user, tasks: tasks.len(), created, aside });
        cx.out.push(Action::Store { token, op: Op::Accept { user, group, tasks } });
    }

    fn refuse_submit(&self, user: &UserId, tasks: &[crate::task::TaskSpec]) -> Option<Reply> {
        // F22: while a write must be repeated nothing new is taken on.
        if let Some(why) = self.trouble.why() {
            return Some(Reply::Unavailable { why: why.to_owned() });
        }
        if self.tasks.len() + tasks.len() > limits::LIVE_TASKS {
            let live = self.tasks.len();
            return Some(Reply::Full { whose: Whose::Service, live, limit: limits::LIVE_TASKS });
        }
        // A whole submit is taken while there is any room: one that is larger than the limit could never fit.
        let (live, limit) = (self.tasks.of_user(user), self.config.tasks_per_user);
        if live >= limit {
            return Some(Reply::Full { whose: Whose::User, live, limit });
        }
        let mut good = None;
        for spec in tasks {
            if good == Some(spec.endpoint) {
                continue;
            }
            let index = self.by_id.get(&spec.endpoint);
            if !index.is_some_and(|&index| self.endpoints[index as usize].is_open()) {
                return Some(Reply::NoEndpoint { endpoint: spec.endpoint });
            }
            good = Some(spec.endpoint);
        }
        None
    }

    /// The store judged an acceptance: only now it is a promise (I2).
    pub(super) fn on_accepted(
        &mut self,
        token: Token,
        user: UserId,
        accept: (RequestId, usize, Vec<Slot>, Vec<Task>),
        answer: Answer,
        cx: &mut Cx<'_>,
    ) {
        let (request, tasks, created, aside) = accept;
        let reply = match answer {
            Answer::Accepted { mut known, hits } => {
                self.count(Counter::Accepted, tasks.saturating_sub(known.len()) as u64);
                self.tell_hits(user, hits.len() as u64);
                known.extend(hits);
                self.keep_accepted(token, created, aside, &known.into_iter().collect(), cx);
                Reply::Accepted
            }
            Answer::Conflict { task } => {
                self.drop_accepting(token, &created, cx);
                Reply::Conflict { task }
            }
            // A refused acceptance was answered before.
            Answer::Ended { .. }
            | Answer::AlreadyEnded { .. }
            | Answer::Unknown
            | Answer::Refused { .. }
            | Answer::Done => {
                self.drop_accepting(token, &created, cx);
                Reply::Unavailable {
                    why: "the store gave an answer that does not fit the question".to_owned(),
                }
            }
        };
        cx.out.push(Action::Reply { request, reply });
    }

    /// Tasks that ended as they were accepted: their results were memoized, and are on disk as their own.
    fn tell_hits(&mut self, user: UserId, hits: u64) {
        if hits > 0 {
            self.count(Counter::Succeeded, hits);
            self.count(Counter::MemoHits, hits);
            self.bells.insert(user);
        }
    }

    /// `known` had been accepted before, or have ended: they are not queued.
    fn keep_accepted(
        &mut self,
        token: Token,
        created: Vec<Slot>,
        aside: Vec<Task>,
        known: &BTreeSet<TaskId>,
        cx: &mut Cx<'_>,
    ) {
        for slot in created {
            let Some(task) = self.tasks.peek(slot).filter(|task| task.token == token) else { continue };
            if !known.is_empty() && known.contains(&task.id) {
                self.forget_accepting(slot, true, cx);
            } else {
                self.queue_accepted(slot, cx);
            }
        }
        for task in aside.into_iter().filter(|task| !known.contains(&task.id)) {
            // The acceptance that came first was refused; this one stands.
            if let Some(slot) = self.tasks.find(&task.id) {
                if self.tasks[slot].phase != Phase::Accepting {
                    continue;
                }
                let endpoint = self.tasks[slot].endpoint as usize;
                self.endpoints[endpoint].live -= 1;
                self.tasks.remove(slot);
            }
            self.endpoints[task.endpoint as usize].live += 1;
            let slot = self.tasks.insert(task);
            self.queue_accepted(slot, cx);
        }
    }

    fn queue_accepted(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        self.tasks[slot].phase = Phase::Queued;
        self.tasks[slot].was_stored(cx.now.fine);
        self.due.add(&mut self.tasks, slot, cx.now.mono);
        let endpoint = self.tasks[slot].endpoint;
        let state = &mut self.endpoints[endpoint as usize];
        if state.queue.len() > 0 || !state.has_credit() {
            self.tasks[slot].drop_large_args();
        }
        state.place(&mut self.tasks, slot, Place::Queue);
        self.after_queueing(slot, cx);
    }

    /// Nothing of this acceptance is on disk.
    pub(super) fn drop_accepting(&mut self, token: Token, created: &[Slot], cx: &mut Cx<'_>) {
        for &slot in created {
            if self.tasks.peek(slot).is_some_and(|task| task.token == token) {
                self.forget_accepting(slot, false, cx);
            }
        }
    }

    /// Takes out a record that was never queued. `ended`: the store has the task, and it ended before.
    fn forget_accepting(&mut self, slot: Slot, ended: bool, cx: &mut Cx<'_>) {
        let (id, endpoint) = (self.tasks[slot].id, self.tasks[slot].endpoint);
        self.endpoints[endpoint as usize].live -= 1;
        self.tasks.remove(slot);
        if self.cancels.waits_for(&id) {
            if ended {
                self.ask(id, cx);
            } else {
                self.resolve_cancels(&id, None, cx);
            }
        }
        self.check_deletion(endpoint, cx);
    }

    /// What an accepted or charged task may have missed while its write was under way: a cancel (F30), its deadline (F33),
    /// or the end of the patience with its endpoint.
    pub(super) fn after_queueing(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        let (id, endpoint) = (self.tasks[slot].id, self.tasks[slot].endpoint);
        if self.cancels.waits_for(&id) {
            self.end_with(slot, TaskState::Cancelled, super::failure::cancelled(), cx);
        } else if self.tasks[slot].expired {
            self.end_with(slot, TaskState::Failed, super::failure::deadline(), cx);
        } else if self.offline.is_over(endpoint, cx.now.mono) {
            self.end_offline(slot, cx);
        }
        self.touch(endpoint);
    }
}
