//! An ad-hoc measurement: `cargo test --release -p bursa-core --test executor -- --ignored --nocapture timing`.

use crate::rig::{Rig, assign, done};
use bursa_core::executor::{Action, Event};
use bursa_core::id::TaskId;
use bursa_core::task::Outcome;
use bursa_core::wire::{Assign, Attempt, Item};
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
fn timing() {
    for (workers, held) in [(1, 512), (8, 4_000), (64, 20_000)] {
        let mut rig = Rig::up(workers);
        let mut rng = bursa_core::rng::Rng::new(5);
        // As UUIDv7: time first, then random.
        let id = |n: u64| {
            let mut bytes = rng.uuid();
            bytes[..6].copy_from_slice(&(n / 50).to_be_bytes()[2..]);
            TaskId::from_bytes(bytes)
        };
        let tasks: Vec<TaskId> = (0..200_000).map(id).collect();
        let model = assign(0);
        let mut spent = std::time::Duration::ZERO;
        let mut feed = tasks.iter();
        let mut out: Vec<Action> = Vec::new();
        let mut open = 0;
        let mut finished = 0;
        let mut acks: Vec<Item> = Vec::new();
        let mut pipes: Vec<Event> = Vec::new();
        while finished < tasks.len() {
            let mut items = std::mem::take(&mut acks);
            while open < held
                && items.len() < 1_000
                && let Some(task) = feed.next()
            {
                items.push(Item::Assign(Box::new(Assign { task: *task, ..model.clone() })));
                open += 1;
            }
            let messages = rig.messages(items);
            let mut events = std::mem::take(&mut pipes);
            events.extend(messages.into_iter().map(|message| Event::FromManager { message }));
            let now = rig.now();
            let from = Instant::now();
            for event in events {
                rig.executor.handle(now, event, &mut out);
            }
            rig.executor.flush(now, &mut out);
            spent += from.elapsed();
            for action in out.drain(..) {
                match action {
                    Action::Spawn { worker, .. } => {
                        pipes.push(Event::WorkerReady { worker, python: "3.11".into() });
                    }
                    Action::Run { worker, task, .. } => {
                        let done = bursa_core::executor::WorkerDone { task, ..done(0, 2_000) };
                        pipes.push(Event::WorkerDone { worker, done });
                    }
                    Action::Send { message } => {
                        let session = rig.session.as_mut().unwrap();
                        for item in session.receive(now.mono, message).unwrap() {
                            if let Item::Result(done) = item {
                                finished += 1;
                                open -= 1;
                                let (task, outcome) = (done.task, Outcome::Success);
                                acks.push(Item::Ack { task, attempt: Attempt(1), outcome });
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        let each = spent.as_nanos() / tasks.len() as u128;
        println!("{workers} workers, {held} held: {each} ns per task");
    }
}
