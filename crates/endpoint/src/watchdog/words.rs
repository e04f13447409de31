//! What a child writes to stderr: passed on as it comes, and its end kept, to be told when the child is given up.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// Lines that are kept, and bytes of each.
const LINES: usize = 5;
const LINE_BYTES: usize = 500;
/// What a dead child wrote is in the pipe and read at once; a grandchild that has the pipe too may hold it open.
const REST: Duration = Duration::from_millis(200);

/// The stderr of one child.
#[derive(Debug)]
pub(super) struct Words {
    last: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Words {
    pub(super) fn of(stderr: impl Into<OwnedFd>) -> io::Result<Self> {
        let stderr = Receiver::from_owned_fd(stderr.into())?;
        let last = Arc::default();
        Ok(Self { reader: tokio::spawn(pass_on(stderr, Arc::clone(&last))), last })
    }

    /// The last lines of a child that has ended.
    pub(super) async fn last(self) -> Vec<String> {
        // Either way: what is there is there.
        let _ = tokio::time::timeout(REST, self.reader).await;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

async fn pass_on(stderr: Receiver, last: Arc<Mutex<VecDeque<String>>>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut part = (&mut stderr).take(LINE_BYTES as u64);
        if !matches!(part.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        // A stderr that takes nothing, such as a file on a full disk, must not end the watch.
        let _ = io::stderr().write_all(&line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
}
