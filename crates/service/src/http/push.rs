//! The speaking half of a stream: a reader of the store from a cursor, woken by the user's bell.

use super::App;
use super::error::ApiError;
use super::extract::User;
use super::listen::Ends;
use super::stream_types::{Indexed, ServerMessage};
use super::submit::reply_error;
use super::tasks::find_payload;
use crate::audit::Entry;
use crate::clock;
use crate::clock::sleep_until;
use crate::store::{Memoized, RESULT_GONE, ResultRow, Slice, SliceLimits};
use axum::extract::ws::{Message, WebSocket};
use axum::http::StatusCode;
use bursa_core::hub::Reply;
use bursa_core::id::{GroupId, TaskId};
use bursa_core::limits;
use bursa_core::task::{Failure, FailureCode, TaskState};
use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

/// Results of one message: what a client decodes in about a millisecond.
const SLICE: SliceLimits = SliceLimits { rows: 2_048, bytes: 1 << 20, scanned: 16_384 };
/// The service pings this often.
const PING: Duration = Duration::from_secs(20);

/// A message that a client has not taken after this long is its last.
const STUCK: Duration = Duration::from_millis(limits::STREAM_SEND_MS);
/// For the last word of a stream that ends in order.
const FAREWELL: Duration = Duration::from_millis(200);

/// What the listening half tells.
#[derive(Debug)]
pub(super) enum Note {
    /// Push the results of these groups.
    Subscribe { groups: Vec<GroupId>, cursor: Option<u64> },
    /// A submit of so many tasks in this group follows.
    Submit { id: u64, group: GroupId, tasks: usize },
    /// Something the client said was wrong.
    Error(Option<u64>, ApiError),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection: {0}")]
    Socket(#[from] axum::Error),
    #[error("{}", .0.why)]
    Failed(ApiError),
    #[error("the service stops, or its token was revoked")]
    Over,
    #[error("its client takes nothing")]
    Stuck,
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// The speaking half.
pub(super) struct Pusher<'a> {
    app: &'a App,
    user: &'a User,
    sink: SplitSink<WebSocket, Message>,
    /// Room for open submits: one place is free again with each answer.
    room: Arc<Semaphore>,
    request_id: String,
    from: Option<IpAddr>,
    /// Submits without an answer: their groups, and how many tasks they have.
    asked: HashMap<u64, (GroupId, usize)>,
    feed: Feed,
    stopping: watch::Receiver<bool>,
    revocations: watch::Receiver<u64>,
}

fn result_gone(task: &TaskId) -> Failure {
    tracing::error!(%task, "the file of this task's result is gone");
    Failure::new(FailureCode::LoadFailed, RESULT_GONE)
}

/// Which results are still to be pushed.
#[derive(Debug, Default)]
struct Feed {
    cursor: u64,
    /// A subscribed group's results up to its floor were pushed or are not wanted.
    groups: HashMap<GroupId, u64>,
    /// The first `subscribe` came.
    begun: bool,
    /// There may be more in the store.
    more: bool,
}

impl Feed {
    /// Adds groups; what is wanted of them lies above `from`.
    fn subscribe(&mut self, groups: Vec<GroupId>, from: u64) {
        if from < self.cursor {
            // Go back; of the others, nothing comes twice.
            for floor in self.groups.values_mut() {
                *floor = (*floor).max(self.cursor);
            }
            self.cursor = from;
        }
        for group in groups {
            let floor = self.groups.entry(group).or_insert(from);
            *floor = from.min(*floor);
        }
        self.more = true;
    }
}

impl<'a> Pusher<'a> {
    pub(super) fn new(
        app: &'a App,
        user: &'a User,
        sink: SplitSink<WebSocket, Message>,
        room: Arc<Semaphore>,
        (request_id, ends): (String, Option<Ends>),
    ) -> Self {
        Self {
            app,
            user,
            sink,
            room,
            request_id,
            from: ends.map(|ends| ends.theirs),
            asked: HashMap::new(),
            feed: Feed::default(),
            stopping: app.stopping.clone(),
            revocations: app.handle.known.tokens.revocations(),
        }
    }

