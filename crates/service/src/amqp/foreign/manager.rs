//! What a manager is to the hub, made of what an endpoint of Globus Compute says: pure, as all machines are.

use super::call::{Call, Held, Place, Ticket};
use super::driver::LinkId;
use super::end::End;
use super::hub::{Hub, PROTO};
use super::message::{Ended, Report};
use super::{Foreign, Who};
use bursa_core::id::{ConnId, EndpointId, Hash, ManagerId, TaskId};
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::time::{Mono, Now};
use bursa_core::wire::{Capacity, Hello, Item, Message, Peer};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// What a manager is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A message of the hub's, for this connection.
    Hub(ConnId, Message),
    /// The hub does not speak on this connection any more.
    Closed(ConnId),
    /// A connection of the endpoint's said something.
    Link(LinkId, Who, Said),
    /// The endpoint's program was started.
    Began,
}

/// What a connection of the endpoint's says.
#[derive(Debug)]
pub(super) enum Said {
    Opened,
    Closed,
    TakesCommands,
    TakesTasks,
    /// These tasks were acknowledged, or (false) refused.
    Settled(Vec<TaskId>, bool),
    Ended(Option<Ticket>, Ended),
    Report(Report),
}

/// What a manager asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Hub(ConnId, Message),
    Link(LinkId, Order),
    Log(String),
}

/// What a connection is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    Task(Arc<Call>),
    Command(Vec<u8>),
    Confirm(Ticket),
    Close(String),
}

/// The core endpoint's own connections.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) links: BTreeSet<LinkId>,
    /// Takes commands.
    pub(super) commands: Option<LinkId>,
    pub(super) leaves: bool,
    /// When it counts as gone, if no connection of it comes.
    pub(super) gone_at: Option<Mono>,
}

/// One endpoint's manager.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) foreign: Arc<Foreign>,
    /// Where AMQP is spoken, as endpoints are told.
    pub(super) address: Arc<str>,
    manager: ManagerId,
    generation: u64,
    pub(super) hub: Hub,
    pub(super) bodies: HashMap<Hash, Bytes>,
    pub(super) wanted: BTreeSet<Hash>,
    pub(super) calls: BTreeMap<TaskId, Held>,
    pub(super) ends: BTreeMap<Uuid, End>,
    pub(super) core: Core,
    told: Capacity,
}

impl Manager {
    pub(super) fn new(
        foreign: Arc<Foreign>,
        address: Arc<str>,
        (manager, generation): (ManagerId, u64),
        (endpoint, place): (EndpointId, u32),
    ) -> Self {
        Self {
            foreign,
            address,
            manager,
            generation,
            hub: Hub::new(endpoint, place),
            bodies: HashMap::new(),
            wanted: BTreeSet::new(),
            calls: BTreeMap::new(),
            ends: BTreeMap::new(),
            core: Core::default(),
            told: Capacity::default(),
        }
    }

    pub(super) const fn endpoint(&self) -> EndpointId {
        self.hub.endpoint()
    }

