//! Attempts that wait for any slot, by container and by user.
//!
//! Of one user the oldest goes first; between users it is the turn of who has the fewest attempts at executors.

use super::Key;
use crate::by_user::ByUser;
use crate::id::{ContainerId, UserId};
use std::collections::BTreeMap;
use std::collections::VecDeque;

type Users = ByUser<VecDeque<Key>>;

/// All of them; a few may have been cancelled meanwhile.
#[derive(Debug, Default)]
pub(super) struct Queues {
    all: BTreeMap<Option<ContainerId>, Users>,
    /// Whose attempt went last: among equals those after him come first.
    last: Option<UserId>,
}

impl Queues {
    /// The attempts of this user for this container.
    pub(super) fn of(&mut self, container: Option<ContainerId>, user: UserId) -> &mut VecDeque<Key> {
        self.all.entry(container).or_default().entry(user)
    }

    /// Containers for which attempts wait, how many, and the first of each user.
    pub(super) fn groups(
        &self,
    ) -> impl Iterator<Item = (Option<ContainerId>, usize, impl Iterator<Item = &Key> + Clone)> {
        self.all.iter().filter_map(|(container, users)| {
            let waiting: usize = users.values().map(VecDeque::len).sum();
            (waiting > 0).then(|| (*container, waiting, users.values().filter_map(VecDeque::front)))
        })
    }

    /// All for this container, each user's in their order.
    pub(super) fn at(&self, container: Option<ContainerId>) -> impl Iterator<Item = &Key> {
        self.all.get(&container).into_iter().flat_map(|users| users.values().flatten())
    }

    /// Whether several users wait for this container.
    pub(super) fn is_shared(&self, container: Option<ContainerId>) -> bool {
        self.all.get(&container).is_some_and(|users| users.len() > 1)
    }

    /// Takes out the attempt whose turn it is, by how many each user has at executors.
    pub(super) fn pop(
        &mut self,
        container: Option<ContainerId>,
        has: impl Fn(&UserId) -> usize,
    ) -> Option<Key> {
        let users = self.all.get_mut(&container)?;
        let user = match users.only() {
            Some((user, _)) => *user,
            None => {
                let waiting = users.iter().filter(|(_, queue)| !queue.is_empty()).map(|(user, _)| *user);
                waiting.min_by_key(|user| (has(user), Some(*user) <= self.last))?
            }
        };
        self.last = Some(user);
        users.get_mut(&user)?.pop_front()
    }

    /// Forgets the queues that are empty.
    pub(super) fn tidy(&mut self) {
        self.all.retain(|container, users| {
            if users.len() > 1 || container.is_some() {
                users.retain(|queue| !queue.is_empty());
            }
            container.is_none() || !users.is_empty()
        });
    }

    pub(super) fn len(&self) -> usize {
        self.all.values().flat_map(ByUser::values).map(VecDeque::len).sum()
    }

    pub(super) fn clear(&mut self) {
        self.all.values_mut().flat_map(ByUser::values_mut).for_each(VecDeque::clear);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.all.values().flat_map(ByUser::values).flatten()
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut VecDeque<Key>> {
        self.all.values_mut().flat_map(ByUser::values_mut)
    }
}
