//! A manager between a hub that says what the hub's rules allow, and connections that say what was seen on the wire.

use super::call::Ticket;
use super::driver::LinkId;
use super::manager::{Action, Event, Manager, Order, Said};
use super::message::{self, Report, Word};
use super::{Foreign, Who};
use bursa_core::id::{ConnId, EndpointId, Hash, ManagerId, TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::{Mono, Now, Wall};
use bursa_core::wire::{Assign, Attempt, Blob, Done, Item, Message, Session};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

const ENDPOINT: EndpointId = EndpointId::from_bytes([7; 16]);
const CORE: LinkId = LinkId(1);
const COMMANDS: LinkId = LinkId(2);

struct World {
    manager: Manager,
    now: Now,
    hub: Option<(ConnId, Session)>,
    heard: Vec<Item>,
    orders: Vec<(LinkId, Order)>,
}

impl World {
    /// An endpoint that is online.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "secret").unwrap();
        let foreign = Arc::new(Foreign::new(&dir.path().join("key")).unwrap());
        foreign.allow(ENDPOINT, "amqp 1");
        let life = (ManagerId::from_bytes([9; 16]), 3);
        let manager = Manager::new(foreign, "127.0.0.1:5672".into(), life, (ENDPOINT, 0));
        let mut world =
            Self { manager, now: Now::default(), hub: None, heard: Vec::new(), orders: Vec::new() };
        world.core(CORE, Said::Opened);
        world.core(COMMANDS, Said::Opened);
        world.core(COMMANDS, Said::TakesCommands);
        world
    }

    fn round(&mut self, event: Option<Event>) {
        let mut out = Vec::new();
        if let Some(event) = event {
            self.manager.handle(self.now, event, &mut out);
        }
        self.manager.flush(self.now, &mut out);
        for action in out {
            match action {
                Action::Hub(conn, message) => self.on_hub(conn, message),
                Action::Link(link, order) => self.orders.push((link, order)),
                Action::Log(_) => {}
            }
        }
    }

    /// What the hub makes of a message: it welcomes whoever comes.
    fn on_hub(&mut self, conn: ConnId, message: Message) {
        let hello = matches!(message.items.first(), Some(Item::Hello(_)));
        if hello {
            self.hub = Some((conn, Session::new(message.envelope.sid, self.now.mono)));
        }
        let (_, session) = self.hub.as_mut().unwrap();
        let items = session.receive(self.now.mono, message).unwrap();
        self.heard.extend(items);
        if hello {
            self.say(vec![Item::Welcome {
                proto: 4,
                epoch: 3,
                heartbeat_ms: 10_000,
                threshold_ms: 30_000,
                result_window: 1 << 20,
            }]);
        }
    }

    fn say(&mut self, items: Vec<Item>) {
        let (conn, session) = self.hub.as_mut().unwrap();
        let conn = *conn;
        items.into_iter().for_each(|item| session.push_by(item, Mono(0)));
        let mut messages = Vec::new();
        session.flush(self.now.mono, |message| messages.push(message));
        for message in messages {
            self.round(Some(Event::Hub(conn, message)));
        }
    }

    fn core(&mut self, link: LinkId, said: Said) {
        self.round(Some(Event::Link(link, Who { endpoint: ENDPOINT, end: None }, said)));
    }

    fn end(&mut self, link: u64, end: Uuid, said: Said) {
        self.round(Some(Event::Link(LinkId(link), Who { endpoint: ENDPOINT, end: Some(end) }, said)));
    }

    fn after(&mut self, ms: u64) {
        self.now.mono = self.now.mono.after(ms);
        self.now.wall = Wall(self.now.wall.0 + ms);
        self.round(None);
    }

    fn assign(&mut self, n: u8) {
        self.assign_with(n, 1, &json!({ "function": "f", "username": "ann" }));
    }

    fn assign_with(&mut self, n: u8, attempt: u32, abroad: &Value) {
        let beside = json!({ "abroad": abroad }).to_string();
        let length = u32::try_from(beside.len()).unwrap().to_le_bytes();
        let args = [b"g\0\0".as_slice(), &length, beside.as_bytes(), b"2\nab"].concat();
        self.say(vec![
            Item::Function {
                hash: Hash([1; 32]),
                body: Some(Blob::Here(Bytes::from_static(b"g\x03\x0b3\ncde"))),
            },
            assignment(n, attempt, args.into()),
        ]);
    }

    /// The name and id of the user endpoint of the last command, which there must be.
    fn started(&mut self) -> (String, Uuid) {
        let is_command = |(link, order): &(LinkId, Order)| match order {
            Order::Command(body) if *link == COMMANDS => Some(body.clone()),
            _ => None,
        };
        let body = self.orders.iter().rev().find_map(is_command).expect("a command");
        self.orders.retain(|order| is_command(order).is_none());
        let command: Value = serde_json::from_slice(&body).unwrap();
        let kwargs = &command["kwargs"];
        let id = kwargs["amqp_creds"]["endpoint_id"].as_str().unwrap().parse().unwrap();
        (kwargs["name"].as_str().unwrap().to_owned(), id)
    }

    /// The user endpoint of what waits comes, on this connection.
    fn come(&mut self, link: u64) -> Uuid {
        let (_, id) = self.started();
        self.end(link, id, Said::Opened);
        self.end(link, id, Said::TakesTasks);
        id
    }

    /// The tasks sent on this connection since this was asked last.
    fn sent(&mut self, link: u64) -> Vec<TaskId> {
        let mut sent = Vec::new();
        self.orders.retain(|(to, order)| match order {
            Order::Task(call) if *to == LinkId(link) => {
                sent.push(call.task);
                false
            }
            _ => true,
        });
        sent
    }

    fn results(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        self.heard.retain(|item| match item {
            Item::Result(result) => {
                done.push(result.as_ref().clone());
                false
            }
            _ => true,
        });
        done
    }

    fn ack(&mut self, done: &Done) {
        let (task, attempt, outcome) = (done.task, done.attempt, done.outcome);
        self.say(vec![Item::Ack { task, attempt, outcome }]);
    }
}

