//! The cheap, clonable handle through which http reaches everything else: driver, readers, tokens, bells, counters.

use crate::amqp::{Credentials, Cursors};
use crate::auth::Tokens;
use crate::bell::Bells;
use crate::command::{Command, ReplyTo};
use crate::intake::{Admitted, Intake};
use crate::metrics::{Gauges, Metrics};
use crate::store::{Change, Changed, Content, Error, Reader};
use bursa_core::container::Container;
use bursa_core::hub::{EndpointStatus, Explanation, Reply};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, Hash, TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::{TaskSpec, TaskState};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;

/// Everything http needs.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Reads of a few rows, made in place.
    pub(crate) reader: Arc<Reader>,
    /// Reads that may take long, made on a thread.
    pub(crate) slow_reader: Arc<Reader>,
    pub(crate) tokens: Tokens,
    pub(crate) bells: Arc<Bells>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) about: About,
    pub(crate) callable: Callable,
    pub(crate) intake: Arc<Intake>,
    pub(crate) credentials: Credentials,
    pub(crate) cursors: Cursors,
}

/// What endpoints are told about this service.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) service_key: String,
    pub(crate) zmq: String,
    /// Where the REST API listens.
    pub(crate) http: SocketAddr,
    /// Where results are read by AMQP, as host:port.
    pub(crate) amqp: String,
}

/// Functions, containers and the owners of endpoints, so that a submit reads no row for each of its tasks.
#[derive(Debug, Default)]
pub(crate) struct Callable {
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

/// The driver is gone: the service stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping;

impl Handle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopping> {
        let (answer, waits) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Stopping)?;
        waits.await.map_err(|_| Stopping)
    }

    pub(crate) async fn submit(
        &self,
        user: UserId,
        group: GroupId,
        tasks: Vec<TaskSpec>,
        admitted: Admitted,
    ) -> Result<Reply, Stopping> {
        self.ask(|answer| Command::Submit { user, group, tasks, answer: ReplyTo::Submit(answer, admitted) })
            .await
    }

    pub(crate) async fn cancel(&self, tasks: Vec<TaskId>) -> Result<Reply, Stopping> {
        self.ask(|answer| Command::Cancel { tasks, answer: ReplyTo::One(answer) }).await
    }

    pub(crate) async fn delete_endpoint(&self, endpoint: EndpointId) -> Result<Reply, Stopping> {
        let reply =
            self.ask(|answer| Command::DeleteEndpoint { endpoint, answer: ReplyTo::One(answer) }).await;
        lock(&self.callable.endpoints).remove(&endpoint);
        reply
    }

    /// Changes the registry; the inner error is why the store could not be written.
    pub(crate) async fn change(&self, change: Change) -> Result<Result<Changed, String>, Stopping> {
        let (function, container) = match &change {
            Change::DeleteFunction { function, .. } => (Some(*function), None),
            Change::DeleteContainer { container, .. } => (None, Some(*container)),
            _ => (None, None),
        };
        let changed = self.ask(|answer| Command::Change(change, answer)).await;
        if let Some(function) = function {
            lock(&self.callable.functions).remove(&function);
        }
        if let Some(container) = container {
            lock(&self.callable.containers).remove(&container);
        }
        changed
    }

    pub(crate) async fn states(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<TaskState>>, Stopping> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(|answer| Command::States(tasks, answer)).await
    }

    /// Why a live task stands where it stands; `None`: it is not live.
    pub(crate) async fn explain(&self, task: TaskId) -> Result<Option<Box<Explanation>>, Stopping> {
        self.ask(|answer| Command::Explain(task, answer)).await
    }

    pub(crate) async fn endpoints(
        &self,
        endpoints: Vec<EndpointId>,
    ) -> Result<Vec<Option<EndpointStatus>>, Stopping> {
        self.ask(|answer| Command::Endpoints(endpoints, answer)).await
    }

    pub(crate) async fn gauges(&self) -> Result<Gauges, Stopping> {
        self.ask(Command::Gauges).await
    }

    /// The payload's bytes; `None`: its file is gone. Files are read on a thread.
    pub(crate) async fn payload(&self, payload: Content) -> Result<Result<Option<Bytes>, Error>, JoinError> {
        match payload {
            Content::Here(bytes) => Ok(Ok(Some(bytes))),
            Content::File(hash) => {
                if let Some(bytes) = self.slow_reader.at_hand(&hash) {
                    return Ok(Ok(Some(bytes)));
                }
                let reader = Arc::clone(&self.slow_reader);
                tokio::task::spawn_blocking(move || reader.find_file(&hash)).await
            }
        }
    }

    /// A function; `None`: there is none.
    pub(crate) fn function(&self, function: &FunctionId) -> Result<Option<KnownFunction>, Error> {
        cached(&self.callable.functions, function, || {
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
        cached(&self.callable.containers, container, || {
            Ok(self.reader.container(container)?.map(|row| (row.user_no, Arc::new(row.container))))
        })
    }

    /// Owner of an endpoint; `None`: there is none.
    pub(crate) fn endpoint(&self, endpoint: &EndpointId) -> Result<Option<i64>, Error> {
        cached(&self.callable.endpoints, endpoint, || {
            Ok(self.reader.endpoint(endpoint)?.map(|row| row.user_no))
        })
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
