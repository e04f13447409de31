//! From a submit's calls to task specs: authorized, within limits, with ids and deadlines. REST and stream share it.

use super::App;
use super::error::ApiError;
use super::grants::{self, Guest, Turn};
use super::value::Place;
use crate::intake::Admitted;
use crate::known::KnownEndpoint;
use crate::policy::{Action, Object, may};
use crate::store::UserRow;
use crate::{audit, clock, secrets};
use axum::http::StatusCode;
use bursa_core::container::Container;
use bursa_core::hub::{Counter, Reply, Whose};
use bursa_core::id::{ContainerId, EndpointId, FunctionId, GroupId, Hash, TaskId};
use bursa_core::limits;
use bursa_core::resources::Resources;
use bursa_core::task::{Args, TaskSpec};
use bursa_core::time::Wall;
use bytes::Bytes;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::sync::Arc;

/// What all calls of one function on one endpoint share.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Options {
    pub(super) retries: Option<u32>,
    pub(super) retry_on_error: Option<u32>,
    pub(super) timeout: Option<f64>,
    pub(super) deadline: Option<f64>,
    pub(super) memoize: bool,
    pub(super) container: Option<Place>,
    pub(super) resources: Resources,
}

/// A submit being put together.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    app: &'a App,
    user: &'a UserRow,
    group: GroupId,
    now: Wall,
    bytes: usize,
    tasks: Vec<TaskSpec>,
    guests: Vec<Guest>,
}

/// A submit that is whole.
#[derive(Debug)]
pub(super) struct Calls {
    tasks: Vec<TaskSpec>,
    guests: Vec<Guest>,
}

impl std::ops::Deref for Calls {
    type Target = [TaskSpec];

    fn deref(&self) -> &[TaskSpec] {
        &self.tasks
    }
}

impl Calls {
    /// The tasks, once they are known to keep to what a guest may have; `Turn` is held until they are with the driver.
    pub(super) async fn within<'a>(
        self,
        app: &'a App,
        user: &UserRow,
    ) -> Result<(Vec<TaskSpec>, Turn<'a>), ApiError> {
        let Self { tasks, guests } = self;
        let count = |endpoint: &EndpointId| tasks.iter().filter(|spec| spec.endpoint == *endpoint).count();
        let turn = grants::check(app, user.user, &guests, count).await?;
        Ok((tasks, turn))
    }
}

/// What is the same for each task of a call.
#[derive(Debug, Clone)]
pub(super) struct Target {
    function: FunctionId,
    endpoint: EndpointId,
    hash: Hash,
    container: Option<Arc<Container>>,
    resources: Option<Arc<Resources>>,
    retries: u32,
    retry_on_error: u32,
    timeout_ms: Option<u64>,
    deadline: Wall,
    memoize: bool,
}

impl<'a> Batch<'a> {
    /// A batch of `count` tasks; refuses too many.
    pub(super) fn new(
        app: &'a App,
        user: &'a UserRow,
        group: GroupId,
        count: usize,
    ) -> Result<Self, ApiError> {
        if count > limits::BATCH_TASKS {
            return Err(ApiError::too_large("the submit", count, limits::BATCH_TASKS, "tasks"));
        }
        if count == 0 {
            return Err(ApiError::bad("tasks", "it has no tasks"));
        }
        Ok(Self {
            app,
            user,
            group,
            now: clock::wall(),
            bytes: 0,
            tasks: Vec::with_capacity(count),
            guests: Vec::new(),
        })
    }