    /// Speaks until the client is gone, its token is revoked, or the service stops.
    pub(super) async fn run(
        mut self,
        mut notes: mpsc::Receiver<Note>,
        mut replies: mpsc::Receiver<(u64, Reply)>,
    ) -> Result<(), Ended> {
        let handle = &self.app.handle;
        let mut bell = handle.bells.listen(self.user.user);
        self.feed.cursor = self.newest()?;
        self.say(&ServerMessage::Welcome { cursor: self.feed.cursor }).await?;
        let mut ping = std::pin::pin!(tokio::time::sleep(PING));
        loop {
            // What was submitted is subscribed before its results are read.
            while let Ok(note) = notes.try_recv() {
                self.note(note).await?;
            }
            if self.feed.more {
                self.push().await?;
                if self.feed.more {
                    tokio::task::yield_now().await;
                }
            }
            tokio::select! {
                biased;
                over = over(self.app, self.user, &mut self.stopping, &mut self.revocations) => {
                    over?;
                    return self.close().await;
                }
                () = &mut ping => {
                    self.send(Message::Ping(bytes::Bytes::new())).await?;
                    ping.as_mut().reset(Instant::now() + PING);
                }
                note = notes.recv() => match note {
                    Some(note) => self.note(note).await?,
                    None => return Ok(()),
                },
                Some((id, reply)) = replies.recv() => self.reply(id, reply).await?,
                _ = bell.changed() => self.feed.more = true,
                () = std::future::ready(()), if self.feed.more => {}
            }
        }
    }

    fn newest(&self) -> Result<u64, ApiError> {
        Ok(self.app.handle.reader.newest(self.user.no)?)
    }

