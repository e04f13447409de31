//! One worker as the executor sees it: its socket, its pipe, its tail, and what is known of its process.

use super::frames::{self, FromWorker, Garbage};
use super::masks::Masks;
use super::output::{self, Ring, Tail};
use super::poll::{Poller, Token};
use super::zygote::set_nonblocking;
use crate::proc::{self, PidFd};
use crate::sandbox::Group;
use bursa_core::executor::WorkerExit;
use bursa_core::limits;
use bytes::{Bytes, BytesMut};
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tokio::time::Instant;

/// Payloads up to this size are copied behind their head; larger ones are queued as they are.
const COPY_BELOW: usize = limits::FRAME_BYTES;
/// Slices in one write.
const SLICES: usize = 64;
/// Reads of a pipe after which others get a turn: something may fill it for ever.
const PIPE_READS: usize = 16;

/// The ends that the worker gets: its socket, the pipe that becomes its fd 1 and 2, and the memfd.
#[derive(Debug)]
struct Theirs {
    socket: UnixStream,
    pipe: OwnedFd,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Process {
    id: u32,
    socket: UnixStream,
    pipe: Option<File>,
    theirs: Option<Theirs>,
    tail: Tail,
    pub(super) ring: Ring,
    /// What nobody is shown of what it writes.
    pub(super) masks: Masks,
    inbox: BytesMut,
    outbox: VecDeque<Bytes>,
    joined: BytesMut,
    queued: usize,
    writing: bool,
    /// From the system only: what a worker says of itself is not believed.
    pub(super) pid: Option<i32>,
    pub(super) is_ready: bool,
    /// Its socket was read to the end.
    pub(super) is_closed: bool,
    pub(super) exit: Option<WorkerExit>,
    pub(super) killed: bool,
    /// When it was sent SIGTERM.
    terminated: Option<Instant>,
    /// Sent before its process was known.
    early: Option<Signal>,
    /// Why we ended it, if we had to.
    pub(super) fault: Option<String>,
    /// When it is killed unless something happens before.
    pub(super) deadline: Option<Instant>,
    place: Place,
    /// Whose zygote forks it.
    pub(super) nest: u32,
    /// It was told to end when its calls are done.
    pub(super) is_retired: bool,
    /// In a sandbox.
    house: Option<House>,
}

/// Where a worker begins to work.
#[derive(Debug)]
pub(super) enum Place {
    /// In a directory of the host, which is made for it and removed after it.
    Host(PathBuf),
    /// In a directory that its sandbox or container has; empty: its sandbox chooses.
    Inside(&'static str),
}

/// The pid namespace of a worker.
#[derive(Debug)]
pub(super) struct House {
    pub(super) nest: u32,
    /// Its first process, with which all others end.
    pub(super) first: PidFd,
    pub(super) group: Group,
}

impl Process {
    /// Makes everything that a worker needs before it is forked.
    pub(super) fn new(id: u32, nest: u32, place: Place, poller: &Poller) -> io::Result<Self> {
        if let Place::Host(cwd) = &place {
            if cwd.exists() {
                fs::remove_dir_all(cwd)?;
            }
            DirBuilder::new().recursive(true).mode(0o700).create(cwd)?;
        }
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        for end in [&socket, &theirs] {
            setsockopt(end, sockopt::SndBuf, &limits::WORKER_SOCKET_BYTES)?;
        }
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        set_nonblocking(read.as_fd())?;
        let tail = Tail::new()?;
        poller.add(&socket, Token::Socket(id))?;
        poller.add(&read, Token::Pipe(id))?;
        Ok(Self {
            id,
            socket,
            pipe: Some(read.into()),
            theirs: Some(Theirs { socket: theirs, pipe: write }),
            tail,
            ring: Ring::default(),
            masks: Masks::default(),
            inbox: BytesMut::new(),
            outbox: VecDeque::new(),
            joined: BytesMut::new(),
            queued: 0,
            writing: false,
            pid: None,
            is_ready: false,
            is_closed: false,
            exit: None,
            killed: false,
            terminated: None,
            early: None,
            fault: None,
            deadline: None,
            place,
            nest,
            is_retired: false,
            house: None,
        })
    }

