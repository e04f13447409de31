//! What a command does to the watchdog of an endpoint from outside: start it in the background, find it, stop it.

#![expect(unsafe_code, reason = "a background process leaves its terminal between fork and exec")]

use crate::home::{EndpointDir, Error, Owner};
use crate::proc::{self, Identity};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest stop of an endpoint: the watchdog itself takes at most five seconds.
const STOP: Duration = Duration::from_secs(10);

/// Starts a watchdog in a session of its own, with its stderr in `log`, and waits for its ready line.
///
/// # Errors
/// When it cannot be started, or ends before it is ready: with the last line of its log.
pub fn start_in_background(mut command: Command, log: &Path) -> io::Result<String> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    let already = file.metadata()?.len();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
    // SAFETY: the closure runs in the child after fork and makes one async-signal-safe call.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
    let mut child = command.spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if !line.is_empty() {
        return Ok(line.trim_end().to_owned());
    }
    let status = child.wait()?;
    let text = std::fs::read(log)?;
    let text = String::from_utf8_lossy(text.get(usize::try_from(already).unwrap_or(0)..).unwrap_or_default());
    let last = text.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("it ended before it was ready ({status}): {last}; see {}", log.display())))
}

/// How an endpoint that was asked to stop did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It did not run.
    WasNot,
    /// It ended.
    Ended(Owner),
    /// Its watchdog also runs a service: that is to be stopped as a whole, by whoever started it.
    PartOfUp {
        /// The watchdog.
        pid: i32,
    },
    /// It runs on another node.
    Elsewhere(Owner),
    /// It did not end in time.
    StillThere {
        /// The watchdog.
        pid: i32,
    },
}

/// Stops the endpoint: its watchdog gets SIGTERM, hands back what runs, and ends.
///
/// # Errors
/// When its lock cannot be read.
pub fn stop(endpoint: &EndpointDir) -> Result<Stopped, Error> {
    let Some(owner) = endpoint.owner()? else { return Ok(Stopped::WasNot) };
    if owner.host != crate::clock::host() {
        return Ok(Stopped::Elsewhere(owner));
    }
    let manager = i32::try_from(owner.pid).unwrap_or_default();
    let Some(watchdog) = proc::parent(manager).and_then(Identity::of) else { return Ok(Stopped::WasNot) };
    let words = proc::command_line(watchdog.pid);
    if !words.iter().any(|word| word == "watchdog") {
        proc::signal(manager, Signal::SIGTERM);
        return Ok(Stopped::Ended(owner));
    }
    if words.iter().any(|word| word == "up") {
        return Ok(Stopped::PartOfUp { pid: watchdog.pid });
    }
    proc::signal(watchdog.pid, Signal::SIGTERM);
    if proc::wait_for_end(&watchdog, STOP).map_err(Error::io("wait for the watchdog of", endpoint.path()))? {
        Ok(Stopped::Ended(owner))
    } else {
        Ok(Stopped::StillThere { pid: watchdog.pid })
    }
}
