//! The invariants of FABRIC §10 on what the machines say and do.
//!
//! Owns the truth that no machine knows: which attempts really began, which deaths really happened. Looking through
//! whole states is in [`scan`](super::scan), what the store wrote in [`records`](super::records).

use super::link::Net;
use super::node::{ExecutorProc, ManagerProc};
use super::store::is_hit;
use super::worker::Worker;
use super::{Endpoint, Record, Shape, Store, Us};
use crate::hub::{self, Hub, Op, Token};
use crate::id::{ConnId, TaskId, UserId};
use crate::map::{Map, Set};
use crate::resources::Share;
use crate::task::{Begun, Outcome, TaskState};
use crate::wire::{Attempt, Done, Holding, Item, Message, Stage};
use crate::{executor, limits, manager};
use std::collections::{BTreeMap, BTreeSet};

/// What is true of one task, whoever knows it.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) starts: u32,
    /// Events that may cost it one more start and one charge.
    pub(super) excuses: u32,
    /// Events that may cost it an attempt whose start is unknown.
    pub(super) doubts: u32,
    /// Highest attempt number sent (I10).
    top: Option<Attempt>,
    pub(super) cancel_asked: bool,
}

/// What was said on one connection to the hub.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) generation: u64,
    /// Attempts sent or reported on it (I8).
    pub(super) known: Set<(TaskId, Attempt)>,
}

/// The truth so far, and the first rule that did not hold.
#[derive(Debug, Default)]
pub(super) struct Check {
    pub(super) failed: Option<(&'static str, String)>,
    names: Map<TaskId, usize>,
    pub(super) tasks: Map<TaskId, Truth>,
    began: Set<(TaskId, Attempt)>,
    /// Attempts that the service was told never began.
    refuted: Set<(TaskId, Attempt)>,
    /// Attempts that were reported lost.
    lost: Set<(TaskId, Attempt)>,
    /// Successes that an executor reported (I6).
    succeeded: Set<(TaskId, Attempt)>,
    pub(super) heard: BTreeMap<ConnId, Heard>,
    /// Adoption windows that closed without all executors of the hints, by endpoint.
    pub(super) windows: u32,
    /// Something happened that may make a manager take a living executor for lost.
    pub(super) disturbed: bool,
    /// Most credit that a manager of an endpoint ever offered (I7).
    pub(super) offered: BTreeMap<usize, u32>,
    /// A fault of any kind happened; cancels are none.
    pub(super) faulty: bool,
    executor_deaths: u32,
    pub(super) environment_failed: bool,
    /// Whose record each write of an end is for, and who must be told of one by the end of this round.
    ends: BTreeMap<Token, UserId>,
    bells: BTreeSet<UserId>,
    /// Lives of the service so far.
    pub(super) lives: u32,
    idle_steps: u64,
    progress_at: Us,
}

impl Check {
    pub(super) fn fail(&mut self, rule: &'static str, text: String) {
        self.failed.get_or_insert((rule, text));
    }

    pub(super) fn expect(&mut self, rule: &'static str, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(rule, text());
        }
    }

    /// As `expect`, with the short name of `task`.
    fn expect_of(
        &mut self,
        rule: &'static str,
        task: &TaskId,
        holds: bool,
        text: impl FnOnce(String) -> String,
    ) {
        if !holds {
            let name = self.short(task);
            self.fail(rule, text(name));
        }
    }

    pub(super) fn name(&mut self, task: TaskId) {
        let next = self.names.len();
        self.names.entry(task).or_insert(next);
    }

    /// A task's short name: its place in the order of submission.
    pub(super) fn short(&self, task: &TaskId) -> String {
        self.names.get(task).map_or_else(|| task.to_string(), |n| format!("t{n}"))
    }

    fn truth(&mut self, task: &TaskId) -> &mut Truth {
        self.tasks.entry(*task).or_default()
    }

    pub(super) fn starts(&self) -> u64 {
        self.began.len() as u64
    }

    // ---- what happened

    pub(super) fn disturb(&mut self) {
        self.disturbed = true;
    }

    pub(super) fn new_service(&mut self) {
        self.heard.clear();
        self.ends.clear();
        self.lives += 1;
    }

