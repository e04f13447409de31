//! What isolates functions on this host: decided once, when an executor starts, by trying it.

mod cgroup;
mod check;
mod host;
mod seccomp;

pub(crate) use cgroup::Group;
pub use check::{Item, check};
pub(crate) use host::shown_in;

use crate::config::{Config, Runtime, Sandbox};
use crate::runtime::bwrap::{self, Host};
use cgroup::Groups;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Since this kernel a limit on processes counts those of one user namespace, which each worker has for itself.
const COUNTED_APART: (u32, u32) = (5, 14);
/// Since this kernel a pid namespace has a highest number of its own; before, a write would change that of the host.
const NUMBERED_APART: (u32, u32) = (6, 14);
/// Numbers below 300 are not given twice: of fewer than this too many would be lost to that.
const FEW_NUMBERS: u32 = 1_024;
/// Tries to set the highest number of this pid namespace.
const TRY_NUMBERS: &str = "echo 4096 2>&- >/proc/sys/kernel/pid_max && echo numbers; :";

/// The sandbox of an executor's workers.
#[derive(Debug)]
pub struct Enclosure {
    /// What the interpreter that enters it is told.
    pub(crate) told: String,
    /// What workers there keep to.
    pub(crate) inside: Value,
    groups: Groups,
    pids: Pids,
}

/// What holds `sandbox.pids`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pids {
    /// A control group, if it can be made. A process is put into one within 5 to 20 ms: the kernel waits until nobody
    /// looks at the old one any more.
    Group,
    /// A worker's pid namespace has no more numbers.
    Numbers,
    /// A limit of a worker's user namespace.
    Limit,
}

impl Enclosure {
    /// The sandbox that the configuration asks for and this host gives; `None`: none, and why.
    ///
    /// # Errors
    /// In one sentence, when there must be one and it does not run.
    pub fn of(config: &Config) -> Result<Result<Self, String>, String> {
        if config.sandbox.runtime == Runtime::None {
            return Ok(Err("sandbox.runtime is none".into()));
        }
        match try_bwrap(config) {
            Ok(host) => Ok(Ok(Self::new(&host, &config.sandbox))),
            Err(why) if config.sandbox.runtime == Runtime::Auto => Ok(Err(why)),
            Err(why) => Err(format!(
                "the sandbox does not run here: {why}; see `bursa endpoint check`, or set sandbox.runtime to none"
            )),
        }
    }

    fn new(host: &Host, sandbox: &Sandbox) -> Self {
        let numbers = host.numbers_apart && sandbox.pids >= FEW_NUMBERS;
        let groups = Groups::of(sandbox, !numbers);
        let pids = if numbers {
            Pids::Numbers
        } else if !groups.limits_pids() && !host.is_root && host::kernel() >= COUNTED_APART {
            Pids::Limit
        } else {
            Pids::Group
        };
        let inside = bwrap::inside(sandbox, &seccomp::filter(), pids == Pids::Numbers, pids == Pids::Limit);
        let told = bwrap::told(host, sandbox, &inside).to_string();
        Self { told, inside, groups, pids }
    }

    /// Writes to the log what is asked for and not enforced here.
    pub(crate) fn tell_missing(&self) {
        for (what, why) in
            self.groups.missing().filter(|(what, _)| *what != "pids" || self.pids == Pids::Group)
        {
            tracing::warn!("sandbox.{what} is not enforced on this host: {why}");
        }
    }

    /// The limits of one worker.
    pub(crate) fn group(&self, worker: u32) -> Group {
        self.groups.make(worker)
    }
}

/// Whether functions run in a sandbox on this host, for people.
#[must_use]
pub fn in_words(config: &Config) -> String {
    let without = "functions run without a sandbox, with all rights of this user";
    match try_bwrap(config) {
        _ if config.sandbox.runtime == Runtime::None => format!("{without} (sandbox.runtime is none)"),
        Ok(_) => "functions run in a sandbox; `bursa endpoint check` says what it gives".into(),
        Err(why) => format!("{without}: {why}"),
    }
}

/// Whether functions here are isolated from the endpoint.
pub(crate) fn isolates(config: &Config) -> bool {
    config.sandbox.runtime != Runtime::None && try_bwrap(config).is_ok()
}

/// Whether functions of others than the endpoint's owner may run: all of its executors are known to isolate them. Of other
/// nodes than this one only the configuration can promise that.
pub(crate) fn takes_guests(config: &Config) -> bool {
    match config.sandbox.runtime {
        Runtime::Bwrap => true,
        Runtime::Auto => !config.blocks.is_remote() && try_bwrap(config).is_ok(),
        Runtime::None => false,
    }
}

/// Runs bubblewrap with all that does not depend on the interpreter.
///
/// # Errors
/// Why it does not run.
pub(crate) fn try_bwrap(config: &Config) -> Result<Host, String> {
    let mut host = host::look(config).ok_or("bubblewrap (bwrap) is not installed")?;
    let mut argv = bwrap::before(&host, &config.sandbox);
    argv.extend(bwrap::after().map(Into::into));
    let may_try = host::kernel() >= NUMBERED_APART;
    argv.extend(["/bin/sh", "-c", if may_try { TRY_NUMBERS } else { ":" }].map(Into::into));
    let mut command = Command::new(&argv[0]);
    let output = command.args(&argv[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} cannot be started: {error}", host.bwrap.display()))?;
    if output.status.success() {
        host.numbers_apart = output.stdout.starts_with(b"numbers");
        return Ok(host);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().map_or_else(|| output.status.to_string(), str::to_owned))
}
