//! The service's process: rounds of the hub, the store's group commits, crash and start.

use super::link::{Sent, Way};
use super::node::{Desk, Service};
use super::{Due, Note, Pid, Us, World};
use crate::hub::{Action, Config, Event, Hub};
use crate::id::ConnId;
use crate::secrets::Secrets;
use crate::wire::{self, Item, Message};

impl World {
    pub(super) fn start_service(&mut self) {
        let pid = self.fresh_pid();
        let (epoch, endpoints, tasks) = self.store.open();
        let tasks_per_user = crate::limits::LIVE_TASKS;
        let config = Config {
            epoch,
            heartbeat_ms: 10_000,
            threshold_ms: 30_000,
            grace_ms: 2_000,
            tasks_per_user,
            fail_when_offline_ms: None,
        };
        self.trace(|| format!("S{} starts, epoch {epoch}, {} live tasks", pid.0, tasks.len()));
        let hub = Hub::new(config, self.clock(), endpoints, tasks);
        self.check.new_service();
        self.service = Some(Service { pid, hub, desk: Desk::default() });
        for index in 0..self.endpoints.len() {
            let endpoint = self.endpoints[index].id;
            if epoch == 1 {
                self.post(pid, Note::Hub(Event::EndpointAdded { endpoint }));
            }
        }
        self.rouse(pid, 0);
    }

    pub(super) fn crash_service(&mut self, down: Us) {
        let Some(service) = self.service.take() else { return };
        let reached_disk = self.rng.below(2) == 0;
        self.store.crash(reached_disk);
        self.trace(|| format!("S{} dies, its last group reached the disk: {reached_disk}", service.pid.0));
        self.drop_acceptor(service.pid);
        self.at(down, Due::StartService);
    }

    /// All connections to a process that died end; its peers see it at once or only by silence.
    pub(super) fn drop_acceptor(&mut self, pid: Pid) {
        let silence = if self.rng.below(4) == 0 { 35_000_000 } else { 0 };
        for conn in self.net.living(|conn| conn.acceptor == pid) {
            self.sever(conn, silence);
        }
        self.net.forget_inbound(pid);
    }

    /// One round of the hub.
    pub(super) fn service_round(&mut self) {
        let now = self.clock();
        let tick_first = self.rng.below(2) == 0;
        let Some(service) = &mut self.service else { return };
        let events = service.desk.take_round(now, tick_first, Event::Tick);
        if events.is_empty() {
            return;
        }
        self.steps += 1;
        self.check.step();
        let mut out = Vec::new();
        for event in events {
            self.check.hub_hears(&event, &self.endpoints, &self.store);
            if self.trace.is_on() {
                let line = format!("S < {}", self.check.show_hub_event(&event));
                self.trace.add(self.now, || line);
            }
            if let Some(service) = &mut self.service {
                service.hub.handle(now, event, &mut out);
            }
        }
        if let Some(service) = &mut self.service {
            service.hub.flush(now, &mut out);
            self.check.hub_says(&service.hub, &out, &self.store, &self.endpoints, &self.net);
            if self.steps.is_multiple_of(self.shape.scan_every) {
                self.check.scan_hub(&service.hub, &self.endpoints, &self.store);
            }
        }
        for action in out {
            if let Action::Send { conn, message } = &action {
                self.note_copies(*conn, message);
            }
            self.perform_hub(action);
        }
    }

    /// A manager of a copied directory takes over, or the original from it: neither can reach the other's executors,
    /// so what they run counts as not held although no window closed unaccounted.
    fn note_copies(&mut self, conn: ConnId, message: &Message) {
        let welcome = message.items.iter().any(|item| matches!(item, Item::Welcome { .. }));
        let connector = self.net.get(conn).map(|known| known.connector);
        let Some(proc) = connector.filter(|_| welcome).and_then(|pid| self.managers.get(&pid)) else {
            return;
        };
        let endpoint = &mut self.endpoints[proc.endpoint];
        if std::mem::replace(&mut endpoint.in_charge, proc.dir) != proc.dir {
            self.check.windows += 1;
        }
    }

