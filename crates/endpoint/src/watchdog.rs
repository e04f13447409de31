//! The watchdog of `bursa up` and `bursa endpoint start`: keeps service and manager running, and when it is told to
//! stop, ends them in order and leaves nothing behind.
//!
//! It is a child subreaper, so every process below it ends up with it: executors of a dead manager go on running,
//! what ended is reaped, and at the end it sees everything that is left. Must run on its process's main thread in a
//! current-thread runtime: its children get SIGTERM when that thread ends.

mod child;
mod stop;

pub use child::{Child, Role};

use crate::exit;
use child::{Life, Slot};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A child that dies this often within [`WITHIN`] is given up.
const DEATHS: usize = 5;
/// See [`DEATHS`].
const WITHIN: Duration = Duration::from_secs(60);
/// Back-off before a restart: doubled from the first to the last.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// Lines of children that wait to be read: they say one each.
const LINES: usize = 16;

/// What a watchdog tells its caller.
#[derive(Debug)]
pub enum Report<'a> {
    /// A child was started.
    Started {
        /// Which.
        role: Role,
        /// Its process.
        pid: i32,
    },
    /// A child said its ready line, after its first start and after each restart.
    Ready {
        /// Which.
        role: Role,
        /// What it said.
        line: &'a Value,
    },
    /// Every child has been ready once.
    AllReady,
    /// A child ended and nobody told it to.
    Died {
        /// Which.
        role: Role,
        /// How, for people.
        how: &'a str,
        /// When it is started again; `None`: it refused to run and is not.
        again_in: Option<Duration>,
    },
}

/// A watch that ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By SIGTERM, SIGINT, or the end of its terminal.
    Stopped,
}

/// A watch that ended otherwise. Nothing runs any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A child cannot be started at all.
    #[error("the {role} cannot be started: {source}")]
    Start {
        /// Which.
        role: Role,
        /// The system's words.
        source: io::Error,
    },
    /// A child refuses to run; it has said why.
    #[error("the {role} refused to run ({how}); its own message says why")]
    Refused {
        /// Which.
        role: Role,
        /// How it ended.
        how: String,
        /// Its exit code ([`crate::exit`]).
        code: i32,
    },
    /// A child died too often.
    #[error("the {role} died {DEATHS} times within {} s (last: {how}) and is given up; see its log", WITHIN.as_secs())]
    GaveUp {
        /// Which.
        role: Role,
        /// How it ended the last time.
        how: String,
    },
    /// The caller did not like a report.
    #[error("{0}")]
    Caller(String),
    /// The system.
    #[error("cannot watch processes: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// The exit code for it ([`crate::exit`]).
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Refused { code, .. } => *code,
            _ => exit::FAILED,
        }
    }
}

struct Watchdog<F> {
    slots: Vec<Slot>,
    report: F,
    was_all_ready: bool,
    deaths: Signal,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    readers: JoinSet<()>,
    say: mpsc::Sender<(usize, i32, String)>,
    lines: mpsc::Receiver<(usize, i32, String)>,
}

/// Starts the children in order, each when the one before is ready, and keeps them running until SIGTERM or SIGINT.
/// A report that is answered with an error ends the watch. When this returns, nothing that was started runs any more.
///
/// # Errors
/// When a child cannot be started, refuses to run or dies too often, or when a report was refused.
pub async fn watch(
    children: Vec<Child>,
    report: impl FnMut(Report<'_>) -> Result<(), String>,
) -> Result<Ended, Error> {
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let (say, lines) = mpsc::channel(LINES);
    let mut watchdog = Watchdog {
        slots: children.into_iter().map(Slot::new).collect(),
        report,
        was_all_ready: false,
        deaths: signal(SignalKind::child())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
        readers: JoinSet::new(),
        say,
        lines,
    };
    let ended = watchdog.run().await;
    watchdog.stop().await;
    ended
}

impl<F: FnMut(Report<'_>) -> Result<(), String>> Watchdog<F> {
    async fn run(&mut self) -> Result<Ended, Error> {
        loop {
            self.start_due()?;
            let wake = self.slots.iter().filter_map(Slot::due).min();
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return Ok(Ended::Stopped),
                _ = self.interrupt.recv() => return Ok(Ended::Stopped),
                _ = self.hangup.recv() => return Ok(Ended::Stopped),
                Some((index, pid, line)) = self.lines.recv() => self.heard(index, pid, &line)?,
                _ = self.deaths.recv() => self.bury()?,
                () = crate::executor_driver::sleep_until(wake) => {}
            }
        }
    }

    fn say(&mut self, report: Report<'_>) -> Result<(), Error> {
        (self.report)(report).map_err(Error::Caller)
    }

    /// Starts what is due: restarts, and the first child that waits behind ready ones.
    fn start_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            match slot.life {
                Life::BackOff(until) if until <= now => self.start(index)?,
                Life::New => self.start(index)?,
                _ => {}
            }
            if !self.slots[index].was_ready {
                break;
            }
        }
        if !self.was_all_ready && self.slots.iter().all(|slot| slot.was_ready) {
            self.was_all_ready = true;
            self.say(Report::AllReady)?;
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        let role = slot.child.role;
        let (pid, stdout) = slot.start().map_err(|source| Error::Start { role, source })?;
        let say = self.say.clone();
        self.readers.spawn(child::read_lines(stdout, index, pid, say));
        while self.readers.try_join_next().is_some() {}
        self.say(Report::Started { role, pid })
    }

    fn heard(&mut self, index: usize, pid: i32, line: &str) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        if !matches!(slot.life, Life::Running { pid: now, ready: false, .. } if now == pid) {
            return Ok(());
        }
        let role = slot.child.role;
        match serde_json::from_str::<Value>(line) {
            Ok(line) if line.is_object() => {
                slot.is_ready();
                self.say(Report::Ready { role, line: &line })
            }
            _ => {
                tracing::warn!("the {role} said '{line}', which is no ready line");
                Ok(())
            }
        }
    }

    /// Reaps all that ended: children, and orphans that came to us.
    fn reap(&mut self) -> Vec<(usize, i32, String)> {
        let mut ended = Vec::new();
        loop {
            let (pid, code, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, -1, format!("ended by {signal}")),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
                Ok(_) | Err(_) => continue,
            };
            let mine =
                |slot: &Slot| matches!(slot.life, Life::Running { pid: now, .. } if now == pid.as_raw());
            if let Some(index) = self.slots.iter().position(mine) {
                self.slots[index].life = Life::Ended;
                ended.push((index, code, how));
            }
        }
    }

    /// Decides what becomes of children that ended.
    fn bury(&mut self) -> Result<(), Error> {
        for (index, code, how) in self.reap() {
            // What it said before it ended, if that was not heard yet.
            while let Ok((other, pid, line)) = self.lines.try_recv() {
                self.heard(other, pid, &line)?;
            }
            let slot = &mut self.slots[index];
            let role = slot.child.role;
            if exit::may_restart(code) {
                let again_in = slot.died().ok_or_else(|| Error::GaveUp { role, how: how.clone() })?;
                self.say(Report::Died { role, how: &how, again_in: Some(again_in) })?;
                continue;
            }
            let others = self.slots.iter().any(|slot| !matches!(slot.life, Life::Ended));
            if !self.was_all_ready || !others {
                return Err(Error::Refused { role, how, code });
            }
            self.say(Report::Died { role, how: &how, again_in: None })?;
        }
        Ok(())
    }
}
