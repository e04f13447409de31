//! The model store: what is on disk, what is being written, and what a crash loses.
//!
//! Owns the committed records and the group commit. Knows nothing of sessions or machines; [`World`](super::World)
//! brings its answers to the hub.

use crate::hub::{Answer, KnownEndpoint, Op, Recovered, Token};
use crate::id::{EndpointId, Hash, TaskId, UserId};
use crate::limits;
use crate::map::Map;
use crate::task::{Args, Ending, TaskSpec, TaskState};
use crate::timings::Timings;
use bytes::Bytes;
use std::collections::BTreeMap;

/// One accepted task as it is on disk.
#[derive(Debug, Clone)]
pub struct Record {
    /// What was asked for.
    pub spec: TaskSpec,
    /// Losses charged.
    pub losses: u32,
    /// Losses of unknown start.
    pub maybes: u32,
    /// User exceptions charged.
    pub errors: u32,
    /// The terminal record.
    pub ending: Option<Ending>,
}

/// The disk and the writer in front of it.
#[derive(Debug, Default)]
pub struct Store {
    tasks: Map<TaskId, Record>,
    endpoints: BTreeMap<EndpointId, KnownEndpoint>,
    bodies: BTreeMap<Hash, Bytes>,
    sequences: BTreeMap<UserId, u64>,
    epoch: u32,
    live: usize,
    /// Tasks that were charged or ended and not looked at since.
    touched: Vec<TaskId>,
    waiting: Vec<(Token, Op)>,
    writing: Vec<(Token, Op)>,
}

impl Store {
    /// Tasks that were charged or ended since the last call.
    pub(super) fn take_touched(&mut self) -> Vec<TaskId> {
        std::mem::take(&mut self.touched)
    }

    /// Registers an endpoint.
    pub(super) fn add_endpoint(&mut self, endpoint: EndpointId) {
        self.endpoints.insert(endpoint, KnownEndpoint::new(endpoint));
    }

    /// Registers a function's body.
    pub(super) fn add_body(&mut self, body: Bytes) -> Hash {
        let hash = Hash::of(&body);
        self.bodies.insert(hash, body);
        hash
    }

    /// A service starts: its epoch, and what it reads (F14).
    pub(super) fn open(&mut self) -> (u32, Vec<KnownEndpoint>, Vec<Recovered>) {
        self.epoch += 1;
        let mut live: Vec<&Record> = self.tasks.values().filter(|record| record.ending.is_none()).collect();
        live.sort_unstable_by_key(|record| record.spec.task);
        let live = live.into_iter().map(recovered).collect();
        (self.epoch, self.endpoints.values().cloned().collect(), live)
    }

    /// The body of a function.
    pub(super) fn body(&self, hash: &Hash) -> Option<Bytes> {
        self.bodies.get(hash).cloned()
    }

    /// The arguments of a task.
    pub(super) fn args(&self, task: &TaskId) -> Option<Bytes> {
        match &self.tasks.get(task)?.spec.args {
            Args::Here(bytes) => Some(bytes.clone()),
            Args::Stored(_) => None,
        }
    }

    /// The record on disk.
    #[must_use]
    pub fn record(&self, task: &TaskId) -> Option<&Record> {
        self.tasks.get(task)
    }

    /// Everything on disk.
    pub fn records(&self) -> impl Iterator<Item = (&TaskId, &Record)> {
        self.tasks.iter()
    }

    /// True if the task is on disk and has ended.
    #[must_use]
    pub fn ended(&self, task: &TaskId) -> bool {
        self.tasks.get(task).is_some_and(|record| record.ending.is_some())
    }

    /// Tasks on disk that have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Highest generation on disk.
    #[must_use]
    pub fn generation(&self, endpoint: &EndpointId) -> u64 {
        self.endpoints.get(endpoint).map_or(0, |known| known.generation)
    }

    /// True if the endpoint is marked deleted on disk.
    #[must_use]
    pub fn deleted(&self, endpoint: &EndpointId) -> bool {
        self.endpoints.get(endpoint).is_some_and(|known| known.deleted)
    }

    /// Takes a write; true if the writer was idle and has now begun a group.
    pub(super) fn push(&mut self, token: Token, op: Op) -> bool {
        self.waiting.push((token, op));
        self.begin()
    }

    /// Begins the next group if there is one and none is being written.
    pub(super) fn begin(&mut self) -> bool {
        if self.writing.is_empty() && !self.waiting.is_empty() {
            self.writing = std::mem::take(&mut self.waiting);
            return true;
        }
        false
    }

