//! What a command does to the watchdog of an endpoint from outside: start it in the background, find it, stop it.

#![expect(unsafe_code, reason = "a background process leaves its terminal between fork and exec")]

use crate::home::{EndpointDir, Error, Owner};
use crate::proc::{self, Identity};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a busy host may add to the time that a process takes to stop.
const SLACK: Duration = Duration::from_secs(5);

/// Why no watchdog runs in the background.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The system.
    #[error("cannot start it in the background: {0}")]
    Io(#[from] io::Error),
    /// It ended before it was ready.
    #[error("{said}; see {log}", log = .log.display())]
    Ended {
        /// Its exit code; `None`: it was killed.
        code: Option<i32>,
        /// The last line of what it said, without the program's name before it.
        said: String,
        /// What else it said.
        log: PathBuf,
    },
}

/// Starts a watchdog in a session of its own, with its stderr in `log`, and waits for its ready line.
///
/// # Errors
/// [`NotStarted`].
pub fn start_in_background(command: Command, log: &Path) -> Result<String, NotStarted> {
    Ok(start(command, log, false)?.1)
}

/// Starts one that ends with what is given back, and with this process however that ends.
///
/// # Errors
/// [`NotStarted`].
pub fn start_for_now(command: Command, log: &Path) -> Result<(ForNow, String), NotStarted> {
    let (child, line) = start(command, log, true)?;
    Ok((ForNow(child), line))
}

/// A watchdog that is ended when this is dropped.
#[derive(Debug)]
pub struct ForNow(Child);

impl Drop for ForNow {
    fn drop(&mut self) {
        let Some(process) = i32::try_from(self.0.id()).ok().and_then(Identity::of) else { return };
        proc::signal(process.pid, Signal::SIGTERM);
        if !proc::wait_for_end(&process, SLACK).unwrap_or(false) {
            proc::signal(process.pid, Signal::SIGKILL);
        }
        // It is a zombie now, which goes with this process.
        let _ = self.0.wait();
    }
}

fn start(mut command: Command, log: &Path, for_now: bool) -> Result<(Child, String), NotStarted> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    let already = file.metadata()?.len();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
    let leave = move || {
        nix::unistd::setsid()?;
        if for_now {
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
        }
        Ok(())
    };
    // SAFETY: the closure runs in the child after fork and only makes async-signal-safe calls.
    unsafe { command.pre_exec(leave) };
    let mut child = command.spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if !line.is_empty() {
        return Ok((child, line.trim_end().to_owned()));
    }
    let status = child.wait()?;
    let text = std::fs::read(log)?;
    let text = String::from_utf8_lossy(text.get(usize::try_from(already).unwrap_or(0)..).unwrap_or_default());
    let said = text.lines().last().map(sentence);
    let said = said.unwrap_or_else(|| format!("it ended before it was ready ({status}) and said nothing"));
    Err(NotStarted::Ended { code: status.code(), said, log: log.to_owned() })
}

/// What a line of stderr says, without what the command that wrote it put around.
fn sentence(line: &str) -> String {
    let error = serde_json::from_str::<serde_json::Value>(line).ok();
    let message = error.as_ref().and_then(|error| error["error"]["message"].as_str());
    message.unwrap_or_else(|| line.trim_start_matches("bursa: ")).to_owned()
}

/// The watchdog that started a process, if it is still there and not about to die.
pub(crate) fn watchdog_of(pid: i32) -> Option<Identity> {
    let parent = proc::parent(pid).and_then(Identity::of).filter(|parent| !proc::is_killed(parent.pid))?;
    (proc::command_line(parent.pid).get(1)? == "watchdog").then_some(parent)
}

/// What became of a process that holds what a new watchdog needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is gone.
    Free,
    /// It runs, and is meant to: this process is to be asked to stop.
    HeldBy(i32),
}

/// Waits for the end of a service or manager whose watchdog is gone: it got SIGTERM then. `on_wait` is called before.
/// One that does not end in the time that a watchdog would give it, `stops_within`, is killed, as the watchdog would
/// have done.
///
/// # Errors
/// When the system cannot watch it.
pub fn make_way(pid: i32, stops_within: Duration, on_wait: impl FnOnce()) -> io::Result<Way> {
    let Some(process) = Identity::of(pid) else { return Ok(Way::Free) };
    if let Some(watchdog) = watchdog_of(pid) {
        return Ok(Way::HeldBy(watchdog.pid));
    }
    if !proc::command_line(pid).iter().any(|word| word == "service" || word == "manager") {
        return Ok(if process.is_alive() { Way::HeldBy(pid) } else { Way::Free });
    }
    on_wait();
    if proc::wait_for_end(&process, stops_within + SLACK)? {
        return Ok(Way::Free);
    }
    if process.is_alive() {
        proc::signal(pid, Signal::SIGKILL);
    }
    Ok(if proc::wait_for_end(&process, SLACK)? { Way::Free } else { Way::HeldBy(pid) })
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

/// Stops the endpoint: its watchdog gets SIGTERM, hands back what runs, and ends `stops_within` that time.
///
/// # Errors
/// When its lock cannot be read.
pub fn stop(endpoint: &EndpointDir, stops_within: Duration) -> Result<Stopped, Error> {
    let Some(owner) = endpoint.owner()? else { return Ok(Stopped::WasNot) };
    if !owner.is_here() {
        return Ok(Stopped::Elsewhere(owner));
    }
    let Some(watchdog) = watchdog_of(owner.pid()) else {
        proc::signal(owner.pid(), Signal::SIGTERM);
        return Ok(Stopped::Ended(owner));
    };
    let words = proc::command_line(watchdog.pid);
    if words.iter().any(|word| word == "up") {
        return Ok(Stopped::PartOfUp { pid: watchdog.pid });
    }
    proc::signal(watchdog.pid, Signal::SIGTERM);
    let ended = proc::wait_for_end(&watchdog, stops_within + SLACK);
    let ended = ended.map_err(Error::io("wait for the watchdog of", endpoint.path()))?;
    Ok(if ended { Stopped::Ended(owner) } else { Stopped::StillThere { pid: watchdog.pid } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// A process with these words in its command line, which ends when its stdin does. It says that it runs: only then
    /// its command line is there to be read.
    fn process(words: &[&str]) -> (std::process::Child, i32) {
        let mut command = Command::new("sh");
        let command = command.args(["-c", "echo; read line", "bursa"]).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    #[test]
    fn what_a_watchdog_left_is_waited_for() {
        let (mut child, pid) = process(&["--home", "/h", "service"]);
        let stdin = child.stdin.take();
        assert_eq!(make_way(pid, SLACK, || drop(stdin)).unwrap(), Way::Free);
        child.wait().unwrap();
        assert_eq!(make_way(pid, SLACK, || panic!("it is gone")).unwrap(), Way::Free);
    }

    #[test]
    fn what_runs_by_itself_is_left_alone() {
        let (mut child, pid) = process(&["serve"]);
        assert_eq!(make_way(pid, SLACK, || panic!("it is meant to run")).unwrap(), Way::HeldBy(pid));
        assert!(child.try_wait().unwrap().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
