//! What the hub wants read back: bodies, large arguments and secrets. Rows are read in place, files on threads.

use crate::clock::sleep_until;
use crate::metrics::Metrics;
use crate::secrets::Lender;
use crate::store::{Content, Error, Reader};
use crate::trouble::Part;
use crate::vault::Vault;
use bursa_core::hub::Event;
use bursa_core::id::{EndpointId, Hash, TaskId, UserId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Files read at once: enough to keep a disk busy, few enough to bound the memory.
const AT_ONCE: usize = 4;

/// Between two tries of a read that failed: the disk is asked, not flooded.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Payload(Payload),
    /// Of whom, for calls of which body, at which endpoint.
    Secrets(UserId, Hash, EndpointId),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload {
    Body(Hash),
    Args(TaskId),
}

impl Payload {
    fn event(self, found: Option<Bytes>) -> Event {
        match self {
            Self::Body(hash) => Event::Body { hash, body: found },
            Self::Args(task) => Event::Args { task, args: found },
        }
    }

    fn find(self, reader: &Reader) -> Result<Option<Content>, Error> {
        match self {
            Self::Body(hash) => reader.body(&hash),
            Self::Args(task) => reader.args(&task),
        }
    }
}

/// What came of a read on a thread.
type Read = (Payload, Result<Option<Bytes>, Error>);

/// The reads under way.
#[derive(Debug)]
pub(crate) struct Loads {
    reader: Arc<Reader>,
    lender: Lender,
    metrics: Arc<Metrics>,
    running: JoinSet<Read>,
    waiting: VecDeque<(Payload, Hash)>,
    /// What could not be read, until it is tried again: a disk that is away for a while costs no task.
    failed: Vec<Load>,
    again: Option<Instant>,
    /// What a second try found.
    found: VecDeque<Event>,
}

impl Loads {
    pub(crate) fn new(reader: Arc<Reader>, vault: Arc<Vault>, metrics: Arc<Metrics>) -> Self {
        let lender = Lender { reader: Arc::clone(&reader), vault };
        let (waiting, failed, found) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { reader, lender, metrics, running: JoinSet::new(), waiting, failed, again: None, found }
    }

    /// Reads it: `Some` when it was a row, else see [`Self::next`].
    pub(crate) fn begin(&mut self, load: Load) -> Option<Event> {
        match load {
            Load::Payload(payload) => self.begin_payload(payload),
            Load::Secrets(user, hash, endpoint) => {
                let found = self.lender.find(&user, &hash, &endpoint);
                self.end(load, found.map(|found| Event::Secrets { user, hash, endpoint, found }))
            }
        }
    }

    fn begin_payload(&mut self, payload: Payload) -> Option<Event> {
        let found = match payload.find(&self.reader) {
            Ok(Some(Content::File(hash))) => match self.reader.at_hand(&hash) {
                Some(bytes) => Ok(Some(bytes)),
                None => {
                    self.waiting.push_back((payload, hash));
                    self.fill();
                    return None;
                }
            },
            Ok(Some(Content::Here(bytes))) => Ok(Some(bytes)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.end_payload((payload, found))
    }

    fn fill(&mut self) {
        while self.running.len() < AT_ONCE {
            let Some((payload, hash)) = self.waiting.pop_front() else { return };
            let reader = Arc::clone(&self.reader);
            self.running.spawn_blocking(move || (payload, reader.find_file(&hash)));
        }
    }

    fn end_payload(&mut self, (payload, read): Read) -> Option<Event> {
        self.end(Load::Payload(payload), read.map(|found| payload.event(found)))
    }

    fn end(&mut self, load: Load, read: Result<Event, Error>) -> Option<Event> {
        match read {
            Ok(event) => {
                if self.failed.is_empty() {
                    self.metrics.troubles.works(Part::Reads);
                }
                Some(event)
            }
            Err(error) => {
                tracing::error!(%error, ?load, "the store could not be read; it is tried again");
                self.metrics.troubles.failed(Part::Reads, error.to_string());
                self.failed.push(load);
                self.again.get_or_insert_with(|| Instant::now() + AGAIN);
                None
            }
        }
    }

    /// The next payload that was read; waits for ever while there is none.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.found.pop_front() {
                return event;
            }
            tokio::select! {
                Some(read) = self.running.join_next() => {
                    self.fill();
                    match read {
                        Ok(read) => {
                            if let Some(event) = self.end_payload(read) {
                                return event;
                            }
                        }
                        Err(error) => tracing::error!(%error, "a payload was not read"),
                    }
                }
                () = sleep_until(self.again) => self.try_again(),
            }
        }
    }

    fn try_again(&mut self) {
        self.again = None;
        for load in std::mem::take(&mut self.failed) {
            let event = self.begin(load);
            self.found.extend(event);
        }
    }
}
