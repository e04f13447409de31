//! What isolation this host really gives: each item is tried, none is concluded from versions.

use super::{Enclosure, Pids, try_bwrap};
use crate::config::{Config, Network, Runtime};
use crate::worker::environment;
use crate::{interpreter, package};
use serde::Serialize;
use std::process::{Command, Stdio};

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What, in a word or two.
    pub what: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in one sentence.
    pub found: String,
}

fn item(what: &str, ok: bool, found: impl Into<String>) -> Item {
    Item { what: what.into(), ok, found: found.into() }
}

/// Tries everything. The first item is the sandbox as a whole.
#[must_use]
pub fn check(config: &Config) -> Vec<Item> {
    let host = match try_bwrap(config) {
        Err(why) => return vec![item("sandbox", false, format!("functions run without one: {why}"))],
        Ok(_) if config.sandbox.runtime == Runtime::None => {
            return vec![item(
                "sandbox",
                false,
                "functions run without one: sandbox.runtime is none, though bwrap runs here",
            )];
        }
        Ok(host) => host,
    };
    let mut items = vec![item("sandbox", true, format!("functions run in {}", host.bwrap.display()))];
    let enclosure = Enclosure::new(&host, &config.sandbox);
    match inside(config, &enclosure) {
        Ok(found) => items.extend(found.into_iter().map(|(what, ok, found)| Item { what, ok, found })),
        Err(why) => items.push(item("workers", false, format!("none can be started in it: {why}"))),
    }
    items.push(match config.sandbox.network {
        Network::Host => item("network", true, "functions have the host's network (sandbox.network)"),
        Network::None => item("network", true, "functions have no network (sandbox.network)"),
    });
    let limits = enclosure
        .groups
        .had()
        .map(|(what, dir)| item(what, true, format!("limited by a control group in {}", dir.display())));
    items.extend(limits);
    let missing =
        enclosure.groups.missing().filter(|(what, _)| *what != "pids" || enclosure.pids == Pids::Group);
    items.extend(
        missing.map(|(what, why)| {
            item(what, false, format!("not limited, though sandbox.{what} is set: {why}"))
        }),
    );
    items.extend(match enclosure.pids {
        Pids::Group => None,
        Pids::Numbers => Some(item("pids", true, "limited by the numbers of each worker's pid namespace")),
        Pids::Limit => Some(item("pids", true, "limited by RLIMIT_NPROC of each worker's user namespace")),
    });
    items
}

/// What a worker finds: what, whether it is as it should be, and in words.
fn inside(config: &Config, enclosure: &Enclosure) -> Result<Vec<(String, bool, String)>, String> {
    let (python, _) = interpreter::check(config).map_err(|error| error.to_string())?;
    let package = package::unpack(&config.home).map_err(|error| error.to_string())?;
    let output = Command::new(python)
        .args(["-m", "bursa.worker"])
        .env_clear()
        .envs(environment(&package, Some(enclosure)))
        .env("BURSA_CHECK", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines().last().map_or_else(|| output.status.to_string(), str::to_owned)
    })
}