fn assignment(n: u8, attempt: u32, args: Bytes) -> Item {
    Item::Assign(Box::new(Assign {
        task: task(n),
        attempt: Attempt::new(3, attempt),
        user: UserId::from_bytes([5; 16]),
        hash: Hash([1; 32]),
        container: None,
        resources: None,
        args: Blob::Here(args),
        secrets: None,
        ttl_ms: 1_000_000,
        timeout_ms: None,
    }))
}

fn task(n: u8) -> TaskId {
    TaskId::from_bytes([n; 16])
}

fn value(n: u8) -> Said {
    ended(n, &json!(null), 7)
}

fn ended(n: u8, error: &Value, number: u64) -> Said {
    let data = json!({ "task_id": task(n).to_string(), "data": "00\nx", "error_details": error });
    let body = format!("\u{1}{}", json!({ "message_type": "result", "data": data }));
    match message::read(body.as_bytes()) {
        Some(Word::Ended(ended)) => Said::Ended(Some(ticket(number)), ended),
        other => panic!("{other:?}"),
    }
}

const fn ticket(number: u64) -> Ticket {
    Ticket { link: LinkId(11), channel: 1, number }
}

fn report(state: Value) -> Said {
    match state {
        Value::Object(state) => Said::Report(Report::of(&state)),
        _ => panic!("a report is a map"),
    }
}

#[test]
fn a_result_is_confirmed_when_the_store_has_it() {
    let mut world = World::new();
    world.assign(1);
    let id = world.come(10);
    assert_eq!(world.sent(10), [task(1)]);
    world.end(10, id, Said::Settled(vec![task(1)], true));
    world.end(11, id, Said::Opened);
    world.end(11, id, value(1));
    let done = world.results().pop().unwrap();
    assert_eq!((done.outcome, done.payload.bytes()), (Outcome::Success, b"g\0\x0000\nx".as_slice()));
    assert!(!world.orders.contains(&(LinkId(11), Order::Confirm(ticket(7)))), "not before");
    world.ack(&done);
    assert!(world.orders.contains(&(LinkId(11), Order::Confirm(ticket(7)))));
    world.end(11, id, ended(1, &json!(null), 8));
    assert!(
        world.orders.contains(&(LinkId(11), Order::Confirm(ticket(8)))),
        "what is over is of no interest"
    );
}

#[test]
fn an_error_keeps_its_text() {
    let mut world = World::new();
    world.assign(1);
    let id = world.come(10);
    world.end(10, id, ended(1, &json!({ "code": "RemoteExecutionError", "user_message": "m" }), 1));
    let done = world.results().pop().unwrap();
    assert_eq!(done.outcome, Outcome::Error);
    assert_eq!(done.failure.unwrap().traceback.unwrap(), "00\nx");
}

#[test]
fn what_a_killed_user_endpoint_had_is_lost_and_the_next_has_another_name() {
    let mut world = World::new();
    world.assign(1);
    let (first, id) = world.started();
    world.end(10, id, Said::Opened);
    world.end(10, id, Said::TakesTasks);
    world.end(10, id, Said::Settled(vec![task(1)], true));
    world.end(10, id, Said::Closed);
    world.after(limits::FOREIGN_GONE_MS - 1);
    assert!(world.results().is_empty(), "it may come back");
    world.after(1);
    let done = world.results().pop().unwrap();
    assert_eq!((done.outcome, done.begun), (Outcome::Lost, Begun::Unknown));
    world.ack(&done);
    world.assign_with(1, 2, &json!({ "function": "f", "username": "ann" }));
    let (second, same) = world.started();
    assert_eq!(id, same);
    assert_ne!(first, second);
}

