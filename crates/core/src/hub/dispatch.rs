//! Dispatch (F14, F25, F35): queued tasks become attempts while the endpoint has credit and its session has room.

use super::event::{Action, Counter};
use super::secrets::Sought;
use super::slab::Slot;
use super::task::{Phase, Place};
use super::{Cx, Hub, failure};
use crate::limits;
use crate::secrets::Secrets;
use crate::task::{Args, TaskState};
use crate::wire::{Assign, Attempt, Blob, Item, version};

/// What became of the head of the queue.
enum Step {
    /// It was said, and takes this many bytes.
    Said(usize),
    /// It waits for the store, or ended; the next one may go.
    Waits,
}

impl Hub {
    /// Sends what is due to one endpoint: one message, more only if a message is full and the window open (F27).
    pub(super) fn dispatch(&mut self, endpoint: u32, cx: &mut Cx<'_>) {
        loop {
            let filled = self.fill(endpoint, cx);
            let Some(link) = self.endpoints[endpoint as usize].link.as_deref_mut() else { return };
            let conn = link.conn;
            link.session.flush(cx.now.mono, |message| cx.out.push(Action::Send { conn, message }));
            if !filled || link.session.unsent() > 0 {
                if link.session.lingers_until().is_some_and(|at| at < link.timer) {
                    self.set_timer(endpoint);
                }
                return;
            }
        }
    }

    /// Says bodies and assignments until a message is full (true), or credit or queue is used up (false).
    fn fill(&mut self, endpoint: u32, cx: &mut Cx<'_>) -> bool {
        let index = endpoint as usize;
        // F27: behind a full window everything stays state.
        let link = self.endpoints[index].live_link();
        if link.is_none_or(|link| link.session.in_flight() >= limits::WINDOW) {
            return false;
        }
        let (mut items, mut bytes) = (0, self.serve_functions(endpoint, cx));
        let full = loop {
            let state = &mut self.endpoints[index];
            let unsent = state.live_link().map_or(0, |link| link.session.unsent());
            if items >= limits::BATCH_ITEMS
                || bytes >= limits::MESSAGE_BYTES
                || unsent >= 2 * limits::BATCH_ITEMS
            {
                break true;
            }
            if !state.is_open() || !state.has_credit() {
                break false;
            }
            let Some(slot) = state.queue.front() else { break false };
            match self.step(index, slot, cx) {
                Step::Said(size) => {
                    items += 1;
                    bytes += size;
                }
                Step::Waits => {}
            }
        };
        if items > 0 {
            self.count(Counter::Dispatched, items as u64);
        }
        full
    }

    fn step(&mut self, index: usize, slot: Slot, cx: &mut Cx<'_>) -> Step {
        let state = &mut self.endpoints[index];
        let Some(link) = state.link.as_deref_mut() else { return Step::Waits };
        let task = &mut self.tasks[slot];
        if task.container.is_some() && link.proto < version::CONTAINERS {
            self.end_with(slot, TaskState::Failed, failure::no_containers(), cx);
            return Step::Waits;
        }
        if task.resources.is_some() && link.proto < version::RESOURCES {
            self.end_with(slot, TaskState::Failed, failure::no_resources(), cx);
            return Step::Waits;
        }
        let Sought::Here(secrets) = self.secrets.seek(task.user, task.hash, task.endpoint) else {
            self.await_secrets(slot, cx);
            return Step::Waits;
        };
        if secrets.is_some() && link.proto < version::SECRETS {
            self.end_with(slot, TaskState::Failed, failure::no_secrets(), cx);
            return Step::Waits;
        }
        let secrets_size = secrets.as_ref().map_or(0, Secrets::len);
        let mut size = secrets_size;
        // F35: the body goes before the first attempt that needs it.
        if !link.knows(&task.hash) {
            let Some(body) = self.bodies.get(&task.hash) else {
                if self.bodies.wait_task(task.hash, task.id) {
                    cx.out.push(Action::LoadBody { hash: task.hash });
                }
                state.place(&mut self.tasks, slot, Place::Loading);
                return Step::Waits;
            };
            size += body.len();
            link.learn(task.hash);
            link.session.push(Item::Function { hash: task.hash, body: Some(Blob::Here(body)) });
        }
        let Args::Here(args) = &task.args else {
            cx.out.push(Action::LoadArgs { task: task.id });
            state.place(&mut self.tasks, slot, Place::Loading);
            return Step::Waits;
        };
        let args = args.clone();
        size += args.len();
        task.goes(cx.now.fine);
        task.made = task.made.saturating_add(1);
        task.attempt = Attempt::new(self.config.epoch, task.made);
        task.phase = Phase::Sent;
        link.session.push(Item::Assign(Box::new(Assign {
            task: task.id,
            attempt: task.attempt,
            user: task.user,
            hash: task.hash,
            container: task.container.clone(),
            resources: task.resources.clone(),
            args: Blob::Here(args),
            secrets,
            ttl_ms: task.deadline.since(cx.now.mono),
            timeout_ms: task.timeout_ms(),
        })));
        task.lease = Some(state.leases.grant(task.args.len() + secrets_size, false));
        task.drop_large_args();
        state.place(&mut self.tasks, slot, Place::Held);
        Step::Said(size)
    }
}
