//! One epoll set for everything that a pool listens to, itself watched by the runtime: a wake-up costs the same
//! for one worker and for a thousand, and no task or channel stands between a socket and the driver.

use crate::proc::{OwnsFd, watch};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::unix::AsyncFd;

/// Events looked at in one go.
const LOOK: usize = 256;

/// Who has news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The control socket of a nest's zygote.
    Control(u32),
    /// Its stderr.
    Stderr(u32),
    /// A worker's socket.
    Socket(u32),
    /// A worker's pipe on fd 1 and 2.
    Pipe(u32),
}

impl Token {
    const fn pack(self) -> u64 {
        match self {
            Self::Control(nest) => nest as u64,
            Self::Stderr(nest) => 1 << 32 | nest as u64,
            Self::Socket(worker) => 2 << 32 | worker as u64,
            Self::Pipe(worker) => 3 << 32 | worker as u64,
        }
    }

    const fn unpack(data: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the number")]
        let number = data as u32;
        match data >> 32 {
            0 => Self::Control(number),
            1 => Self::Stderr(number),
            2 => Self::Socket(number),
            _ => Self::Pipe(number),
        }
    }
}

#[derive(Debug)]
struct Set(Epoll);

impl OwnsFd for Set {}

impl AsRawFd for Set {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// The set.
#[derive(Debug)]
pub(super) struct Poller(AsyncFd<Set>);

impl Poller {
    /// An empty set; within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let set = Set(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        watch(set).map(Self)
    }

    fn set(&self) -> &Epoll {
        &self.0.get_ref().0
    }

    /// Listens for something to read, or the end.
    pub(super) fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.set().add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()))?)
    }

    /// Listens, or no longer listens, for room to write too.
    pub(super) fn want_write(&self, fd: impl AsFd, token: Token, wanted: bool) -> io::Result<()> {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, wanted);
        Ok(self.set().modify(fd, &mut EpollEvent::new(flags, token.pack()))?)
    }

    /// Listens no longer.
    pub(super) fn remove(&self, fd: impl AsFd) {
        // Not in the set is what was wanted.
        let _ = self.set().delete(fd);
    }

    /// Who has news now; empty for nobody, and only then [`Poller::wait`] sleeps.
    pub(super) fn look(&self) -> Vec<(Token, EpollFlags)> {
        let mut found = [EpollEvent::empty(); LOOK];
        let count = self.set().wait(&mut found, EpollTimeout::ZERO).unwrap_or(0);
        found[..count].iter().map(|event| (Token::unpack(event.data()), event.events())).collect()
    }

    /// Waits until somebody has news. Cancel-safe.
    pub(super) async fn wait(&self) {
        loop {
            let Ok(mut guard) = self.0.readable().await else {
                // Only when the runtime shuts down: nobody will poll us again.
                return std::future::pending().await;
            };
            let mut one = [EpollEvent::empty(); 1];
            match self.set().wait(&mut one, EpollTimeout::ZERO) {
                Ok(0) => guard.clear_ready(),
                _ => return,
            }
        }
    }
}
