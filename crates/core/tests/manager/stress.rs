//! Random worlds: a fake hub and fake executors that keep the rules, and links that break at any moment. Whatever
//! happened, when it is quiet every task has ended, no attempt ran twice, and nobody holds anything.

use crate::rig::{capacity, config, executor_hello, number, task, x};
use bursa_core::id::{ConnId, ExecutorId};
use bursa_core::manager::{Action, Config, Event, Manager};
use bursa_core::rng::Rng;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Attempt, Done, Holding, Item, Session, Stage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type Key = (u32, u64);
const TASKS: u32 = 12;
const CREDIT: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Wait,
    Run,
    End(Outcome),
}

#[derive(Debug, Default)]
struct FakeHub {
    session: Option<Session>,
    cut: bool,
    welcomed: bool,
    /// Lease → confirmed in this session.
    leases: BTreeMap<Key, bool>,
    current: BTreeMap<u32, u64>,
    ended: BTreeMap<u32, Outcome>,
    numbers: BTreeMap<u32, u64>,
    credit: usize,
    /// Acknowledgements that wait for the store.
    acks: Vec<(Key, Outcome)>,
}

#[derive(Debug)]
struct FakeExecutor {
    session: Option<Session>,
    conn: ConnId,
    connection: u64,
    up: bool,
    held: BTreeMap<Key, At>,
}

struct World {
    manager: Manager,
    rng: Rng,
    ms: u64,
    hub: FakeHub,
    executors: BTreeMap<ExecutorId, FakeExecutor>,
    inbox: VecDeque<Event>,
    started: BTreeSet<Key>,
    conns: u64,
    names: u8,
    linked: bool,
}

