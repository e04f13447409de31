//! The zygote's process and its control socket (`docs/protocol.md` §4): starts it, sends it descriptors, reads its
//! reports. When to start it again is the pool's business.

#![expect(unsafe_code, reason = "the child's descriptor must be moved between fork and exec")]

use super::output::Ring;
use super::poll::{Poller, Token};
use super::share::Share;
use crate::proc::{self, PidFd};
use crate::runtime::{CONTROL_FD, Control, Launch};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    UnixCredentials, accept4, bind, listen, recvmsg, sendmsg, setsockopt, socket, socketpair, sockopt,
};
use serde::Deserialize;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Larger than any packet of a zygote.
const PACKET: usize = 64 * 1024;

/// What a zygote reports.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Reported {
    Hello {
        hello: Hello,
    },
    /// By the first process of a worker's pid namespace.
    Born {
        born: u32,
    },
    /// By the worker, before it runs anything.
    Forked {
        forked: u32,
    },
    /// By who waited for the worker.
    Exited {
        exited: u32,
        status: i32,
        maxrss_kb: u64,
    },
    /// A pid namespace is no more, whether its worker's end was told or not.
    Ended {
        ended: u32,
        status: i32,
        maxrss_kb: u64,
    },
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Hello {
    pub(super) pid: i32,
    pub(super) python: (u8, u8),
}

/// A zygote that was started.
#[derive(Debug)]
pub(super) struct Zygote {
    /// The program that was started: the zygote itself, or what looks after it.
    pub(super) pid: i32,
    /// It has said hello.
    pub(super) is_up: bool,
    nest: u32,
    channel: Channel,
    stderr: Option<File>,
    pub(super) said: Ring,
    /// The zygote, where the program goes on beside it.
    inner: Option<PidFd>,
    is_client: bool,
    /// It was asked to end before.
    is_asked: bool,
}

/// The control socket.
#[derive(Debug)]
enum Channel {
    /// The zygote connects by this name.
    Awaited(OwnedFd, PathBuf),
    Open(OwnedFd),
    Closed,
}

impl Zygote {
    /// Starts one, and lets `poller` listen to it.
    pub(super) fn start(launch: &Launch, nest: u32, poller: &Poller) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&launch.cwd)?;
        let (channel, theirs) = match &launch.control {
            Control::Inherited => {
                let (ours, theirs) =
                    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
                (Channel::Open(prepared(ours)?), Some(theirs))
            }
            Control::Socket(path) => (Channel::Awaited(listener(path)?, path.clone()), None),
        };
        let (program, arguments) = launch.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&launch.cwd)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let socket = theirs.as_ref().map(AsRawFd::as_raw_fd);
        let (files, is_client) = (crate::rlimit::of_children(), launch.is_client);
        // SAFETY: the closure runs in the child after fork and only makes async-signal-safe calls.
        unsafe {
            command.pre_exec(move || {
                files.apply()?;
                if is_client {
                    // What it leaves to run beside it stays below it, and is not taken for what a worker left.
                    nix::sys::prctl::set_child_subreaper(true)?;
                }
                socket.map_or(Ok(()), |socket| inherit_as(socket, CONTROL_FD))
            })
        };
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        if let Some(stderr) = &stderr {
            set_nonblocking(stderr.as_fd())?;
            poller.add(stderr, Token::Stderr(nest))?;
        }
        if let Channel::Open(socket) | Channel::Awaited(socket, _) = &channel {
            poller.add(socket, Token::Control(nest))?;
        }
        let (is_up, said) = (false, Ring::default());
        Ok(Self { pid, is_up, nest, channel, stderr, said, inner: None, is_client, is_asked: false })
    }

    /// It said hello, as process `pid`.
    pub(super) fn up(&mut self, pid: i32) {
        self.is_up = true;
        self.inner = PidFd::open(pid).ok();
    }

    /// Ends it, whatever it does. A program that looks after it may clean up behind it, and is ended the next time.
    pub(super) fn kill(&mut self) {
        match &self.inner {
            _ if !self.is_client => proc::signal(self.pid, Signal::SIGKILL),
            _ if self.is_asked => proc::signal(self.pid, Signal::SIGKILL),
            Some(inner) => inner.signal(Signal::SIGKILL),
            None => proc::signal(self.pid, Signal::SIGTERM),
        }
        self.is_asked = true;
    }

    /// Asks for a worker. False: not now, its socket is full or closed.
    pub(super) fn spawn(
        &self,
        worker: u32,
        cwd: &str,
        share: &Share,
        descriptors: [BorrowedFd<'_>; 3],
    ) -> io::Result<bool> {
        let Channel::Open(control) = &self.channel else { return Ok(false) };
        let order = serde_json::to_vec(&serde_json::json!({"spawn": worker, "cwd": cwd, "share": share}))?;
        let raw = descriptors.map(|fd| fd.as_raw_fd());
        let rights = [ControlMessage::ScmRights(&raw)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(&order)], &rights, flags, None) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EPIPE | Errno::ECONNRESET | Errno::ENOBUFS) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The next report and the pid of the process that sent it, by the system's word; `None` when there is none now.
    /// At the end the socket is closed.
    pub(super) fn report(&mut self, poller: &Poller) -> Option<(Reported, i32)> {
        self.accept(poller);
        loop {
            let Channel::Open(control) = &self.channel else { return None };
            match receive(control) {
                Ok(Some(reported)) => return Some(reported),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(_) => {
                    poller.remove(control);
                    self.channel = Channel::Closed;
                }
            }
        }
    }

    /// The first that connects is the zygote; nobody else can after it.
    fn accept(&mut self, poller: &Poller) {
        let Channel::Awaited(listener, path) = &self.channel else { return };
        let Ok(accepted) = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) else { return };
        // SAFETY: the descriptor is new and nobody else's.
        let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
        poller.remove(listener);
        // What cannot be removed leads nowhere now.
        let _ = fs::remove_file(path);
        let opened = prepared(accepted).and_then(|socket| {
            poller.add(&socket, Token::Control(self.nest))?;
            Ok(socket)
        });
        self.channel = opened.map_or(Channel::Closed, Channel::Open);
    }

    /// The control socket is closed: it has ended or is about to.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.channel, Channel::Closed)
    }

    /// Closes the control socket: the zygote kills its workers and ends.
    pub(super) fn close(&mut self) {
        self.channel = Channel::Closed;
    }

    /// Reads what it wrote to stderr.
    pub(super) fn listen(&mut self, poller: &Poller) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut chunk = [0; 4096];
        loop {
            match stderr.read(&mut chunk) {
                Ok(len) if len > 0 => {
                    let text = String::from_utf8_lossy(&chunk[..len]);
                    tracing::info!(target: "zygote", "{}", text.trim_end());
                    self.said.add(&chunk[..len]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    poller.remove(&*stderr);
                    self.stderr = None;
                    return;
                }
            }
        }
    }
}

