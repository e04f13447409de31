//! The watchdog of `bursa up` and `bursa endpoint start`: keeps service and manager running and answering, and when it
//! is told to stop, ends them in order and leaves nothing behind.
//!
//! It is a child subreaper, so every process below it ends up with it: executors of a dead manager go on running,
//! what ended is reaped, and at the end it sees everything that is left. Must run on its process's main thread in a
//! current-thread runtime: its children get SIGTERM when that thread ends.

mod child;
mod pulse;
mod rules;
mod stop;
mod words;

pub use child::{Child, Role, WhenReady};
pub use pulse::{Pings, pings};
pub use rules::{KEYS, Rules};

/// Told to stop, the service closes its store within this.
pub const SERVICE_STOPS_WITHIN: Duration = Duration::from_millis(900);

/// Longest stop of a watchdog whose managers take so long at most.
#[must_use]
pub const fn stops_within(managers: Duration) -> Duration {
    managers.saturating_add(SERVICE_STOPS_WITHIN).saturating_add(stop::REST)
}

use crate::alarm::Alarm;
use crate::{exit, proc};
use child::{Life, Pipes, Said, Slot, Voice};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Back-off before a restart: doubled from the first to the last.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// What children said and was not heard yet: they say one line each.
const HEARD: usize = 16;
/// What fails because a child is dying may be known before its death is.
const DEATH_SEEN: Duration = Duration::from_millis(500);

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
    /// A child lives and does not answer; it is killed.
    Silent {
        /// Which.
        role: Role,
        /// For how long, and what the system says of its process, for people.
        how: &'a str,
    },
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
    #[error(
        "the {role} died {deaths} times within {} s and is given up; the last time: {how}; {words}; mend the cause \
         ({log} may say more) and start again", within.as_secs_f32(), log = .log.display()
    )]
    GaveUp {
        /// Which.
        role: Role,
        /// How often.
        deaths: usize,
        /// In which time.
        within: Duration,
        /// How it ended the last time.
        how: String,
        /// What it wrote to stderr then.
        words: String,
        /// Its log.
        log: PathBuf,
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
    rules: Rules,
    slots: Vec<Slot>,
    report: F,
    was_all_ready: bool,
    deaths: Signal,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Tasks that listen to children.
    ears: JoinSet<()>,
    /// What is done once when a child is ready: which child, which process, how it went.
    jobs: JoinSet<(usize, i32, Result<(), String>)>,
    say: mpsc::Sender<(usize, i32, Said)>,
    heard: mpsc::Receiver<(usize, i32, Said)>,
}

/// Starts the children in order, each when the one before is ready, and keeps them running until SIGTERM or SIGINT.
/// A report that is answered with an error ends the watch. When this returns, nothing that was started runs any more.
///
/// # Errors
/// When a child cannot be started, refuses to run or dies too often, or when a report was refused.
pub async fn watch(
    children: Vec<Child>,
    rules: Rules,
    report: impl FnMut(Report<'_>) -> Result<(), String>,
) -> Result<Ended, Error> {
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let (say, heard) = mpsc::channel(HEARD);
    let mut watchdog = Watchdog {
        rules,
        slots: children.into_iter().map(Slot::new).collect(),
        report,
        was_all_ready: false,
        deaths: signal(SignalKind::child())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
        ears: JoinSet::new(),
        jobs: JoinSet::new(),
        say,
        heard,
    };
    let ended = watchdog.run().await;
    watchdog.stop().await;
    ended
}

impl<F: FnMut(Report<'_>) -> Result<(), String>> Watchdog<F> {
    async fn run(&mut self) -> Result<Ended, Error> {
        let mut alarm = Alarm::new();
        loop {
            self.start_due()?;
            let wake = self.slots.iter().filter_map(Slot::due).min();
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return Ok(Ended::Stopped),
                _ = self.interrupt.recv() => return Ok(Ended::Stopped),
                _ = self.hangup.recv() => return Ok(Ended::Stopped),
                Some((index, pid, said)) = self.heard.recv() => self.hear(index, pid, said)?,
                _ = self.deaths.recv() => self.bury().await?,
                Some(Ok((index, pid, done))) = self.jobs.join_next() => self.done(index, pid, done).await?,
                () = alarm.until(wake) => {}
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
        let (pid, Pipes { stdout, pulse }) = slot.start().map_err(|source| Error::Start { role, source })?;
        let voice = Voice { index, pid, heard: self.say.clone() };
        self.ears.spawn(child::read_lines(stdout, voice.clone()));
        self.ears.spawn(pulse::ask(pulse, self.rules, voice));
        while self.ears.try_join_next().is_some() {}
        self.say(Report::Started { role, pid })
    }

    fn hear(&mut self, index: usize, pid: i32, said: Said) -> Result<(), Error> {
        if self.slots[index].pid() != Some(pid) {
            return Ok(());
        }
        match said {
            Said::Line(line) => self.ready_line(index, pid, &line),
            Said::Nothing { since } => self.silent(index, pid, since),
        }
    }

    fn ready_line(&mut self, index: usize, pid: i32, line: &str) -> Result<(), Error> {
        let slot = &mut self.slots[index];
        let Life::Running { ready, .. } = &mut slot.life else { return Ok(()) };
        let line = match serde_json::from_str::<Value>(line) {
            Ok(line) if line.is_object() && !*ready => line,
            _ => return Ok(()),
        };
        *ready = true;
        let role = slot.child.role;
        match slot.child.when_ready.clone() {
            Some(job) if !slot.was_ready => {
                let line = line.clone();
                self.jobs.spawn_blocking(move || (index, pid, job(&line)));
            }
            _ => slot.was_ready = true,
        }
        self.say(Report::Ready { role, line: &line })
    }

    /// What was to be done when a child is ready is done. Where the child died of late it is done again with the next.
    async fn done(&mut self, index: usize, pid: i32, done: Result<(), String>) -> Result<(), Error> {
        let Err(why) = done else {
            self.slots[index].was_ready = true;
            return Ok(());
        };
        if tokio::time::timeout(DEATH_SEEN, self.deaths.recv()).await.is_ok() {
            self.bury().await?;
        }
        if self.slots[index].pid() == Some(pid) { Err(Error::Caller(why)) } else { Ok(()) }
    }

    /// Kills a child that lives and does not answer: its death is then like any other. SIGKILL ends stopped ones too.
    fn silent(&mut self, index: usize, pid: i32, since: Instant) -> Result<(), Error> {
        let how = format!(
            "it did not answer for {} s ({})",
            since.elapsed().as_secs_f32().round(),
            proc::state(pid)
        );
        let slot = &mut self.slots[index];
        slot.killed = Some(how.clone());
        proc::signal(pid, nix::sys::signal::Signal::SIGKILL);
        let role = slot.child.role;
        self.say(Report::Silent { role, how: &how })
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
    async fn bury(&mut self) -> Result<(), Error> {
        for (index, code, how) in self.reap() {
            let rules = self.rules;
            let slot = &mut self.slots[index];
            let role = slot.child.role;
            let how = slot.killed.take().unwrap_or(how);
            let words = slot.last_words().await;
            if exit::may_restart(code) {
                let Some(again_in) = slot.died(&rules) else {
                    let (Rules { deaths, within, .. }, log) = (rules, slot.child.log.clone());
                    return Err(Error::GaveUp { role, deaths, within, how, words, log });
                };
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
