//! The one loop of the service: every reason to wake is an arm of its `select!`, every decision is the hub's.
//!
//! A round: take one event, drain what else waits (up to `limits::ROUND_EVENTS`), write once, then act.

use crate::Pings;
use crate::alarm::Alarm;
use crate::bell::Bells;
use crate::clock::Clock;
use crate::command::{Command, ReplyTo};
use crate::forwarder::{Forwarder, Received};
use crate::known::{Known, Stale};
use crate::load::{Load, Loads, Payload};
use crate::metrics::{Gauges, Metrics};
use crate::store::{Added, Change, Changed, Done, Write, Writer};
use bursa_core::hub::{Action, Event, Hub, Op, RequestId, Submit};
use bursa_core::id::EndpointId;
use bursa_core::limits;
use bursa_core::time::Now;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{mpsc, oneshot};

/// Owner of the hub and of all that it acts through.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) hub: Hub,
    pub(crate) clock: Clock,
    pub(crate) writer: Writer,
    pub(crate) forwarder: Forwarder,
    pub(crate) loads: Loads,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) bells: Arc<Bells>,
    pub(crate) known: Arc<Known>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) endpoints: Vec<EndpointId>,
    pub(crate) waits: Waits,
    pub(crate) out: Vec<Action>,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    last: u64,
    replies: HashMap<RequestId, ReplyTo>,
    changes: HashMap<RequestId, (Stale, oneshot::Sender<Result<Changed, String>>)>,
}

impl Waits {
    const fn next(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    fn reply(&mut self, answer: ReplyTo) -> RequestId {
        let request = self.next();
        self.replies.insert(request, answer);
        request
    }
}

impl Driver {
    /// Runs until `shutdown`, then writes what waits and closes.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>, mut pings: Pings) {
        tokio::pin!(shutdown);
        let mut alarm = Alarm::new();
        loop {
            let open = self.writer.waiting() < limits::BACKLOG_ROWS;
            let due = self.hub.next_deadline().map(|at| self.clock.instant(at));
            tokio::select! {
                () = &mut shutdown => break,
                // Whoever asked may be gone.
                Some(answer) = pings.recv() => drop(answer.send(())),
                done = self.writer.done() => self.stored(self.clock.now(), done),
                received = self.forwarder.recv(), if open => self.received(self.clock.now(), received),
                Some(command) = self.commands.recv(), if open => self.command(self.clock.now(), command),
                event = self.loads.next() => self.hub.handle(self.clock.now(), event, &mut self.out),
                () = alarm.wait(due) => {}
            }
            let now = self.clock.now();
            self.drain(now, open);
            self.writer.sweep(now.wall, true);
            self.settle(now);
            self.writer.sweep(now.wall, false);
        }
        self.writer.close().await;
    }

    /// Takes what else waits, so that it shares the round's transaction and messages.
    fn drain(&mut self, now: Now, open: bool) {
        if let Some(done) = self.writer.try_done() {
            self.stored(now, done);
        }
        let mut taken = 0;
        while open && taken < limits::ROUND_EVENTS && self.writer.waiting() < limits::BACKLOG_ROWS {
            let before = taken;
            if let Ok(command) = self.commands.try_recv() {
                self.command(now, command);
                taken += 1;
            }
            if let Some(received) = self.forwarder.try_recv() {
                self.received(now, received);
                taken += 1;
            }
            if taken == before {
                break;
            }
        }
        if !open {
            // Heartbeats wait behind the results that nobody takes now: before any silence is judged.
            self.hub.handle(now, Event::Deaf, &mut self.out);
        }
        if self.hub.next_deadline().is_some_and(|at| at <= now.mono) {
            self.hub.handle(now, Event::Tick, &mut self.out);
        }
    }

