//! What submits and requests need of the registry, kept in memory until the driver has written a change of it.
//!
//! The driver forgets, not who asked for the change: he may be gone before it is written.

use crate::amqp::foreign::Foreign;
use crate::auth::Tokens;
use crate::policy::Access;
use crate::store::{Change, Error, Reader, Shared, Thing};
use bursa_core::container::Container;
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, Hash};
use bursa_core::limits;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) tokens: Tokens,
    reader: Arc<Reader>,
    functions: Mutex<HashMap<FunctionId, KnownFunction>>,
    containers: Mutex<HashMap<ContainerId, KnownContainer>>,
    endpoints: Mutex<HashMap<EndpointId, KnownEndpoint>>,
}

/// What a submit needs of a function.
#[derive(Debug, Clone)]
pub(crate) struct KnownFunction {
    pub(crate) access: Arc<Access>,
    pub(crate) hash: Hash,
    pub(crate) container: Option<ContainerId>,
}

/// What a submit needs of a container; tasks share its description.
#[derive(Debug, Clone)]
pub(crate) struct KnownContainer {
    pub(crate) access: Arc<Access>,
    pub(crate) container: Arc<Container>,
}

/// What a submit needs of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct KnownEndpoint {
    pub(crate) access: Arc<Access>,
    /// The only functions that it runs; none: any.
    pub(crate) allowed: Arc<BTreeSet<FunctionId>>,
    /// It is one of Globus Compute.
    pub(crate) is_foreign: bool,
}

/// What is not true any more once a change is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    Nothing,
    Function(FunctionId),
    Container(ContainerId),
    Endpoint(EndpointId),
    /// Users, their groups or their tokens.
    Users,
    /// Who a user is elsewhere.
    Identities,
    /// A group of users is gone, and all that is shared with it.
    Shares,
}

impl Stale {
    pub(crate) const fn after(change: &Change) -> Self {
        match change {
            Change::DeleteFunction { function, .. } => Self::Function(*function),
            Change::DeleteContainer { container, .. } => Self::Container(*container),
            Change::AllowFunctions { endpoint, .. }
            | Change::AllowMore { endpoint, .. }
            | Change::AllowLess { endpoint, .. } => Self::Endpoint(*endpoint),
            Change::Share { object, .. } | Change::Unshare { object, .. } => Self::of(*object),
            Change::DeleteGroup { .. } => Self::Shares,
            Change::AddGroup { .. }
            | Change::AddMember { .. }
            | Change::RemoveMember { .. }
            | Change::SetUser { .. }
            | Change::SeeIdentity { .. }
            | Change::DeleteToken { .. } => Self::Users,
            Change::LinkIdentity { .. } | Change::UnlinkIdentity { .. } => Self::Identities,
            Change::AddFunction { .. }
            | Change::AddContainer { .. }
            | Change::AddEndpoint { .. }
            | Change::RevokeKey { .. }
            | Change::AddUser { .. }
            | Change::AddToken { .. }
            | Change::UseToken { .. }
            | Change::SetSecret { .. }
            | Change::DeleteSecret { .. }
            | Change::GrantSecret { .. }
            | Change::RevokeSecret { .. }
            | Change::ClearMemo { .. }
            | Change::Probe => Self::Nothing,
        }
    }

    const fn of((thing, id): Shared) -> Self {
        match thing {
            Thing::Function => Self::Function(FunctionId::from_bytes(id)),
            Thing::Container => Self::Container(ContainerId::from_bytes(id)),
            Thing::Endpoint => Self::Endpoint(EndpointId::from_bytes(id)),
            // Who reads results is looked up each time.
            Thing::Tasks => Self::Nothing,
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
            Stale::Endpoint(id) => self.forget_endpoint(&id),
            Stale::Users => self.tokens.forget(),
            Stale::Identities => self.tokens.forget_lent(),
            Stale::Shares => {
                lock(&self.functions).clear();
                lock(&self.containers).clear();
                lock(&self.endpoints).clear();
                self.tokens.forget();
            }
        }
    }

    /// An endpoint is deleted.
    pub(crate) fn forget_endpoint(&self, endpoint: &EndpointId) {
        lock(&self.endpoints).remove(endpoint);
    }

    /// A function; `None`: there is none.
    pub(crate) fn function(&self, function: &FunctionId) -> Result<Option<KnownFunction>, Error> {
        cached(&self.functions, function, || {
            let Some(row) = self.reader.function(function)? else { return Ok(None) };
            let access = self.read_access((Thing::Function, *function.as_bytes()), row.user_no)?;
            Ok(Some(KnownFunction { access, hash: row.hash, container: row.container }))
        })
    }

    /// A container; `None`: there is none.
    pub(crate) fn container(&self, container: &ContainerId) -> Result<Option<KnownContainer>, Error> {
        cached(&self.containers, container, || {
            let Some(row) = self.reader.container(container)? else { return Ok(None) };
            let access = self.read_access((Thing::Container, *container.as_bytes()), row.user_no)?;
            Ok(Some(KnownContainer { access, container: Arc::new(row.container) }))
        })
    }

    /// An endpoint; `None`: there is none.
    pub(crate) fn endpoint(&self, endpoint: &EndpointId) -> Result<Option<KnownEndpoint>, Error> {
        cached(&self.endpoints, endpoint, || {
            let Some(row) = self.reader.endpoint(endpoint)? else { return Ok(None) };
            let access = self.read_access((Thing::Endpoint, *endpoint.as_bytes()), row.user_no)?;
            let allowed = Arc::new(self.reader.allowed_functions(endpoint)?);
            let is_foreign = row.public_key.is_some_and(|key| Foreign::owns(&key));
            Ok(Some(KnownEndpoint { access, allowed, is_foreign }))
        })
    }

    /// Whose a thing is, and with whom it is shared; `None`: there is none.
    pub(crate) fn access(&self, shared: Shared) -> Result<Option<Arc<Access>>, Error> {
        let (thing, id) = shared;
        Ok(match thing {
            Thing::Function => self.function(&FunctionId::from_bytes(id))?.map(|known| known.access),
            Thing::Container => self.container(&ContainerId::from_bytes(id))?.map(|known| known.access),
            Thing::Endpoint => self.endpoint(&EndpointId::from_bytes(id))?.map(|known| known.access),
            Thing::Tasks => match self.reader.group_owner(&GroupId::from_bytes(id))? {
                Some(owner) => Some(self.read_access(shared, owner)?),
                None => None,
            },
        })
    }

    fn read_access(&self, shared: Shared, owner: i64) -> Result<Arc<Access>, Error> {
        self.reader.access(shared, owner).map(Arc::new)
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