#[test]
fn one_that_stops_in_order_is_not_waited_for() {
    let mut world = World::new();
    world.assign(1);
    let (first, id) = world.started();
    world.end(10, id, Said::Opened);
    world.end(10, id, Said::TakesTasks);
    world.end(10, id, report(json!({ "active": false, "heartbeat_period": 5 })));
    world.assign(2);
    assert_eq!(world.sent(10), [task(1)], "it gets nothing more");
    world.end(10, id, Said::Closed);
    world.after(0);
    assert_eq!(world.results().pop().unwrap().task, task(1));
    assert_eq!(world.started().0, first, "for task 2");
}

#[test]
fn what_was_not_acknowledged_comes_again_but_not_for_ever() {
    let mut world = World::new();
    world.assign(1);
    let id = world.come(10);
    for link in 10..12 {
        assert_eq!(world.sent(link), [task(1)]);
        world.end(link, id, Said::Closed);
        world.end(link + 1, id, Said::Opened);
        world.end(link + 1, id, Said::TakesTasks);
    }
    assert_eq!(world.sent(12), [task(1)]);
    world.end(13, id, Said::Opened);
    world.end(13, id, Said::TakesTasks);
    assert!(world.orders.iter().any(|(to, order)| *to == LinkId(12) && matches!(order, Order::Close(_))));
    assert_eq!(world.results().pop().unwrap().outcome, Outcome::Lost);
}

#[test]
fn one_that_cannot_start_is_tried_once_more_and_then_says_why() {
    let mut world = World::new();
    world.assign(1);
    let (first, id) = world.started();
    let why = || report(json!({ "error": "no such engine", "heartbeat_period": 3 }));
    world.end(10, id, Said::Opened);
    world.end(10, id, why());
    world.end(10, id, Said::Closed);
    world.after(0);
    let (second, _) = world.started();
    assert_ne!(first, second);
    world.end(11, id, Said::Opened);
    world.end(11, id, why());
    let done = world.results().pop().unwrap();
    assert_eq!(done.outcome, Outcome::Error);
    assert_eq!(done.failure.unwrap().message, "no such engine");
}

#[test]
fn a_user_endpoint_gets_no_more_than_it_should_hold() {
    let mut world = World::new();
    (1..=40).for_each(|n| world.assign(n));
    let id = world.come(10);
    assert_eq!(world.sent(10).len(), 8, "of one that has said nothing");
    world.end(10, id, report(json!({ "total_workers": 10, "idle_workers": 2, "heartbeat_period": 5 })));
    assert_eq!(world.sent(10).len(), 12);
    world.end(10, id, value(1));
    assert_eq!(world.sent(10).len(), 2, "its place, and one more since it ends one in a second");
    let scales = json!({ "total_workers": 0, "scaling_enabled": true, "max_blocks": 2, "nodes_per_block": 1,
                         "max_workers_per_node": 8 });
    world.end(10, id, report(scales));
    assert_eq!(world.sent(10).len(), 12, "33 at once: as many again as could ever run, and that one");
}

#[test]
fn users_and_options_have_user_endpoints_of_their_own() {
    let mut world = World::new();
    world.assign(1);
    let first = world.come(10);
    let other = json!({ "function": "f", "username": "ann", "user_endpoint_config": { "a": 1 } });
    world.assign_with(2, 1, &other);
    let second = world.come(20);
    assert_ne!(first, second);
    assert_eq!((world.sent(10), world.sent(20)), (vec![task(1)], vec![task(2)]));
    world.end(20, second, value(1));
    assert!(world.results().is_empty(), "it is not its task");
}

#[test]
fn a_call_of_another_client_says_so() {
    let mut world = World::new();
    let body = Some(Blob::Here(Bytes::from_static(b"p\0\0code")));
    world.say(vec![
        Item::Function { hash: Hash([1; 32]), body },
        assignment(1, 1, Bytes::from_static(b"p\0\0args")),
    ]);
    let done = world.results().pop().unwrap();
    let text = done.failure.unwrap().message;
    assert!(text.contains("call it with a client of Globus Compute"), "{text}");
}

