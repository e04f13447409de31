//! What of this host a sandbox shows.

use crate::config::{Config, on_path};
use crate::runtime::bwrap::{ETC, Host, ROOTS, SYSTEM};
use std::fs;
use std::path::{Path, PathBuf};

/// `None`: there is no bubblewrap on `PATH`.
pub(super) fn look(config: &Config) -> Option<Host> {
    let bwrap = on_path("bwrap")?;
    let mut host = Host { bwrap, is_root: nix::unistd::geteuid().is_root(), ..Host::default() };
    host.read.extend(SYSTEM.iter().map(PathBuf::from));
    for root in ROOTS.iter().map(Path::new) {
        match fs::read_link(root) {
            Ok(target) => host.links.push((root.to_owned(), target)),
            Err(_) => host.read.push(root.to_owned()),
        }
    }
    host.read.extend(ETC.iter().map(|name| Path::new("/etc").join(name)));
    // Counts of cores and caches, for libraries that choose their threads by them.
    host.read.push("/sys/devices/system".into());
    host.read.retain(|path| path.exists());
    let own = config.home.canonicalize().unwrap_or_else(|_| config.home.clone());
    let bound = host.read.iter().chain(&config.sandbox.read).chain(&config.sandbox.write);
    host.hidden = bound.filter_map(|path| shown_in(path, &own)).collect();
    host.homes =
        std::env::var_os("HOME").map(PathBuf::from).into_iter().chain([config.home.clone(), own]).collect();
    Some(host)
}

/// Where `own` would be seen once `path` is bound.
pub(crate) fn shown_in(path: &Path, own: &Path) -> Option<PathBuf> {
    let below = own.strip_prefix(path.canonicalize().ok()?).ok()?;
    Some(path.join(below))
}

/// The kernel's version.
pub(super) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
