//! Routing: which of the attempts that wait go to which executor. A pure function.
//!
//! Warming-aware (ARCHITECTURE §7): idle workers of an attempt's container first, then slots without a worker, then
//! slots whose idle worker is of another container (it makes room for attempts that have waited as long as a start takes:
//! before that, waiting for a worker of their own is the better bet), then queues. Containers that wait share the slots by
//! how many of their attempts there are, and none is left out. A queue is filled up only once it has fallen to half: the
//! cost is per message, so executors get many attempts now and then, not one always.

use crate::rng::Rng;
use std::fmt;
use std::str::FromStr;

/// How attempts find their executor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Routing {
    /// By warm workers; an executor runs calls of several containers beside each other.
    #[default]
    Soft,
    /// By warm workers; an executor takes calls of one container at a time, and of another when it has none left.
    Hard,
    /// Anywhere: only for comparison.
    Random,
}

impl Routing {
    /// The word used in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Routing {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = [Self::Soft, Self::Hard, Self::Random];
        all.into_iter().find(|mode| mode.as_str() == word).ok_or("it must be soft, hard or random")
    }
}

/// One executor as routing sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seat {
    /// Attempts it may take beyond those it has.
    pub room: usize,
    /// Attempts it has.
    pub open: usize,
    /// Workers it may run at once.
    pub slots: usize,
    /// Slots without a worker and without an attempt that will have one made.
    pub unused: usize,
}

impl Seat {
    /// Slots without an attempt; workers of any container may be idle in them.
    fn free(&self) -> usize {
        self.slots.saturating_sub(self.open).min(self.room)
    }

    /// A queue above half is left alone.
    const fn is_low(&self) -> bool {
        let credit = self.open + self.room;
        self.room > 0 && self.open <= self.slots + credit.saturating_sub(self.slots) / 2
    }
}

/// What one executor has of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Workers that are ready.
    pub workers: usize,
    /// Attempts.
    pub open: usize,
    /// It cannot run the container at all.
    pub barred: bool,
}

impl Share {
    const fn idle(&self) -> usize {
        self.workers.saturating_sub(self.open)
    }

    fn kept(&self) -> usize {
        self.workers.max(self.open)
    }
}

/// The attempts that wait for one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Want {
    /// How many.
    pub waiting: usize,
    /// How many of these, the oldest, may have a worker of another container make room.
    pub due: usize,
    /// What each executor has of the container, in the order of the seats.
    pub at: Vec<Share>,
}

impl Want {
    fn open(&self) -> usize {
        self.at.iter().map(|share| share.open).sum()
    }
}

/// Where a given attempt finds its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of its container is idle.
    Warm,
    /// One is made in a slot without a worker.
    Unused,
    /// One is made in place of an idle one of another container.
    Evicting,
    /// All slots are taken: behind others.
    Queue,
}

/// So many attempts of one container for one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gift {
    /// Index of the container among the wants.
    pub want: usize,
    /// Index of the executor among the seats.
    pub seat: usize,
    /// How many.
    pub count: usize,
    /// Where they find their workers.
    pub place: Place,
}

/// Distributes what waits; `wants` come in the order of who has waited longest. Takes the attempts from both lists.
#[must_use]
pub fn plan(routing: Routing, seats: &mut [Seat], wants: &mut [Want], rng: &mut Rng) -> Vec<Gift> {
    let mut plan = Plan { hard: routing == Routing::Hard, seats, wants, low: Vec::new(), gifts: Vec::new() };
    if routing == Routing::Random {
        plan.look();
        plan.scatter(rng);
        return plan.gifts;
    }
    if plan.wants.len() > 1 {
        plan.claims();
    }
    plan.each(Place::Warm);
    plan.divide(Place::Unused);
    plan.divide(Place::Evicting);
    if plan.wants.iter().any(|want| want.waiting > 0) {
        plan.look();
        for want in 0..plan.wants.len() {
            plan.queue(want);
        }
    }
    plan.gifts
}