    /// A worker died: begun calls and results it had not sent, and calls that waited in its pipe.
    pub(super) fn died(&mut self, begun: &[TaskId], waiting: &[TaskId]) {
        for task in begun {
            self.truth(task).excuses += 1;
        }
        // The executor cannot always tell which of them had begun.
        for task in waiting {
            self.truth(task).doubts += 1;
        }
    }

    pub(super) fn executor_died(&mut self, _endpoint: usize, held: impl Iterator<Item = TaskId>) {
        self.executor_deaths += 1;
        for task in held {
            self.truth(&task).excuses += 1;
        }
    }

    pub(super) fn raised(&mut self, task: TaskId) {
        self.truth(&task).excuses += 1;
    }

    pub(super) fn cancel_asked(&mut self, tasks: &[TaskId]) {
        for task in tasks {
            self.truth(task).cancel_asked = true;
        }
    }

    /// A worker began an attempt (I3).
    pub(super) fn began(&mut self, task: &TaskId, attempt: Attempt) {
        if !self.began.insert((*task, attempt)) {
            let name = self.short(task);
            self.fail("I3", format!("attempt {attempt:?} of {name} is started a second time"));
        }
        if self.refuted.contains(&(*task, attempt)) {
            let name = self.short(task);
            self.fail(
                "I3",
                format!("attempt {attempt:?} of {name} begins, and the hub was told it never will"),
            );
        }
        let windows = self.windows;
        let truth = self.truth(task);
        truth.starts += 1;
        let (starts, allowed) = (truth.starts, 1 + truth.excuses + truth.doubts + windows);
        if starts > allowed {
            let name = self.short(task);
            self.fail(
                "I3",
                format!("{name} is started {starts} times, {allowed} are explained by what happened"),
            );
        }
    }

    // ---- progress (I12)

    pub(super) fn step(&mut self) {
        self.idle_steps += 1;
    }

    pub(super) fn progress(&mut self, now: Us) {
        self.idle_steps = 0;
        self.progress_at = now;
    }

    pub(super) fn bound_idling(&mut self, now: Us, processes: usize) {
        let seconds = now.saturating_sub(self.progress_at) / 1_000_000;
        let bound = 3_000 + 30 * processes as u64 * (1 + seconds);
        let steps = self.idle_steps;
        self.expect("I12", steps <= bound, || format!("{steps} rounds in {seconds} s without any progress"));
    }

    // ---- the hub

