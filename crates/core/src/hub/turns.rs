//! The queue of an endpoint: each user's tasks in the order in which they were accepted, and whose turn is next.
//!
//! The user with the fewest tasks at the endpoint comes next, whatever the others have waiting: who comes to a long
//! queue of somebody else's has the next place that gets free, and where calls of one user are long and another's short
//! both hold as many. Of one user none overtakes another.

use super::queue::{List, WORK};
use super::slab::{Slot, Tasks};
use crate::by_user::ByUser;
use crate::id::UserId;

/// What one user has.
#[derive(Debug, Default)]
struct Share {
    waiting: List<WORK>,
    /// Tasks that are at the endpoint, or are being read to go there.
    there: usize,
}

impl Share {
    const fn is_empty(&self) -> bool {
        self.waiting.len() == 0 && self.there == 0
    }
}

/// Tasks that wait to be sent to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Queue {
    users: ByUser<Share>,
    len: usize,
    /// Whose task went last: among equals those after him come first.
    last: Option<UserId>,
}

impl Queue {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The task that is to go next.
    pub(super) fn front(&self) -> Option<Slot> {
        if let Some((_, share)) = self.users.only() {
            return share.waiting.front();
        }
        let waiting = self.users.iter().filter(|(_, share)| share.waiting.len() > 0);
        let (_, share) = waiting.min_by_key(|(user, share)| (share.there, Some(*user) <= self.last))?;
        share.waiting.front()
    }

    pub(super) fn push_back(&mut self, tasks: &mut Tasks, slot: Slot) {
        self.users.entry(tasks[slot].user).waiting.push_back(tasks, slot);
        self.len += 1;
    }

    /// Before all others of its user.
    pub(super) fn push_front(&mut self, tasks: &mut Tasks, slot: Slot) {
        self.users.entry(tasks[slot].user).waiting.push_front(tasks, slot);
        self.len += 1;
    }

    /// Takes out a task that is in this queue.
    pub(super) fn remove(&mut self, tasks: &mut Tasks, slot: Slot) {
        let user = tasks[slot].user;
        self.users.change(&user, |share| {
            share.waiting.remove(tasks, slot);
            share.is_empty()
        });
        self.len -= 1;
    }

    /// Puts all of `other` before what is here, for each user.
    pub(super) fn prepend(&mut self, tasks: &mut Tasks, other: Self) {
        self.len += other.len;
        for (user, share) in other.users {
            self.users.entry(user).waiting.prepend(tasks, share.waiting);
        }
    }

    /// A task of `user` goes to the endpoint.
    pub(super) fn goes(&mut self, user: UserId) {
        self.users.entry(user).there += 1;
        self.last = Some(user);
    }

    /// One that went there is there no more.
    pub(super) fn left(&mut self, user: UserId) {
        self.users.change(&user, |share| {
            share.there = share.there.saturating_sub(1);
            share.is_empty()
        });
    }

    /// Every user's list.
    pub(super) fn lists(&self) -> impl Iterator<Item = &List<WORK>> {
        self.users.values().map(|share| &share.waiting)
    }

    /// Tasks that go before this one if nothing changes, if they are few enough to be counted in `most` steps: those of
    /// its user that are older, and as many of each other user.
    pub(super) fn ahead(&self, tasks: &Tasks, slot: Slot, most: usize) -> Option<usize> {
        let own = self.users.get(&tasks[slot].user)?;
        let mut next = own.waiting.front();
        for before in 0..most {
            let at = next?;
            if at == slot {
                let turns = own.there + before;
                let theirs = |share: &Share| share.waiting.len().min((turns + 1).saturating_sub(share.there));
                let others = self.users.iter().filter(|(user, _)| *user != tasks[slot].user);
                return Some(before + others.map(|(_, share)| theirs(share)).sum::<usize>());
            }
            next = List::<WORK>::after(tasks, at);
        }
        None
    }
}
