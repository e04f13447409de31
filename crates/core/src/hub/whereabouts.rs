//! Where tasks are at their endpoints: asked when somebody asks why a task stands where it stands, and not before.
//!
//! Owns the questions that are open. A manager that is slow, or older, costs the answer its place, not the answer.

use super::event::Reply;
use super::task::Place;
use super::{Action, Cx, Hub, RequestId};
use crate::id::TaskId;
use crate::limits;
use crate::time::Mono;
use crate::wire::{Attempt, Item, Placed, version};
use std::collections::BTreeMap;

/// By task: until when its endpoint may answer, and who waits for that.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<TaskId, (Mono, Vec<RequestId>)>);

impl Questions {
    /// When the first of them is answered without a place.
    pub(super) fn next(&self) -> Option<Mono> {
        self.0.values().map(|(until, _)| *until).min()
    }
}

impl Hub {
    pub(super) fn on_explain(&mut self, request: RequestId, id: TaskId, cx: &mut Cx<'_>) {
        if let Some((_, waits)) = self.questions.0.get_mut(&id) {
            return waits.push(request);
        }
        if !self.locate(&id) {
            return self.explained(&[request], id, None, cx);
        }
        let until = cx.now.mono.after(limits::QUESTION_MS);
        self.questions.0.insert(id, (until, vec![request]));
    }

    /// Asks the endpoint that has it, if there is one and it knows the question.
    fn locate(&mut self, id: &TaskId) -> bool {
        let Some(slot) = self.tasks.find(id).filter(|_| self.questions.0.len() < limits::QUESTIONS) else {
            return false;
        };
        let task = &self.tasks[slot];
        let (endpoint, attempt, held) = (task.endpoint, task.attempt, task.place == Place::Held);
        let link = self.endpoints[endpoint as usize].live_link();
        let Some(link) = link.filter(|link| held && link.proto >= version::RESOURCES) else { return false };
        link.session.push(Item::Locate { task: *id, attempt });
        self.touch(endpoint);
        true
    }

    /// Only the endpoint that has the task may say where.
    pub(super) fn on_located(
        &mut self,
        endpoint: u32,
        (id, attempt): (TaskId, Attempt),
        place: Option<Box<Placed>>,
        cx: &mut Cx<'_>,
    ) {
        let Some(slot) = self.find(endpoint, &id) else { return };
        let Some((_, waits)) = self.questions.0.remove(&id) else { return };
        let place = place.filter(|_| self.tasks[slot].attempt == attempt);
        let place = place.map(|place| Box::new(place.within_limits()));
        self.explained(&waits, id, place, cx);
    }

    /// Answers those whose endpoint has not.
    pub(super) fn run_questions(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let due = self.questions.0.iter().filter(|(_, (until, _))| *until <= now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some((_, waits)) = self.questions.0.remove(&id) {
                self.explained(&waits, id, None, cx);
            }
        }
    }

    fn explained(&self, requests: &[RequestId], id: TaskId, place: Option<Box<Placed>>, cx: &mut Cx<'_>) {
        let mut live = self.explain(&id, cx.now).map(Box::new);
        if let Some(live) = &mut live {
            live.place = place;
        }
        for request in requests {
            cx.out.push(Action::Reply { request: *request, reply: Reply::Explained(live.clone()) });
        }
    }
}
