//! Processes as `/proc` shows them: who a pid is, what descends from us, and whether one of them ended.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Looks for what is left: more than one, since what is being ended may fork.
const SWEEPS: u32 = 3;

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the system's start.
    pub(crate) start: u64,
    /// The system's start: ticks are counted anew after it.
    pub(crate) boot: String,
}

impl Identity {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start: stat(pid)?.start, boot: boot() })
    }

    /// Whether it still runs: a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.zombie) && boot() == self.boot
    }

    /// Ends what is left of the session that this process led, after its end: programs of users that outlived
    /// their worker.
    pub(crate) fn end_session(&self) {
        if boot() != self.boot {
            return;
        }
        for _ in 0..SWEEPS {
            let left: Vec<_> =
                all().filter(|(_, stat)| stat.session == self.pid).map(|(pid, _)| pid).collect();
            // With a process of that number there, the session is another one.
            if left.is_empty() || left.contains(&self.pid) {
                return;
            }
            left.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        }
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

struct Stat {
    parent: i32,
    session: i32,
    start: u64,
    zombie: bool,
}

/// The fields after the command name, which may hold anything, also spaces and parentheses.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Stat {
        // A first thread that ended while others run looks like a zombie too.
        zombie: matches!(*fields.first()?, "Z" | "X") && fields.get(17).is_none_or(|threads| *threads < "2"),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// All processes, zombies left out.
fn all() -> impl Iterator<Item = (i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).filter(|(_, stat)| !stat.zombie)
}

/// All processes below this one, zombies left out.
pub(crate) fn descendants() -> Vec<i32> {
    below(i32::try_from(std::process::id()).unwrap_or(0))
}

/// All processes below `ancestor`, zombies left out.
pub(crate) fn below(ancestor: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in all() {
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut look = vec![ancestor];
    while let Some(parent) = look.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(pid);
            look.push(pid);
        }
    }
    found
}

/// Ends all processes below this one.
pub(crate) fn end_descendants() {
    for _ in 0..SWEEPS {
        let left = descendants();
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    }
}

/// The children of this process, also those that it adopted; zombies left out.
pub(crate) fn children() -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    // One file per thread, where the system has them: far less to read than all processes.
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: io::Result<Vec<String>> =
        threads.map(|thread| fs::read_to_string(thread.path().join("children"))).collect();
    match lists {
        Ok(lists) => {
            let pids = lists.iter().flat_map(|list| list.split_ascii_whitespace());
            let pids = pids.filter_map(|pid| pid.parse().ok());
            pids.filter(|pid| stat(*pid).is_some_and(|stat| !stat.zombie)).collect()
        }
        Err(_) => all().filter(|(_, stat)| stat.parent == me).map(|(pid, _)| pid).collect(),
    }
}

/// The process that started this one, or took it over.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    Some(stat(pid)?.parent)
}

/// Whether it was sent SIGKILL, of which it may not have died yet: on a busy machine that takes its time.
pub(crate) fn is_killed(pid: i32) -> bool {
    has_kill_pending(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
}

fn has_kill_pending(status: &str) -> bool {
    let sets =
        status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
    let kill = 1 << (Signal::SIGKILL as u32 - 1);
    sets.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok()).any(|set| set & kill != 0)
}

/// The words of a process's command line; none if it is gone.
pub(crate) fn command_line(pid: i32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Blocks until the process has ended, or the time is up: whether it ended.
pub(crate) fn wait_for_end(process: &Identity, limit: Duration) -> io::Result<bool> {
    let fd = match PidFd::open(process.pid) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(true),
        fd => fd?,
    };
    if !process.is_alive() {
        return Ok(true);
    }
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(fd.0.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
}

/// What the system says of a process, for people: what it does, and where in the system it waits.
pub(crate) fn state(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("gone").trim();
    match fs::read_to_string(format!("/proc/{pid}/wchan")) {
        Ok(place) if !matches!(place.trim(), "" | "0") => format!("state {state}, in {place}"),
        _ => format!("state {state}"),
    }
}

/// Signals a process; one that is gone is no error.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if pid > 1 {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether a process is of this group; one that is gone is of none.
pub(crate) fn is_in_group(pid: i32, group: i32) -> bool {
    nix::unistd::getpgid(Some(Pid::from_raw(pid))).is_ok_and(|of| of.as_raw() == group)
}

/// Signals a process group; one that is gone is no error.
pub(crate) fn signal_group(group: i32, signal: Signal) {
    if group > 1 {
        let _ = nix::sys::signal::killpg(Pid::from_raw(group), signal);
    }
}

/// Lets the runtime watch a descriptor for something to read.
#[expect(unsafe_code, reason = "tokio asks for a promise about who owns the descriptor")]
pub(crate) fn watch<T: AsRawFd + OwnsFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `OwnsFd` is for types that own one open descriptor and never exchange it.
    Ok(unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }?)
}

/// Owns one descriptor, always the same and open, until it is dropped.
pub(crate) trait OwnsFd {}

impl OwnsFd for PidFd {}

/// A process, by descriptor: becomes readable when it ends, whoever its parent is.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// Watches the process with this pid.
    pub(crate) fn watch(pid: i32) -> io::Result<AsyncFd<Self>> {
        watch(Self::open(pid)?)
    }

    /// Signals it: never another process that got its number later.
    #[expect(unsafe_code, reason = "neither std nor nix has pidfd_send_signal")]
    pub(crate) fn signal(&self, signal: Signal) {
        let (fd, signal, none) = (self.0.as_raw_fd(), signal as i32, std::ptr::null::<u8>());
        // SAFETY: the descriptor is open, and the call reads nothing through a null pointer. One that is gone is
        // no error.
        let _ = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
    }

    /// The process with this pid.
    #[expect(unsafe_code, reason = "neither std nor nix has pidfd_open")]
    pub(crate) fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
        let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the call has just made this descriptor (close-on-exec), and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn who_was_killed_is_known_before_it_is_dead() {
        let status = |own, shared| {
            format!("Name:\tbursa\nSigPnd:\t{own:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t{:016x}\n", !0_u64)
        };
        for (own, shared, killed) in
            [(0, 0, false), (!0x100, !0x100, false), (0x100, 0, true), (0x4000, 0x100, true)]
        {
            assert_eq!(has_kill_pending(&status(own as u64, shared as u64)), killed);
        }
        assert!(!is_killed(std::process::id().cast_signed()) && !is_killed(0));
    }

    #[test]
    fn an_identity_ends_with_its_process() {
        let me = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { start: me.start + 1, ..me }.is_alive(), "a recycled pid is another process");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants().contains(&pid));
        assert!(children().contains(&pid));
        let identity = Identity::of(pid).unwrap();
        signal(pid, Signal::SIGKILL);
        child.wait().unwrap();
        assert!(!identity.is_alive());
        assert!(!descendants().contains(&pid));
    }
}