    pub(super) fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Hub(conn, message) if conn == self.hub.conn() => self.on_message(now, message, out),
            Event::Closed(conn) if conn == self.hub.conn() => self.hub.close(now),
            Event::Hub(..) | Event::Closed(_) => {}
            Event::Link(link, who, said) => self.on_link(now, link, who, said, out),
            Event::Began => self.on_began(now, out),
        }
    }

    /// Ends a round.
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.hub.is_silent(now) {
            self.hub.close(now);
        }
        self.leave_behind(now, out);
        self.feed(now, out);
        self.stay_or_go(now, out);
        let capacity = self.capacity();
        if self.hub.is_live() && capacity != self.told {
            self.told = capacity.clone();
            self.hub.say(Item::Capacity(capacity));
        }
        let conn = self.hub.conn();
        self.hub.flush(now, |message| out.push(Action::Hub(conn, message)));
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let opens = (!self.hub.is_open() && self.is_here()).then(|| self.hub.opens_at());
        let ends = self.ends.values().filter_map(End::deadline);
        ends.chain(self.core.gone_at).chain(opens).chain(self.hub.next_deadline()).min()
    }

    /// Opens a session while anything of the endpoint is here, and ends it when nothing is.
    fn stay_or_go(&mut self, now: Now, out: &mut Vec<Action>) {
        let here = self.is_here();
        if here && self.hub.may_open(now) {
            let hello = self.hello();
            self.told = hello.capacity.clone();
            self.hub.open(now, |connection| Hello { connection, ..hello });
        } else if !here && self.hub.is_open() {
            let why = if self.core.leaves { "it was stopped" } else { "its connections are gone" };
            let conn = self.hub.conn();
            self.hub.bye(now, why, |message| out.push(Action::Hub(conn, message)));
        }
    }

    fn is_here(&self) -> bool {
        let core = !self.core.links.is_empty() || self.core.gone_at.is_some();
        (core && !self.core.leaves) || self.ends.values().any(End::is_here)
    }

    fn hello(&self) -> Hello {
        let endpoint = self.hub.endpoint();
        let about = self.foreign.about(&endpoint);
        let software =
            if about.software.is_empty() { "globus-compute-endpoint".to_owned() } else { about.software };
        Hello {
            proto_min: PROTO.0,
            proto_max: PROTO.1,
            software,
            peer: Peer::Manager { endpoint, generation: self.generation, manager: self.manager },
            connection: self.hub.connection(),
            host: about.host,
            python: about.python,
            held: self.calls.iter().map(|(task, held)| held.holding(*task)).collect(),
            last: true,
            complete: true,
            capacity: self.capacity(),
            has: Resources::default(),
            // They have no sandbox that is known here.
            guests: false,
            have_functions: Vec::new(),
        }
    }

    fn capacity(&self) -> Capacity {
        let (mut total, mut idle) = (0_u32, 0_u32);
        for end in self.ends.values().filter(|end| end.is_connected()) {
            total = total.saturating_add(end.report.workers);
            idle = idle.saturating_add(end.report.idle);
        }
        let (tasks, bytes) =
            if self.core.leaves { (0, 0) } else { (limits::FOREIGN_CALLS, limits::CREDIT_BYTES) };
        Capacity {
            credit_tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            credit_bytes: bytes as u64,
            slots_total: total,
            slots_free: idle,
            degraded: self.ends.iter().find_map(|(id, end)| end.degraded(id)),
            ..Capacity::default()
        }
    }

    fn on_message(&mut self, now: Now, message: Message, out: &mut Vec<Action>) {
        let Some(items) = self.hub.receive(now, message) else { return self.hub.close(now) };
        for item in items {
            match item {
                Item::Welcome { heartbeat_ms, threshold_ms, .. } => {
                    self.hub.welcome(heartbeat_ms, threshold_ms);
                    self.say_again();
                }
                Item::Assign(assign) => self.on_assign(*assign, out),
                Item::Ack { task, attempt, outcome } => self.on_ack(task, attempt, outcome, out),
                Item::Cancel { task, attempt, .. } => self.on_cancel(task, attempt),
                Item::Function { hash, body } => {
                    self.on_function(hash, body.map(|body| body.into_bytes()), out)
                }
                Item::Refused { text, .. } => {
                    self.hub.close(now);
                    self.close_all(&text, out);
                    return;
                }
                Item::Reset { .. } | Item::Bye { .. } => return self.hub.close(now),
                // The rest is not said to a manager, or (`Drain`) not by the hub.
                _ => {}
            }
        }
    }

    /// What still matters of what was said in the session before (F7).
    fn say_again(&mut self) {
        for held in self.calls.values() {
            if let Place::Finished(done) = &held.place {
                self.hub.say(Item::Result(done.clone()));
            }
        }
        for hash in &self.wanted {
            self.hub.say(Item::WantFunction { hash: *hash });
        }
    }

    fn close_all(&self, text: &str, out: &mut Vec<Action>) {
        let ends = self.ends.values().flat_map(End::links);
        let close = |link: &LinkId| Action::Link(*link, Order::Close(format!("ACCESS_REFUSED - {text}")));
        out.extend(self.core.links.iter().chain(ends).map(close));
    }
}