    /// Authorizes the function on the endpoint, and checks the options.
    pub(super) fn target(
        &mut self,
        function: FunctionId,
        endpoint: EndpointId,
        options: Options,
    ) -> Result<Target, ApiError> {
        let known = &self.app.handle.known;
        let found = known.function(&function)?;
        let found = found.filter(|found| may(self.user, Action::Use, Object::Function(&found.access)));
        let found = found.ok_or_else(|| ApiError::not_found("function", function))?;
        let at = known.endpoint(&endpoint)?;
        let at = at.filter(|at| may(self.user, Action::Use, Object::Endpoint(&at.access)));
        let at = at.ok_or_else(|| ApiError::not_found("endpoint", endpoint))?;
        self.check_secrets(&found.hash, endpoint, &at)?;
        grants::add(&mut self.guests, grants::guest(self.app, self.user, function, endpoint, &at)?);
        let deadline = milliseconds("deadline", options.deadline, limits::DEADLINE_MS)?;
        Ok(Target {
            function,
            endpoint,
            hash: found.hash,
            container: self.place(function, found.container, options.container)?,
            resources: (!options.resources.is_none()).then(|| Arc::new(options.resources)),
            retries: retries("retries", options.retries, limits::DEFAULT_RETRIES)?,
            retry_on_error: retries("retry_on_error", options.retry_on_error, 0)?,
            timeout_ms: milliseconds("timeout", options.timeout, limits::DEADLINE_MS)?,
            deadline: Wall(self.now.0 + deadline.unwrap_or(limits::DEFAULT_DEADLINE_MS)),
            memoize: options.memoize,
        })
    }

    /// Refuses a call whose secrets its endpoint may not have.
    fn check_secrets(&self, hash: &Hash, endpoint: EndpointId, at: &KnownEndpoint) -> Result<(), ApiError> {
        let place = secrets::Place::of(at.access.owner == self.user.no, at.is_foreign);
        if place == secrets::Place::Own {
            return Ok(());
        }
        let granted = self.app.handle.reader.granted(&self.user.user, hash)?;
        let refused = secrets::refusal(&granted, &endpoint, place);
        refused.map_or(Ok(()), |(why, next)| Err(ApiError::forbidden(why, next)))
    }

    /// What the call says wins over what its function says.
    fn place(
        &self,
        function: FunctionId,
        default: Option<ContainerId>,
        asked: Option<Place>,
    ) -> Result<Option<Arc<Container>>, ApiError> {
        match (asked, default) {
            (Some(Place::Raw), _) | (None, None) => Ok(None),
            (Some(Place::In(asked)), _) => named(self.app, self.user, &asked).map(Some),
            (None, Some(default)) => {
                let found = named(self.app, self.user, &default);
                let gone = |error: ApiError| match error.status {
                    StatusCode::NOT_FOUND => ApiError {
                        why: format!("it was deleted, and function {function} is called in it"),
                        next: "call it in another container or with container='raw', or register it anew"
                            .into(),
                        ..error
                    },
                    _ => error,
                };
                found.map(Some).map_err(gone)
            }
        }
    }

    /// Who submits.
    pub(super) fn username(&self) -> &'a str {
        &self.user.name
    }

    /// Adds one task.
    pub(super) fn push(&mut self, target: &Target, task: TaskId, args: Bytes) -> Result<(), ApiError> {
        if args.len() > limits::PAYLOAD_BYTES {
            let what = format!("the field 'args' of task {task}");
            return Err(ApiError::too_large(&what, args.len(), limits::PAYLOAD_BYTES, "bytes"));
        }
        self.bytes += args.len();
        if self.bytes > limits::BATCH_BYTES {
            return Err(ApiError::too_large(
                "the submit",
                self.bytes,
                limits::BATCH_BYTES,
                "bytes of arguments",
            ));
        }
        self.tasks.push(TaskSpec {
            task,
            user: self.user.user,
            group: self.group,
            function: target.function,
            hash: target.hash,
            endpoint: target.endpoint,
            container: target.container.clone(),
            resources: target.resources.clone(),
            args: Args::Here(args),
            retries: target.retries,
            retry_on_error: target.retry_on_error,
            timeout_ms: target.timeout_ms,
            deadline: target.deadline,
            submitted: self.now,
            memoize: target.memoize,
        });
        Ok(())
    }

    /// The calls; refuses an id that is there twice.
    pub(super) fn finish(self) -> Result<Calls, ApiError> {
        // The hasher is seeded: ids come from outside.
        let mut seen = HashSet::with_capacity_and_hasher(self.tasks.len(), RandomState::new());
        if self.tasks.len() > 1
            && let Some(twice) = self.tasks.iter().find(|spec| !seen.insert(spec.task))
        {
            return Err(ApiError::bad("task_id", format!("{} is there twice", twice.task)));
        }
        Ok(Calls { tasks: self.tasks, guests: self.guests })
    }
}

