//! Which attempts each executor has.

use super::{Key, Kind};
use crate::by_user::ByUser;
use crate::id::{ContainerId, ExecutorId, UserId};
use crate::map::Set;
use crate::resources::Resources;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one executor has.
#[derive(Debug, Default)]
pub(super) struct There {
    pub(super) keys: Set<Key>,
    /// How many of these are for a container.
    pub(super) contained: BTreeMap<ContainerId, usize>,
    /// What those of these ask for that ask for resources.
    pub(super) sized: BTreeMap<Key, Arc<Resources>>,
}

/// What all executors have.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) at: BTreeMap<ExecutorId, There>,
    /// How many of all ask for resources.
    pub(super) sized: usize,
    /// How many each user has.
    users: ByUser<usize>,
}

impl Handed {
    /// How many this user has.
    pub(super) fn of(&self, user: &UserId) -> usize {
        self.users.get(user).copied().unwrap_or(0)
    }

    pub(super) fn join(&mut self, executor: ExecutorId, key: Key, kind: &Kind) {
        let there = self.at.entry(executor).or_default();
        if !there.keys.insert(key) {
            return;
        }
        if let Some(user) = kind.user {
            *self.users.entry(user) += 1;
        }
        if let Some(container) = kind.container {
            *there.contained.entry(container).or_default() += 1;
        }
        if let Some(asks) = &kind.asks {
            there.sized.insert(key, Arc::clone(asks));
            self.sized += 1;
        }
    }

    pub(super) fn leave(&mut self, executor: &ExecutorId, key: &Key, kind: &Kind) {
        let Some(there) = self.at.get_mut(executor) else { return };
        if !there.keys.remove(key) {
            return;
        }
        if let Some(user) = kind.user {
            self.users.change(&user, |count| {
                *count -= 1;
                *count == 0
            });
        }
        if let Some(container) = kind.container
            && let Some(count) = there.contained.get_mut(&container)
        {
            *count -= 1;
            if *count == 0 {
                there.contained.remove(&container);
            }
        }
        if kind.asks.is_some() {
            there.sized.remove(key);
            self.sized -= 1;
        }
    }
}
