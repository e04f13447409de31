//! Workers and their pipes: one running call each, and a few that wait behind it.
//!
//! Owns what each worker is doing. Which call goes where is `dispatch`'s business, what a death means is `death`'s.

use super::attempt::Key;
use super::depth::{Expectation, QUICK_NS};
use super::lane::LaneKey;
use crate::id::{Hash, WorkerId};
use crate::limits;
use crate::resources::{Resources, Share};
use crate::time::{Fine, Mono};
use crate::timings::Timings;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a cancelled call may still finish by itself when others wait behind it: killing the worker costs more than
/// the calls that are let into a pipe with others.
pub(super) const PATIENCE_MS: u64 = 50;
/// A head that lasts longer keeps nothing behind it: as [`QUICK_NS`], and one for the clock's grain.
const LONG_MS: u64 = QUICK_NS / 1_000_000 + 1;
/// The node where the executor itself is, and all workers' processes.
const OWN: u32 = 0;
/// Bodies remembered per worker; above it they are loaded once more, which is harmless.
const LOADED: usize = 1_024;

/// What shall become of a call that a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Cancelled, with this grace between SIGTERM and SIGKILL.
    Cancelled(u64),
    /// It ran too long.
    TimedOut,
}

/// A call in a worker's pipe.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) key: Key,
    pub(super) hash: Hash,
    pub(super) timeout_ms: Option<u64>,
    pub(super) expected: Expectation,
    /// Which call of this worker it is: 1 is the first.
    pub(super) number: u64,
    /// The worker said that it began.
    pub(super) started: bool,
    pub(super) fate: Option<Fate>,
    /// When it came to this executor, and when it was given to the worker.
    pub(super) came: Fine,
    pub(super) given: Fine,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being made.
    Starting,
    /// Takes calls.
    Ready,
    /// Takes no more calls and is retired when its pipe is empty: another lane needs the slot.
    Closing,
    /// Told to end: retired, or signalled.
    Leaving,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) lane: LaneKey,
    /// What of the executor it takes, as long as it is there.
    pub(super) share: Share,
    /// The nodes that its calls have to themselves, by their place in the block.
    pub(super) nodes: Vec<u32>,
    pub(super) phase: Phase,
    pub(super) pipe: VecDeque<Call>,
    /// Time of the calls behind the head.
    load_ns: u64,
    loaded: BTreeSet<Hash>,
    /// Calls that it was given in its life.
    sent: u64,
    /// It begins none of its first so many any more.
    withheld: u64,
    /// When it surely goes by that.
    pub(super) recall_at: Option<Mono>,
    /// When it was asked for, and when it was ready.
    pub(super) made: (Fine, Fine),
    /// When the head became the head, or was seen not to have begun, or the pipe became empty; of what was told while calls
    /// are taken back, the time before.
    pub(super) since: Mono,
    /// When the head is stopped.
    pub(super) deadline: Option<Mono>,
    /// When SIGKILL is due.
    pub(super) kill_at: Option<Mono>,
    /// It was signalled: its death is our doing.
    pub(super) signalled: bool,
}