/// A container that the user may use.
pub(super) fn named(app: &App, user: &UserRow, id: &ContainerId) -> Result<Arc<Container>, ApiError> {
    let found = app.handle.known.container(id)?;
    let found = found.filter(|found| may(user, Action::Use, Object::Container(&found.access)));
    found.map(|found| found.container).ok_or_else(|| ApiError::not_found("container", id))
}

fn retries(field: &str, asked: Option<u32>, default: u32) -> Result<u32, ApiError> {
    match asked.unwrap_or(default) {
        count if count <= limits::RETRIES => Ok(count),
        count => Err(ApiError::bad(field, format!("{count} is above the limit of {}", limits::RETRIES))),
    }
}

/// Seconds as whole milliseconds, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: between 0 and the limit"
)]
pub(super) fn milliseconds(field: &str, seconds: Option<f64>, limit: u64) -> Result<Option<u64>, ApiError> {
    let Some(seconds) = seconds else { return Ok(None) };
    let ms = (seconds * 1_000.0).ceil();
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    if seconds > 0.0 && ms <= limit as f64 {
        return Ok(Some(ms as u64));
    }
    Err(ApiError::bad(field, format!("{seconds} is not above 0 and at most {} seconds", limit / 1_000)))
}

/// The error of a group that is someone else's.
pub(super) fn check_group(app: &App, user: &UserRow, group: &GroupId) -> Result<(), ApiError> {
    match app.handle.reader.group_owner(group)? {
        Some(owner) if owner != user.no => {
            let next = "use a group id of your own, or leave it out";
            let what = format!("the group {group} cannot be used");
            Err(ApiError::conflict(what, "this group id belongs to another user", next))
        }
        _ => Ok(()),
    }
}

/// A place for a submit among those that wait for their answer.
pub(super) fn admit(app: &App, tasks: &[TaskSpec]) -> Result<Admitted, ApiError> {
    app.handle.intake.admit(tasks).map_err(|waiting| {
        app.handle.metrics.count(Counter::Refused, 1);
        ApiError::busy(format!(
            "{waiting} tasks wait to be written to disk, and the limit is {}",
            limits::INTAKE_TASKS
        ))
    })
}

/// Submits to the hub: returns when all are on disk.
pub(super) async fn accept(app: &App, user: &UserRow, group: GroupId, calls: Calls) -> Result<(), ApiError> {
    let (tasks, turn) = calls.within(app, user).await?;
    let first = tasks.first().map(|spec| tracing::field::display(spec.task));
    tracing::debug!(tasks = tasks.len(), first, "a submit");
    audit::about_tasks(&group, tasks.len());
    let admitted = admit(app, &tasks)?;
    let accepted = app.handle.submit(user.user, group, tasks, admitted).await?;
    drop(turn);
    match accepted {
        Reply::Accepted => Ok(()),
        reply => Err(reply_error(reply)),
    }
}

/// What a reply that is not the hoped-for one says to the client.
pub(super) fn reply_error(reply: Reply) -> ApiError {
    match reply {
        Reply::Conflict { task } => ApiError::conflict(
            format!("the task {task} exists with other content; nothing was accepted"),
            "a task id stands for one call and its arguments",
            "use a new id for a new call",
        ),
        Reply::NoEndpoint { endpoint } => ApiError::not_found("endpoint", endpoint),
        Reply::Full { whose, live, limit } => {
            let whose = match whose {
                Whose::User => "you have",
                Whose::Service => "this service has",
            };
            ApiError::busy(format!("{whose} {live} tasks that have not ended, and the limit is {limit}"))
        }
        Reply::Unavailable { why } => ApiError::unavailable(why),
        reply @ (Reply::Accepted | Reply::Cancelled { .. } | Reply::Deleted | Reply::Explained(_)) => {
            ApiError::internal(format!("an answer that does not fit the request: {reply:?}"))
        }
    }
}
