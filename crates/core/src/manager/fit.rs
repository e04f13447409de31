//! Calls that ask for resources: which executor gives them to which, and which can never be given.
//!
//! An executor is given no more of them than it has, whatever it runs besides: it makes room for them itself, and decides
//! what runs. The oldest that fits nowhere yet keeps one executor for itself, to which no younger one goes: what is there
//! ends, and then it fits. Owns no state.

use super::Manager;
use super::attempt::{Chosen, Kind};
use crate::id::ExecutorId;
use crate::limits;
use crate::resources::{Resources, Share, unsatisfiable};
use crate::task::{Failure, FailureCode};
use crate::time::Mono;
use crate::wire::version;

/// One executor, and what of it is not given to such calls.
#[derive(Debug)]
struct Room {
    executor: ExecutorId,
    has: Resources,
    slots: u32,
    contains: bool,
    free: Share,
    /// Such calls there.
    sized: usize,
    /// Slots that other calls there take.
    others: usize,
    /// Attempts that it may be given (F25).
    credit: usize,
    /// Time until its block ends.
    left_ms: Option<u64>,
    /// Kept for an older call.
    kept: bool,
}

impl Room {
    fn share(&self, kind: &Kind) -> Option<Share> {
        let in_time = kind.need_ms.is_none_or(|need| self.left_ms.is_none_or(|left| need <= left));
        let able = in_time && (self.contains || kind.container.is_none());
        let asks = kind.asks.as_deref().filter(|_| able)?;
        Share::of(asks, &self.has, self.slots)
    }

    /// Slots that would be left beside everything that is there; negative where calls queue.
    fn spare(&self) -> i64 {
        i64::from(self.free.slots) - i64::try_from(self.others).unwrap_or(i64::MAX)
    }
}

impl Manager {
    /// Gives those that wait to executors, and ends those that can never run.
    pub(super) fn fit(&mut self, now: Mono) {
        if self.book.sized_len() == 0 {
            return;
        }
        let mut rooms: Vec<Room> = self.able().iter().filter_map(|id| self.room(now, id)).collect();
        let (mut last, mut left, mut later) = (None, Vec::new(), Vec::new());
        for (key, kind) in self.book.sized_first(limits::FIT_AHEAD) {
            if let Some(need_ms) = kind.need_ms.filter(|need_ms| self.is_too_long(now, *need_ms)) {
                let end = self.book.refuse(key, self.too_long(need_ms));
                self.uplink.say(end);
            } else if let Some(executor) = place(&mut rooms, &kind) {
                if let Some(assign) = self.book.hand(now, key, executor, Chosen::Fits) {
                    self.send(executor, assign, &mut last);
                }
            } else if rooms.iter().any(|room| room.share(&kind).is_some()) {
                left.push(key);
            } else if self.may_ever(&kind) {
                later.push(key);
            } else {
                let end = self.book.refuse(key, self.refusal(&kind));
                self.uplink.say(end);
            }
        }
        self.book.sized_wait(&left, &later);
    }

    fn room(&self, now: Mono, executor: &ExecutorId) -> Option<Room> {
        let exec = self.executors.get(executor).filter(|exec| exec.proto >= version::RESOURCES)?;
        let (has, slots) = (exec.has, exec.capacity.slots_total);
        let (mut free, mut sized) = (Share::all(&has, slots), 0);
        for asks in self.book.sized_at(executor) {
            free = free.less(&Share::of(asks, &has, slots).unwrap_or_default());
            sized += 1;
        }
        let open = self.book.open_at(executor);
        let (others, credit) = (open - sized, (exec.capacity.credit_tasks as usize).saturating_sub(open));
        let left_ms = self.blocks.of(executor).and_then(|block| Some(block.ends?.since(now)));
        let contains = exec.proto >= version::CONTAINERS;
        Some(Room {
            executor: *executor,
            has,
            slots,
            contains,
            free,
            sized,
            others,
            credit,
            left_ms,
            kept: false,
        })
    }

