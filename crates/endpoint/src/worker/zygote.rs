//! The zygote's process and its control socket (`docs/protocol.md` §4): starts it, sends it descriptors, reads its
//! reports. When to start it again is the pool's business.

#![expect(unsafe_code, reason = "the child's descriptor must be moved between fork and exec")]

use super::output::Ring;
use super::poll::{Poller, Token};
use crate::runtime::Launch;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials,
    recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};
use serde::Deserialize;
use std::fs::{DirBuilder, File};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The descriptor on which the zygote finds its control socket.
pub(super) const CONTROL_FD: RawFd = 3;
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
    pub(super) pid: i32,
    /// It has said hello.
    pub(super) is_up: bool,
    control: Option<OwnedFd>,
    stderr: Option<File>,
    pub(super) said: Ring,
}

impl Zygote {
    /// Starts one, and lets `poller` listen to it.
    pub(super) fn start(launch: &Launch, poller: &Poller) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&launch.cwd)?;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        set_nonblocking(ours.as_fd())?;
        setsockopt(&ours, sockopt::PassCred, &true)?;
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
        let socket = theirs.as_raw_fd();
        let files = crate::rlimit::of_children();
        // SAFETY: the closure runs in the child after fork and only makes async-signal-safe calls.
        unsafe {
            command.pre_exec(move || {
                files.apply()?;
                inherit_as(socket, CONTROL_FD)
            })
        };
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        let stderr = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        if let Some(stderr) = &stderr {
            set_nonblocking(stderr.as_fd())?;
            poller.add(stderr, Token::Stderr)?;
        }
        poller.add(&ours, Token::Control)?;
        Ok(Self { pid, is_up: false, control: Some(ours), stderr, said: Ring::default() })
    }

    /// Asks for a worker. False: not now, its socket is full or closed.
    pub(super) fn spawn(&self, worker: u32, cwd: &str, descriptors: [BorrowedFd<'_>; 3]) -> io::Result<bool> {
        let Some(control) = &self.control else { return Ok(false) };
        let order = serde_json::to_vec(&serde_json::json!({"spawn": worker, "cwd": cwd}))?;
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
        loop {
            match receive(self.control.as_ref()?) {
                Ok(Some(reported)) => return Some(reported),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(_) => {
                    self.control.take().inspect(|control| poller.remove(control));
                }
            }
        }
    }

    /// The control socket is closed: it has ended or is about to.
    pub(super) const fn is_closed(&self) -> bool {
        self.control.is_none()
    }

    /// Closes the control socket: the zygote kills its workers and ends.
    pub(super) fn close(&mut self) {
        self.control = None;
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
