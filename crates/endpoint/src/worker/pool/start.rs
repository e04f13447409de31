//! Starting: the zygote, its back-off, and handing workers to it.

use super::{Pool, State};
use crate::runtime::Launch;
use crate::worker::process::{exit_of, in_words};
use crate::worker::zygote::Zygote;
use bursa_core::executor::{Event, WorkerExit};
use bursa_core::id::WorkerId;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// A zygote must say hello within this: imports from a cold network file system are slow.
const HELLO: Duration = Duration::from_secs(60);
/// A forked worker must be ready within this.
const READY: Duration = Duration::from_secs(60);
/// Workers asked for at once: more would only wait in the zygote's socket.
const FORKING: usize = 16;
/// Back-off between two zygotes: doubled from the first to the last.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

impl Pool {
    /// Starts the zygote if somebody waits for it, and asks it for those who wait.
    pub(super) fn advance(&mut self) {
        let now = Instant::now();
        match &self.zygote {
            State::BackOff(until) if *until > now => return,
            State::Running(..) => {}
            _ if self.pending.is_empty() => return,
            _ => match self.start() {
                Ok(zygote) => self.zygote = State::Running(zygote, Some(now + HELLO)),
                Err(why) => return self.not_started(&why),
            },
        }
        self.ask();
    }

    fn start(&self) -> Result<Zygote, String> {
        let Some(python) = &self.setup.python else {
            return Err("there is no python3 on PATH; set endpoint.python (BURSA_PYTHON)".into());
        };
        let environment = crate::worker::environment(&self.setup.package, self.setup.enclosure.as_ref());
        let argv = [python.as_os_str(), "-m".as_ref(), "bursa.worker".as_ref()].map(Into::into).to_vec();
        let launch = Launch { argv, env: environment, cwd: self.setup.work.join("zygote") };
        Zygote::start(&launch, &self.poller).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
                "the Python interpreter {} cannot be started: {error}; set endpoint.python (BURSA_PYTHON) to a \
                 Python 3.8 or later",
                python.display()
            ),
            _ => format!("the Python interpreter {} cannot be started: {error}", python.display()),
        })
    }

    pub(super) fn ask(&mut self) {
        while self.forking.len() < FORKING
            && let Some(id) = self.pending.front().copied()
        {
            let State::Running(zygote, _) = &self.zygote else { return };
            let Some(process) = self.workers.get_mut(&id) else {
                self.pending.pop_front();
                continue;
            };
            let Some(descriptors) = process.descriptors() else { return };
            match zygote.spawn(id, &process.cwd(), descriptors) {
                Ok(true) => {
                    process.handed_over();
                    self.pending.pop_front();
                    self.forking.insert(id);
                    self.set_deadline(id, READY);
                }
                // The next report of the zygote, or its end, goes on from here.
                Ok(false) => return,
                Err(error) => {
                    self.pending.pop_front();
                    self.drop_worker(id, format!("the zygote cannot be asked for a worker: {error}"));
                }
            }
        }
    }

    /// The zygote has a worker's process.
    pub(super) fn forked(&mut self, id: u32, pid: i32) {
        self.forking.remove(&id);
        if let Some(process) = self.workers.get_mut(&id) {
            process.forked(pid);
        }
        self.ask();
    }

    /// It takes too long to say hello.
    pub(super) fn slow_start(&mut self) {
        if let State::Running(zygote, deadline) = &mut self.zygote {
            zygote.said.add(b"\nit did not start within 60 s\n");
            *deadline = None;
        }
    }

    /// The zygote's process has ended.
    pub(super) fn zygote_gone(&mut self, exit: WorkerExit) {
        let State::Running(mut zygote, _) = std::mem::replace(&mut self.zygote, State::Idle) else { return };
        zygote.listen(&self.poller);
        let last = zygote.said.last_lines().map_or_else(String::new, |line| format!(": {line}"));
        let how = in_words(exit);
        if zygote.is_up {
            tracing::error!("the zygote ended ({how}){last}; another one is started when a worker is needed");
            self.back_off();
            self.drop_asked(&format!("the zygote ended ({how}){last}"));
            self.end_enclosed();
            self.advance();
        } else {
            let python =
                self.setup.python.as_deref().unwrap_or_else(|| "python3".as_ref()).display().to_string();
            let why = format!(
                "the Python interpreter {python} ended before it could start workers ({how}){last}; check \
                 endpoint.python (BURSA_PYTHON)"
            );
            self.drop_asked(&why);
            self.not_started(&why);
        }
    }

    /// Workers that were asked for and have no process die with the zygote.
    fn drop_asked(&mut self, why: &str) {
        self.forking.clear();
        let lost = self.workers.iter().filter(|(_, process)| process.is_asked_for() && process.pid.is_none());
        for id in lost.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_worker(id, why.to_owned());
        }
    }

    fn not_started(&mut self, why: &str) {
        tracing::error!("{why}");
        self.back_off();
        for id in std::mem::take(&mut self.pending) {
            self.drop_worker(id, why.to_owned());
        }
    }

    fn back_off(&mut self) {
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LAST);
        self.failures += 1;
        self.zygote = State::BackOff(Instant::now() + wait);
    }

    fn drop_worker(&mut self, id: u32, why: String) {
        let Some(mut process) = self.workers.remove(&id) else { return };
        process.forget(&self.poller);
        process.remove_cwd();
        self.ready.push_back(Event::WorkerFailed { worker: WorkerId(id), why });
    }

    /// A child of this process has ended and was reaped here: the zygote, or an orphan of one that died.
    pub(super) fn reaped(&mut self, pid: i32, status: i32) {
        let exit = exit_of(status, 0);
        if matches!(&self.zygote, State::Running(zygote, _) if zygote.pid == pid) {
            // What it said before it died.
            self.hear_zygote();
            return self.zygote_gone(exit);
        }
        self.left_by_remains(pid);
        let Some((id, process)) = self.workers.iter_mut().find(|(_, process)| process.pid == Some(pid))
        else {
            return;
        };
        // Killed with its zygote: that says nothing of the worker.
        let unknown = exit.signal == Some(nix::libc::SIGKILL) && !process.killed;
        process.exited(if unknown { WorkerExit::default() } else { exit });
        let id = *id;
        self.settle(id);
    }
}
