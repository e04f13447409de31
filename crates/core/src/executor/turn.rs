//! Whose turn it is when there are fewer slots than would be used.
//!
//! Between lanes of one user: who waited longer. Between users: who has fewer workers, and then who waited longer; a
//! worker is given up to another user once it has had a turn of [`TURN_NS`]. So users who all have enough to do hold as many
//! slots as each other, and where there are more of them than slots they take turns, whatever each has waiting.

use super::Executor;
use super::lane::{Lane, LaneKey, Lanes};
use crate::id::{UserId, WorkerId};
use crate::resources::{Resources, Share};

/// How long a worker works for its user before it makes room for another: several times as long as a start takes.
const TURN_NS: u64 = 100_000_000;

/// A lane's place in the order of turns; the smallest comes first.
pub(super) type Turn = (usize, u64);

impl Lanes {
    /// Workers of all lanes of this user.
    fn workers_of(&self, user: UserId) -> usize {
        let first = LaneKey { user, container: None, asks: Resources::NONE };
        let own = self.0.range(first..).take_while(|(key, _)| key.user == user);
        own.map(|(_, lane)| lane.workers.len()).sum()
    }

    /// When it is this lane's turn; a lane without work comes last.
    pub(super) fn turn(&self, key: LaneKey) -> Turn {
        match self.get(key).and_then(Lane::first) {
            Some(first) => (self.workers_of(key.user), first),
            None => (usize::MAX, u64::MAX),
        }
    }

    /// What those need that have work and no worker, one worker each.
    pub(super) fn bare(&self, share: impl Fn(&Resources) -> Share) -> Share {
        if self.len() < 2 {
            return Share::default();
        }
        let bare = self.0.iter().filter(|(_, lane)| lane.is_bare());
        bare.fold(Share::default(), |need, (key, _)| need.and(&share(&key.asks)))
    }

    /// What other lanes need whose turn is before that of `lane`, one worker each: those without any worker and, of `others`
    /// (users) who have at least two fewer workers than its own, the rest. It must not take every slot for ever.
    pub(super) fn starved(&self, lane: LaneKey, others: bool, share: impl Fn(&Resources) -> Share) -> Share {
        let mut need = Share::default();
        if self.len() < 2 {
            return need;
        }
        let (workers, own) = self.turn(lane);
        for (key, other) in &self.0 {
            let Some(first) = other.first().filter(|_| *key != lane) else { continue };
            let before = if key.user == lane.user {
                other.is_bare() && first < own
            } else if others {
                let theirs = self.workers_of(key.user);
                let fewer = workers != usize::MAX && theirs + 2 <= workers;
                fewer || (other.is_bare() && (theirs, first) < (workers, own))
            } else {
                false
            };
            if before {
                need = need.and(&share(&key.asks));
            }
        }
        need
    }
}

impl Lane {
    /// Whether it has work and no worker.
    fn is_bare(&self) -> bool {
        self.workers.is_empty() && !self.waiting.is_empty()
    }
}

impl Executor {
    /// What one worker of this size takes.
    pub(super) fn share(&self, asks: &Resources) -> Share {
        // What does not fit at all was refused when it came.
        self.pool.share(asks).unwrap_or(Share::SLOT)
    }

    /// What all lanes without any worker need.
    pub(super) fn bare(&self) -> Share {
        self.lanes.bare(|asks| self.share(asks))
    }

    /// What lanes need whose turn is before this one's.
    pub(super) fn starved(&self, key: LaneKey) -> Share {
        self.lanes.starved(key, true, |asks| self.share(asks))
    }

    /// Whether it is another lane's turn, and that one needs what this worker takes.
    pub(super) fn must_make_room(&self, id: WorkerId, lane: LaneKey) -> bool {
        let Some(worker) = self.pool.get(id) else { return false };
        let idle = self.lanes.get(lane).is_none_or(|lane| lane.waiting.is_empty());
        let others = idle || self.clock.since(worker.made.1) >= TURN_NS;
        let starved = self.lanes.starved(lane, others, |asks| self.share(asks));
        if starved == Share::default() {
            return false;
        }
        let short = starved.less(&self.pool.free()).less(&self.pool.leaving());
        worker.share.helps(&short)
    }
}