    /// Writes and acts until nothing more can be done now: what a flush asks for (a body, say) may make the next one due.
    /// Promises leave last: what they need is on disk then.
    fn settle(&mut self, mut now: Now) {
        let mut acts = Vec::new();
        loop {
            self.stores(now, &mut acts);
            while let Some(done) = self.writer.commit() {
                // A commit takes its time, which is part of what tasks are told of theirs.
                now = self.clock.now();
                self.stored(now, done);
                self.stores(now, &mut acts);
            }
            self.hub.flush(now, &mut self.out);
            if self.out.is_empty() && acts.is_empty() && !self.writer.is_ready() {
                return;
            }
            self.stores(now, &mut acts);
            for action in acts.drain(..) {
                perform(
                    action,
                    now,
                    &mut self.hub,
                    &mut self.out,
                    &mut Hands {
                        forwarder: &mut self.forwarder,
                        waits: &mut self.waits,
                        bells: &self.bells,
                        metrics: &self.metrics,
                    },
                );
            }
        }
    }

    /// Sorts the hub's actions: writes to the writer, reads to the readers (their events at once), the rest to `acts`.
    fn stores(&mut self, now: Now, acts: &mut Vec<Action>) {
        while !self.out.is_empty() {
            for action in std::mem::take(&mut self.out) {
                let load = match action {
                    Action::Store { token, op } => {
                        tell(&op);
                        self.writer.push(Write::Hub(token, op));
                        continue;
                    }
                    Action::LoadBody { hash } => Load::Payload(Payload::Body(hash)),
                    Action::LoadArgs { task } => Load::Payload(Payload::Args(task)),
                    Action::LoadSecrets { user, hash, endpoint } => Load::Secrets(user, hash, endpoint),
                    action => {
                        acts.push(action);
                        continue;
                    }
                };
                if let Some(event) = self.loads.begin(load) {
                    self.hub.handle(now, event, &mut self.out);
                }
            }
        }
    }

    fn stored(&mut self, now: Now, done: Vec<Done>) {
        for done in done {
            match done {
                Done::Hub(token, Ok(answer)) => {
                    self.hub.handle(now, Event::Stored { token, answer }, &mut self.out);
                }
                Done::Hub(token, Err(why)) => {
                    self.hub.handle(now, Event::StoreFailed { token, why }, &mut self.out);
                }
                Done::Registry(request, result) => self.changed(now, request, result),
            }
        }
    }

    fn changed(&mut self, now: Now, request: RequestId, result: Result<Changed, String>) {
        if let Ok(Changed::Endpoint(Added::New { endpoint, public_key })) = &result {
            if let Err(error) = self.forwarder.allow(*endpoint, public_key) {
                tracing::error!(%endpoint, %error, "a registered key is not one");
            }
            if !self.endpoints.contains(endpoint) {
                self.endpoints.push(*endpoint);
            }
            self.hub.handle(now, Event::EndpointAdded { endpoint: *endpoint }, &mut self.out);
        }
        if let Ok(Changed::KeyRevoked { endpoint, public_key }) = &result {
            self.hub.handle(now, Event::Revoked { endpoint: *endpoint }, &mut self.out);
            self.forwarder.revoke(public_key);
        }
        if let Ok(Changed::Secrets { user, others }) = &result {
            for (hash, granted) in others {
                let event = Event::Granted { user: *user, hash: *hash, granted: *granted };
                self.hub.handle(now, event, &mut self.out);
            }
        }
        if let Some((stale, waits)) = self.waits.changes.remove(&request) {
            self.known.forget(stale);
            let _ = waits.send(result);
        }
    }

    fn received(&mut self, now: Now, received: Received) {
        let Received { conn, endpoint, message } = received;
        self.metrics.link_received.fetch_add(1, Relaxed);
        self.hub.handle(now, Event::Message { conn, endpoint, message }, &mut self.out);
    }

