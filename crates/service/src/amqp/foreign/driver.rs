//! The loop that joins connections, managers and the hub's driver. No decision is taken here.

use super::Foreign;
use super::Who;
use super::manager::{Action, Event, Manager, Order, Said};
use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::forwarder::Received;
use bursa_core::id::{ConnId, EndpointId, ManagerId};
use bursa_core::limits;
use bursa_core::time::Now;
use bursa_core::wire::Message;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Connections of the fabric are numbered from 1 on, those of managers here from this number on.
const FIRST: u64 = 1 << 63;

/// A connection of an endpoint's, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkId(pub(super) u64);

/// The number of the hub's `connection`th connection with the endpoint at this place.
pub(super) const fn conn_of(place: u32, connection: u32) -> ConnId {
    ConnId(FIRST | (place as u64) << 32 | connection as u64)
}

/// Whether a connection of the hub's is one of those here.
pub(crate) const fn is_foreign(conn: ConnId) -> bool {
    conn.0 >= FIRST
}

/// What the hub's driver says: a message; `None`: nothing more is said on this connection.
pub(crate) type OfHub = (ConnId, Option<Message>);

/// What a connection says; of a new one, where it takes orders.
#[derive(Debug)]
pub(super) enum Heard {
    Opened(LinkId, Who, mpsc::Sender<Order>),
    Said(LinkId, Who, Said),
    /// The endpoint's program was started, and registered.
    Began(EndpointId),
}

/// How connections reach the loop.
#[derive(Debug)]
pub(crate) struct Links {
    last: AtomicU64,
    heard: mpsc::Sender<Heard>,
}

impl Links {
    /// Registers a connection; `None`: the service stops.
    pub(super) async fn open(&self, who: Who) -> Option<(LinkId, mpsc::Receiver<Order>)> {
        let link = LinkId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let (orders, taken) = mpsc::channel(limits::FOREIGN_ORDERS);
        self.heard.send(Heard::Opened(link, who, orders)).await.ok()?;
        Some((link, taken))
    }

    /// An endpoint's program was started: it was told where its queues are after this.
    pub(crate) async fn began(&self, endpoint: EndpointId) {
        // Where nobody hears it the service stops.
        let _ = self.heard.send(Heard::Began(endpoint)).await;
    }

    /// Hands on what a connection said; false: the service stops.
    pub(super) async fn say(&self, link: LinkId, who: Who, said: Said) -> bool {
        self.heard.send(Heard::Said(link, who, said)).await.is_ok()
    }
}

/// Owner of the managers.
#[derive(Debug)]
pub(crate) struct Driver {
    foreign: Arc<Foreign>,
    address: Arc<str>,
    /// This life of the service: managers of the one before are no more.
    life: (ManagerId, u64),
    heard: mpsc::Receiver<Heard>,
    of_hub: mpsc::Receiver<OfHub>,
    to_hub: mpsc::Sender<Received>,
    managers: Vec<Manager>,
    places: HashMap<EndpointId, u32>,
    links: HashMap<LinkId, mpsc::Sender<Order>>,
}

impl Driver {
    /// Between connections and the hub's driver: `address` is where AMQP is spoken, `life` names this life of the service.
    pub(crate) fn new(
        foreign: Arc<Foreign>,
        address: Arc<str>,
        life: (ManagerId, u64),
        (of_hub, to_hub): (mpsc::Receiver<OfHub>, mpsc::Sender<Received>),
    ) -> (Links, Self) {
        let (say, heard) = mpsc::channel(limits::FOREIGN_HEARD);
        let (managers, places, links) = (Vec::new(), HashMap::new(), HashMap::new());
        let driver = Self { foreign, address, life, heard, of_hub, to_hub, managers, places, links };
        (Links { last: AtomicU64::new(0), heard: say }, driver)
    }