#[test]
fn a_waiting_task_is_cancelled_and_one_that_is_away_goes_on() {
    let mut world = World::new();
    world.assign(1);
    world.say(vec![Item::Cancel { task: task(1), attempt: Attempt::new(3, 1), grace_ms: 1 }]);
    assert_eq!(world.results().pop().unwrap().outcome, Outcome::Cancelled);
    world.assign(2);
    world.come(10);
    world.say(vec![Item::Cancel { task: task(2), attempt: Attempt::new(3, 1), grace_ms: 1 }]);
    assert!(world.results().is_empty());
}

#[test]
fn one_that_ends_many_in_a_second_has_as_many_ahead() {
    let mut world = World::new();
    (1..=40).for_each(|n| world.assign(n));
    let id = world.come(10);
    assert_eq!(world.sent(10).len(), 8);
    for n in 1..=8 {
        world.end(10, id, ended(n, &json!(null), n.into()));
    }
    assert_eq!(world.sent(10).len(), 16, "eight for those that ended, and eight more");
    world.after(2_000);
    for n in 9..=16 {
        world.end(10, id, ended(n, &json!(null), n.into()));
        world.after(1_000);
    }
    assert_eq!(world.sent(10).len(), 1, "one a second: the least is enough, and one that ended just now");
}

#[test]
fn an_endpoint_is_offline_when_it_stops_and_lists_what_it_holds_when_it_comes_back() {
    let mut world = World::new();
    world.assign(1);
    world.core(CORE, report(json!({ "heartbeat_period": 0 })));
    assert!(world.heard.iter().any(|item| matches!(item, Item::Bye { .. })));
    world.core(CORE, Said::Closed);
    world.core(COMMANDS, Said::Closed);
    world.after(20_000);
    world.heard.clear();
    world.core(LinkId(5), Said::Opened);
    world.core(LinkId(5), Said::TakesCommands);
    let hello = world.heard.iter().find_map(|item| match item {
        Item::Hello(hello) => Some(hello),
        _ => None,
    });
    assert!(hello.is_some_and(|hello| hello.held.len() == 1 && hello.complete));
}

#[test]
fn one_that_is_its_own_user_endpoint_takes_all_and_is_offline_when_it_stops() {
    let mut world = World::new();
    let own = LinkId(20);
    world.core(own, Said::Opened);
    world.core(own, Said::TakesTasks);
    world.assign(1);
    assert_eq!(world.sent(20), [task(1)]);
    world.core(own, value(1));
    assert_eq!(world.results().pop().unwrap().outcome, Outcome::Success);
    world.core(own, report(json!({ "active": false, "heartbeat_period": 5 })));
    for link in [own, CORE, COMMANDS] {
        world.core(link, Said::Closed);
    }
    assert!(world.heard.iter().any(|item| matches!(item, Item::Bye { .. })), "at once");
    world.heard.clear();
    world.core(own, Said::Opened);
    world.core(own, Said::TakesTasks);
    world.after(1_000);
    assert!(world.heard.iter().any(|item| matches!(item, Item::Hello(_))), "it is back");
}

#[test]
fn one_that_is_its_own_user_endpoint_is_started_again_without_its_tasks() {
    let mut world = World::new();
    let (before, after) = (LinkId(20), LinkId(21));
    world.core(before, Said::Opened);
    world.core(before, Said::TakesTasks);
    world.assign(1);
    world.core(before, Said::Settled(vec![task(1)], true));
    assert_eq!(world.sent(20), [task(1)]);
    world.round(Some(Event::Began));
    assert!(matches!(world.orders.pop(), Some((link, Order::Close(_))) if link == before));
    let done = world.results().pop().unwrap();
    assert_eq!((done.outcome, done.begun), (Outcome::Lost, Begun::Unknown));
    world.core(after, Said::Opened);
    world.assign_with(1, 2, &json!({ "function": "f", "username": "ann" }));
    world.core(after, Said::TakesTasks);
    world.core(before, Said::Closed);
    assert_eq!(world.sent(21), [task(1)], "it waits for no other");
    world.after(limits::FOREIGN_GONE_MS);
    assert!(world.results().is_empty(), "it is here");
}

#[test]
fn credentials_are_those_of_one_connection_of_one_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "secret").unwrap();
    let foreign = Foreign::new(&key).unwrap();
    foreign.allow(ENDPOINT, "amqp 1");
    let end = Who { endpoint: ENDPOINT, end: Some(Uuid::from_bytes([1; 16])) };
    let password = foreign.password(&end).unwrap();
    let name = super::name(&end);
    assert_eq!(foreign.who(&name, &password), Some(end));
    assert_eq!(foreign.who(&ENDPOINT.to_string(), &password), None);
    assert_eq!(foreign.who(&name, "0"), None);
    foreign.revoke("amqp 1");
    assert_eq!(foreign.who(&name, &password), None);
    foreign.allow(ENDPOINT, "amqp 2");
    assert_eq!(foreign.who(&name, &password), None);
}