    /// Where it begins to work, as the zygote is told.
    pub(super) fn cwd(&self) -> Cow<'_, str> {
        match &self.place {
            Place::Host(cwd) => cwd.to_string_lossy(),
            Place::Inside(cwd) => Cow::Borrowed(cwd),
        }
    }

    /// Removes its directory, whatever is in it.
    pub(super) fn remove_cwd(self) {
        if let Place::Host(cwd) = self.place {
            crate::scratch::remove(cwd);
        }
    }

    /// The descriptors for the zygote; `None` once they are sent.
    pub(super) fn descriptors(&self) -> Option<[BorrowedFd<'_>; 3]> {
        let theirs = self.theirs.as_ref()?;
        Some([theirs.socket.as_fd(), theirs.pipe.as_fd(), self.tail.file().as_fd()])
    }

    /// The zygote has them now.
    pub(super) fn handed_over(&mut self) {
        self.theirs = None;
    }

    /// Whether the zygote was asked for it.
    pub(super) const fn is_asked_for(&self) -> bool {
        self.theirs.is_none()
    }

    /// Queues a frame. False: more waits than may wait.
    pub(super) fn queue(&mut self, head: &BytesMut, payload: Option<Bytes>) -> bool {
        self.queued += head.len() + payload.as_ref().map_or(0, Bytes::len);
        self.joined.extend_from_slice(head);
        match payload {
            Some(payload) if payload.len() > COPY_BELOW => {
                self.outbox.push_back(self.joined.split().freeze());
                self.outbox.push_back(payload);
            }
            Some(payload) => self.joined.extend_from_slice(&payload),
            None => {}
        }
        self.queued <= limits::WORKER_QUEUE_BYTES
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self, poller: &Poller) -> io::Result<()> {
        if !self.joined.is_empty() {
            self.outbox.push_back(self.joined.split().freeze());
        }
        let mut blocked = false;
        while !self.outbox.is_empty() && !blocked {
            let slices: Vec<_> = self.outbox.iter().take(SLICES).map(|part| IoSlice::new(part)).collect();
            match self.socket.write_vectored(&slices) {
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It is gone or going: the end of its socket and its exit are reported elsewhere.
                Err(_) => self.written(self.queued),
            }
        }
        if blocked != self.writing && !self.is_closed {
            self.writing = blocked;
            poller.want_write(&self.socket, Token::Socket(self.id), blocked)?;
        }
        Ok(())
    }

    fn written(&mut self, mut count: usize) {
        self.queued = self.queued.saturating_sub(count);
        while let Some(part) = self.outbox.front_mut() {
            if part.len() > count {
                let _ = part.split_to(count);
                return;
            }
            count -= part.len();
            self.outbox.pop_front();
        }
    }

