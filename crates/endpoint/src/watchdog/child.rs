//! One child of a watchdog: how it is started, what it says, when it is started again.

#![expect(unsafe_code, reason = "the child asks for a signal at its parent's death between fork and exec")]

use super::pulse;
use super::words::Words;
use super::{FIRST, LAST, Rules};
use nix::libc;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a child is: managers are stopped before the service, so that they can hand back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service.
    Service,
    /// A manager.
    Manager,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Manager => "manager",
        })
    }
}

/// What is done once between the first ready line of a child and the start of the next child, on a thread of its own:
/// it may wait for an answer. Done again if the child died meanwhile; its error ends the watch otherwise.
pub type WhenReady = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// A process to keep running. Its ready line is one JSON object on stdout; it answers [`pulse::pings`] on stdin.
pub struct Child {
    /// What it is.
    pub role: Role,
    /// Makes the command of each start, also of restarts: it may use what the children said so far. Its stdin,
    /// stdout and stderr are taken.
    pub command: Box<dyn FnMut() -> Command>,
    /// Where it writes its log, for people.
    pub log: PathBuf,
    /// Told to stop, it is killed after this.
    pub stops_within: Duration,
    /// See [`WhenReady`].
    pub when_ready: Option<WhenReady>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Where a child stands.
#[derive(Debug)]
pub(super) enum Life {
    /// Not started yet.
    New,
    Running {
        pid: i32,
        ready: bool,
    },
    /// Dead; started again then.
    BackOff(Instant),
    /// Dead for good.
    Ended,
}

/// What a child was started with: the watchdog's ends.
pub(super) struct Pipes {
    pub(super) stdout: Receiver,
    pub(super) pulse: UnixStream,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) child: Child,
    pub(super) life: Life,
    /// It was ready once, and what was to be done then is done.
    pub(super) was_ready: bool,
    /// Why it was killed, if it was.
    pub(super) killed: Option<String>,
    words: Option<Words>,
    deaths: VecDeque<Instant>,
}

impl Slot {
    pub(super) const fn new(child: Child) -> Self {
        Self { child, life: Life::New, was_ready: false, killed: None, words: None, deaths: VecDeque::new() }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        match self.life {
            Life::BackOff(until) => Some(until),
            _ => None,
        }
    }

    pub(super) const fn pid(&self) -> Option<i32> {
        match self.life {
            Life::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Starts it, in a process group of its own: a Ctrl-C in the terminal is for the watchdog alone.
    pub(super) fn start(&mut self) -> io::Result<(i32, Pipes)> {
        let (pulse, stdin) = pulse::pair()?;
        let mut command = (self.child.command)();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let parent = std::process::id();
        // SAFETY: the closure runs in the child after fork and only makes async-signal-safe calls.
        unsafe { command.pre_exec(move || end_with(parent)) };
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let taken = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = taken.ok_or_else(|| io::Error::other("no pipes"))?;
        self.life = Life::Running { pid, ready: false };
        self.killed = None;
        self.words = Some(Words::of(stderr)?);
        Ok((pid, Pipes { stdout: Receiver::from_owned_fd(OwnedFd::from(stdout))?, pulse }))
    }

    /// It died: when it is started again, or not at all.
    pub(super) fn died(&mut self, rules: &Rules) -> Option<Duration> {
        let now = Instant::now();
        self.deaths.push_back(now);
        self.deaths.retain(|at| now.duration_since(*at) < rules.within);
        let count = self.deaths.len();
        if count >= rules.deaths {
            return None;
        }
        let doubled = u32::try_from(count - 1).ok().and_then(|times| 2_u32.checked_pow(times));
        let wait = FIRST.saturating_mul(doubled.unwrap_or(u32::MAX)).min(LAST);
        self.life = Life::BackOff(now + wait);
        Some(wait)
    }

    /// What it wrote to stderr last, now that it is dead.
    pub(super) async fn last_words(&mut self) -> String {
        let lines = match self.words.take() {
            Some(words) => words.last().await,
            None => Vec::new(),
        };
        if lines.is_empty() {
            "it said nothing".into()
        } else {
            format!("it said last: {}", lines.join(" / "))
        }
    }
}

fn end_with(parent: u32) -> io::Result<()> {
    // SAFETY: both calls take and give numbers only.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) < 0 {
            return Err(io::Error::last_os_error());
        }
        if u32::try_from(libc::getppid()) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

/// What comes from a child, but its death.
#[derive(Debug)]
pub(super) enum Said {
    /// A line on stdout.
    Line(String),
    /// It was asked whether its loop turns, and does not answer.
    Nothing {
        /// Asked then.
        since: Instant,
    },
}

/// How the tasks that listen to one child reach its watchdog.
#[derive(Debug, Clone)]
pub(super) struct Voice {
    pub(super) index: usize,
    pub(super) pid: i32,
    pub(super) heard: mpsc::Sender<(usize, i32, Said)>,
}

impl Voice {
    /// False: the watch is over.
    pub(super) async fn say(&self, said: Said) -> bool {
        self.heard.send((self.index, self.pid, said)).await.is_ok()
    }
}

/// Passes the lines of a child's stdout on, to its end: a full pipe would stop the child.
pub(super) async fn read_lines(stdout: Receiver, voice: Voice) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !voice.say(Said::Line(line)).await {
            return;
        }
    }
}
