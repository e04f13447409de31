//! The command lines of podman and docker.

use super::{INSIDE, Spec, ambiguous, is_ambiguous, volume};
use crate::config::{Gpus, Network};
use std::ffi::OsString;
use std::path::Path;

/// Where a container finds the directory of its control socket.
const CONTROL: &str = "/tmp/.bursa-control";

/// podman: the control socket is inherited.
pub(super) fn podman(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    let mut argv = start(spec);
    argv.extend(["--preserve-fds=1", "--read-only-tmpfs=false", "--log-driver=none"].map(Into::into));
    if spec.user.0 != 0 {
        argv.push("--userns=keep-id".into());
    }
    match spec.containers.gpus {
        Gpus::Nvidia => argv.push("--device=nvidia.com/gpu=all".into()),
        Gpus::Amd => argv.extend(["--device=/dev/kfd", "--device=/dev/dri"].map(Into::into)),
        Gpus::None => {}
    }
    common(spec, &mut argv)?;
    finish(spec, &mut argv);
    Ok(argv)
}

/// docker: its daemon starts the container, so the control socket has a name.
pub(super) fn docker(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    let mut argv = start(spec);
    match spec.containers.gpus {
        Gpus::Nvidia => argv.push("--gpus=all".into()),
        Gpus::Amd => argv.extend(["--device=/dev/kfd", "--device=/dev/dri"].map(Into::into)),
        Gpus::None => {}
    }
    if is_ambiguous(&spec.control) {
        return Err(ambiguous(&spec.control));
    }
    argv.extend(["-v".into(), volume(true, &spec.control, Path::new(CONTROL))]);
    argv.push(format!("--env=BURSA_ZYGOTE_SOCKET={CONTROL}/zygote").into());
    common(spec, &mut argv)?;
    finish(spec, &mut argv);
    Ok(argv)
}

fn start(spec: &Spec<'_>) -> Vec<OsString> {
    let (uid, gid) = spec.user;
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    let words = [
        "run".into(),
        "--rm".into(),
        format!("--name={}", spec.name),
        format!("--label=bursa.endpoint={}", spec.label),
        format!("--user={uid}:{gid}"),
        "--cap-drop=ALL".into(),
        "--security-opt=no-new-privileges".into(),
        "--read-only".into(),
        "--workdir=/tmp".into(),
    ];
    argv.extend(words.map(OsString::from));
    argv
}

/// Limits, network, mounts and environment.
fn common(spec: &Spec<'_>, argv: &mut Vec<OsString>) -> Result<(), String> {
    let sandbox = spec.sandbox;
    let network = if sandbox.network == Network::None { "none" } else { "host" };
    let mut words = vec![format!("--network={network}"), format!("--shm-size={}m", sandbox.scratch_mb)];
    if !spec.shares_tmp() {
        words.push(format!("--tmpfs=/tmp:rw,nosuid,nodev,size={}m,mode=1777", sandbox.scratch_mb));
    }
    if sandbox.memory_mb > 0 {
        words.push(format!("--memory={}m", sandbox.memory_mb));
    }
    if sandbox.pids > 0 {
        words.push(format!("--pids-limit={}", sandbox.pids));
    }
    if sandbox.cpus > 0.0 {
        words.push(format!("--cpus={}", sandbox.cpus));
    }
    argv.extend(words.into_iter().map(OsString::from));
    if is_ambiguous(spec.package) {
        return Err(ambiguous(spec.package));
    }
    for (writable, from, to) in spec.binds()? {
        argv.extend(["-v".into(), volume(writable, from, to)]);
    }
    argv.extend(["-v".into(), volume(false, spec.package, Path::new(INSIDE))]);
    for device in &sandbox.devices {
        argv.extend(["--device".into(), device.clone().into()]);
    }
    Ok(())
}

/// Environment, image and command. Values of the host's own variables stay out of the list of processes.
fn finish(spec: &Spec<'_>, argv: &mut Vec<OsString>) {
    for (name, value) in spec.own_env(INSIDE) {
        argv.extend(["--env".into(), super::assign(name.as_ref(), &value)]);
    }
    for (name, _) in &spec.allowed {
        argv.extend(["--env".into(), name.clone()]);
    }
    let [python, arguments @ ..] = spec.command();
    argv.extend(["--entrypoint".into(), python, spec.image.as_ref().to_owned()]);
    argv.extend(arguments);
}