    /// True if anything is being written.
    #[must_use]
    pub fn busy(&self) -> bool {
        !self.writing.is_empty() || !self.waiting.is_empty()
    }

    /// The group being written reaches the disk.
    pub(super) fn commit(&mut self) -> Vec<(Token, Answer)> {
        let group = std::mem::take(&mut self.writing);
        group.into_iter().map(|(token, op)| (token, self.apply(op))).collect()
    }

    /// The group being written fails: nothing of it is on disk.
    pub(super) fn fail(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.writing).into_iter().map(|(token, _)| token).collect()
    }

    /// The service dies: what waits is lost; the group being written is on disk or not.
    pub(super) fn crash(&mut self, reached_disk: bool) {
        if reached_disk {
            self.commit();
        }
        self.writing.clear();
        self.waiting.clear();
    }

    fn apply(&mut self, op: Op) -> Answer {
        match op {
            Op::Accept { tasks, .. } => self.accept(tasks),
            Op::End { task, user, ending } => self.end(task, user, ending),
            Op::Charge { task, losses, maybes, errors } => match self.tasks.get_mut(&task) {
                None => Answer::Unknown,
                Some(Record { ending: Some(ending), .. }) => Answer::AlreadyEnded { state: ending.state },
                Some(record) => {
                    (record.losses, record.maybes, record.errors) = (losses, maybes, errors);
                    self.touched.push(task);
                    Answer::Done
                }
            },
            Op::Generation { endpoint, generation, .. } => match self.endpoints.get_mut(&endpoint) {
                None => Answer::Unknown,
                Some(known) => {
                    known.generation = known.generation.max(generation);
                    Answer::Done
                }
            },
            Op::DeleteEndpoint { endpoint } => match self.endpoints.get_mut(&endpoint) {
                None => Answer::Unknown,
                Some(known) => {
                    known.deleted = true;
                    Answer::Done
                }
            },
        }
    }

    fn accept(&mut self, tasks: Vec<TaskSpec>) -> Answer {
        let differs = |spec: &TaskSpec| {
            self.tasks.get(&spec.task).is_some_and(|record| {
                (record.spec.user, record.spec.hash, &record.spec.args) != (spec.user, spec.hash, &spec.args)
            })
        };
        if let Some(spec) = tasks.iter().find(|spec| differs(spec)) {
            return Answer::Conflict { task: spec.task };
        }
        let (mut known, mut hits) = (Vec::new(), Vec::new());
        for spec in tasks {
            if self.tasks.contains_key(&spec.task) {
                known.push(spec.task);
                continue;
            }
            let ending = memoized(&spec);
            match ending {
                Some(_) => hits.push(spec.task),
                None => self.live += 1,
            }
            let record = Record { spec, losses: 0, maybes: 0, errors: 0, ending };
            self.tasks.insert(record.spec.task, record);
        }
        self.touched.extend(&hits);
        Answer::Accepted { known, hits }
    }

    fn end(&mut self, task: TaskId, user: UserId, ending: Ending) -> Answer {
        match self.tasks.get_mut(&task) {
            None => Answer::Unknown,
            Some(Record { ending: Some(ending), .. }) => Answer::AlreadyEnded { state: ending.state },
            Some(record) => {
                record.ending = Some(ending);
                self.touched.push(task);
                self.live -= 1;
                let sequence = self.sequences.entry(user).or_default();
                *sequence += 1;
                Answer::Ended { sequence: *sequence }
            }
        }
    }
}

/// The end of a task whose result was memoized: half of those that may have one.
fn memoized(spec: &TaskSpec) -> Option<Ending> {
    let is_hit = spec.memoize && spec.task.as_bytes()[14].is_multiple_of(2);
    is_hit.then(|| Ending {
        state: TaskState::Success,
        payload: Bytes::copy_from_slice(spec.task.as_bytes()),
        failure: None,
        output: Bytes::new(),
        run_ns: 0,
        timings: Timings::default(),
        starts: 0,
        ended: spec.submitted,
    })
}

/// True for the end of a task that never ran.
pub(super) fn is_hit(ending: &Ending) -> bool {
    ending.state == TaskState::Success && ending.starts == 0
}

fn recovered(record: &Record) -> Recovered {
    let mut spec = record.spec.clone();
    if spec.args.len() > limits::HELD_BYTES {
        spec.args = Args::Stored(spec.args.len());
    }
    Recovered { spec, losses: record.losses, maybes: record.maybes, errors: record.errors }
}
