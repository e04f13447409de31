//! Events and messages in one short line each, for traces.

use super::check::Check;
use crate::hub::{self, Op};
use crate::wire::{Attempt, Held, Hello, Holding, Item, Message};
use crate::{executor, manager};

impl Check {
    fn key(&self, task: &crate::id::TaskId, attempt: Attempt) -> String {
        format!("{}#{}.{}", self.short(task), attempt.0 >> 32, attempt.0 & 0xffff_ffff)
    }

    fn list(&self, held: &[Holding]) -> String {
        let one = |h: &Holding| format!("{} {:?}/{:?}", self.key(&h.task, h.attempt), h.stage, h.begun);
        held.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// A message in one line.
    pub(super) fn show(&self, message: &Message) -> String {
        let items: Vec<String> = message.items.iter().map(|item| self.show_item(item)).collect();
        let head = message.envelope;
        format!("s{:x} {}/{} [{}]", head.sid & 0xffff, head.seq, head.ack, items.join("; "))
    }

    fn show_item(&self, item: &Item) -> String {
        match item {
            Item::Hello(hello) => {
                let Hello { connection, held, last, complete, capacity, .. } = hello.as_ref();
                let held = self.list(held);
                let credit = capacity.credit_tasks;
                format!("Hello no {connection} ({held}) last {last} complete {complete} credit {credit}")
            }
            Item::Held(Held { held, complete, accounted }) => {
                format!("Held ({}) complete {complete} accounted {accounted}", self.list(held))
            }
            Item::Assign(assign) => format!("Assign {}", self.key(&assign.task, assign.attempt)),
            Item::Started { task, attempt, .. } => format!("Started {}", self.key(task, *attempt)),
            Item::Result(done) => {
                format!("Result {} {:?}/{:?}", self.key(&done.task, done.attempt), done.outcome, done.begun)
            }
            Item::Ack { task, attempt, outcome } => format!("Ack {} {outcome:?}", self.key(task, *attempt)),
            Item::Cancel { task, attempt, .. } => format!("Cancel {}", self.key(task, *attempt)),
            Item::Capacity(capacity) => {
                format!("Capacity {} free {}", capacity.credit_tasks, capacity.slots_free)
            }
            Item::Function { body, .. } => format!("Function {}", body.is_some()),
            Item::Part { stream, .. } => format!("Part {stream}"),
            Item::WantFunction { .. } => "WantFunction".into(),
            Item::Welcome { .. } => "Welcome".into(),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn show_op(&self, op: &Op) -> String {
        match op {
            Op::Accept { tasks, .. } => format!("accept {}", tasks.len()),
            Op::End { task, ending, .. } => format!("end {} {}", self.short(task), ending.state),
            Op::Charge { task, losses, maybes, errors } => {
                format!("charge {} {losses}/{maybes}/{errors}", self.short(task))
            }
            other => format!("{other:?}"),
        }
    }

    pub(super) fn show_hub_event(&self, event: &hub::Event) -> String {
        match event {
            hub::Event::Message { conn, message, .. } => format!("c{} {}", conn.0, self.show(message)),
            hub::Event::Submit(submit) => format!("submit {}: {}", submit.request.0, submit.tasks.len()),
            hub::Event::Cancel { request, tasks } => {
                let tasks: Vec<String> = tasks.iter().map(|task| self.short(task)).collect();
                format!("cancel {}: {}", request.0, tasks.join(" "))
            }
            hub::Event::Explain { task, .. } => format!("explain {}", self.short(task)),
            hub::Event::Body { .. } => "body".into(),
            hub::Event::Args { task, .. } => format!("args {}", self.short(task)),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn show_manager_event(&self, event: &manager::Event) -> String {
        match event {
            manager::Event::FromHub { message } => self.show(message),
            manager::Event::FromExecutor { conn, message, .. } => {
                format!("c{} {}", conn.0, self.show(message))
            }
            other => format!("{other:?}"),
        }
    }

    pub(super) fn show_executor_event(&self, event: &executor::Event) -> String {
        match event {
            executor::Event::FromManager { message } => self.show(message),
            executor::Event::WorkerStarted { worker, task, attempt } => {
                format!("w{} started {}", worker.0, self.key(task, *attempt))
            }
            executor::Event::WorkerDone { worker, done } => {
                format!("w{} done {} {:?}", worker.0, self.key(&done.task, done.attempt), done.verdict)
            }
            executor::Event::WorkerNeeds { worker, .. } => format!("w{} needs a body", worker.0),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn show_worker_action(&self, action: &executor::Action) -> String {
        match action {
            executor::Action::Run { worker, task, attempt, flush, .. } => {
                format!("run w{} {} flush {flush}", worker.0, self.key(task, *attempt))
            }
            executor::Action::Load { worker, .. } => format!("load w{}", worker.0),
            executor::Action::Spawn { worker, .. } => format!("spawn w{}", worker.0),
            other => format!("{other:?}"),
        }
    }
}