    fn command(&mut self, now: Now, command: Command) {
        let event = match command {
            Command::Submit { user, group, tasks, answer } => {
                Event::Submit(Submit { request: self.waits.reply(answer), user, group, tasks })
            }
            Command::Cancel { tasks, answer } => Event::Cancel { request: self.waits.reply(answer), tasks },
            Command::DeleteEndpoint { endpoint, answer } => {
                Event::DeleteEndpoint { request: self.waits.reply(answer), endpoint }
            }
            Command::Change(change, answer) => return self.change(change, answer),
            Command::States(tasks, answer) => {
                let _ = answer.send(tasks.iter().map(|task| self.hub.state(task)).collect());
                return;
            }
            Command::Explain { task, answer } => Event::Explain { request: self.waits.reply(answer), task },
            Command::Endpoints(endpoints, answer) => {
                let _ = answer.send(endpoints.iter().map(|id| self.hub.endpoint(id)).collect());
                return;
            }
            Command::Guest(endpoint, user, answer) => {
                let _ = answer.send(self.hub.guest(&endpoint, &user));
                return;
            }
            Command::Gauges(answer) => {
                let _ = answer.send(self.gauges());
                return;
            }
        };
        self.hub.handle(now, event, &mut self.out);
    }

    fn change(&mut self, change: Change, answer: oneshot::Sender<Result<Changed, String>>) {
        let request = self.waits.next();
        self.waits.changes.insert(request, (Stale::after(&change), answer));
        self.writer.push(Write::Registry(request, change));
    }

    fn gauges(&self) -> Gauges {
        let (connections, fabric) = self.forwarder.counters();
        let mut gauges = Gauges {
            endpoints: self.endpoints.len(),
            connections,
            fabric,
            waiting_rows: self.writer.waiting(),
            open_requests: self.waits.replies.len() + self.waits.changes.len(),
            ..Gauges::default()
        };
        for status in self.endpoints.iter().filter_map(|endpoint| self.hub.endpoint(endpoint)) {
            gauges.online += usize::from(status.online);
            gauges.degraded += usize::from(status.degraded.is_some());
            gauges.queued += status.queued;
            gauges.held += status.held;
            gauges.slots_total += u64::from(status.slots_total);
            gauges.slots_free += u64::from(status.slots_free);
        }
        gauges
    }
}

/// Names each task that is accepted or ended, for who looks for one in the log.
fn tell(op: &Op) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    match op {
        Op::Accept { group, tasks, .. } => {
            for spec in tasks {
                tracing::debug!(task = %spec.task, %group, endpoint = %spec.endpoint, "a task is being accepted");
            }
        }
        Op::End { task, ending, .. } => {
            tracing::debug!(%task, state = %ending.state, "a task is being ended")
        }
        Op::Charge { task, losses, errors, .. } => {
            tracing::debug!(%task, losses, errors, "a task is being charged")
        }
        Op::Generation { .. } | Op::DeleteEndpoint { .. } => {}
    }
}

/// What actions are performed with.
struct Hands<'d> {
    forwarder: &'d mut Forwarder,
    waits: &'d mut Waits,
    bells: &'d Bells,
    metrics: &'d Metrics,
}

fn perform(action: Action, now: Now, hub: &mut Hub, out: &mut Vec<Action>, hands: &mut Hands<'_>) {
    match action {
        Action::Send { conn, message } => {
            hands.metrics.link_sent.fetch_add(1, Relaxed);
            if !hands.forwarder.send(conn, message) {
                hub.handle(now, Event::Unreachable { conn }, out);
            }
        }
        Action::Close { conn } => hands.forwarder.forget(conn),
        Action::Reply { request, reply } => {
            if let Some(waits) = hands.waits.replies.remove(&request) {
                waits.send(reply);
            }
        }
        Action::Bell { user } => hands.bells.ring(&user),
        Action::Count { counter, by } => hands.metrics.count(counter, by),
        Action::Log { endpoint, text } => tracing::info!(%endpoint, "{text}"),
        // Taken out before: see `stores`.
        Action::Store { .. }
        | Action::LoadBody { .. }
        | Action::LoadArgs { .. }
        | Action::LoadSecrets { .. } => out.push(action),
    }
}
