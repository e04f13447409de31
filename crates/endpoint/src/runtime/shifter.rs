//! The command line of Shifter.

use super::{Spec, ambiguous, assign, is_ambiguous};
use crate::config::{Gpus, Network};
use std::ffi::OsString;
use std::path::Path;

/// It cannot mount below `/tmp`, which is the host's, and makes directories at the root.
const PACKAGE: &str = "/bursa";

pub(super) fn argv(spec: &Spec<'_>) -> Result<Vec<OsString>, String> {
    if spec.sandbox.network == Network::None {
        return Err(
            "sandbox.network is none, and Shifter only has the host's network; use another kind of container"
                .into(),
        );
    }
    if is_ambiguous(spec.package) {
        return Err(ambiguous(spec.package));
    }
    let option = |name: &str, value: OsString| assign(name.as_ref(), &value);
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    argv.push(option("--image", spec.image.as_ref().to_owned()));
    argv.push("--clearenv".into());
    if spec.containers.gpus != Gpus::None {
        argv.push("--module=gpu".into());
    }
    for (writable, from, to) in spec.binds()? {
        argv.push(option("--volume", super::volume(writable, from, to)));
    }
    argv.push(option("--volume", super::volume(false, spec.package, Path::new(PACKAGE))));
    let own = spec.own_env(PACKAGE).into_iter().map(|(name, value)| (name.into(), value));
    for (name, value) in own.chain(spec.allowed.iter().cloned()) {
        argv.push(option("--env", assign(&name, &value)));
    }
    argv.extend(spec.command());
    Ok(argv)
}
