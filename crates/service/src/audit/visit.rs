//! What is known of the request under way: who makes it, and which object it is about. Left by those who know, without
//! being handed through; read by the layer around all requests when it is over.

use crate::store::{Change, UserRow};
use bursa_core::id::GroupId;
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

tokio::task_local! {
    static VISIT: Arc<Visit>;
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// Who makes it.
    pub(crate) who: OnceLock<Who>,
    object: OnceLock<String>,
    tasks: OnceLock<usize>,
}

/// Who makes a request.
#[derive(Debug)]
pub(crate) enum Who {
    /// With a token of his that has this id, if it is one of ours.
    User(Arc<UserRow>, Option<[u8; 16]>),
    /// Somebody with a token that is not known.
    Stranger,
}

impl Visit {
    pub(crate) fn object(&self) -> Option<&str> {
        self.object.get().map(String::as_str)
    }

    pub(crate) fn tasks(&self) -> Option<usize> {
        self.tasks.get().copied()
    }
}

/// Runs a request's `work` as this visit.
pub(crate) async fn visited<T>(visit: Arc<Visit>, work: impl Future<Output = T>) -> T {
    VISIT.scope(visit, work).await
}

/// The request under way is made by `who`.
pub(crate) fn is_by(who: Who) {
    let _ = VISIT.try_with(|visit| visit.who.set(who));
}

/// The request under way submits tasks.
pub(crate) fn about_tasks(group: &GroupId, tasks: usize) {
    let _ = VISIT.try_with(|visit| (visit.object.set(group.to_string()), visit.tasks.set(tasks)));
}

/// The request under way makes this change.
pub(crate) fn about(change: &Change) {
    let id = match change {
        Change::AddFunction { function, .. } => function.to_string(),
        Change::AddContainer { container, .. } => container.container.to_string(),
        Change::AddEndpoint { endpoint, .. } => endpoint.to_string(),
        Change::AddUser { user, .. } => user.to_string(),
        Change::AddToken { token, .. } => Uuid::from_bytes(token.token).to_string(),
        // The others are named by the path.
        _ => return,
    };
    let _ = VISIT.try_with(|visit| visit.object.set(id));
}
