//! The local provider: executors as processes of this node that outlive the manager that started them.
//!
//! Sees their deaths by descriptor, so also those of executors that an earlier manager started.

use super::{Found, News};
use crate::config::Config;
use crate::home::{self, EndpointDir};
use crate::proc::{self, Identity, PidFd};
use bursa_core::id::{BlockId, ExecutorId};
use bursa_core::limits;
use bursa_fabric::{KeyPair, PublicKey};
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Why an executor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// Its key.
    #[error("cannot make the executor's key: {0}")]
    Key(#[from] bursa_fabric::Error),
    /// Its process.
    #[error("cannot start an executor: {0}")]
    Spawn(#[from] io::Error),
}

#[derive(Debug)]
struct Running {
    identity: Identity,
    death: AsyncFd<PidFd>,
}

/// The executors of this node.
#[derive(Debug)]
pub struct Local {
    config: Config,
    dir: EndpointDir,
    running: BTreeMap<ExecutorId, Running>,
    /// Each of one executor.
    blocks: BTreeMap<BlockId, ExecutorId>,
    news: VecDeque<News>,
}

impl Local {
    /// A provider that knows of no executor yet.
    #[must_use]
    pub const fn new(config: Config, dir: EndpointDir) -> Self {
        Self { config, dir, running: BTreeMap::new(), blocks: BTreeMap::new(), news: VecDeque::new() }
    }

    /// Watches the executors of the manager before, and cleans up after those that are dead.
    pub fn find(&mut self) -> Found {
        let mut found = Found::default();
        for executor in self.dir.executors() {
            let key = KeyPair::load(&self.dir.executor_key(executor));
            match key {
                Ok(key) if self.adopt(executor) => {
                    // Nobody knows any more how its block was called.
                    self.blocks.insert(BlockId::from_bytes(*executor.as_bytes()), executor);
                    found.alive.push((executor, key.public));
                }
                _ => {
                    self.forget(executor);
                    found.dead.push(executor);
                }
            }
        }
        found.blocks = self.blocks.iter().map(|(block, executor)| (*block, vec![*executor])).collect();
        found
    }

    /// True if the executor is alive. One whose process nobody named has run nothing: its manager was killed before it
    /// was started, or it is about to look for its key and finds none.
    fn adopt(&mut self, executor: ExecutorId) -> bool {
        let Some(identity) = self.dir.executor_process(executor) else { return false };
        // First the descriptor, then the look: whoever it is now, it stays.
        let Ok(death) = PidFd::watch(identity.pid) else { return false };
        let alive = identity.is_alive();
        if alive {
            self.running.insert(executor, Running { identity, death });
        } else {
            identity.end_session();
        }
        alive
    }

    /// Starts the executors of a block, each in a session of its own; gives their keys.
    ///
    /// # Errors
    /// When a key cannot be made or stored, or a process not started: nothing of it is left.
    pub fn launch(
        &mut self,
        block: BlockId,
        executors: &[ExecutorId],
    ) -> Result<Vec<(ExecutorId, PublicKey)>, Error> {
        let mut keys = Vec::new();
        for executor in executors {
            let started = self.start(*executor);
            if started.is_err() {
                self.forget(*executor);
            }
            keys.push((*executor, started?));
            self.blocks.insert(block, *executor);
        }
        self.news.push_back(News::Started(block, None));
        Ok(keys)
    }

    fn start(&mut self, executor: ExecutorId) -> Result<PublicKey, Error> {
        let keys = KeyPair::generate()?;
        keys.save(&self.dir.executor_key(executor)).map_err(home::Error::from)?;
        let log = self.dir.executor_log(executor);
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let mut command = Command::new(&self.config.program);
        command
            .arg("--home")
            .arg(&self.config.home)
            .args(["executor", "--endpoint", &self.config.name, "--id", &executor.to_string()])
            .envs(self.config.to_env())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        in_own_session(&mut command);
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let watched = self.watch(executor, pid);
        if watched.is_err() {
            // One that cannot be watched may not run. It is our child, so the number is still its own.
            proc::signal(pid, Signal::SIGKILL);
        }
        watched.map(|()| keys.public)
    }

    /// The executor says itself which process it is, for the next manager.
    fn watch(&mut self, executor: ExecutorId, pid: i32) -> Result<(), Error> {
        let death = PidFd::watch(pid)?;
        let identity = Identity::of(pid).ok_or_else(|| io::Error::other("it ended at once"))?;
        self.running.insert(executor, Running { identity, death });
        Ok(())
    }

    /// The next thing to tell. Cancel-safe.
    pub async fn news(&mut self) -> News {
        if let Some(news) = self.news.pop_front() {
            return news;
        }
        let executor = poll_fn(|cx| {
            let dead = self.running.iter().find(|(_, running)| running.death.poll_read_ready(cx).is_ready());
            dead.map_or(Poll::Pending, |(executor, _)| Poll::Ready(*executor))
        })
        .await;
        let mut why = String::new();
        if let Some(Running { identity, .. }) = self.running.remove(&executor) {
            why = self.how_it_ended(executor, identity.pid);
            identity.end_session();
        }
        self.forget(executor);
        News::Gone(executor, why)
    }

    /// Ends every executor: asks first, and kills what is left after `limit`.
    pub async fn end(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.signal_all(Signal::SIGTERM);
        while !self.running.is_empty() {
            if tokio::time::timeout_at(deadline, self.news()).await.is_err() {
                return self.signal_all(Signal::SIGKILL);
            }
        }
    }

    /// A child of ours is reaped here; of others, only their end is known. One that left by itself in error says why.
    fn how_it_ended(&self, executor: ExecutorId, pid: i32) -> String {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, 0)) => "its process left".into(),
            Ok(WaitStatus::Exited(_, code)) => {
                let last = last_lines(&self.dir.executor_log(executor)).unwrap_or_default();
                format!("its process left with exit code {code}: {last}")
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("its process was ended by {signal}"),
            _ => "its process ended".into(),
        }
    }

    /// Ends a block's executor; its workers see its end and end too.
    pub fn kill(&self, block: BlockId) {
        if let Some(running) = self.blocks.get(&block).and_then(|executor| self.running.get(executor)) {
            running.death.get_ref().signal(Signal::SIGKILL);
        }
    }

    fn signal_all(&self, signal: Signal) {
        for running in self.running.values() {
            running.death.get_ref().signal(signal);
        }
    }

    /// Removes what an executor left behind.
    fn forget(&mut self, executor: ExecutorId) {
        self.blocks.retain(|_, other| *other != executor);
        self.dir.remove_executor(executor);
        let log = self.dir.executor_log(executor);
        if fs::metadata(&log).is_ok_and(|log| log.len() == 0) {
            // One that said nothing leaves nothing.
            let _ = fs::remove_file(log);
        }
        crate::scratch::remove(self.dir.work_dir(executor));
    }
}

/// The end of what a process wrote to its log.
pub(super) fn last_lines(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(limits::TROUBLE_BYTES as u64 / 2)))?;
    let mut bytes = Vec::new();
    file.take(limits::TROUBLE_BYTES as u64 / 2).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[expect(unsafe_code, reason = "std has no stable way to begin a session")]
fn in_own_session(command: &mut Command) {
    // SAFETY: the closure runs in the child after fork and only makes one async-signal-safe call.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
    }
}
