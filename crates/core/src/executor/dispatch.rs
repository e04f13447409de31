//! From lanes to pipes: who gets the next call, and when workers are made or make room for other users.

use super::attempt::{Entry, Place};
use super::event::Action;
use super::lane::LaneKey;
use super::pool::{Call, Phase, Worker};
use super::{Executor, Key, verdict};
use crate::id::WorkerId;
use crate::limits;
use crate::resources::Share;
use crate::task::{Begun, Outcome};
use crate::time::Mono;

/// How often expired attempts are looked for, at most.
const EXPIRY_MS: u64 = 100;

impl Executor {
    /// Puts an attempt into its lane, at its place by arrival.
    pub(super) fn enqueue(&mut self, key: Key) {
        let Some(open) = self.attempts.open_mut(key) else { return };
        open.place = Place::Lane;
        let (lane, arrival, expires) = (open.lane(), open.arrival, open.expires);
        self.lanes.lane_in(lane, open.assign.container.as_ref()).waiting.insert(arrival, key);
        self.todo.insert(lane);
        self.attempts.look_at(expires);
    }

    /// Something changed for everyone: a slot is free, the manager is back, results were acknowledged.
    pub(super) fn wake_all(&mut self) {
        self.todo.extend(self.lanes.with_work());
    }

    /// Whether another call may be started: not when over the result window (F28), orphaned (F13) or draining (F38).
    pub(super) fn may_start(&self, now: Mono) -> bool {
        self.drain.is_none()
            && self.attempts.result_bytes() < self.uplink.result_window.max(1)
            && self.uplink.alone_since.is_none_or(|since| now.since(since) < self.config.orphan_start_ms)
    }

    /// Acknowledged results may let calls start again.
    pub(super) fn result_window_moved(&mut self, before: u64) {
        if before >= self.uplink.result_window {
            self.wake_all();
        }
    }

    /// Gives the lanes that have news what there is, in their turn.
    pub(super) fn dispatch(&mut self, now: Mono, out: &mut Vec<Action>) {
        while !self.todo.is_empty() {
            let mut lanes: Vec<LaneKey> = std::mem::take(&mut self.todo).into_iter().collect();
            if lanes.len() > 1 {
                lanes.sort_by_key(|lane| self.lanes.turn(*lane));
            }
            for lane in lanes {
                self.fill(now, lane, out);
                self.lanes.tidy(lane);
            }
        }
    }

    /// One lane: idle workers first, then new workers, then the pipes of busy ones.
    fn fill(&mut self, now: Mono, key: LaneKey, out: &mut Vec<Action>) {
        if self.lanes.get(key).is_none_or(|lane| lane.waiting.is_empty()) {
            return;
        }
        for id in self.pool.of(key, Worker::is_idle) {
            if !self.give(now, id, out) {
                break;
            }
        }
        self.claim(now, key, out);
        self.spawn(now, key, out);
        // Nothing for pipes: what is left is for those that start. A look at all workers would find nobody.
        if self.lanes.get(key).is_none_or(|lane| lane.waiting.len() <= lane.starting) {
            return;
        }
        // Breadth first: one more call for each worker, until none has room.
        let mut roomy = self.pool.of(key, |worker| worker.takes_more(now));
        while !roomy.is_empty() {
            roomy.retain(|id| self.prefetch(now, *id, out));
        }
    }

    /// Makes workers for what waits and has none coming; makes room among strangers when all slots are taken.
    fn spawn(&mut self, now: Mono, key: LaneKey, out: &mut Vec<Action>) {
        if !self.may_start(now) || !self.spawning.may(now) {
            return;
        }
        let Some(lane) = self.lanes.get(key) else { return };
        let (unserved, alone) = (lane.waiting.len().saturating_sub(lane.starting), lane.workers.is_empty());
        if unserved == 0 {
            return;
        }
        let share = self.share(&key.asks);
        // What others need that have no worker is kept for them: by a lane that has some, for all, by one that has none, for
        // those whose turn is before. Else smaller calls would pass a large one for ever.
        let kept = if alone { self.starved(key) } else { self.bare() };
        let free = self.pool.free().less(&kept);
        let made = unserved.min(free.times(&share));
        for _ in 0..made {
            self.make_worker(now, key, out);
        }
        if unserved > made && self.lanes.len() > 1 {
            let wanted = (unserved - made).min(self.due(now, key));
            let most = if alone { wanted } else { self.pool.room_at_most(key).times(&share) };
            self.make_room(now, key, &share, wanted.min(most), out);
        }
    }

    /// Retires idle workers of others until `wanted` workers of this lane fit, or as many as will.
    pub(super) fn make_room(
        &mut self,
        now: Mono,
        key: LaneKey,
        share: &Share,
        wanted: usize,
        out: &mut Vec<Action>,
    ) {
        loop {
            let coming = self.pool.free().and(&self.pool.leaving());
            if coming.times(share) >= wanted {
                return;
            }
            let short = share.scaled(coming.times(share) + 1).less(&coming);
            let Some(stranger) = self.pool.idle_stranger(key, &short) else { return };
            self.retire(now, stranger, out);
        }
    }

