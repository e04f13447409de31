//! What an endpoint needs of the host that it runs on, tried item by item: its Python, its home, its scheduler, its port.

pub use crate::sandbox::Item;

use crate::config::{Config, blocks, on_path};
use crate::{home, host, interpreter, provider};
use nix::sys::statfs::{NFS_SUPER_MAGIC, statfs};
use nix::sys::statvfs::statvfs;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// A home with less space has no room for one result of the largest size.
const LEAST_MB: u64 = 64;

/// Tries everything; the port only of an endpoint that does not run.
#[must_use]
pub fn check(config: &Config, runs: bool) -> Vec<Item> {
    let mut found = vec![("python", python(config)), ("home", space(&config.home))];
    found.extend(scheduler(config).map(|found| ("scheduler", found)));
    found.extend(config.listen.as_ref().filter(|_| !runs).map(|address| ("port", port(address))));
    found.into_iter().map(|(what, found)| item(what, found)).collect()
}

/// What was found, or what is wrong.
#[must_use]
pub fn item(what: &str, found: Result<String, String>) -> Item {
    let ok = found.is_ok();
    let (Ok(found) | Err(found)) = found;
    Item { what: what.into(), ok, found }
}

fn python(config: &Config) -> Result<String, String> {
    if !config.blocks.reach_home() {
        return Ok("that of its pods' image, which is not looked at from here".into());
    }
    let (python, version) = interpreter::check(config).map_err(|error| error.to_string())?;
    Ok(format!("{} is Python {version}", python.display()))
}

/// Whether the home can be written, and what its file system is.
fn space(home: &Path) -> Result<String, String> {
    let refused = |error: io::Error| {
        let advice = "free some space there, correct its permissions, or choose another home with --home";
        format!("{} cannot be written: {error}; {advice}", home.display())
    };
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(refused)?;
    let path = home.join(format!(".check-{}", std::process::id()));
    let locks = try_file(&path);
    // One that stays is small, and in nobody's way.
    let _ = fs::remove_file(&path);
    let locks = locks.map_err(refused)?;
    let system = statvfs(home).map_err(|error| refused(error.into()))?;
    let free_mb = system.blocks_available().saturating_mul(system.fragment_size()) >> 20;
    let at = home.display();
    if free_mb < LEAST_MB {
        return Err(format!(
            "{at} has {free_mb} MiB left, and results and logs need {LEAST_MB}; free some space there"
        ));
    }
    let shared = statfs(home).is_ok_and(|system| system.filesystem_type() == NFS_SUPER_MAGIC);
    let shared = if shared { ", on NFS" } else { "" };
    let locks =
        if locks { "" } else { "; it has no file locks, so that a lease alone keeps other processes away" };
    Ok(format!("{at} can be written and has {free_mb} MiB left{shared}{locks}"))
}

/// Writes, syncs and locks a file; whether the file system knows locks.
fn try_file(path: &Path) -> io::Result<bool> {
    let mut file = File::create(path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    home::try_lock(&file)
}

/// Whether the scheduler's commands are here and know the partition; `None`: there is no scheduler.
fn scheduler(config: &Config) -> Option<Result<String, String>> {
    let (name, programs) = provider::programs(config)?;
    let missing: Vec<&str> =
        programs.iter().map(String::as_str).filter(|program| on_path(program).is_none()).collect();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        return Some(Err(format!(
            "{missing} of {name}: not on the PATH of this host; start the endpoint where {name} is"
        )));
    }
    let partition = config.blocks.partition.as_str();
    let known = match config.blocks.provider {
        _ if partition.is_empty() => Ok(String::new()),
        blocks::Provider::Slurm => {
            host::asked(&["sinfo", "--noheader", &format!("--partition={partition}"), "--format=%P"])
        }
        blocks::Provider::Pbs => host::asked(&["qstat", "-Q", partition]),
        blocks::Provider::Lsf => host::asked(&["bqueues", partition]),
        blocks::Provider::Local | blocks::Provider::Kubernetes => Ok(partition.to_owned()),
    };
    let unknown = |why: &str| {
        format!("{name} knows no partition {partition}{why}; set blocks.partition to one that it has")
    };
    Some(match known {
        Ok(said) if !partition.is_empty() && said.trim().is_empty() => Err(unknown("")),
        Ok(_) => Ok(format!("{name} is here: {}", programs.join(", "))),
        Err(why) => Err(unknown(&format!(" ({why})"))),
    })
}

fn port(address: &str) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("executors can connect to {address} (endpoint.listen)")),
        Err(error) => Err(format!(
            "the manager cannot listen on {address}: {error}; choose another endpoint.listen, or end what uses it"
        )),
    }
}