    /// Runs until the hub's driver is gone.
    pub(crate) async fn run(mut self) {
        let clock = Clock::new();
        let mut alarm = Alarm::new();
        let mut touched = BTreeSet::new();
        loop {
            let due = self.managers.iter().filter_map(Manager::next_deadline).min();
            let event = tokio::select! {
                Some(heard) = self.heard.recv() => Some(self.of_link(heard)),
                said = self.of_hub.recv() => match said {
                    Some(said) => Some(of_hub(said)),
                    None => return,
                },
                () = alarm.wait(due.map(|at| clock.instant(at))) => None,
            };
            let now = clock.now();
            let mut next = event;
            let mut taken = 0;
            while let Some((place, event)) = next {
                touched.insert(place);
                if !self.handle(now, place, Some(event)).await {
                    return;
                }
                taken += 1;
                next = if taken < limits::ROUND_EVENTS { self.waiting() } else { None };
            }
            let due = |manager: &Manager| manager.next_deadline().is_some_and(|at| at <= now.mono);
            touched.extend(
                (0..).zip(&self.managers).filter(|(_, manager)| due(manager)).map(|(place, _)| place),
            );
            for place in std::mem::take(&mut touched) {
                if !self.handle(now, place, None).await {
                    return;
                }
            }
        }
    }

    /// What waits to be taken, if anything does.
    fn waiting(&mut self) -> Option<(usize, Event)> {
        self.of_hub
            .try_recv()
            .ok()
            .map(of_hub)
            .or_else(|| self.heard.try_recv().ok().map(|heard| self.of_link(heard)))
    }

    /// Gives an event to a manager, or ends its round. False: the hub's driver is gone.
    async fn handle(&mut self, now: Now, place: usize, event: Option<Event>) -> bool {
        let Some(manager) = self.managers.get_mut(place) else { return true };
        let mut out = Vec::new();
        match event {
            Some(event) => manager.handle(now, event, &mut out),
            None => manager.flush(now, &mut out),
        }
        let endpoint = manager.endpoint();
        for action in out {
            if !self.perform(endpoint, action).await {
                return false;
            }
        }
        true
    }

    fn of_link(&mut self, heard: Heard) -> (usize, Event) {
        match heard {
            Heard::Began(endpoint) => (self.place(endpoint), Event::Began),
            Heard::Opened(link, who, orders) => {
                self.links.insert(link, orders);
                (self.place(who.endpoint), Event::Link(link, who, Said::Opened))
            }
            Heard::Said(link, who, said) => {
                if matches!(said, Said::Closed) {
                    self.links.remove(&link);
                }
                (self.place(who.endpoint), Event::Link(link, who, said))
            }
        }
    }

    /// The place of an endpoint's manager, made now if it is not there.
    fn place(&mut self, endpoint: EndpointId) -> usize {
        let next = u32::try_from(self.managers.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(endpoint).or_insert(next);
        if place == next {
            let (foreign, address) = (Arc::clone(&self.foreign), Arc::clone(&self.address));
            self.managers.push(Manager::new(foreign, address, self.life, (endpoint, place)));
        }
        place as usize
    }

    /// False: the hub's driver is gone.
    async fn perform(&mut self, endpoint: EndpointId, action: Action) -> bool {
        match action {
            Action::Hub(conn, message) => {
                return self.to_hub.send(Received { conn, endpoint, message }).await.is_ok();
            }
            Action::Link(link, order) => {
                // A connection that takes nothing ends: without a sender it finds its channel closed.
                if self.links.get(&link).is_some_and(|orders| orders.try_send(order).is_err()) {
                    self.links.remove(&link);
                }
            }
            Action::Log(text) => tracing::info!(%endpoint, "{text}"),
        }
        true
    }
}

fn of_hub((conn, message): OfHub) -> (usize, Event) {
    let place = usize::try_from((conn.0 & !FIRST) >> 32).unwrap_or(usize::MAX);
    (place, message.map_or(Event::Closed(conn), |message| Event::Hub(conn, message)))
}
