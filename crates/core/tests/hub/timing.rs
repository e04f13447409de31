//! Nanoseconds per task: run with `cargo test --release -p bursa-core --test hub -- --ignored --nocapture timing`.

use crate::rig::{capacity, config, endpoint, hello, spec};
use bursa_core::hub::{Action, Answer, Event, Hub, KnownEndpoint, Op, RequestId, Submit};
use bursa_core::id::{ConnId, Hash, TaskId};
use bursa_core::rng::Rng;
use bursa_core::task::{Begun, Outcome};
use bursa_core::time::Now;
use bursa_core::timings::Timings;
use bursa_core::wire::{Blob, Done, Item, Message, Session};
use bytes::Bytes;
use std::time::{Duration, Instant};

const TASKS: usize = 1_000_000;
const BATCH: usize = 1_000;

/// Runs the hub only while its clock is watched; store and manager are free.
struct Bench {
    hub: Hub,
    now: Now,
    spent: Duration,
    /// Each round apart: the median says what a round takes when nobody else wants the core.
    rounds: Vec<Duration>,
    out: Vec<Action>,
}

impl Bench {
    fn round(&mut self, events: Vec<Event>) -> Vec<Action> {
        let begin = Instant::now();
        for event in events {
            self.hub.handle(self.now, event, &mut self.out);
        }
        self.hub.flush(self.now, &mut self.out);
        self.rounds.push(begin.elapsed());
        self.spent += begin.elapsed();
        std::mem::take(&mut self.out)
    }

    /// What the driver of a perfect store and link would do next.
    fn perform(&mut self, actions: Vec<Action>, session: &mut Session) -> Vec<Event> {
        let mut events = Vec::new();
        let mut results = Vec::new();
        for action in actions {
            match action {
                Action::Store { token, op } => {
                    let answer = match op {
                        Op::Accept { .. } => Answer::Accepted { known: Vec::new(), hits: Vec::new() },
                        Op::End { .. } => Answer::Ended { sequence: 1 },
                        _ => Answer::Done,
                    };
                    events.push(Event::Stored { token, answer });
                }
                Action::LoadBody { hash } => {
                    events.push(Event::Body { hash, body: Some(Bytes::from_static(b"b")) })
                }
                Action::Send { message, .. } => {
                    for item in session.receive(self.now.mono, message).unwrap() {
                        if let Item::Assign(assign) = item {
                            results.push((assign.task, assign.attempt));
                        }
                    }
                }
                _ => {}
            }
        }
        for (task, attempt) in results {
            session.push(Item::Result(Box::new(Done {
                task,
                attempt,
                outcome: Outcome::Success,
                begun: Begun::Yes,
                payload: Blob::Here(Bytes::from_static(b"a small result")),
                failure: None,
                output: Blob::empty(),
                run_ns: 1,
                timings: Timings::default(),
            })));
        }
        session.flush(self.now.mono, |message| events.push(message_event(message)));
        events
    }
}

fn message_event(message: Message) -> Event {
    Event::Message { conn: ConnId(1), endpoint: endpoint(1), message }
}

#[test]
#[ignore = "timing: by hand, in release"]
fn timing_of_submit_dispatch_and_result() {
    for queued_first in [false, true] {
        let now = crate::rig::at(1);
        let known = KnownEndpoint { generation: 1, ..KnownEndpoint::new(endpoint(1)) };
        let hub = Hub::new(config(1), now, vec![known], Vec::new());
        let mut bench = Bench { hub, now, spent: Duration::ZERO, rounds: Vec::new(), out: Vec::new() };
        let mut session = Session::new(1, now.mono);
        let mut rng = Rng::new(1);
        let body = Hash::of(b"b");
        let mut batches: Vec<Event> = (0..TASKS / BATCH)
            .map(|n| {
                let task = |_| {
                    let mut spec = spec(0);
                    (spec.task, spec.hash) = (TaskId::from_bytes(rng.uuid()), body);
                    spec
                };
                let tasks: Vec<_> = (0..BATCH).map(task).collect();
                let (user, group) = (tasks[0].user, tasks[0].group);
                Event::Submit(Submit { request: RequestId(n as u64), user, group, tasks })
            })
            .collect();
        let mut words = hello(1, 1, 1);
        words.capacity = capacity(1_000);
        session.push(Item::Hello(Box::new(words)));
        let mut events = Vec::new();
        session.flush(now.mono, |message| events.push(message_event(message)));
        if queued_first {
            let mut stored: Vec<Event> = std::mem::take(&mut batches);
            while !stored.is_empty() {
                let actions = bench.round(std::mem::take(&mut stored));
                stored = bench.perform(actions, &mut Session::new(0, now.mono));
            }
        }
        let queueing = bench.spent.as_nanos() / TASKS as u128;
        bench.rounds.clear();
        let mut ended = 0;
        while ended < TASKS {
            bench.now.mono.0 += 1;
            events.extend(batches.pop());
            let actions = bench.round(std::mem::take(&mut events));
            ended += actions.iter().filter(|a| matches!(a, Action::Store { op: Op::End { .. }, .. })).count();
            events = bench.perform(actions, &mut session);
        }
        let ns = bench.spent.as_nanos() / TASKS as u128;
        bench.rounds.sort();
        let median = bench.rounds[bench.rounds.len() / 2] * u32::try_from(bench.rounds.len()).unwrap();
        let median = queueing + median.as_nanos() / TASKS as u128;
        let queued = if queued_first { TASKS } else { 0 };
        println!(
            "{ns} ns per task ({median} by the median round), {queued} queued before ({queueing} ns to queue one)"
        );
    }
}
