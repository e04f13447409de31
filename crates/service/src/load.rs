//! What the hub wants read back: bodies and large arguments. Rows are read in place, files on threads.

use crate::clock::sleep_until;
use crate::metrics::Metrics;
use crate::store::{Content, Error, Reader};
use crate::trouble::Part;
use bursa_core::hub::Event;
use bursa_core::id::{Hash, TaskId};
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
    Body(Hash),
    Args(TaskId),
}

impl Load {
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
type Read = (Load, Result<Option<Bytes>, Error>);

/// The reads under way.
#[derive(Debug)]
pub(crate) struct Loads {
    reader: Arc<Reader>,
    metrics: Arc<Metrics>,
    running: JoinSet<Read>,
    waiting: VecDeque<(Load, Hash)>,
    /// What could not be read, until it is tried again: a disk that is away for a while costs no task.
    failed: Vec<Load>,
    again: Option<Instant>,
    /// What a second try found.
    found: VecDeque<Event>,
}

impl Loads {
    pub(crate) fn new(reader: Arc<Reader>, metrics: Arc<Metrics>) -> Self {
        let (waiting, failed, found) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { reader, metrics, running: JoinSet::new(), waiting, failed, again: None, found }
    }

    /// Reads it: `Some` when it was a row, else see [`Self::next`].
    pub(crate) fn begin(&mut self, load: Load) -> Option<Event> {
        match load.find(&self.reader) {
            Ok(Some(Content::File(hash))) => {
                if let Some(bytes) = self.reader.at_hand(&hash) {
                    return self.end((load, Ok(Some(bytes))));
                }
                self.waiting.push_back((load, hash));
                self.fill();
                None
            }
            Ok(Some(Content::Here(bytes))) => self.end((load, Ok(Some(bytes)))),
            Ok(None) => self.end((load, Ok(None))),
            Err(error) => self.end((load, Err(error))),
        }
    }

    fn fill(&mut self) {
        while self.running.len() < AT_ONCE {
            let Some((load, hash)) = self.waiting.pop_front() else { return };
            let reader = Arc::clone(&self.reader);
            self.running.spawn_blocking(move || (load, reader.find_file(&hash)));
        }
    }

    fn end(&mut self, (load, read): Read) -> Option<Event> {
        match read {
            Ok(found) => {
                if self.failed.is_empty() {
                    self.metrics.troubles.works(Part::Reads);
                }
                Some(load.event(found))
            }
            Err(error) => {
                tracing::error!(%error, ?load, "the store could not read a payload; it is tried again");
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
                            if let Some(event) = self.end(read) {
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
