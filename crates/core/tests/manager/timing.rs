//! Time per task, on demand: `cargo test --release -p bursa-core --test manager timing -- --ignored --nocapture`.

use crate::rig::{assign, capacity, config, executor_hello};
use bursa_core::id::{ConnId, ExecutorId};
use bursa_core::manager::{Action, Event, Manager};
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::{Fine, Mono, Now, Wall};
use bursa_core::wire::{Item, Message, Session};
use std::time::Duration;

const NOW: Now = Now { mono: Mono(1), fine: Fine(1_000_000), wall: Wall(0) };

/// Time this thread has been on a processor: what others do on this machine does not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

struct World {
    manager: Manager,
    hub: Option<Session>,
    executors: Vec<(ExecutorId, ConnId, Session)>,
    spent: Duration,
    messages: usize,
    acks: usize,
}

impl World {
    /// One round of the manager, timed; what it says is answered.
    fn round(&mut self, events: Vec<Event>) {
        let mut out = Vec::new();
        let begin = on_cpu();
        for event in events {
            self.manager.handle(NOW, event, &mut out);
        }
        self.manager.flush(NOW, &mut out);
        let _ = self.manager.next_deadline();
        self.spent += on_cpu() - begin;
        for action in out {
            match action {
                Action::SendHub { message } => self.hub_hears(message),
                Action::SendExecutor { conn, message } => self.executor_hears(conn, message),
                _ => {}
            }
        }
    }

    fn hub_hears(&mut self, message: Message) {
        self.messages += 1;
        let sid = message.envelope.sid;
        let session = self.hub.get_or_insert_with(|| Session::new(sid, NOW.mono));
        for item in session.receive(NOW.mono, message).unwrap() {
            match item {
                Item::Hello(_) => session.push(Item::Welcome {
                    proto: 2,
                    epoch: 1,
                    heartbeat_ms: 10_000,
                    threshold_ms: 30_000,
                    result_window: 1,
                }),
                Item::Result(done) => session.push(Item::Ack {
                    task: done.task,
                    attempt: done.attempt,
                    outcome: Outcome::Success,
                }),
                _ => {}
            }
        }
    }

    fn executor_hears(&mut self, conn: ConnId, message: Message) {
        self.messages += 1;
        let index = usize::try_from(conn.0).unwrap();
        let session = &mut self.executors[index].2;
        for item in session.receive(NOW.mono, message).unwrap() {
            match item {
                Item::Assign(assign) => {
                    let n = crate::rig::number(assign.task);
                    session.push(crate::rig::done(n, assign.attempt.0, Outcome::Success, Begun::Yes));
                }
                Item::Ack { .. } => self.acks += 1,
                _ => {}
            }
        }
    }

    fn pending(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(session) = &mut self.hub {
            session.flush(NOW.mono, |message| events.push(Event::FromHub { message }));
        }
        for (executor, conn, session) in &mut self.executors {
            let (executor, conn) = (*executor, *conn);
            session.flush(NOW.mono, |message| events.push(Event::FromExecutor { conn, executor, message }));
        }
        events
    }
}

#[allow(clippy::print_stdout, reason = "a measurement prints")]
fn run(executors: u16, slots: u32, total: u32) {
    let mut world = World {
        manager: Manager::new(config(), NOW),
        hub: None,
        executors: Vec::new(),
        spent: Duration::ZERO,
        messages: 0,
        acks: 0,
    };
    world.round(vec![Event::Tick]);
    world.round(vec![Event::LinkUp]);
    let credit = (slots * 513).min(65_536);
    for n in 0..executors {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        let id = ExecutorId::from_bytes(bytes);
        let mut session = Session::new(u64::from(n) + 1, NOW.mono);
        session.push(executor_hello(id, 1, vec![], capacity(credit, slots)));
        world.executors.push((id, ConnId(u64::from(n)), session));
    }
    let events = world.pending();
    world.round(events);
    world.round(vec![Event::HintsSaved]);
    world.spent = Duration::ZERO;
    world.messages = 0;
    let credit = (u32::from(executors).saturating_mul(credit)).min(65_536) as usize;
    let mut sent = 0;
    while world.acks < total as usize {
        let hub = world.hub.as_mut().unwrap();
        while sent < total && (sent as usize - world.acks) < credit {
            hub.push(assign(sent, 1));
            sent += 1;
        }
        let events = world.pending();
        assert!(!events.is_empty(), "stuck at {} of {total}", world.acks);
        world.round(events);
    }
    let ns = world.spent.as_nanos() / u128::from(total);
    println!("{executors} x {slots}: {ns} ns per task, {} messages", world.messages);
}

#[test]
#[ignore = "a measurement"]
fn timing() {
    run(1, 2, 500_000);
    run(1, 256, 500_000);
    run(512, 256, 1_310_720);
}