    /// Reads once from the socket. False: nothing there, or the end.
    pub(super) fn read(&mut self, scratch: &mut [u8], poller: &Poller) -> bool {
        while !self.is_closed {
            match self.socket.read(scratch) {
                Ok(len) if len > 0 => {
                    self.inbox.extend_from_slice(&scratch[..len]);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.close(poller),
            }
        }
        false
    }

    /// Reads the socket no longer.
    pub(super) fn close(&mut self, poller: &Poller) {
        poller.remove(&self.socket);
        self.is_closed = true;
    }

    /// The next frame, if a whole one was read.
    pub(super) fn frame(&mut self) -> Result<Option<FromWorker>, Garbage> {
        if self.inbox.is_empty() {
            return Ok(None);
        }
        frames::take(&mut self.inbox)
    }

    /// Believes nothing more of what it sends.
    pub(super) fn distrust(&mut self, why: String, poller: &Poller) {
        self.inbox.clear();
        self.close(poller);
        self.fault = Some(why);
        self.kill();
    }

    /// Reads its pipe.
    pub(super) fn listen(&mut self, scratch: &mut [u8], poller: &Poller) {
        for _ in 0..PIPE_READS {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(scratch) {
                Ok(len) if len > 0 => self.ring.add(&scratch[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    poller.remove(&*pipe);
                    self.pipe = None;
                }
            }
        }
    }

    /// Asks it to end, and all that descends from it.
    pub(super) fn terminate(&mut self) {
        self.terminated = Some(Instant::now());
        self.signal(Signal::SIGTERM);
    }

    /// Since when they have their grace, if they have one.
    pub(super) fn terminated(&self) -> Option<Instant> {
        self.terminated.filter(|_| !self.killed)
    }

    /// Signals its process group; as soon as it has one.
    fn signal(&mut self, signal: Signal) {
        if let (Some(house), Signal::SIGKILL) = (&self.house, signal) {
            return house.first.signal(signal);
        }
        match self.pid {
            Some(pid) if self.exit.is_none() => {
                proc::signal_group(pid, signal);
                if signal == Signal::SIGTERM {
                    // Also what left its group; SIGKILL is for when all of it was adopted.
                    let kin = proc::below(pid).into_iter();
                    kin.filter(|kin| !proc::is_in_group(*kin, pid)).for_each(|kin| proc::signal(kin, signal));
                }
            }
            Some(_) => {}
            None => self.early = Some(signal),
        }
    }

    /// Its pid namespace is there.
    pub(super) fn born(&mut self, house: House) {
        self.house = Some(house);
        if self.early == Some(Signal::SIGKILL) {
            self.kill();
        }
    }

    /// It is dead: its pid namespace may hold others.
    pub(super) fn leave_house(&mut self) -> Option<House> {
        self.house.take()
    }

    /// It says which process it is, by the system's word, before it runs anything.
    pub(super) fn forked(&mut self, pid: i32) {
        self.pid = Some(pid);
        if let Some(house) = &self.house {
            house.group.take(pid);
        }
        if let Some(signal) = self.early.take() {
            self.signal(signal);
        }
    }

    /// Ends it.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.signal(Signal::SIGKILL);
    }

    /// Its process has ended.
    pub(super) fn exited(&mut self, exit: WorkerExit) {
        self.exit = Some(exit);
    }

    /// It shall begin none of its first `calls` calls that it has not begun.
    pub(super) fn withhold(&self, calls: u64) {
        self.tail.withhold(calls);
    }

    /// The number of the last call that it began, by its own count.
    pub(super) fn begun(&self) -> u64 {
        self.tail.begun()
    }

    /// The next of the frames that it has not sent; what is none is left.
    pub(super) fn unsent(&self) -> impl Iterator<Item = FromWorker> + use<> {
        let mut unsent = self.tail.unsent();
        std::iter::from_fn(move || frames::take(&mut unsent).ok().flatten())
    }

    /// What a call wrote: Python's output and what is in the pipe, without secrets.
    pub(super) fn output(&mut self, python: Bytes) -> Bytes {
        output::join(python, &mut self.ring, &self.masks)
    }

    /// The tail of what its last call wrote, for one that ended.
    pub(super) fn last_output(&mut self) -> Bytes {
        let mut all = self.output(self.tail.read().into()).to_vec();
        if let Some(why) = &self.fault {
            all.extend_from_slice(format!("\nbursa: this worker was ended: {why}\n").as_bytes());
        }
        all.into()
    }

    /// Lets go of the descriptors.
    pub(super) fn forget(&mut self, poller: &Poller) {
        self.close(poller);
        if let Some(pipe) = self.pipe.take() {
            poller.remove(&pipe);
        }
    }
}

/// A raw wait status, in the machine's words.
pub(super) const fn exit_of(status: i32, maxrss_kb: u64) -> WorkerExit {
    WorkerExit {
        signal: if libc::WIFSIGNALED(status) { Some(libc::WTERMSIG(status)) } else { None },
        exit: if libc::WIFEXITED(status) { Some(libc::WEXITSTATUS(status)) } else { None },
        oom: false,
        maxrss_kb,
        memory_limit_kb: None,
    }
}

/// An exit in words.
pub(super) fn in_words(exit: WorkerExit) -> String {
    match (exit.signal, exit.exit) {
        (Some(signal), _) => match Signal::try_from(signal) {
            Ok(signal) => format!("ended by {signal}"),
            Err(_) => format!("ended by signal {signal}"),
        },
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "for an unknown reason".into(),
    }
}