    fn perform_hub(&mut self, action: Action) {
        let Some(service) = &self.service else { return };
        let pid = service.pid;
        match action {
            Action::Store { token, op } => {
                if self.trace.is_on() {
                    let line = format!("S store {} {}", token.0, self.check.show_op(&op));
                    self.trace.add(self.now, || line);
                }
                if self.store.push(token, op) {
                    self.begin_commit(pid);
                }
            }
            Action::LoadBody { hash } => {
                let event = Event::Body { hash, body: self.store.body(&hash) };
                self.post_soon(pid, Note::Hub(event));
            }
            Action::LoadArgs { task } => {
                let event = Event::Args { task, args: self.store.args(&task) };
                self.post_soon(pid, Note::Hub(event));
            }
            Action::LoadSecrets { user, hash, endpoint } => {
                let event = Event::Secrets { user, hash, endpoint, found: Ok(Secrets::of([])) };
                self.post_soon(pid, Note::Hub(event));
            }
            Action::Send { conn, message } => {
                if !self.transmit(conn, Way::Down, message, "S") {
                    self.post(pid, Note::Hub(Event::Unreachable { conn }));
                }
            }
            Action::Reply { request, reply } => self.answered(request, reply),
            Action::Log { text, .. } => self.trace(|| format!("S log {text}")),
            Action::Close { conn } => self.trace(|| format!("S closes c{}", conn.0)),
            Action::Bell { .. } | Action::Count { .. } => {}
        }
    }

    fn post_soon(&mut self, pid: Pid, note: Note) {
        let delay = self.soon(3_000);
        self.at(delay, Due::Post(pid, Box::new(note)));
    }

    /// Puts a message on its way; false if the peer is known to be gone.
    pub(super) fn transmit(&mut self, conn: ConnId, way: Way, message: Message, who: &str) -> bool {
        if self.trace.is_on() {
            let line = format!("{who} > c{} {}", conn.0, self.check.show(&message));
            self.trace.add(self.now, || line);
        }
        let Some(message) = self.through_bytes(message) else { return true };
        match self.net.send(self.now, &mut self.rng, conn, way, message) {
            Sent::At(at) => self.at(at - self.now, Due::Arrive(conn, way)),
            Sent::Twice(at) => (0..2).for_each(|_| self.at(at - self.now, Due::Arrive(conn, way))),
            Sent::Vanished => {}
            Sent::Failed => return false,
            Sent::BeyondWindow => self.check.fail("I9", format!("{who} sends beyond the window")),
        }
        true
    }

    fn through_bytes(&mut self, message: Message) -> Option<Message> {
        if !self.shape.encode {
            return Some(message);
        }
        let copy = message.clone();
        match wire::encode(message).and_then(|frames| wire::decode(&frames)) {
            Ok(decoded) if decoded == copy => return Some(decoded),
            Ok(_) => self.check.fail("wire", "a message changed on its way through bytes".into()),
            Err(error) => self.check.fail("wire", error.to_string()),
        }
        None
    }

    fn begin_commit(&mut self, pid: Pid) {
        let slow = if self.now < self.store_slow_until { self.store_slow } else { 0 };
        let delay = 200 + self.soon(3_000) + slow;
        self.at(delay, Due::Commit(pid));
    }

    pub(super) fn commit(&mut self, pid: Pid) {
        if self.service.as_ref().is_none_or(|service| service.pid != pid) {
            return;
        }
        self.check.progress(self.now);
        if self.now < self.store_fails_until {
            for token in self.store.fail() {
                let why = "no space left".to_owned();
                self.post(pid, Note::Hub(Event::StoreFailed { token, why }));
            }
        } else {
            for (token, answer) in self.store.commit() {
                self.post(pid, Note::Hub(Event::Stored { token, answer }));
            }
            self.check_records();
        }
        if self.store.begin() {
            self.begin_commit(pid);
        }
    }

    /// Whether the hub holds nothing.
    pub(super) fn hub_is_empty(&self) -> bool {
        self.service
            .as_ref()
            .is_some_and(|service| service.hub.kept() == 0 && service.hub.leases().is_empty())
    }
}