impl Worker {
    pub(super) fn new(lane: LaneKey, share: Share, nodes: Vec<u32>, now: Mono, asked: Fine) -> Self {
        Self {
            lane,
            share,
            nodes,
            phase: Phase::Starting,
            pipe: VecDeque::new(),
            load_ns: 0,
            loaded: BTreeSet::new(),
            sent: 0,
            withheld: 0,
            recall_at: None,
            made: (asked, asked),
            since: now,
            deadline: None,
            kill_at: None,
            signalled: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Ready && self.pipe.is_empty()
    }

    /// It takes no more calls.
    fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Leaving)
    }

    /// Whether a call that is quick enough may come into its pipe.
    pub(super) fn takes_more(&self, now: Mono) -> bool {
        self.phase == Phase::Ready
            && self.pipe.back().is_none_or(|last| last.expected.quick && last.fate.is_none())
            && self.pipe.len() < limits::WORKER_DEPTH
            && (self.pipe.is_empty() || now.since(self.since) <= QUICK_NS / 1_000_000)
    }

    /// Whether one more call fits: at once, or behind quick ones within the pipe's time.
    pub(super) fn has_room(&self, now: Mono, expected: Expectation) -> bool {
        self.takes_more(now)
            && (self.pipe.is_empty() || self.load_ns + expected.cost_ns <= limits::WORKER_PIPE_NS)
    }

    /// Appends a call.
    pub(super) fn push(&mut self, now: Mono, mut call: Call) {
        self.sent += 1;
        call.number = self.sent;
        if self.pipe.is_empty() {
            self.pipe.push_back(call);
            self.arm(now);
        } else {
            self.load_ns += call.expected.cost_ns;
            self.pipe.push_back(call);
        }
    }

    /// Takes the head if it is `key`; the next one is the head now.
    pub(super) fn pop(&mut self, now: Mono, key: Key) -> Option<Call> {
        if self.pipe.front()?.key != key {
            return None;
        }
        self.pop_head(now)
    }

    fn pop_head(&mut self, now: Mono) -> Option<Call> {
        let call = self.pipe.pop_front();
        let next = self.pipe.front().map_or(0, |next| next.expected.cost_ns);
        self.load_ns = self.load_ns.saturating_sub(next);
        self.arm(now);
        call
    }

    /// When the calls behind the head are looked after: it turned out long, or they were withheld.
    pub(super) fn recall_due(&self) -> Option<Mono> {
        let wait = self.pipe.len() > 1 && self.withheld < self.sent;
        self.recall_at.or_else(|| wait.then(|| self.since.after(LONG_MS)))
    }

    /// It shall begin none of the calls that it was given so far, from `at` on at the latest; their number.
    pub(super) fn withhold(&mut self, at: Mono) -> u64 {
        self.recall_at = Some(at);
        self.withheld = self.sent;
        self.withheld
    }

    /// Takes out what was withheld behind the head when the worker had begun `begun` calls, in its order.
    pub(super) fn recall(&mut self, begun: u64) -> Vec<Call> {
        self.recall_at = None;
        let never = |call: &Call| call.number > begun && call.number <= self.withheld;
        let from = self.pipe.iter().skip(1).position(never).map_or(self.pipe.len(), |place| place + 1);
        let to = self.pipe.partition_point(|call| call.number <= self.withheld).max(from);
        let calls: Vec<Call> = self.pipe.drain(from..to).collect();
        self.load_ns -= calls.iter().map(|call| call.expected.cost_ns).sum::<u64>().min(self.load_ns);
        calls
    }

    /// Takes out a withheld call that the worker says it passed over.
    pub(super) fn skip(&mut self, now: Mono, number: u64) -> Option<Call> {
        let place = self.pipe.iter().position(|call| call.number == number)?;
        if number > self.withheld || self.pipe[place].started {
            return None;
        }
        if place == 0 {
            return self.pop_head(now);
        }
        let call = self.pipe.remove(place)?;
        self.load_ns = self.load_ns.saturating_sub(call.expected.cost_ns);
        Some(call)
    }

    /// Where the time of a call went that ended at `now`, as far as the executor knows.
    pub(super) fn time(&self, call: &Call, now: Fine, timings: &mut Timings) {
        let (asked, ready) = self.made;
        timings.wait = call.given.since(call.came);
        timings.start = ready.since(call.came.max(asked));
        timings.executor = now.since(call.came);
    }

    /// Starts the head's clock. While calls are taken back, who the head is may be news and nothing else: it lasts.
    pub(super) fn arm(&mut self, now: Mono) {
        if self.recall_at.is_none() {
            self.since = now;
        }
        self.deadline = self.pipe.front().and_then(|head| match head.fate {
            Some(Fate::Cancelled(_)) => Some(now.after(PATIENCE_MS)),
            Some(Fate::TimedOut) => None,
            None => head.timeout_ms.map(|ms| now.after(ms)),
        });
    }

    /// Notes that the worker gets this body; `false` if it has it.
    pub(super) fn load(&mut self, hash: Hash) -> bool {
        if self.loaded.len() >= LOADED {
            self.loaded.clear();
        }
        self.loaded.insert(hash)
    }

    /// How many calls from the head on have begun when the worker is gone, its socket was read to the end, and it
    /// began `begun` calls in its life (F19). All but the last of them had ended.
    pub(super) fn begun(&self, begun: u64) -> usize {
        self.pipe.partition_point(|call| call.number <= begun)
    }

    /// How many calls from the head on may have begun while it lives.
    ///
    /// A worker sends what is finished before it starts a call that is marked `flush`; unmarked calls may begin, and
    /// even end, unannounced. So all behind the first marked one provably have not begun.
    pub(super) fn maybe_begun(&self) -> usize {
        let marked = self.pipe.iter().skip(1).position(|call| call.expected.flush);
        marked.map_or(self.pipe.len(), |index| index + 1)
    }

    /// The earliest timer of this worker.
    pub(super) fn next_deadline(&self, idle_ms: Option<u64>) -> Option<Mono> {
        let idle = idle_ms.filter(|_| self.is_idle()).map(|ms| self.since.after(ms));
        [self.deadline, self.kill_at, self.recall_due(), idle].into_iter().flatten().min()
    }
}

