//! How far the results of each group were taken, while the service lives.
//!
//! A consumer begins where the group's earlier ones left off. Several at once each get all: two processes that share a group
//! would otherwise take each other's results. What a consumer that broke off had not acknowledged comes again; after a
//! restart of the service all of the group's results do, which clients drop by their ids.

use bursa_core::id::GroupId;
use bursa_core::limits;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::sync::{Mutex, PoisonError};

/// Places in the user's results, by group.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Mutex<HashMap<GroupId, Taken, RandomState>>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Taken {
    /// What every consumer took.
    by_all: u64,
    /// Where consumers stopped that broke off: each is gone on with by one that comes.
    broken: Vec<u64>,
}

impl Cursors {
    /// The group is submitted to now: results it may have lie above `newest`.
    pub(crate) fn begin(&self, group: GroupId, newest: u64) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.len() >= limits::AMQP_CURSORS {
            groups.clear();
        }
        groups.entry(group).or_insert(Taken { by_all: newest, broken: Vec::new() });
    }

    /// Where a new consumer begins.
    pub(super) fn open(&self, group: &GroupId) -> u64 {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = groups.get_mut(group) else { return 0 };
        let oldest = taken.broken.iter().copied().min();
        if let Some(oldest) = oldest {
            taken.broken.retain(|place| *place != oldest);
        }
        oldest.unwrap_or(taken.by_all)
    }

    /// A consumer acknowledged up to here and left in order.
    pub(super) fn leave(&self, group: GroupId, place: u64) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = groups.entry(group).or_default();
        taken.by_all = taken.by_all.max(place);
    }

    /// A consumer broke off, having acknowledged up to here.
    pub(super) fn break_off(&self, group: GroupId, place: u64) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = groups.entry(group).or_default();
        taken.by_all = taken.by_all.max(place);
        if taken.broken.len() < limits::AMQP_BROKEN {
            taken.broken.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::from_bytes([1; 16]);

    #[test]
    fn one_that_broke_off_is_gone_on_with_once() {
        let cursors = Cursors::default();
        cursors.begin(GROUP, 5);
        assert_eq!(cursors.open(&GROUP), 5);
        cursors.break_off(GROUP, 7);
        cursors.leave(GROUP, 9);
        assert_eq!(cursors.open(&GROUP), 7);
        assert_eq!(cursors.open(&GROUP), 9);
    }

    #[test]
    fn a_group_of_an_earlier_life_begins_at_its_beginning() {
        assert_eq!(Cursors::default().open(&GROUP), 0);
    }
}