    pub(super) fn hub_hears(&mut self, event: &hub::Event, _endpoints: &[Endpoint], store: &Store) {
        if let hub::Event::Stored { token, answer: hub::Answer::Ended { .. } } = event {
            self.bells.extend(self.ends.remove(token));
        }
        if let hub::Event::Stored { answer: hub::Answer::Accepted { hits, .. }, .. } = event {
            self.bells.extend(hits.iter().filter_map(|hit| Some(store.record(hit)?.spec.user)));
        }
        let hub::Event::Message { conn, message, .. } = event else { return };
        let know = |heard: &mut Heard, list: &[Holding]| {
            heard.known.extend(list.iter().map(|held| (held.task, held.attempt)));
        };
        for item in &message.items {
            let heard = self.heard.entry(*conn).or_default();
            match item {
                Item::Hello(hello) => {
                    if let crate::wire::Peer::Manager { generation, .. } = hello.peer {
                        heard.generation = generation;
                    }
                    know(heard, &hello.held);
                }
                Item::Held(held) => {
                    know(heard, &held.held);
                    self.windows += u32::from(held.complete && !held.accounted);
                }
                Item::Started { task, attempt, .. } => {
                    heard.known.insert((*task, *attempt));
                }
                Item::Result(done) => {
                    heard.known.insert((done.task, done.attempt));
                    // An order of an earlier service life reached a task that lives (FABRIC §6).
                    if done.outcome == Outcome::Cancelled && !store.ended(&done.task) {
                        self.truth(&done.task).excuses += 1;
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn hub_says(
        &mut self,
        hub: &Hub,
        out: &[hub::Action],
        store: &Store,
        endpoints: &[Endpoint],
        net: &Net,
    ) {
        for action in out {
            match action {
                hub::Action::Send { conn, message } => {
                    self.bound_message(message);
                    for item in &message.items {
                        self.hub_item(hub, *conn, item, store);
                    }
                    let welcome = message.items.iter().any(|item| matches!(item, Item::Welcome { .. }));
                    if welcome && let Some(known) = net.get(*conn) {
                        let stored = store.generation(&endpoints[known.endpoint].id);
                        let said = self.heard.get(conn).map_or(0, |heard| heard.generation);
                        self.expect("I10", stored == said, || {
                            format!("a manager of generation {said} is welcome, stored is {stored}")
                        });
                    }
                }
                hub::Action::Store { token, op: Op::End { task, user, ending } } => {
                    self.ends.insert(*token, *user);
                    self.true_success(task, ending);
                }
                hub::Action::Bell { user } => {
                    self.bells.remove(user);
                }
                _ => {}
            }
        }
        let untold = std::mem::take(&mut self.bells);
        self.expect("I1", untold.is_empty(), || format!("an end is on disk, and nobody wakes {untold:?}"));
    }

    fn true_success(&mut self, task: &TaskId, ending: &crate::task::Ending) {
        if ending.state == TaskState::Success && !ending.payload.starts_with(task.as_bytes()) {
            let name = self.short(task);
            self.fail("I1", format!("{name} ends with another task's result"));
        }
    }

    fn hub_item(&mut self, hub: &Hub, conn: ConnId, item: &Item, store: &Store) {
        match item {
            Item::Assign(assign) => {
                let key = (assign.task, assign.attempt);
                self.heard.entry(conn).or_default().known.insert(key);
                let top = self.truth(&assign.task).top.replace(assign.attempt);
                self.expect_of("I10", &assign.task, top.is_none_or(|top| top < assign.attempt), |name| {
                    format!("{name} is sent as {:?} after {top:?}", assign.attempt)
                });
                let record = store.record(&assign.task);
                self.expect_of("I2", &assign.task, record.is_some(), |name| {
                    format!("{name} is sent and not on disk")
                });
                let ending = record.and_then(|record| record.ending.as_ref());
                self.expect_of("I1", &assign.task, ending.is_none_or(|end| !is_hit(end)), |name| {
                    format!("{name} is sent, and it has a memoized result")
                });
            }
            Item::Ack { task, attempt, outcome } => {
                let settled = store.record(task).is_none_or(|record| record.ending.is_some())
                    || (*outcome != Outcome::Success && hub.current(task) != Some((*attempt, false)))
                    // It was, and its executor came back with it before the acknowledgement left.
                    || (*outcome != Outcome::Success && hub.was_judged(task, *attempt));
                self.expect_of("I2", task, settled, |name| {
                    format!("{outcome:?} of {name} {attempt:?} is acknowledged before it is stored")
                });
            }
            Item::Cancel { task, attempt, .. } => {
                let has_charges = |record: &Record| record.losses + record.maybes + record.errors > 0;
                let settled = store.record(task).is_none_or(|r| r.ending.is_some() || has_charges(r))
                    || hub.current(task).is_none_or(|(current, _)| current != *attempt);
                self.expect_of("F30", task, settled, |name| {
                    format!("{name} {attempt:?} is cancelled without a stored reason")
                });
            }
            _ => {}
        }
    }

    fn bound_message(&mut self, message: &Message) {
        let items = message.items.len();
        self.expect("I9", items <= limits::BATCH_ITEMS, || format!("{items} items in one message"));
    }

    // ---- managers and executors

    /// What the workers of an executor have together is never more than it has.
    pub(super) fn bound_workers(&mut self, proc: &ExecutorProc, slots: u32) {
        let share = |worker: &Worker| Share::of(&worker.asks, &Shape::HAS, slots).unwrap_or_default();
        let taken = proc.workers.values().fold(Share::default(), |sum, worker| sum.and(&share(worker)));
        let cores: u32 = proc.workers.values().map(|worker| worker.asks.cores).sum();
        let within = Share::all(&Shape::HAS, slots).holds(&taken) && cores <= Shape::HAS.cores;
        self.expect("resources", within, || format!("workers take {taken:?} and {cores} cores together"));
    }

    pub(super) fn manager_says(&mut self, proc: &ManagerProc, out: &[manager::Action]) {
        for action in out {
            let message = match action {
                manager::Action::SendHub { message } | manager::Action::SendExecutor { message, .. } => {
                    message
                }
                _ => continue,
            };
            self.bound_message(message);
            if !matches!(action, manager::Action::SendHub { .. }) {
                continue;
            }
            for item in &message.items {
                match item {
                    Item::Hello(hello) => self.offers(proc.endpoint, hello.capacity.credit_tasks),
                    Item::Capacity(capacity) => self.offers(proc.endpoint, capacity.credit_tasks),
                    Item::Result(done) => self.manager_result(done),
                    // Held again after all: losing it once more is another loss (F18).
                    Item::Held(held) => {
                        for holding in held.held.iter().filter(|holding| holding.stage != Stage::Finished) {
                            self.lost.remove(&(holding.task, holding.attempt));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn offers(&mut self, endpoint: usize, credit: u32) {
        let offered = self.offered.entry(endpoint).or_default();
        *offered = credit.max(*offered);
    }

    fn manager_result(&mut self, done: &Done) {
        let key = (done.task, done.attempt);
        if done.begun == Begun::No {
            self.refuted.insert(key);
            self.expect_of("I3", &done.task, !self.began.contains(&key), |name| {
                format!("{:?} of {name} {:?} says it never began, and it did", done.outcome, done.attempt)
            });
        }
        if done.outcome == Outcome::Lost && self.lost.insert(key) {
            self.truth(&done.task).excuses += 1;
            self.expect_of("F18", &done.task, self.disturbed || self.executor_deaths > 0, |name| {
                format!("{name} is declared lost, but no executor was out of reach")
            });
        }
    }

    pub(super) fn executor_says(&mut self, proc: &mut ExecutorProc, out: &[executor::Action]) {
        for action in out {
            let executor::Action::Send { message } = action else { continue };
            self.bound_message(message);
            for item in &message.items {
                match item {
                    Item::Hello(hello) => proc.offered = proc.offered.max(hello.capacity.credit_tasks),
                    Item::Capacity(capacity) => proc.offered = proc.offered.max(capacity.credit_tasks),
                    Item::Result(done) => {
                        let key = (done.task, done.attempt);
                        match done.outcome {
                            Outcome::Success => drop(self.succeeded.insert(key)),
                            // A bystander of a call that had to be killed: its executor says so itself.
                            Outcome::Lost => drop(self.lost.insert(key)),
                            _ => {}
                        }
                        if done.begun != Begun::No {
                            continue;
                        }
                        let name = self.short(&done.task);
                        self.expect("F19", !self.began.contains(&key), || {
                            format!(
                                "the executor says that {name} {:?} never began, and it did",
                                done.attempt
                            )
                        });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Successes that the acknowledgements in `events` may make an executor forget.
    pub(super) fn acks_before(
        &self,
        executor: &executor::Executor,
        events: &[executor::Event],
    ) -> Vec<(TaskId, Attempt)> {
        let acked = |event: &executor::Event| match event {
            executor::Event::FromManager { message } => {
                message.items.iter().any(|item| matches!(item, Item::Ack { .. }))
            }
            _ => false,
        };
        if !events.iter().any(acked) {
            return Vec::new();
        }
        finished(executor).filter(|key| self.succeeded.contains(key)).collect()
    }

    /// I6: what was forgotten has a terminal record.
    pub(super) fn acks_after(
        &mut self,
        executor: &executor::Executor,
        before: &[(TaskId, Attempt)],
        store: &Store,
    ) {
        if before.is_empty() {
            return;
        }
        let still: BTreeSet<(TaskId, Attempt)> = finished(executor).collect();
        for key in before.iter().filter(|key| !still.contains(key)) {
            let name = self.short(&key.0);
            self.expect("I6", store.record(&key.0).is_none_or(|record| record.ending.is_some()), || {
                format!("the result of {name} {:?} is forgotten, and it has not ended", key.1)
            });
        }
    }
}

fn finished(executor: &executor::Executor) -> impl Iterator<Item = (TaskId, Attempt)> {
    let held = executor.holdings().into_iter();
    held.filter(|holding| holding.stage == Stage::Finished).map(|holding| (holding.task, holding.attempt))
}