/// All workers.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    made: u32,
    has: Resources,
    slots: u32,
    /// Each worker has an accelerator, asked for or not.
    accelerated: bool,
    /// What its workers take.
    taken: Share,
}

impl Pool {
    /// An empty one that has `has`, in so many slots.
    pub(super) fn new(has: &Resources, slots: u32, accelerated: bool) -> Self {
        let (workers, taken) = (BTreeMap::new(), Share::default());
        Self { workers, made: 0, has: *has, slots, accelerated, taken }
    }

    /// What a worker of this size takes; `None`: more than there is.
    pub(super) fn share(&self, asks: &Resources) -> Option<Share> {
        let share = Share::of(asks, &self.has, self.slots)?;
        let gpus = if self.accelerated && share.nodes == 0 { share.gpus.max(1) } else { share.gpus };
        Some(Share { gpus, ..share })
    }

    /// What no worker takes. The own node is lent only as a whole: while no slot is taken.
    pub(super) fn free(&self) -> Share {
        let mut free = Share::all(&self.has, self.slots).less(&self.taken);
        if self.has.nodes > 1 && self.taken.slots > 0 && !self.lends(OWN) {
            free.nodes = free.nodes.saturating_sub(1);
        }
        free
    }

    /// Whether the own node could be lent if idle workers made room.
    fn own_is_idle(&self) -> bool {
        let takes = |worker: &&Worker| worker.share.slots > 0;
        let gives = |worker: &Worker| worker.is_idle() || worker.is_leaving();
        self.has.nodes > 1 && !self.lends(OWN) && self.workers.values().filter(takes).all(gives)
    }

    fn lends(&self, node: u32) -> bool {
        self.workers.values().any(|worker| worker.nodes.contains(&node))
    }

    /// So many nodes that nobody has; the own one last.
    fn lend(&self, count: u32) -> Vec<u32> {
        (OWN..self.has.nodes).rev().filter(|node| !self.lends(*node)).take(count as usize).collect()
    }

    /// A number for a worker to be made.
    pub(super) fn add(&mut self, lane: LaneKey, mut share: Share, now: Mono, asked: Fine) -> WorkerId {
        self.made = self.made.wrapping_add(1);
        let id = WorkerId(self.made);
        let nodes = if share.nodes > 0 { self.lend(share.nodes) } else { Vec::new() };
        if nodes.contains(&OWN) {
            share.slots = self.slots;
        }
        self.taken = self.taken.and(&share);
        self.workers.insert(id, Worker::new(lane, share, nodes, now, asked));
        id
    }

    /// It is gone, or never came.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.taken = self.taken.less(&worker.share);
        Some(worker)
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(&id)
    }

    /// The workers of a lane that `pick` picks, oldest first.
    pub(super) fn of(&self, lane: LaneKey, pick: impl Fn(&Worker) -> bool) -> Vec<WorkerId> {
        let mine = |(_, worker): &(&WorkerId, &Worker)| worker.lane == lane && pick(worker);
        self.workers.iter().filter(mine).map(|(id, _)| *id).collect()
    }

    /// Slots of workers that have work or no future.
    pub(super) fn busy_slots(&self) -> usize {
        let busy = self.workers.values().filter(|worker| !worker.is_idle());
        busy.map(|worker| worker.share.slots as usize).sum()
    }

    /// What is about to be free: of workers that take no more calls.
    pub(super) fn leaving(&self) -> Share {
        self.sum(Worker::is_leaving)
    }

    /// What could be free soon: what is, what is about to be, and what idle workers of other lanes take.
    pub(super) fn room_at_most(&self, lane: LaneKey) -> Share {
        let idle = self.sum(|worker| worker.is_idle() && worker.lane != lane);
        let mut room = self.free().and(&self.leaving()).and(&idle);
        room.nodes += u32::from(self.taken.slots > 0 && self.own_is_idle());
        room
    }

    fn sum(&self, pick: impl Fn(&Worker) -> bool) -> Share {
        let some = self.workers.values().filter(|worker| pick(worker));
        some.fold(Share::default(), |sum, worker| sum.and(&worker.share))
    }

    /// The worker of another lane that has been idle longest, of those that take some of what is short.
    pub(super) fn idle_stranger(&self, lane: LaneKey, short: &Share) -> Option<WorkerId> {
        let own = short.nodes > 0 && self.own_is_idle();
        let helps = |share: &Share| share.helps(short) || (own && share.slots > 0);
        let stranger = |worker: &Worker| worker.is_idle() && worker.lane != lane && helps(&worker.share);
        let strangers = self.workers.iter().filter(|(_, worker)| stranger(worker));
        strangers.min_by_key(|(_, worker)| worker.since).map(|(id, _)| *id)
    }
}
