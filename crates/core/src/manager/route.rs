//! Routing: how many of the attempts that wait for one container go to which executor. A pure function.
//!
//! Warming-aware (ARCHITECTURE §7): idle warm workers first, then free slots, then queues. A queue is filled up only
//! once it has fallen to half: the cost is per message, so executors get many attempts now and then, not one always.

/// One executor as routing sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seat {
    /// Attempts it may take beyond those it has.
    pub room: usize,
    /// Attempts it has.
    pub open: usize,
    /// Workers it may run at once.
    pub slots: usize,
    /// Idle workers that are ready in the container.
    pub warm: usize,
}

impl Seat {
    const fn free(&self) -> usize {
        let free = self.slots.saturating_sub(self.open);
        if free < self.room { free } else { self.room }
    }

    /// A queue above half is left alone.
    const fn is_low(&self) -> bool {
        let credit = self.open + self.room;
        self.room > 0 && self.open <= self.slots + credit.saturating_sub(self.slots) / 2
    }
}

/// Distributes `waiting` attempts: how many each seat gets. Takes them from the seats.
#[must_use]
pub fn plan(seats: &mut [Seat], waiting: usize) -> Vec<usize> {
    let mut given = vec![0; seats.len()];
    let low: Vec<bool> = seats.iter().map(Seat::is_low).collect();
    let mut left = waiting;
    take(seats, &mut given, &mut left, |seat| seat.warm.min(seat.free()));
    take(seats, &mut given, &mut left, Seat::free);
    while left > 0 {
        let open: Vec<usize> = (0..seats.len()).filter(|&i| low[i] && seats[i].room > 0).collect();
        let slots: usize = open.iter().map(|&i| seats[i].slots.max(1)).sum();
        if open.is_empty() {
            break;
        }
        let share = left.div_ceil(slots);
        // Emptiest queue first, by slot; what one cannot take is left for the next pass.
        let mut order = open;
        order.sort_by_key(|&i| (seats[i].open * 1_024 / seats[i].slots.max(1), i));
        for i in order {
            let count = (share * seats[i].slots.max(1)).min(seats[i].room).min(left);
            give(&mut seats[i], &mut given[i], &mut left, count);
        }
    }
    given
}

/// Fills seats in the order of what `offer` says, the largest first.
fn take(seats: &mut [Seat], given: &mut [usize], left: &mut usize, offer: impl Fn(&Seat) -> usize) {
    if *left == 0 {
        return;
    }
    let mut order: Vec<(usize, usize)> =
        seats.iter().map(&offer).enumerate().filter(|(_, n)| *n > 0).collect();
    if *left == 1 {
        // One attempt is the usual case when idle: no need to sort.
        order = order.into_iter().max_by_key(|&(i, n)| (n, usize::MAX - i)).into_iter().collect();
    } else {
        order.sort_by_key(|&(i, n)| (usize::MAX - n, i));
    }
    for (i, n) in order {
        let count = n.min(*left);
        give(&mut seats[i], &mut given[i], left, count);
    }
}

const fn give(seat: &mut Seat, given: &mut usize, left: &mut usize, count: usize) {
    *given += count;
    *left -= count;
    seat.room -= count;
    seat.open += count;
    seat.warm = seat.warm.saturating_sub(count);
}
