//! Holdings: what an endpoint says it has, compared with the leases (F8–F11, F29).

use super::event::Counter;
use super::failure;
use super::queue::List;
use super::retry::{Allowance, Cause, Verdict, judge};
use super::slab::Slot;
use super::task::{Phase, Place};
use super::{Cx, Hub};
use crate::limits;
use crate::task::{Begun, TaskState};
use crate::wire::{Held, Holding, ResetReason, Stage};

impl Hub {
    /// Attempts that appeared with a late executor, and perhaps the end of the adoption window (F8).
    pub(super) fn on_held(&mut self, endpoint: u32, held: &Held, cx: &mut Cx<'_>) -> Result<(), ResetReason> {
        let leases = &self.endpoints[endpoint as usize].leases;
        if leases.confirmed() + held.held.len() > 3 * limits::CREDIT_TASKS {
            return Err(ResetReason::Protocol);
        }
        self.adopt(endpoint, &held.held);
        if held.complete {
            self.complete(endpoint, held.accounted, cx);
        }
        Ok(())
    }

    /// Confirms, adopts or cancels each listed attempt (F9, F10).
    pub(super) fn adopt(&mut self, endpoint: u32, held: &[Holding]) {
        for holding in held {
            let wanted = match self.find(endpoint, &holding.task) {
                Some(slot) => self.adopt_live(endpoint, slot, holding),
                None => {
                    self.lease_stray(endpoint, holding);
                    false
                }
            };
            if !wanted {
                let grace_ms = self.config.grace_ms;
                let state = &mut self.endpoints[endpoint as usize];
                state.cancel_attempt(holding.task, holding.attempt, grace_ms);
            }
        }
    }

    /// Takes note of a listed attempt of a live task; false if it is to be cancelled.
    fn adopt_live(&mut self, endpoint: u32, slot: Slot, holding: &Holding) -> bool {
        let begun = holding.begun == Begun::Yes;
        let state = &mut self.endpoints[endpoint as usize];
        let task = &mut self.tasks[slot];
        let is_current = task.phase != Phase::Queued && task.attempt == holding.attempt;
        if is_current && let Some(lease) = &mut task.lease {
            state.leases.confirm(lease);
            if begun && !lease.begun {
                lease.begun = true;
                task.starts = task.starts.saturating_add(1);
            }
            return true;
        }
        // An attempt that this hub never made is a lie, or of a later life than a restored store: never adopt it.
        let newest = crate::wire::Attempt::new(self.config.epoch, task.made);
        // One that ended was judged before if its acknowledgement was lost: adopted, it would be charged twice (F15).
        let judged = holding.stage == Stage::Finished && holding.attempt <= task.judged;
        let adoptable = task.phase == Phase::Queued && holding.attempt <= newest && !judged;
        // Of two listed attempts the newer one is what the hub decided last, in this life or an earlier: the older one
        // was over by then (F14, F15), and only its result may have been kept.
        let newer = task.phase == Phase::Sent && task.attempt < holding.attempt && holding.attempt <= newest;
        if newer && let Some(lease) = task.lease.take() {
            state.leases.stray(task.id, task.attempt, lease);
            if state.leases.is_confirmed(&lease) {
                state.cancel_attempt(task.id, task.attempt, self.config.grace_ms);
            }
        }
        if is_current || adoptable || newer {
            let (lease, counted) = match state.leases.take_stray(task.id, holding.attempt) {
                Some(mut lease) => {
                    state.leases.confirm(&mut lease);
                    let counted = lease.begun;
                    lease.begun |= begun;
                    (lease, counted)
                }
                None => (state.leases.grant(task.args.len(), begun), false),
            };
            if begun && !counted {
                task.starts = task.starts.saturating_add(1);
            }
            task.lease = Some(lease);
            task.attempt = holding.attempt;
            if adoptable {
                task.phase = Phase::Sent;
            }
            state.place(&mut self.tasks, slot, Place::Held);
            return true;
        }
        let writing = task.is_writing();
        self.lease_stray(endpoint, holding);
        // F30: while a write is under way nothing is cancelled; `Stored` will say what is not wanted.
        writing
    }

    fn lease_stray(&mut self, endpoint: u32, holding: &Holding) {
        let begun = holding.begun == Begun::Yes;
        let leases = &mut self.endpoints[endpoint as usize].leases;
        if !leases.confirm_stray(holding.task, holding.attempt, begun) {
            let lease = leases.grant(0, begun);
            leases.stray(holding.task, holding.attempt, lease);
        }
    }

    /// Nothing else can appear: each lease that is still unconfirmed is not held (F9), and parked tasks may go (F11).
    pub(super) fn complete(&mut self, endpoint: u32, accounted: bool, cx: &mut Cx<'_>) {
        let state = &mut self.endpoints[endpoint as usize];
        state.leases.close_unreported();
        let mut missing = Vec::new();
        let mut next = state.held.front();
        while let Some(slot) = next {
            next = List::<{ super::queue::WORK }>::after(&self.tasks, slot);
            if self.tasks[slot].lease.is_some_and(|lease| !state.leases.is_confirmed(&lease)) {
                missing.push(slot);
            }
        }
        for slot in missing {
            self.on_not_held(endpoint, slot, accounted, cx);
        }
        self.endpoints[endpoint as usize].unpark(&mut self.tasks);
        self.touch(endpoint);
    }

    fn on_not_held(&mut self, endpoint: u32, slot: Slot, accounted: bool, cx: &mut Cx<'_>) {
        let state = &mut self.endpoints[endpoint as usize];
        let Some(lease) = self.tasks[slot].lease.take() else { return };
        let proven = accounted || state.leases.is_of_this_life(&lease);
        state.leases.close(lease);
        state.place(&mut self.tasks, slot, Place::Nowhere);
        let task = &self.tasks[slot];
        if task.phase != Phase::Sent {
            return;
        }
        let cause = Cause::NotHeld { begun: lease.begun, proven };
        let allowed = Allowance { retries: task.retries, retry_on_error: task.retry_on_error };
        match judge(cause, task.charges, allowed) {
            Verdict::Free => self.requeue(slot, true),
            Verdict::Charge(charges) => {
                let host = &self.endpoints[endpoint as usize].host;
                let mut loss = failure::not_held_loss(cause, host);
                self.say_where(slot, &mut loss);
                self.tasks[slot].last_loss = Some(Box::new(loss));
                self.charge(slot, charges, None, cx);
            }
            Verdict::Fail => {
                self.count(Counter::Losses, 1);
                let host = &self.endpoints[endpoint as usize].host;
                let failure = failure::not_held(&self.tasks[slot], cause, host);
                self.end_with(slot, TaskState::Failed, failure, cx);
            }
        }
    }
}
