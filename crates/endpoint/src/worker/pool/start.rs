//! Starting: zygotes, back-off, and handing workers to them.

use super::Pool;
use super::nest::{HOST, State, What};
use crate::runtime::{Control, Launch};
use crate::worker::process::{Process, exit_of, in_words};
use crate::worker::zygote::Zygote;
use bursa_core::executor::{Event, WorkerExit};
use bursa_core::id::WorkerId;
use std::io;
use std::sync::Arc;
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

/// How long to wait after this many failures before.
pub(super) fn wait_after(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.min(10)).min(LAST)
}

impl Pool {
    /// Starts the zygote of a nest if somebody waits for it, and asks it for those who wait.
    pub(super) fn advance(&mut self, id: u32) {
        let now = Instant::now();
        let Some(nest) = self.nests.get(&id) else { return };
        match &nest.state {
            State::Leaving(..) => return,
            State::BackOff(until) if *until > now => return,
            State::Running(..) => {}
            _ if nest.pending.is_empty() => return,
            _ => match self.start(id) {
                Ok((zygote, limit)) => self.set_state(id, State::Running(zygote, Some(now + limit))),
                Err(why) => return self.not_started(id, &why),
            },
        }
        self.ask(id);
    }

    pub(super) fn set_state(&mut self, nest: u32, state: State) {
        if let Some(nest) = self.nests.get_mut(&nest) {
            nest.state = state;
        }
    }

    fn start(&mut self, id: u32) -> Result<(Zygote, Duration), String> {
        match self.nests.get(&id).map(|nest| &nest.what) {
            Some(What::Container { container, .. }) => {
                let container = Arc::clone(container);
                self.start_container(id, &container)
            }
            _ => self.start_host().map(|zygote| (zygote, HELLO)),
        }
    }

    fn start_host(&self) -> Result<Zygote, String> {
        let Some(python) = &self.setup.python else {
            return Err("there is no python3 on PATH; set endpoint.python (BURSA_PYTHON)".into());
        };
        let environment = crate::worker::environment(&self.setup.package, self.setup.enclosure.as_ref());
        let argv = [python.as_os_str(), "-m".as_ref(), "bursa.worker".as_ref()].map(Into::into).to_vec();
        let cwd = self.setup.work.join("zygote");
        let launch = Launch { argv, env: environment, cwd, control: Control::Inherited, is_client: false };
        Zygote::start(&launch, HOST, &self.poller).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
                "the Python interpreter {} cannot be started: {error}; set endpoint.python (BURSA_PYTHON) to a \
                 Python 3.8 or later",
                python.display()
            ),
            _ => format!("the Python interpreter {} cannot be started: {error}", python.display()),
        })
    }

    pub(super) fn ask(&mut self, nest: u32) {
        while let Some(home) = self.nests.get_mut(&nest)
            && home.forking.len() < FORKING
            && let Some(id) = home.pending.front().copied()
        {
            let State::Running(zygote, _) = &home.state else { return };
            if nest != HOST && !zygote.is_up {
                // A worker's time begins when its container is there.
                return;
            }
            let Some(process) = self.workers.get_mut(&id) else {
                home.pending.pop_front();
                continue;
            };
            let Some(descriptors) = process.descriptors() else { return };
            match zygote.spawn(id, &process.cwd(), &self.setup.shares.get(id), descriptors) {
                Ok(true) => {
                    process.handed_over();
                    home.pending.pop_front();
                    home.forking.insert(id);
                    self.set_deadline(id, READY);
                }
                // The next report of the zygote, or its end, goes on from here.
                Ok(false) => return,
                Err(error) => {
                    home.pending.pop_front();
                    self.drop_worker(id, format!("the zygote cannot be asked for a worker: {error}"));
                }
            }
        }
    }

    /// The zygote has a worker's process.
    pub(super) fn forked(&mut self, nest: u32, id: u32, pid: i32) {
        if let Some(nest) = self.nests.get_mut(&nest) {
            nest.forking.remove(&id);
        }
        if let Some(process) = self.workers.get_mut(&id).filter(|process| process.nest == nest) {
            process.forked(pid);
        }
        self.ask(nest);
    }

    /// The zygote's process has ended.
    pub(super) fn zygote_gone(&mut self, id: u32, exit: WorkerExit) {
        let Some(nest) = self.nests.get_mut(&id) else { return };
        let Some(mut zygote) = std::mem::replace(&mut nest.state, State::Idle).into_zygote() else { return };
        zygote.listen(&self.poller);
        let last = zygote.said.last_lines().map_or_else(String::new, |line| format!(": {line}"));
        let how = in_words(exit);
        if id != HOST {
            return self.container_gone(id, zygote.is_up, &format!("({how}){last}"));
        }
        if zygote.is_up {
            tracing::error!("the zygote ended ({how}){last}; another one is started when a worker is needed");
            self.back_off();
            self.drop_asked(HOST, &format!("the zygote ended ({how}){last}"));
            self.end_enclosed(HOST);
            self.advance(HOST);
        } else {
            let python =
                self.setup.python.as_deref().unwrap_or_else(|| "python3".as_ref()).display().to_string();
            let why = format!(
                "the Python interpreter {python} ended before it could start workers ({how}){last}; check \
                 endpoint.python (BURSA_PYTHON)"
            );
            self.drop_asked(HOST, &why);
            self.not_started(HOST, &why);
        }
    }

    /// Workers that were asked for and have no process die with the zygote.
    pub(super) fn drop_asked(&mut self, nest: u32, why: &str) {
        if let Some(nest) = self.nests.get_mut(&nest) {
            nest.forking.clear();
        }
        let is_lost =
            |process: &Process| process.nest == nest && process.is_asked_for() && process.pid.is_none();
        let lost = self.workers.iter().filter(|(_, process)| is_lost(process));
        for id in lost.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_worker(id, why.to_owned());
        }
    }

    fn not_started(&mut self, id: u32, why: &str) {
        tracing::error!("{why}");
        if id == HOST {
            self.back_off();
        } else {
            self.container_failed(id);
        }
        let pending =
            self.nests.get_mut(&id).map(|nest| std::mem::take(&mut nest.pending)).unwrap_or_default();
        for worker in pending {
            self.drop_worker(worker, why.to_owned());
        }
    }

    fn back_off(&mut self) {
        if let Some(host) = self.nests.get_mut(&HOST) {
            host.state = State::BackOff(Instant::now() + wait_after(host.failures));
            host.failures += 1;
        }
    }

    pub(super) fn drop_worker(&mut self, id: u32, why: String) {
        let Some(mut process) = self.workers.remove(&id) else { return };
        process.forget(&self.poller);
        let nest = process.nest;
        process.remove_cwd();
        self.ready.push_back(Event::WorkerFailed { worker: WorkerId(id), why });
        self.left_nest(nest, false);
    }

    /// A child of this process has ended and was reaped here: the zygote, or an orphan of one that died.
    pub(super) fn reaped(&mut self, pid: i32, status: i32) {
        let exit = exit_of(status, 0);
        let nest = self.nests.iter().find(|(_, nest)| nest.state.pid() == Some(pid)).map(|(id, _)| *id);
        if let Some(nest) = nest {
            // What it said before it died.
            self.hear_zygote(nest);
            return self.zygote_gone(nest, exit);
        }
        if self.cleaners.values().any(|cleaner| *cleaner == pid) {
            return;
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
