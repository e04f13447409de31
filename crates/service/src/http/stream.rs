//! The stream: one WebSocket for submits and results. This file listens; `push` speaks.
//!
//! Both run in the connection's one task, so neither waits for the other: a client that sends and does not read
//! blocks only its own pushes, and what it may have open is bounded.

use super::error::{ApiError, ErrorBody, RequestId};
use super::extract::User;
use super::listen::Ends;
use super::push::{Note, Pusher};
use super::stream_types::{Call, ClientMessage};
use super::submit::{Batch, Calls, Options, admit, check_group};
use super::{App, scopes};
use crate::command::{Command, ReplyTo};
use crate::rate::Kind;
use crate::scope::Scope;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use bursa_core::hub::Reply;
use bursa_core::id::{GroupId, TaskId};
use bursa_core::limits;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;

/// Bytes read at once: each read, also one that finds nothing, zeroes a buffer of this size first (128 KiB if nothing is
/// said), and most messages are small.
const READ_BYTES: usize = 32 * 1024;
/// Silence of a client, pings unanswered, after which it counts as gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Submits and results on one WebSocket: see docs/protocol.md §3.
#[utoipa::path(get, path = "/api/v1/stream", tag = "tasks",
    responses((status = 101, description = "The WebSocket is open"), (status = "default", body = ErrorBody)))]
pub(crate) async fn open(
    user: User,
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    ends: Option<Extension<Ends>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|why| ApiError::bad("", format!("this route is a WebSocket: {why}")))?;
    app.handle.metrics.streams.fetch_add(1, Relaxed);
    let span = tracing::info_span!(parent: None, "stream", request_id = %request.0);
    let from = (request.0, ends.map(|Extension(ends)| ends));
    Ok(upgrade
        .max_message_size(limits::REQUEST_BYTES)
        .read_buffer_size(READ_BYTES)
        .max_frame_size(limits::REQUEST_BYTES)
        .on_upgrade(move |socket| run(app, user, from, socket).instrument(span)))
}

async fn run(app: App, user: User, from: (String, Option<Ends>), socket: WebSocket) {
    let (sink, source) = socket.split();
    let (notes, noted) = mpsc::channel(limits::STREAM_SUBMITS);
    let (replies, replied) = mpsc::channel(limits::STREAM_SUBMITS);
    let room = Arc::new(Semaphore::new(limits::STREAM_SUBMITS));
    let listener = Listener {
        app: &app,
        user: &user,
        notes,
        replies,
        room: Arc::clone(&room),
        groups: HashSet::new(),
        followed: HashSet::new(),
    };
    let pusher = Pusher::new(&app, &user, sink, room, from);
    tokio::select! {
        () = Box::pin(listener.run(source)) => {}
        ended = Box::pin(pusher.run(noted, replied)) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a stream ended");
            }
        }
    }
}

/// The half that hears the client.
struct Listener<'a> {
    app: &'a App,
    user: &'a User,
    notes: mpsc::Sender<Note>,
    replies: mpsc::Sender<(u64, Reply)>,
    room: Arc<Semaphore>,
    /// Groups known to be the user's.
    groups: HashSet<GroupId>,
    /// Groups whose results are pushed.
    followed: HashSet<GroupId>,
}

