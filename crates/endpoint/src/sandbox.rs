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

/// The sandbox of an executor's workers.
#[derive(Debug)]
pub struct Enclosure {
    /// What the interpreter that enters it is told.
    pub(crate) told: String,
    /// What workers there keep to.
    pub(crate) inside: Value,
    groups: Groups,
    /// Workers limit their processes themselves.
    by_limit: bool,
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
        let groups = Groups::of(sandbox);
        let by_limit = !groups.limits_pids() && !host.is_root && host::kernel() >= COUNTED_APART;
        let processes = if by_limit { sandbox.pids } else { 0 };
        let filter = seccomp::filter();
        let told = bwrap::told(host, sandbox, &filter, processes).to_string();
        let inside = bwrap::inside(sandbox, &filter, processes);
        Self { told, inside, groups, by_limit }
    }

    /// Writes to the log what is asked for and not enforced here.
    pub(crate) fn tell_missing(&self) {
        for (what, why) in self.groups.missing().filter(|(what, _)| !(self.by_limit && *what == "pids")) {
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

/// Runs bubblewrap with all that does not depend on the interpreter.
///
/// # Errors
/// Why it does not run.
pub(crate) fn try_bwrap(config: &Config) -> Result<Host, String> {
    let host = host::look(config).ok_or("bubblewrap (bwrap) is not installed")?;
    let mut argv = bwrap::before(&host, &config.sandbox);
    argv.extend(bwrap::after().map(Into::into));
    argv.extend(["/bin/sh", "-c", ":"].map(Into::into));
    let mut command = Command::new(&argv[0]);
    let output = command.args(&argv[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} cannot be started: {error}", host.bwrap.display()))?;
    if output.status.success() {
        return Ok(host);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().map_or_else(|| output.status.to_string(), str::to_owned))
}
