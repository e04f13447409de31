//! One child of a watchdog: how it is started, what it says, when it is started again.

#![expect(unsafe_code, reason = "the child asks for a signal at its parent's death between fork and exec")]

use super::{DEATHS, FIRST, LAST, WITHIN};
use nix::libc;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
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

/// A process to keep running.
pub struct Child {
    /// What it is.
    pub role: Role,
    /// Makes the command of each start, also of restarts: it may use what the children said so far. Its stdout is
    /// taken for the ready line; stdin and stderr are as set here.
    pub command: Box<dyn FnMut() -> Command>,
    /// The next child waits until this one has said its ready line, one JSON object on stdout.
    pub needs_ready_line: bool,
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

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) child: Child,
    pub(super) life: Life,
    pub(super) was_ready: bool,
    deaths: VecDeque<Instant>,
}

impl Slot {
    pub(super) const fn new(child: Child) -> Self {
        Self { child, life: Life::New, was_ready: false, deaths: VecDeque::new() }
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

    pub(super) const fn is_ready(&mut self) {
        self.was_ready = true;
        if let Life::Running { ready, .. } = &mut self.life {
            *ready = true;
        }
    }

    /// Starts it, in a process group of its own: a Ctrl-C in the terminal is for the watchdog alone.
    pub(super) fn start(&mut self) -> io::Result<(i32, Receiver)> {
        let mut command = (self.child.command)();
        command.stdout(Stdio::piped()).process_group(0);
        let parent = std::process::id();
        // SAFETY: the closure runs in the child after fork and only makes async-signal-safe calls.
        unsafe { command.pre_exec(move || end_with(parent)) };
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        self.life = Life::Running { pid, ready: false };
        if !self.child.needs_ready_line {
            self.is_ready();
        }
        Ok((pid, Receiver::from_owned_fd(OwnedFd::from(stdout))?))
    }

    /// It died: when it is started again, or not at all.
    pub(super) fn died(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.deaths.push_back(now);
        self.deaths.retain(|at| now.duration_since(*at) < WITHIN);
        let count = self.deaths.len();
        if count >= DEATHS {
            return None;
        }
        let wait = FIRST.saturating_mul(1 << (count - 1)).min(LAST);
        self.life = Life::BackOff(now + wait);
        Some(wait)
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

/// Passes the lines of a child's stdout on, to its end: a full pipe would stop the child.
pub(super) async fn read_lines(
    stdout: Receiver,
    index: usize,
    pid: i32,
    say: mpsc::Sender<(usize, i32, String)>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if say.send((index, pid, line)).await.is_err() {
            return;
        }
    }
}