    /// Whether an executor of now, or of a block that may still be started, can ever run it.
    fn may_ever(&self, kind: &Kind) -> bool {
        let Some(asks) = kind.asks.as_deref() else { return true };
        // Who is not back yet may have more.
        let unknown = self.adoption.is_open() || self.stop.is_some();
        let of_now = |exec: &super::executors::Exec| {
            Share::of(asks, &exec.has, exec.capacity.slots_total.max(1)).is_some()
        };
        unknown
            || Share::of(asks, &self.to_come(), self.slots.max(1)).is_some()
            || self.executors.values().any(of_now)
    }

    /// Whether the executor ever has room for this.
    pub(super) fn may_hold(&self, executor: &ExecutorId, asks: &Resources) -> bool {
        let exec = self.executors.get(executor);
        exec.is_some_and(|exec| Share::of(asks, &exec.has, exec.capacity.slots_total.max(1)).is_some())
    }

    /// What an executor of a block to come has at most, as far as is known: what is configured, and the most that any has
    /// had.
    fn to_come(&self) -> Resources {
        let known = self.config.scale.has;
        let Some(seen) = self.seen.filter(|seen| !seen.is_none()) else { return known };
        let either = |known: u32, seen: u32| if known == u32::MAX { seen } else { known.max(seen) };
        Resources {
            cores: either(known.cores, seen.cores),
            memory_mb: Some(known.memory_mb)
                .filter(|mb| *mb < u64::MAX)
                .map_or(seen.memory_mb, |mb| mb.max(seen.memory_mb)),
            gpus: either(known.gpus, seen.gpus),
            nodes: either(known.nodes, seen.nodes),
            ranks_per_node: 0,
        }
    }

    fn refusal(&self, kind: &Kind) -> Failure {
        let asks = kind.asks.as_deref().copied().unwrap_or_default();
        let most = self.executors.values().fold(self.to_come(), |most, exec| most.greater(exec.has));
        let text = unsatisfiable(&asks, &most, "an executor of its endpoint");
        Failure::new(FailureCode::Unsatisfiable, text)
    }

    /// Slots that all calls here would take at once.
    pub(super) fn wanted_slots(&self) -> usize {
        let (has, slots) = (self.to_come(), self.slots);
        let all = Share::all(&has, slots);
        let wide = |asks: &Resources| {
            Share::of(asks, &has, slots).map_or(0, |share| share.as_slots(&all).saturating_sub(1) as usize)
        };
        // Those behind the first are taken to be like them.
        let first: Vec<usize> = self.book.asked_waiting().take(limits::FIT_AHEAD).map(wide).collect();
        let waiting = first.iter().sum::<usize>() * self.book.sized_len() / first.len().max(1);
        self.book.open() + waiting + self.book.asked_there().map(wide).sum::<usize>()
    }

    /// Slots that calls at the executor take beyond one for each; those on other nodes than its own take none.
    pub(super) fn wide_at(&self, executor: &ExecutorId) -> isize {
        if !self.book.has_sized_there() {
            return 0;
        }
        let Some(exec) = self.executors.get(executor) else { return 0 };
        let wide = |asks: &Resources| {
            let share = Share::of(asks, &exec.has, exec.capacity.slots_total).unwrap_or(Share::SLOT);
            isize::try_from(share.slots).unwrap_or(isize::MAX) - 1
        };
        self.book.sized_at(executor).map(wide).sum()
    }
}

/// Where such a call goes now: where most slots are left beside it. If nowhere, the one that has fewest such calls of those
/// where it fits at all is kept for it.
fn place(rooms: &mut [Room], kind: &Kind) -> Option<ExecutorId> {
    let fits = |room: &Room| {
        !room.kept && room.credit > 0 && room.share(kind).is_some_and(|share| room.free.holds(&share))
    };
    let order = |(index, room): &(usize, &mut Room)| (room.spare(), usize::MAX - index);
    let best = rooms.iter_mut().enumerate().filter(|(_, room)| fits(room)).max_by_key(order);
    if let Some((_, room)) = best {
        room.free = room.free.less(&room.share(kind)?);
        (room.sized, room.credit) = (room.sized + 1, room.credit - 1);
        return Some(room.executor);
    }
    let ever = rooms.iter_mut().filter(|room| !room.kept && room.share(kind).is_some());
    if let Some(room) = ever.min_by_key(|room| (room.credit == 0, room.sized)) {
        room.kept = true;
    }
    None
}