fn end(key: Key, outcome: Outcome, begun: Begun) -> Item {
    crate::rig::done(key.0, key.1, outcome, begun)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            manager: Manager::new(
                Config { seed, ..config() },
                Now { mono: Mono(1), fine: Fine(1_000_000), wall: Wall(0) },
            ),
            rng: Rng::new(seed ^ 0xabcd),
            ms: 1,
            hub: FakeHub::default(),
            executors: BTreeMap::new(),
            inbox: VecDeque::from([Event::Tick]),
            started: BTreeSet::new(),
            conns: 0,
            names: 0,
            linked: false,
        };
        world.run();
        world.new_executor();
        world.new_executor();
        world
    }

    fn new_executor(&mut self) {
        self.names += 1;
        let fake =
            FakeExecutor { session: None, conn: ConnId(0), connection: 0, up: false, held: BTreeMap::new() };
        self.executors.insert(x(self.names), fake);
    }

    /// Handles everything that is under way.
    fn run(&mut self) {
        loop {
            let now = Now { mono: Mono(self.ms), fine: Fine(self.ms * 1_000_000), wall: Wall(0) };
            let mut out = Vec::new();
            while let Some(event) = self.inbox.pop_front() {
                self.manager.handle(now, event, &mut out);
            }
            self.manager.flush(now, &mut out);
            for action in out {
                self.perform(action);
            }
            self.dispatch();
            self.speak();
            if self.inbox.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, action: Action) {
        let now = Mono(self.ms);
        match action {
            Action::Connect => {
                self.inbox.push_back(Event::LinkUp);
                self.hub.session = None;
                self.hub.cut = false;
                self.linked = true;
            }
            Action::Disconnect => {
                self.hub.session = None;
                self.hub.cut = true;
                self.linked = false;
            }
            Action::SendHub { message } if !self.hub.cut => {
                if self.hub.session.is_none() {
                    assert!(matches!(message.items[0], Item::Hello(_)));
                    self.hub.session = Some(Session::new(message.envelope.sid, now));
                    self.hub.welcomed = false;
                    self.hub.leases.values_mut().for_each(|confirmed| *confirmed = false);
                }
                let items = self.hub.session.as_mut().unwrap().receive(now, message).unwrap();
                items.into_iter().for_each(|item| self.hub_hears(item));
            }
            Action::SendExecutor { conn, message } => {
                let found = self.executors.iter_mut().find(|(_, fake)| fake.conn == conn);
                let Some((id, fake)) = found.map(|(id, fake)| (*id, fake)) else { return };
                let Some(session) = &mut fake.session else { return };
                let items = session.receive(now, message).unwrap();
                items.into_iter().for_each(|item| self.executor_hears(id, item));
            }
            Action::SaveHints { .. } => self.inbox.push_back(Event::HintsSaved),
            Action::Exit { .. } => panic!("{action:?}"),
            _ => {}
        }
    }

    fn hub_say(&mut self, item: Item) {
        if let Some(session) = &mut self.hub.session {
            session.push(item);
        }
    }

    fn hub_hears(&mut self, item: Item) {
        match item {
            Item::Hello(hello) => {
                self.hub.credit = hello.capacity.credit_tasks as usize;
                if hello.last {
                    self.hub.welcomed = true;
                    let (heartbeat_ms, threshold_ms) = (10_000, 30_000);
                    let result_window = 1;
                    self.hub_say(Item::Welcome {
                        proto: 2,
                        epoch: 1,
                        heartbeat_ms,
                        threshold_ms,
                        result_window,
                    });
                }
                self.hub_held(&hello.held, hello.complete && hello.last);
            }
            Item::Held(held) => self.hub_held(&held.held, held.complete),
            Item::Capacity(capacity) => self.hub.credit = capacity.credit_tasks as usize,
            Item::Result(done) => self.hub_result(&done),
            _ => {}
        }
    }

    fn hub_held(&mut self, held: &[Holding], complete: bool) {
        for held in held {
            let (n, attempt) = (number(held.task), held.attempt.0);
            let known = self.hub.leases.insert((n, attempt), true).is_some();
            if !known && !self.hub.ended.contains_key(&n) && !self.hub.current.contains_key(&n) {
                self.hub.current.insert(n, attempt);
            } else if self.hub.ended.contains_key(&n) || self.hub.current.get(&n) != Some(&attempt) {
                self.hub_say(crate::rig::cancel(n, attempt));
            }
        }
        if complete {
            let gone: Vec<Key> =
                self.hub.leases.iter().filter(|(_, ok)| !**ok).map(|(key, _)| *key).collect();
            for key in gone {
                self.hub.leases.remove(&key);
                if self.hub.current.get(&key.0) == Some(&key.1) {
                    self.hub.current.remove(&key.0);
                }
            }
        }
    }

    fn hub_result(&mut self, done: &Done) {
        let (n, attempt) = (number(done.task), done.attempt.0);
        self.hub.leases.remove(&(n, attempt));
        let current = self.hub.current.get(&n) == Some(&attempt);
        if done.outcome == Outcome::Success {
            self.hub.ended.entry(n).or_insert(done.outcome);
            self.hub.current.remove(&n);
            let others: Vec<Key> = self.hub.leases.keys().filter(|key| key.0 == n).copied().collect();
            others.into_iter().for_each(|key| self.hub_say(crate::rig::cancel(key.0, key.1)));
        } else if current {
            self.hub.current.remove(&n);
        }
        if done.outcome != Outcome::Returned {
            self.hub.acks.push(((n, attempt), done.outcome));
        }
    }

    fn dispatch(&mut self) {
        if !self.hub.welcomed || self.hub.session.is_none() {
            return;
        }
        for n in 0..TASKS {
            let used = self.hub.leases.values().filter(|confirmed| **confirmed).count();
            let free = !self.hub.ended.contains_key(&n) && !self.hub.current.contains_key(&n);
            if free && used < self.hub.credit {
                let next = self.hub.numbers.entry(n).or_insert(0);
                *next += 1;
                let attempt = *next;
                self.hub.current.insert(n, attempt);
                self.hub.leases.insert((n, attempt), true);
                self.hub_say(crate::rig::assign(n, attempt));
            }
        }
    }

    /// What hub and executors have to say becomes events, unless their link is cut: then it is lost.
    fn speak(&mut self) {
        let now = Mono(self.ms);
        let (inbox, cut) = (&mut self.inbox, self.hub.cut);
        if let Some(session) = &mut self.hub.session {
            session.flush(now, |message| {
                if !cut {
                    inbox.push_back(Event::FromHub { message });
                }
            });
        }
        for (executor, fake) in &mut self.executors {
            let (conn, executor) = (fake.conn, *executor);
            if let Some(session) = &mut fake.session {
                session
                    .flush(now, |message| inbox.push_back(Event::FromExecutor { conn, executor, message }));
            }
        }
    }

    fn executor_hears(&mut self, id: ExecutorId, item: Item) {
        let fake = self.executors.get_mut(&id).unwrap();
        let say = |fake: &mut FakeExecutor, item| {
            if let Some(session) = &mut fake.session {
                session.push(item);
            }
        };
        match item {
            Item::Welcome { .. } => {
                fake.up = true;
                let ends = fake.held.clone();
                for (key, at) in ends {
                    if let At::End(outcome) = at {
                        say(fake, end(key, outcome, Begun::Yes));
                    }
                }
            }
            Item::Assign(assign) => {
                let key = (number(assign.task), assign.attempt.0);
                fake.held.entry(key).or_insert(At::Wait);
                let open = fake.held.values().filter(|at| !matches!(at, At::End(_))).count();
                assert!(open <= CREDIT as usize, "I7: {open} open");
            }
            Item::Cancel { task, attempt, .. } => {
                let key = (number(task), attempt.0);
                match fake.held.get(&key) {
                    Some(At::End(_)) => {}
                    found => {
                        if found.is_some() {
                            fake.held.insert(key, At::End(Outcome::Cancelled));
                        }
                        say(fake, end(key, Outcome::Cancelled, Begun::Unknown));
                    }
                }
            }
            Item::Ack { task, attempt, outcome } => {
                let key = (number(task), attempt.0);
                if fake.held.get(&key) == Some(&At::End(outcome)) {
                    fake.held.remove(&key);
                    let safe = outcome != Outcome::Success || self.hub.ended.contains_key(&key.0);
                    assert!(safe, "I6: forgotten before it was stored");
                }
            }
            Item::Reset { .. } | Item::Refused { .. } | Item::Bye { .. } => {
                fake.session = None;
                fake.up = false;
            }
            _ => {}
        }
    }

    fn connect_executor(&mut self, id: ExecutorId) {
        self.conns += 1;
        let now = Mono(self.ms);
        let fake = self.executors.get_mut(&id).unwrap();
        fake.up = false;
        fake.conn = ConnId(self.conns);
        fake.connection += 1;
        let held = fake.held.iter().map(|(key, at)| Holding {
            task: task(key.0),
            attempt: Attempt(key.1),
            stage: match at {
                At::Wait => Stage::Waiting,
                At::Run => Stage::Running,
                At::End(_) => Stage::Finished,
            },
            begun: if *at == At::Wait { Begun::No } else { Begun::Yes },
        });
        let held = held.collect();
        let mut session = Session::new(10_000 + self.conns, now);
        session.push(executor_hello(id, fake.connection, held, capacity(CREDIT, 2)));
        fake.session = Some(session);
    }

    fn work(&mut self, id: ExecutorId) {
        let roll = self.rng.below(10);
        let fake = self.executors.get_mut(&id).unwrap();
        let open = fake.held.iter().find(|(_, at)| !matches!(at, At::End(_))).map(|(key, at)| (*key, *at));
        let Some((key, at)) = open.filter(|_| fake.up || fake.session.is_none()) else { return };
        let item = match (at, roll) {
            (At::Wait, 0) => {
                fake.held.remove(&key);
                end(key, Outcome::Returned, Begun::No)
            }
            (At::Wait, _) => {
                assert!(self.started.insert(key), "I3: {key:?} started twice");
                fake.held.insert(key, At::Run);
                crate::rig::started(key.0, key.1)
            }
            (_, roll) => {
                let outcome = if roll == 0 { Outcome::Died } else { Outcome::Success };
                fake.held.insert(key, At::End(outcome));
                end(key, outcome, Begun::Yes)
            }
        };
        if fake.up {
            fake.session.as_mut().unwrap().push(item);
        }
    }

    fn store(&mut self) {
        for ((n, attempt), outcome) in std::mem::take(&mut self.hub.acks) {
            self.hub_say(crate::rig::ack(n, attempt, outcome));
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.ms + ms;
        while self.ms < until {
            self.ms = (self.ms + 500).min(until);
            let now = Mono(self.ms);
            if let Some(session) = self.hub.session.as_mut().filter(|_| !self.hub.cut) {
                self.inbox.push_back(Event::FromHub { message: session.ping(now) });
            }
            for (executor, fake) in &mut self.executors {
                let conn = fake.conn;
                if let Some(session) = fake.session.as_mut().filter(|_| fake.up) {
                    let message = session.ping(now);
                    self.inbox.push_back(Event::FromExecutor { conn, executor: *executor, message });
                }
            }
            self.inbox.push_back(Event::Tick);
            self.run();
        }
    }

    fn some_executor(&mut self) -> ExecutorId {
        let index = usize::try_from(self.rng.below(self.executors.len() as u64)).unwrap();
        *self.executors.keys().nth(index).unwrap()
    }

    fn step(&mut self) {
        let id = self.some_executor();
        match self.rng.below(24) {
            0 => {
                self.hub.cut = true;
                self.hub.session = None;
                self.work(id);
            }
            1 if self.hub.cut && self.linked => {
                self.linked = false;
                self.inbox.push_back(Event::LinkDown { why: "cut".into() });
            }
            2 => {
                let fake = self.executors.get_mut(&id).unwrap();
                fake.session = None;
                fake.up = false;
            }
            3 => self.connect_executor(id),
            4 if self.rng.below(4) == 0 && self.names < 250 => {
                self.executors.remove(&id);
                self.inbox.push_back(Event::ExecutorGone { executor: id, why: "killed".into() });
                self.new_executor();
            }
            5 => {
                let ms = self.rng.below(9_000);
                self.pass(ms);
            }
            6 => {
                let n = u32::try_from(self.rng.below(u64::from(TASKS))).unwrap();
                if self.rng.below(8) == 0 && self.hub.session.is_some() && !self.hub.ended.contains_key(&n) {
                    self.hub.ended.insert(n, Outcome::Cancelled);
                    self.hub.current.remove(&n);
                    let leases: Vec<Key> = self.hub.leases.keys().filter(|key| key.0 == n).copied().collect();
                    leases.into_iter().for_each(|key| self.hub_say(crate::rig::cancel(key.0, key.1)));
                }
            }
            7..=10 => self.store(),
            11 => {
                let conn = self.executors[&id].conn;
                self.inbox.push_back(Event::Unreachable { conn });
            }
            _ => self.work(id),
        }
        self.run();
    }

    fn quiet(&mut self) {
        if self.hub.cut && self.linked {
            self.inbox.push_back(Event::LinkDown { why: "cut".into() });
        }
        self.run();
        for _ in 0..60 {
            self.pass(1_500);
            for id in self.executors.keys().copied().collect::<Vec<_>>() {
                if self.executors[&id].session.is_none() {
                    self.connect_executor(id);
                }
                for _ in 0..8 {
                    self.work(id);
                    self.run();
                }
            }
            self.store();
            self.run();
        }
    }

    fn held_by_manager(&mut self) -> Vec<Holding> {
        self.inbox.push_back(Event::LinkDown { why: "count".into() });
        self.run();
        self.ms += 6_000;
        let now = Now { mono: Mono(self.ms), fine: Fine(self.ms * 1_000_000), wall: Wall(0) };
        let mut out = Vec::new();
        self.manager.handle(now, Event::Tick, &mut out);
        self.manager.handle(now, Event::LinkUp, &mut out);
        let hello = out.into_iter().find_map(|action| match action {
            Action::SendHub { message } => message.items.into_iter().find_map(|item| match item {
                Item::Hello(hello) => Some(hello.held),
                _ => None,
            }),
            _ => None,
        });
        hello.expect("a hello")
    }
}

#[test]
fn i3_i6_i7_i11_links_break_at_any_moment_and_nothing_is_lost_or_leaks() {
    for seed in 0..120 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.quiet();
        assert_eq!(
            world.hub.ended.len(),
            TASKS as usize,
            "seed {seed}: not every task ended: {:?} {:?} {:?}",
            world.hub,
            world.executors,
            format!("{:?}", world.manager).split("book:").next()
        );
        assert!(world.hub.leases.is_empty(), "seed {seed}: leases {:?}", world.hub.leases);
        let held: Vec<_> = world.executors.values().flat_map(|fake| fake.held.iter()).collect();
        assert!(held.is_empty(), "seed {seed}: executors hold {held:?}");
        assert_eq!(world.held_by_manager(), vec![], "seed {seed}: the manager holds");
    }
}
