//! Secrets on their way from the store to an endpoint: read for the first attempt that needs them, then kept while they
//! may be needed again and nobody changed them.

use super::event::Action;
use super::task::Place;
use super::{Cx, Hub};
use crate::id::{EndpointId, Hash, TaskId, UserId};
use crate::limits;
use crate::secrets::Secrets;
use crate::task::{Failure, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// Whose, for which body, at which endpoint.
type Key = (UserId, Hash, u32);

/// Which calls have secrets, and those that are here.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    granted: BTreeSet<(UserId, Hash)>,
    here: BTreeMap<Key, Secrets>,
    bytes: usize,
    /// Who waits for those that are being read.
    loading: BTreeMap<Key, Vec<TaskId>>,
}

/// What a call has of secrets.
#[derive(Debug)]
pub(super) enum Sought {
    /// These, or none.
    Here(Option<Secrets>),
    /// They must be read first.
    Away,
}

impl Keeping {
    /// Whether a user granted anything to a function with this body.
    pub(super) fn is_granted(&self, user: UserId, hash: Hash) -> bool {
        !self.granted.is_empty() && self.granted.contains(&(user, hash))
    }

    pub(super) fn seek(&self, user: UserId, hash: Hash, endpoint: u32) -> Sought {
        if !self.is_granted(user, hash) {
            return Sought::Here(None);
        }
        match self.here.get(&(user, hash, endpoint)) {
            Some(found) => Sought::Here(Some(found.clone()).filter(|found| !found.is_empty())),
            None => Sought::Away,
        }
    }

    /// The task waits for them; true if their read must be asked for.
    pub(super) fn wait(&mut self, user: UserId, hash: Hash, endpoint: u32, task: TaskId) -> bool {
        let waiting = self.loading.entry((user, hash, endpoint)).or_default();
        waiting.push(task);
        waiting.len() == 1
    }

    fn keep(&mut self, key: Key, secrets: Secrets) {
        if self.bytes + secrets.len() > limits::SECRETS_KEPT_BYTES {
            self.here.clear();
            self.bytes = 0;
        }
        self.bytes += secrets.len();
        self.bytes -= self.here.insert(key, secrets).map_or(0, |before| before.len());
    }

    fn forget(&mut self, user: UserId, hash: Hash) {
        let all = (user, hash, 0)..=(user, hash, u32::MAX);
        let keys: Vec<Key> = self.here.range(all).map(|(key, _)| *key).collect();
        for key in keys {
            self.bytes -= self.here.remove(&key).map_or(0, |secrets| secrets.len());
        }
    }
}

impl Hub {
    /// A user's secrets for this body are others from now on, or there are none any more.
    pub(super) fn on_granted(&mut self, user: UserId, hash: Hash, granted: bool) {
        self.secrets.forget(user, hash);
        if granted {
            self.secrets.granted.insert((user, hash));
        } else {
            self.secrets.granted.remove(&(user, hash));
        }
    }

    /// Secrets were read: who waits for them goes on, or ends where he may not have them.
    pub(super) fn on_secrets(
        &mut self,
        (user, hash, endpoint): (UserId, Hash, EndpointId),
        found: Result<Secrets, Box<Failure>>,
        cx: &mut Cx<'_>,
    ) {
        let Some(&endpoint) = self.by_id.get(&endpoint) else { return };
        let key = (user, hash, endpoint);
        let waiting = self.secrets.loading.remove(&key).unwrap_or_default();
        let failure = match found {
            Ok(secrets) => {
                self.secrets.keep(key, secrets);
                None
            }
            Err(failure) => Some(*failure),
        };
        for task in waiting.into_iter().rev() {
            let Some(slot) = self.loading(&task) else { continue };
            match &failure {
                None => self.loaded(slot),
                Some(failure) => self.end_with(slot, TaskState::Failed, failure.clone(), cx),
            }
        }
    }

    /// The task waits for its secrets.
    pub(super) fn await_secrets(&mut self, slot: super::slab::Slot, cx: &mut Cx<'_>) {
        let task = &self.tasks[slot];
        let (id, user, hash, index) = (task.id, task.user, task.hash, task.endpoint);
        let state = &mut self.endpoints[index as usize];
        if self.secrets.wait(user, hash, index, id) {
            cx.out.push(Action::LoadSecrets { user, hash, endpoint: state.id });
        }
        state.place(&mut self.tasks, slot, Place::Loading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_forgotten_by_user_and_body() {
        let mut keeping = Keeping::default();
        let secrets = Secrets::of_block(&[b'v'; limits::CALL_SECRETS_BYTES]);
        let user = UserId::from_bytes([1; 16]);
        for n in 0..=255 {
            let hash = Hash([n; 32]);
            keeping.granted.insert((user, hash));
            keeping.keep((user, hash, 1), secrets.clone());
            keeping.keep((user, hash, 1), secrets.clone());
            keeping.keep((user, hash, 2), secrets.clone());
            let held: usize = keeping.here.values().map(Secrets::len).sum();
            assert!(held == keeping.bytes && held <= limits::SECRETS_KEPT_BYTES, "{held}");
        }
        let last = Hash([255; 32]);
        assert!(matches!(keeping.seek(user, last, 1), Sought::Here(Some(found)) if found == secrets));
        keeping.forget(user, last);
        assert!(matches!(keeping.seek(user, last, 2), Sought::Away));
        assert_eq!(keeping.bytes, keeping.here.values().map(Secrets::len).sum::<usize>());
    }
}
