//! The command line of apptainer, and of singularity, its older name.

use super::{INSIDE, Spec, ambiguous, is_ambiguous, volume};
use crate::config::{Gpus, Network, Program};
use std::ffi::OsString;
use std::path::Path;

pub(super) fn argv(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    // A pid namespace of its own: what a call leaves ends with its container.
    let flags = [
        "--silent",
        "exec",
        "--userns",
        "--containall",
        "--no-home",
        "--no-init",
        "--cleanenv",
        "--pwd=/tmp",
    ];
    argv.extend(flags.map(Into::into));
    if spec.sandbox.network == Network::None {
        argv.extend(["--net", "--network=none"].map(Into::into));
    }
    match spec.containers.gpus {
        Gpus::Nvidia => argv.push("--nv".into()),
        Gpus::Amd => argv.push("--rocm".into()),
        Gpus::None => {}
    }
    if spec.sandbox.memory_mb > 0 {
        argv.push(format!("--memory={}m", spec.sandbox.memory_mb).into());
    }
    if spec.sandbox.cpus > 0.0 {
        argv.push(format!("--cpus={}", spec.sandbox.cpus).into());
    }
    if is_ambiguous(spec.package) {
        return Err(ambiguous(spec.package));
    }
    for (writable, from, to) in spec.binds()? {
        argv.extend(["--bind".into(), volume(writable, from, to)]);
    }
    argv.extend(["--bind".into(), volume(false, spec.package, Path::new(INSIDE))]);
    for device in &spec.sandbox.devices {
        argv.extend(["--bind".into(), volume(true, device, device)]);
    }
    argv.push(spec.image.as_ref().to_owned());
    argv.extend(spec.command());
    Ok(argv)
}

/// What the container is to have is said by variables with a prefix.
pub(super) fn env(spec: &Spec<'_>) -> Vec<(OsString, OsString)> {
    let prefix = if spec.program == Program::Singularity { "SINGULARITYENV_" } else { "APPTAINERENV_" };
    let prefixed = |name: OsString| {
        let mut long = OsString::from(prefix);
        long.push(name);
        long
    };
    // HOME is its own business.
    let own = spec.own_env(INSIDE).into_iter().filter(|(name, _)| *name != "HOME");
    let own = own.map(|(name, value)| (name.into(), value));
    let all = own.chain(spec.allowed.iter().cloned()).map(|(name, value)| (prefixed(name), value));
    spec.env.iter().cloned().chain(all).collect()
}