    pub(super) fn make_worker(&mut self, now: Mono, key: LaneKey, out: &mut Vec<Action>) {
        let worker = self.pool.add(key, self.share(&key.asks), now, self.clock);
        let lane = self.lanes.lane(key);
        lane.workers.push(worker);
        lane.starting += 1;
        let container = lane.container.clone();
        let part = self.pool.get(worker).map(|made| (made.share, made.nodes.clone()));
        let (share, nodes) = part.unwrap_or_default();
        out.push(Action::Spawn { worker, user: key.user, container, asks: key.asks, share, nodes });
    }

    /// Puts one more call behind those of a busy worker, but leaves what the starting workers will take.
    fn prefetch(&mut self, now: Mono, id: WorkerId, out: &mut Vec<Action>) -> bool {
        let Some(worker) = self.pool.get(id) else { return false };
        let Some(lane) = self.lanes.get(worker.lane) else { return false };
        lane.waiting.len() > lane.starting && self.give(now, id, out)
    }

    /// After a call ended: fills this worker's pipe again, or lets it go if it is another lane's turn.
    pub(super) fn refill(&mut self, now: Mono, id: WorkerId, out: &mut Vec<Action>) {
        let Some(worker) = self.pool.get_mut(id) else { return };
        let (lane, empty, phase) = (worker.lane, worker.pipe.is_empty(), worker.phase);
        if phase == Phase::Ready && self.lanes.len() > 1 && self.must_make_room(id, lane) {
            self.lanes.lane(lane).yielded = self.attempts.arrive();
            self.close(id);
        }
        match self.pool.get(id).map(|worker| worker.phase) {
            Some(Phase::Closing) if empty => self.retire(now, id, out),
            Some(Phase::Ready) if empty => {
                self.give(now, id, out);
                while self.prefetch(now, id, out) {}
                if self.pool.get(id).is_some_and(Worker::is_idle) {
                    self.wake_all();
                }
            }
            Some(Phase::Ready) => while self.prefetch(now, id, out) {},
            _ => {}
        }
    }

    /// The worker takes no more calls.
    fn close(&mut self, id: WorkerId) {
        if let Some(worker) = self.pool.get_mut(id) {
            worker.phase = Phase::Closing;
            let lane = worker.lane;
            self.lanes.leave(lane, id);
        }
    }

    /// Lets a worker without calls end; it is killed if it does not.
    pub(super) fn retire(&mut self, now: Mono, id: WorkerId, out: &mut Vec<Action>) {
        self.close(id);
        if let Some(worker) = self.pool.get_mut(id) {
            worker.phase = Phase::Leaving;
            worker.kill_at = Some(now.after(2 * limits::GRACE_MS));
            out.push(Action::Retire { worker: id });
        }
    }

    /// The lane's first attempt goes into this worker's pipe, if it fits and may start. Expired ones end on the way.
    pub(super) fn give(&mut self, now: Mono, id: WorkerId, out: &mut Vec<Action>) -> bool {
        if !self.may_start(now) {
            return false;
        }
        let Some(worker) = self.pool.get_mut(id) else { return false };
        let lane = worker.lane;
        let Some((_, key)) = self.lanes.get(lane).and_then(|lane| lane.waiting.first_key_value()) else {
            return false;
        };
        let key = *key;
        let Some(open) = self.attempts.open_mut(key) else {
            self.lanes.pop(lane);
            return true;
        };
        if open.expires <= now {
            self.end_expired(key);
            return true;
        }
        let mut expected = self.depths.expect(open.assign.hash);
        if !worker.has_room(now, expected) {
            return false;
        }
        // A call with a timeout is never confused with the next one: its end is told before that begins.
        expected.flush |= worker.pipe.back().is_some_and(|before| before.timeout_ms.is_some());
        self.lanes.pop(lane);
        open.place = Place::Pipe(id);
        let (hash, args, timeout_ms) = (open.assign.hash, open.args(), open.assign.timeout_ms);
        let secrets = open.assign.secrets.clone();
        let (came, given) = (open.came, self.clock);
        if worker.load(hash)
            && let Some(body) = self.bodies.get(hash)
        {
            out.push(Action::Load { worker: id, hash, body: body.clone() });
        }
        worker.push(
            now,
            Call { key, hash, timeout_ms, expected, number: 0, started: false, fate: None, came, given },
        );
        out.push(Action::Run {
            worker: id,
            task: key.task,
            attempt: key.attempt,
            hash,
            args,
            secrets,
            flush: expected.flush,
        });
        true
    }

    /// Ends what waited beyond its deadline (F33); looks at most every [`EXPIRY_MS`].
    pub(super) fn expire(&mut self, now: Mono) {
        if self.attempts.earliest().is_some_and(|at| now >= at) {
            for key in self.attempts.expired(now, now.after(EXPIRY_MS)) {
                self.end_expired(key);
            }
        }
    }

    fn end_expired(&mut self, key: Key) {
        if let Some(Entry::Open(_)) = self.attempts.get(key) {
            let failure = verdict::expired(&self.config.host);
            self.finish(verdict::ended(key, Outcome::Expired, Begun::No, Some(failure)));
        }
    }
}
