//! bubblewrap with another root than the host's: a directory that holds a system.

use super::Spec;
use super::bwrap::{self, add};
use super::tree::Entry;
use crate::config::Network;
use std::ffi::OsString;

/// Where the worker's package is.
const PACKAGE: &str = "/run/bursa";
/// Where programs are in images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn argv(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    let is_offline = spec.sandbox.network == Network::None;
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    bwrap::namespaces(&mut argv, spec.user.0 == 0, is_offline);
    for entry in &spec.tree {
        match entry {
            Entry::Bind(from, to) => add(&mut argv, &[&"--ro-bind", from, to]),
            Entry::Link(target, to) => add(&mut argv, &[&"--symlink", target, to]),
        }
    }
    bwrap::furnish(&mut argv, spec.sandbox);
    add(&mut argv, &[&"--ro-bind", &spec.package, &PACKAGE]);
    for (writable, from, to) in spec.binds()? {
        add(&mut argv, &[&if writable { "--bind" } else { "--ro-bind" }, &from, &to]);
    }
    if spec.confine.is_none() {
        // Its worker has no directory of its own to write to.
        add(&mut argv, &[&"--tmpfs", &"/tmp"]);
    }
    add(&mut argv, &[&"--remount-ro", &"/", &"--chdir", &"/", &"--"]);
    argv.extend(spec.command());
    Ok(argv)
}

/// It passes its own environment on: that is the container's.
pub(super) fn env(spec: &Spec<'_>) -> Vec<(OsString, OsString)> {
    let own = spec.own_env(PACKAGE).into_iter().map(|(name, value)| (name.into(), value));
    let confine = spec.confine.iter().map(|told| ("BURSA_CONFINE".into(), told.into()));
    let path = [("PATH".into(), PATH.into())];
    spec.allowed.iter().cloned().chain(path).chain(own).chain(confine).collect()
}