struct Plan<'a> {
    hard: bool,
    seats: &'a mut [Seat],
    wants: &'a mut [Want],
    /// Seats whose queue may be filled.
    low: Vec<bool>,
    gifts: Vec<Gift>,
}

impl Plan<'_> {
    /// Which queues may be filled: filling slots before has changed none.
    fn look(&mut self) {
        self.low = self.seats.iter().map(Seat::is_low).collect();
    }

    /// How many attempts of `want` find such a place at `seat`.
    fn offer(&self, want: usize, seat: usize, place: Place) -> usize {
        let (share, at) = (&self.wants[want].at[seat], &self.seats[seat]);
        if share.barred || (self.hard && at.open > share.open) {
            return 0;
        }
        match place {
            Place::Warm => share.idle().min(at.free()),
            Place::Unused => at.unused.min(at.free()),
            Place::Evicting => at.free(),
            Place::Queue => at.room,
        }
    }

    fn give(&mut self, want: usize, seat: usize, place: Place, count: usize) {
        if count == 0 {
            return;
        }
        let (from, at) = (&mut self.wants[want], &mut self.seats[seat]);
        from.waiting -= count;
        from.due = from.due.saturating_sub(count);
        from.at[seat].open += count;
        at.room -= count;
        at.open += count;
        if place == Place::Unused {
            at.unused -= count;
        }
        self.gifts.push(Gift { want, seat, count, place });
    }

    /// Gives up to `most` attempts of `want` such places: where its container is at home first, then where most are.
    fn take(&mut self, want: usize, place: Place, most: usize) -> usize {
        let mut left = most.min(self.wants[want].waiting);
        if place == Place::Evicting {
            left = left.min(self.wants[want].due);
        }
        if left == 0 {
            return 0;
        }
        let offers = (0..self.seats.len()).map(|seat| (seat, self.offer(want, seat, place)));
        let offers = offers.filter(|(_, offer)| *offer > 0);
        let home = |seat: usize| self.wants[want].at[seat].kept() > 0;
        if left == 1 {
            // One attempt is the usual case when idle: no need to sort.
            let best = offers.max_by_key(|&(seat, offer)| (home(seat), offer, usize::MAX - seat));
            if let Some((seat, _)) = best {
                self.give(want, seat, place, 1);
            }
            return usize::from(best.is_some());
        }
        let mut order: Vec<(usize, usize)> = offers.collect();
        order.sort_by_key(|&(seat, offer)| (!home(seat), usize::MAX - offer, seat));
        let before = left;
        for (seat, offer) in order {
            let count = offer.min(left);
            left -= count;
            self.give(want, seat, place, count);
        }
        before - left
    }

    /// Containers with less than half of their share of the slots come before all others, the poorest first: a backlog
    /// of one that keeps every worker warm must not keep the others out.
    fn claims(&mut self) {
        let slots: usize = self.seats.iter().map(|seat| seat.slots).sum();
        let demand = |want: &Want| want.waiting + want.open();
        let all = self.wants.iter().map(demand).sum::<usize>().max(1);
        let mut claims: Vec<(usize, usize, usize)> = Vec::new();
        for (index, want) in self.wants.iter().enumerate() {
            let (open, fair) = (want.open(), (slots * demand(want) / all).max(1));
            let half = fair.div_ceil(2);
            if open < half {
                claims.push((open * 1_024 / fair, index, half - open));
            }
        }
        claims.sort_unstable();
        for (_, want, mut most) in claims {
            for place in [Place::Warm, Place::Unused, Place::Evicting] {
                most -= self.take(want, place, most);
            }
            if self.hard && self.wants[want].open() == 0 {
                self.reserve();
            }
        }
    }

    /// No executor is free for a container that has none: the one that will be soonest gets nothing more.
    fn reserve(&mut self) {
        let busy = self.seats.iter_mut().filter(|seat| seat.room > 0);
        if let Some(seat) = busy.min_by_key(|seat| seat.open) {
            seat.room = 0;
        }
    }

    fn each(&mut self, place: Place) {
        for want in 0..self.wants.len() {
            if self.wants[want].waiting > 0 {
                self.take(want, place, usize::MAX);
            }
        }
    }

    /// Divides such places among the containers that wait, in proportion to how many wait.
    fn divide(&mut self, place: Place) {
        loop {
            let waiting: usize = self.wants.iter().map(|want| want.waiting).sum();
            if waiting == 0 {
                return;
            }
            let places: usize = (0..self.seats.len()).map(|seat| self.places(seat, place)).sum();
            let mut given = 0;
            for want in 0..self.wants.len() {
                let quota = (places * self.wants[want].waiting).div_ceil(waiting);
                given += if quota > 0 { self.take(want, place, quota) } else { 0 };
            }
            if given == 0 {
                return;
            }
        }
    }

    fn places(&self, seat: usize, place: Place) -> usize {
        let seat = &self.seats[seat];
        if place == Place::Unused { seat.unused.min(seat.free()) } else { seat.free() }
    }

    /// Puts what is left behind others: where the container has workers, or else one behind the shortest queue.
    fn queue(&mut self, want: usize) {
        let alone = self.wants[want].at.iter().all(|share| share.kept() == 0);
        let weight = |plan: &Self, seat: usize| match plan.wants[want].at[seat].kept() {
            0 if !alone => 0,
            0 => plan.seats[seat].slots.max(1),
            kept => kept.min(plan.seats[seat].slots.max(1)),
        };
        while self.wants[want].waiting > 0 {
            let fits = |seat: &usize| {
                self.low[*seat] && self.offer(want, *seat, Place::Queue) > 0 && weight(self, *seat) > 0
            };
            let mut open: Vec<usize> = (0..self.seats.len()).filter(fits).collect();
            if open.is_empty() {
                return;
            }
            // Emptiest queue first, by slot; what one cannot take is left for the next pass.
            open.sort_by_key(|&seat| (self.seats[seat].open * 1_024 / self.seats[seat].slots.max(1), seat));
            if alone && self.wants.len() > 1 {
                return self.give(want, open[0], Place::Queue, 1);
            }
            let all: usize = open.iter().map(|seat| weight(self, *seat)).sum();
            let part = self.wants[want].waiting.div_ceil(all);
            for seat in open {
                let most = self.offer(want, seat, Place::Queue).min(self.wants[want].waiting);
                let count = (part * weight(self, seat)).min(most);
                self.give(want, seat, Place::Queue, count);
            }
        }
    }

    /// Each attempt to any executor with a free slot, else behind others of any executor.
    fn scatter(&mut self, rng: &mut Rng) {
        loop {
            let waiting: Vec<usize> =
                (0..self.wants.len()).filter(|want| self.wants[*want].waiting > 0).collect();
            let Some(&want) = pick(&waiting, rng) else { return };
            let seats = |plan: &Self, place| -> Vec<usize> {
                let offers = |seat: &usize| plan.offer(want, *seat, place) > 0;
                (0..plan.seats.len())
                    .filter(|seat| place != Place::Queue || plan.low[*seat])
                    .filter(offers)
                    .collect()
            };
            let (mut place, mut open) = (Place::Evicting, seats(self, Place::Evicting));
            if open.is_empty() {
                (place, open) = (Place::Queue, seats(self, Place::Queue));
            }
            match pick(&open, rng) {
                Some(&seat) => self.give(want, seat, place, 1),
                // Nobody can take it; others may still find a place.
                None => self.wants[want].waiting = 0,
            }
        }
    }
}

fn pick<'a>(from: &'a [usize], rng: &mut Rng) -> Option<&'a usize> {
    from.get(usize::try_from(rng.below(from.len() as u64)).unwrap_or(0))
}