impl Listener<'_> {
    /// Hears until the client is gone.
    async fn run(mut self, mut source: SplitStream<WebSocket>) {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENCE, source.next()).await {
            let heard = match message {
                Message::Binary(bytes) => self.message(&bytes).await,
                Message::Text(_) => Err((None, ApiError::bad("", "the stream takes binary messages only"))),
                Message::Ping(_) | Message::Pong(_) => Ok(()),
                Message::Close(_) => return,
            };
            if let Err((id, error)) = heard
                && self.notes.send(Note::Error(id, error)).await.is_err()
            {
                return;
            }
        }
    }

    async fn message(&mut self, bytes: &Bytes) -> Result<(), (Option<u64>, ApiError)> {
        let message: ClientMessage<'_> = rmp_serde::from_slice(bytes)
            .map_err(|why| (None, ApiError::bad("", format!("it is not a message of the stream: {why}"))))?;
        match message.kind {
            "subscribe" => {
                let groups = message.groups.unwrap_or_default();
                self.follow(&groups).map_err(|error| (None, error))?;
                let note = Note::Subscribe { groups, cursor: message.cursor };
                self.notes.send(note).await.map_err(|_| (None, ApiError::from(crate::handle::Stopping)))
            }
            "submit" => {
                let id = message.id.ok_or_else(|| (None, missing("id")))?;
                self.submit(id, &message, bytes).await.map_err(|error| (Some(id), error))
            }
            kind => Err((message.id, ApiError::bad("type", format!("there is no message '{kind}'")))),
        }
    }

    /// Takes note of groups to be followed, if there is room for them.
    fn follow(&mut self, groups: &[GroupId]) -> Result<(), ApiError> {
        let fresh = groups.iter().filter(|group| !self.followed.contains(*group)).count();
        let count = self.followed.len() + fresh;
        if count > limits::STREAM_GROUPS {
            return Err(ApiError::too_large("the stream", count, limits::STREAM_GROUPS, "groups"));
        }
        self.followed.extend(groups);
        Ok(())
    }

    async fn submit(&mut self, id: u64, message: &ClientMessage<'_>, bytes: &Bytes) -> Result<(), ApiError> {
        let rates = &self.app.handle.rates;
        rates.ask(self.user.no, Kind::Submit).map_err(|wait| ApiError::too_often(Kind::Submit, wait))?;
        let group = message.group.ok_or_else(|| missing("group"))?;
        let calls = message.calls.as_deref().ok_or_else(|| missing("calls"))?;
        if !self.groups.contains(&group) {
            check_group(self.app, self.user, &group)?;
            self.groups.insert(group);
        }
        // What he may, he may now: his groups and scopes can have changed since the stream was opened.
        let user = self.app.handle.again(self.user)?;
        let user = user.ok_or_else(|| ApiError::unauthorized("its token was revoked or has expired"))?;
        scopes::require(user.scopes, Scope::TasksSubmit)?;
        let calls = specs(self.app, &user, group, calls, bytes)?;
        let (tasks, turn) = calls.within(self.app, &user).await?;
        tracing::debug!(submit = id, %group, tasks = tasks.len(), first = tasks.first().map(|spec| tracing::field::display(spec.task)), "a submit");
        let admitted = admit(self.app, &tasks)?;
        self.follow(&[group])?;
        // The group is subscribed before any of its results can be.
        let stopping = |_| ApiError::from(crate::handle::Stopping);
        let note = Note::Submit { id, group, tasks: tasks.len() };
        self.notes.send(note).await.map_err(|_| stopping(()))?;
        self.room.acquire().await.map_err(|_| stopping(()))?.forget();
        let answer = ReplyTo::Stream(id, self.replies.clone(), admitted);
        let command = Command::Submit { user: self.user.user, group, tasks, answer };
        let sent = self.app.handle.commands.send(command).await.map_err(|_| stopping(()));
        drop(turn);
        sent
    }
}

fn missing(field: &str) -> ApiError {
    ApiError::invalid(StatusCode::UNPROCESSABLE_ENTITY, field, format!("missing field `{field}`"))
}

fn specs(
    app: &App,
    user: &User,
    group: GroupId,
    calls: &[Call<'_>],
    message: &Bytes,
) -> Result<Calls, ApiError> {
    let count = calls.iter().map(|call| call.args.len()).sum();
    let mut batch = Batch::new(app, user, group, count)?;
    for call in calls {
        let options = Options {
            retries: call.retries,
            retry_on_error: call.retry_on_error,
            timeout: call.timeout,
            deadline: call.deadline,
            memoize: call.memoize.unwrap_or_default(),
            container: call.container,
            resources: call.resources.unwrap_or_default().0,
        };
        let target = batch.target(call.function, call.endpoint, options)?;
        let (ids, rest) = call.tasks.as_chunks::<16>();
        if !rest.is_empty() || ids.len() != call.args.len() {
            let why = format!("it has {} bytes for {} args of 16 each", call.tasks.len(), call.args.len());
            return Err(ApiError::invalid(StatusCode::UNPROCESSABLE_ENTITY, "tasks", why));
        }
        for (id, args) in ids.iter().zip(&call.args) {
            // A slice keeps the whole message alive: only what leaves the memory soon may be one.
            let args = match args.len() {
                0..=limits::HELD_BYTES => Bytes::copy_from_slice(args),
                _ => message.slice_ref(args),
            };
            batch.push(&target, TaskId::from_bytes(*id), args)?;
        }
    }
    batch.finish()
}