/// One packet; `None` for one that makes no sense, an error also at the end.
fn receive(control: &OwnedFd) -> Result<Option<(Reported, i32)>, Errno> {
    let mut packet = [0; PACKET];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let mut slices = [IoSliceMut::new(&mut packet)];
    let message = recvmsg::<()>(control.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let sender = message.cmsgs()?.find_map(|found| match found {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
        _ => None,
    });
    let len = message.bytes;
    match (len, sender) {
        (0, _) => Err(Errno::ECONNRESET),
        (_, None) => Ok(None),
        (_, Some(sender)) => match serde_json::from_slice(&packet[..len]) {
            Ok(reported) => Ok(Some((reported, sender))),
            Err(error) => {
                tracing::warn!(%error, "a report of the zygote was not understood");
                Ok(None)
            }
        },
    }
}

/// A control socket of ours.
fn prepared(socket: OwnedFd) -> io::Result<OwnedFd> {
    set_nonblocking(socket.as_fd())?;
    setsockopt(&socket, sockopt::PassCred, &true)?;
    Ok(socket)
}

/// Waits for the zygote at `path`.
fn listener(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    // Names of sockets are short, and those of directories are not.
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    bind(listener.as_raw_fd(), &UnixAddr::new(&short)?)?;
    setsockopt(&listener, sockopt::PassCred, &true)?;
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}

fn inherit_as(source: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: both calls take numbers only; `source` is open here, since the parent keeps it until the spawn is over.
    let done = unsafe {
        if source == target { libc::fcntl(source, libc::F_SETFD, 0) } else { libc::dup2(source, target) }
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes reads and writes of `fd` return at once.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_the_protocol_writes_them() {
        let hello = serde_json::from_str(r#"{"hello": {"pid": 7, "python": [3, 11]}}"#).unwrap();
        assert_eq!(Reported::Hello { hello: Hello { pid: 7, python: (3, 11) } }, hello);
        let exited = serde_json::from_str(r#"{"exited": 2, "status": 11, "maxrss_kb": 14000}"#).unwrap();
        assert_eq!(Reported::Exited { exited: 2, status: 11, maxrss_kb: 14_000 }, exited);
    }
}
