//! What submits and requests need of the registry, kept in memory until the driver has written a change of it.
//!
//! The driver forgets, not who asked for the change: he may be gone before it is written.

use crate::auth::Tokens;
use crate::store::{Change, Error, Reader};
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, EndpointId, FunctionId, Hash};
use bursa_core::limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) tokens: Tokens,
    reader: Arc<Reader>,
    functions: Mutex<HashMap<FunctionId, KnownFunction>>,
    containers: Mutex<HashMap<ContainerId, (i64, Arc<Container>)>>,
    endpoints: Mutex<HashMap<EndpointId, i64>>,
}

/// What a submit needs of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownFunction {
    pub(crate) owner: i64,
    pub(crate) hash: Hash,
    pub(crate) container: Option<ContainerId>,
}

/// What is not true any more once a change is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    Nothing,
    Function(FunctionId),
    Container(ContainerId),
    /// Users, their groups or their tokens.
    Users,
}

impl Stale {
    pub(crate) const fn after(change: &Change) -> Self {
        match change {
            Change::DeleteFunction { function, .. } => Self::Function(*function),
            Change::DeleteContainer { container, .. } => Self::Container(*container),
            Change::SetUser { .. }
            | Change::SeeIdentity { .. }
            | Change::LinkIdentity { .. }
            | Change::DeleteToken { .. } => Self::Users,
            Change::AddFunction { .. }
            | Change::AddContainer { .. }
            | Change::AddEndpoint { .. }
            | Change::RevokeKey { .. }
            | Change::AddUser { .. }
            | Change::AddToken { .. }
            | Change::UseToken { .. }
            | Change::ClearMemo { .. }
            | Change::Probe => Self::Nothing,
        }
    }
}

impl Known {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self {
            tokens: Tokens::new(Arc::clone(&reader)),
            reader,
            functions: Mutex::default(),
            containers: Mutex::default(),
            endpoints: Mutex::default(),
        }
    }

    /// Forgets what a change that is on disk made untrue.
    pub(crate) fn forget(&self, stale: Stale) {
        match stale {
            Stale::Nothing => {}
            Stale::Function(id) => drop(lock(&self.functions).remove(&id)),
            Stale::Container(id) => drop(lock(&self.containers).remove(&id)),
            Stale::Users => self.tokens.forget(),
        }
    }

    /// An endpoint is deleted.
    pub(crate) fn forget_endpoint(&self, endpoint: &EndpointId) {
        lock(&self.endpoints).remove(endpoint);
    }

    /// A function; `None`: there is none.
    pub(crate) fn function(&self, function: &FunctionId) -> Result<Option<KnownFunction>, Error> {
        cached(&self.functions, function, || {
            let known = self.reader.function(function)?;
            let known = known.map(|row| KnownFunction {
                owner: row.user_no,
                hash: row.hash,
                container: row.container,
            });
            Ok(known)
        })
    }

    /// Owner of a container, and what tasks share of it; `None`: there is none.
    pub(crate) fn container(&self, container: &ContainerId) -> Result<Option<(i64, Arc<Container>)>, Error> {
        cached(&self.containers, container, || {
            Ok(self.reader.container(container)?.map(|row| (row.user_no, Arc::new(row.container))))
        })
    }

    /// Owner of an endpoint; `None`: there is none.
    pub(crate) fn endpoint(&self, endpoint: &EndpointId) -> Result<Option<i64>, Error> {
        cached(&self.endpoints, endpoint, || Ok(self.reader.endpoint(endpoint)?.map(|row| row.user_no)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads and keeps under one lock: a deletion that follows finds what it must remove.
fn cached<K: Eq + std::hash::Hash + Copy, V: Clone>(
    cache: &Mutex<HashMap<K, V>>,
    key: &K,
    read: impl FnOnce() -> Result<Option<V>, Error>,
) -> Result<Option<V>, Error> {
    let mut cache = lock(cache);
    if let Some(value) = cache.get(key) {
        return Ok(Some(value.clone()));
    }
    let Some(value) = read()? else { return Ok(None) };
    if cache.len() >= limits::CACHED_OWNERS {
        cache.clear();
    }
    cache.insert(*key, value.clone());
    Ok(Some(value))
}