    async fn note(&mut self, note: Note) -> Result<(), Ended> {
        match note {
            Note::Subscribe { groups, cursor } => self.subscribe(groups, cursor)?,
            Note::Submit { id, group, tasks } => {
                self.asked.insert(id, (group, tasks));
                if self.feed.groups.is_empty() {
                    self.feed.cursor = self.newest()?;
                }
                // Known or not: results of this submit get numbers above all there are.
                self.feed.groups.entry(group).or_insert(self.feed.cursor);
                self.feed.begun = true;
            }
            Note::Error(id, error) => {
                if id.is_some() && error.status != StatusCode::TOO_MANY_REQUESTS {
                    self.record(None, Some(&error));
                }
                self.error(id, &error).await?;
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, mut groups: Vec<GroupId>, cursor: Option<u64>) -> Result<(), ApiError> {
        let newest = self.newest()?;
        let from = cursor.unwrap_or(0).min(newest);
        if !self.feed.begun {
            self.feed.begun = true;
            self.feed.cursor = from;
        } else if cursor.is_none() {
            // Groups that nobody has submitted to have no earlier results: no need to go back for them.
            let mut known = Vec::new();
            groups.retain(|group| !self.feed.groups.contains_key(group));
            for group in groups {
                if self.app.handle.reader.group_owner(&group)?.is_some() {
                    known.push(group);
                } else {
                    self.feed.groups.insert(group, self.feed.cursor);
                }
            }
            groups = known;
            if groups.is_empty() {
                return Ok(());
            }
        }
        self.feed.subscribe(groups, from);
        Ok(())
    }

    async fn reply(&mut self, id: u64, reply: Reply) -> Result<(), Ended> {
        self.room.add_permits(1);
        let asked = self.asked.remove(&id);
        match reply {
            Reply::Accepted => {
                self.record(asked, None);
                self.say(&ServerMessage::Accepted { id }).await
            }
            reply => {
                let error = reply_error(reply);
                self.record(asked, Some(&error));
                self.error(Some(id), &error).await
            }
        }
    }

    /// A submit, and what came of it, for the audit log.
    fn record(&self, asked: Option<(GroupId, usize)>, error: Option<&ApiError>) {
        self.app.handle.audit.record(Entry {
            at: clock::wall(),
            user: Some((Arc::clone(&self.user.row), self.user.token)),
            from: self.from,
            action: "SUBMIT /api/v1/stream".to_owned(),
            object: asked.map(|(group, _)| group.to_string()),
            tasks: asked.map(|(_, tasks)| tasks),
            left_out: None,
            status: error.map_or(200, |error| error.status.as_u16()),
            code: error.map(|error| error.code),
            request: Some(self.request_id.clone()),
        });
    }

    async fn error(&mut self, id: Option<u64>, error: &ApiError) -> Result<(), Ended> {
        let request_id = std::mem::take(&mut self.request_id);
        let message = ServerMessage::Error { id, error: error.detail(&request_id) };
        self.say(&message).await?;
        self.request_id = request_id;
        Ok(())
    }

    /// Pushes the next results, if there are any.
    async fn push(&mut self) -> Result<(), Ended> {
        if self.feed.groups.is_empty() {
            self.feed.more = false;
            return Ok(());
        }
        let (handle, groups) = (&self.app.handle, &self.feed.groups);
        let wanted = |group: &GroupId, n| groups.get(group).is_some_and(|floor| n > *floor);
        let slice = handle.reader.results(self.user.no, self.feed.cursor, SLICE, wanted);
        let Slice { rows, cursor, more } = slice.map_err(ApiError::from)?;
        self.feed.cursor = cursor;
        self.feed.more = more;
        if rows.is_empty() { Ok(()) } else { self.results(cursor, rows).await }
    }

    async fn results(&mut self, cursor: u64, rows: Vec<ResultRow>) -> Result<(), Ended> {
        let (mut tasks, mut states) = (Vec::with_capacity(rows.len() * 16), Vec::with_capacity(rows.len()));
        let mut data = Vec::with_capacity(rows.len());
        let (mut extras, mut memo) = (Vec::new(), Vec::new());
        for (place, row) in (0_u32..).zip(rows) {
            let found = find_payload(self.app, row.payload).await?;
            // One lost file must not end the stream each time it is reached.
            let (state, failure) = match found {
                Some(_) => (row.state, row.failure),
                None => (TaskState::Failed, Some(result_gone(&row.task))),
            };
            tasks.extend_from_slice(row.task.as_bytes());
            memo.push(match row.memo {
                None => 0,
                Some(Memoized::Stored) => 1,
                Some(Memoized::Hit) => 2,
            });
            states.push(match state {
                TaskState::Success => 0,
                TaskState::Cancelled => 2,
                _ => 1,
            });
            data.push(found.unwrap_or_default());
            if failure.is_some() || !row.output.is_empty() {
                extras.push((place, failure, row.output));
            }
        }
        self.app.handle.metrics.pushed.fetch_add(states.len() as u64, Relaxed);
        let failures = extras.iter().filter_map(|(place, failure, _)| Some((*place, failure.as_ref()?)));
        let outputs = extras.iter().filter(|(.., output)| !output.is_empty());
        self.say(&ServerMessage::Results {
            cursor,
            tasks: serde_bytes::Bytes::new(&tasks),
            states: serde_bytes::Bytes::new(&states),
            payloads: data.iter().map(|data| serde_bytes::Bytes::new(data)).collect(),
            failures: Indexed(failures.collect()),
            outputs: Indexed(outputs.map(|(place, _, out)| (*place, serde_bytes::Bytes::new(out))).collect()),
            memo: memo.iter().any(|memo| *memo > 0).then(|| serde_bytes::Bytes::new(&memo)),
        })
        .await
    }

    async fn say(&mut self, message: &ServerMessage<'_>) -> Result<(), Ended> {
        let bytes = rmp_serde::to_vec_named(message).map_err(ApiError::internal)?;
        self.send(Message::Binary(bytes.into())).await
    }

    /// Sends one message. A client that takes nothing keeps nobody from the stream's end, nor its memory for ever.
    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        tokio::select! {
            biased;
            sent = self.sink.send(message) => Ok(sent?),
            over = over(self.app, self.user, &mut self.stopping, &mut self.revocations) => over.and(Err(Ended::Over)),
            () = tokio::time::sleep(STUCK) => Err(Ended::Stuck),
        }
    }

    async fn close(&mut self) -> Result<(), Ended> {
        let close = self.sink.send(Message::Close(None));
        tokio::time::timeout(FAREWELL, close).await.map_err(|_| Ended::Stuck)??;
        Ok(())
    }
}

/// Waits until the service stops, or the user's token is revoked or expires.
async fn over(
    app: &App,
    user: &User,
    stopping: &mut watch::Receiver<bool>,
    revocations: &mut watch::Receiver<u64>,
) -> Result<(), Ended> {
    loop {
        tokio::select! {
            _ = stopping.changed() => return Ok(()),
            _ = revocations.changed() => {}
            () = sleep_until(user.expires.map(clock::instant_of)) => {}
        }
        if app.handle.again(user).map_err(ApiError::from)?.is_none() {
            return Ok(());
        }
    }
}
