//! What the hub wants read back: bodies and large arguments. Rows are read in place, files on threads.

use crate::store::{Content, Error, Reader};
use bursa_core::hub::Event;
use bursa_core::id::{Hash, TaskId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Files read at once: enough to keep a disk busy, few enough to bound the memory.
const AT_ONCE: usize = 4;

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

/// The reads under way.
#[derive(Debug)]
pub(crate) struct Loads {
    reader: Arc<Reader>,
    running: JoinSet<Event>,
    waiting: VecDeque<(Load, Hash)>,
}

impl Loads {
    pub(crate) fn new(reader: Arc<Reader>) -> Self {
        Self { reader, running: JoinSet::new(), waiting: VecDeque::new() }
    }

    /// Reads it: `Some` when it was a row, else see [`Self::next`].
    pub(crate) fn begin(&mut self, load: Load) -> Option<Event> {
        match load.find(&self.reader) {
            Ok(Some(Content::Here(bytes))) => Some(load.event(Some(bytes))),
            Ok(Some(Content::File(hash))) => {
                self.waiting.push_back((load, hash));
                self.fill();
                None
            }
            Ok(None) => Some(load.event(None)),
            Err(error) => Some(failed(load, &error)),
        }
    }

    fn fill(&mut self) {
        while self.running.len() < AT_ONCE {
            let Some((load, hash)) = self.waiting.pop_front() else { return };
            let reader = Arc::clone(&self.reader);
            self.running.spawn_blocking(move || match reader.file(&hash) {
                Ok(bytes) => load.event(Some(bytes)),
                Err(error) => failed(load, &error),
            });
        }
    }

    /// The next file that was read; waits for ever while there is none.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            match self.running.join_next().await {
                Some(Ok(event)) => {
                    self.fill();
                    return event;
                }
                Some(Err(error)) => tracing::error!(%error, "a payload was not read"),
                None => std::future::pending().await,
            }
        }
    }
}

fn failed(load: Load, error: &Error) -> Event {
    tracing::error!(%error, ?load, "the store could not read a payload");
    load.event(None)
}
