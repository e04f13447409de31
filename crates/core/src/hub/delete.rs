//! Deleting an endpoint (F37): its live tasks end first, in slices; then it is marked, refused, and its user told.

use super::endpoint::Deleting;
use super::event::{Action, Reply, RequestId};
use super::failure;
use super::hello::Refusal;
use super::slab::Slot;
use super::task::{Phase, Place};
use super::write::Write;
use super::{Cx, Hub};
use crate::id::EndpointId;
use crate::task::TaskState;
use crate::wire::RefusedReason;

/// Tasks ended in one call: a few milliseconds of work, so a deletion delays nobody.
const SLICE: usize = 1_024;

impl Hub {
    pub(super) fn on_delete(&mut self, request: RequestId, id: EndpointId, cx: &mut Cx<'_>) {
        let Some(&endpoint) = self.by_id.get(&id) else {
            cx.out.push(Action::Reply { request, reply: Reply::NoEndpoint { endpoint: id } });
            return;
        };
        let state = &mut self.endpoints[endpoint as usize];
        if state.deleted && state.deleting.is_none() {
            cx.out.push(Action::Reply { request, reply: Reply::Deleted });
            return;
        }
        self.resume_deletion(endpoint);
        if let Some(deleting) = &mut self.endpoints[endpoint as usize].deleting {
            deleting.requests.push(request);
        }
        self.delete_slice(endpoint, cx);
        self.check_deletion(endpoint, cx);
    }

    /// Begins a deletion, or goes on with one that an earlier service life began.
    pub(super) fn resume_deletion(&mut self, endpoint: u32) {
        let state = &mut self.endpoints[endpoint as usize];
        if state.deleting.is_none() {
            state.deleting = Some(Deleting::default());
            self.deleting.push(endpoint);
        }
    }

    pub(super) fn may_delete_more(&self) -> bool {
        self.deleting.iter().any(|&endpoint| self.next_to_delete(endpoint).is_some())
    }

    pub(super) fn run_deletions(&mut self, cx: &mut Cx<'_>) {
        for index in (0..self.deleting.len()).rev() {
            let Some(&endpoint) = self.deleting.get(index) else { continue };
            self.delete_slice(endpoint, cx);
            self.check_deletion(endpoint, cx);
        }
    }

    fn next_to_delete(&self, endpoint: u32) -> Option<Slot> {
        let state = &self.endpoints[endpoint as usize];
        state.any_waiting().or_else(|| state.held.front())
    }

    fn delete_slice(&mut self, endpoint: u32, cx: &mut Cx<'_>) {
        for _ in 0..SLICE {
            let Some(slot) = self.next_to_delete(endpoint) else { return };
            let state = &mut self.endpoints[endpoint as usize];
            // The endpoint's workers will be killed as a whole: no lease of it matters any more.
            if let Some(lease) = self.tasks[slot].lease.take() {
                state.leases.close(lease);
            }
            state.place(&mut self.tasks, slot, Place::Nowhere);
            if matches!(self.tasks[slot].phase, Phase::Queued | Phase::Sent) {
                self.end_with(slot, TaskState::Failed, failure::endpoint_deleted(), cx);
            }
        }
    }

    /// Once no task is left the endpoint itself is marked.
    pub(super) fn check_deletion(&mut self, endpoint: u32, cx: &mut Cx<'_>) {
        let state = &mut self.endpoints[endpoint as usize];
        let Some(deleting) = &mut state.deleting else { return };
        if state.live == 0 && !deleting.marking {
            deleting.marking = true;
            self.write(Write::Delete { endpoint }, cx);
        }
    }

    /// The mark is on disk.
    pub(super) fn on_deleted(&mut self, endpoint: u32, cx: &mut Cx<'_>) {
        let text = "this endpoint was deleted; register a new one to go on".to_owned();
        self.refuse_link(endpoint, Refusal { reason: RefusedReason::Deleted, is_final: true, text }, cx);
        self.deleting.retain(|&other| other != endpoint);
        let state = &mut self.endpoints[endpoint as usize];
        state.deleted = true;
        state.leases.clear();
        for request in state.deleting.take().unwrap_or_default().requests {
            cx.out.push(Action::Reply { request, reply: Reply::Deleted });
        }
    }
}
