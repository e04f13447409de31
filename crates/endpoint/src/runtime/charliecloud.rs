//! The command line of Charliecloud. It isolates nothing, and has no read-only mounts: `choose` takes it only where that is wanted.

use super::{INSIDE, Spec, ambiguous, is_ambiguous};
use crate::config::Network;
use std::ffi::OsString;
use std::path::Path;

/// Where programs are in images; Charliecloud passes `PATH` on.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn argv(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    if spec.sandbox.network == Network::None {
        return Err(
            "sandbox.network is none, and Charliecloud only has the host's network; use another kind of \
                    container"
                .into(),
        );
    }
    if is_ambiguous(spec.package) {
        return Err(ambiguous(spec.package));
    }
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    argv.push("--env-no-expand".into());
    if !spec.shares_tmp() {
        argv.push("--private-tmp".into());
    }
    let bind = |from: &Path, to: &Path| {
        let mut text = OsString::from("--bind=");
        text.push(super::volume(true, from, to));
        text
    };
    for (_, from, to) in spec.binds()? {
        argv.push(bind(from, to));
    }
    argv.push(bind(spec.package, Path::new(INSIDE)));
    argv.push("--cd=/tmp".into());
    argv.extend([spec.image.as_ref().to_owned(), "--".into()]);
    argv.extend(spec.command());
    Ok(argv)
}

/// It passes its own environment on: that is the container's.
pub(super) fn env(spec: &Spec<'_>) -> Vec<(OsString, OsString)> {
    let own = spec.own_env(INSIDE).into_iter().map(|(name, value)| (name.into(), value));
    let user = spec
        .env
        .iter()
        .find(|(name, _)| name == "USER")
        .map_or_else(|| spec.user.0.to_string().into(), |(_, user)| user.clone());
    let needed = [("PATH".into(), PATH.into()), ("USER".into(), user)];
    spec.allowed.iter().cloned().chain(needed).chain(own).collect()
}
