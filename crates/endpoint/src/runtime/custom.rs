//! The owner's own command: words of the configuration with placeholders filled in, without a shell.

use super::Spec;
use crate::config::COMMAND;
use std::ffi::OsString;

pub(super) fn argv(spec: &Spec<'_>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = vec![spec.path.clone().into()];
    for word in spec.containers.custom.iter().skip(1) {
        if word == COMMAND {
            argv.extend(spec.command());
        } else {
            argv.push(filled(spec, word).into());
        }
    }
    argv
}

/// One pass over the word: what a caller's location holds is not filled in again.
fn filled(spec: &Spec<'_>, word: &str) -> String {
    let image = spec.image.as_ref().to_string_lossy();
    let (package, control) = (spec.package.to_string_lossy(), spec.control.to_string_lossy());
    let values = [image.as_ref(), &package, &control, &spec.name];
    let mut rest = word;
    let mut text = String::new();
    while !rest.is_empty() {
        let found = crate::config::PLACEHOLDERS.iter().zip(values).find(|(name, _)| rest.starts_with(**name));
        if let Some((name, value)) = found {
            text.push_str(value);
            rest = &rest[name.len()..];
        } else {
            let next = rest.chars().next().map_or(rest.len(), char::len_utf8);
            text.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    text
}

/// The container's environment and the host's `PATH`: the command passes on what it likes. Package and control socket
/// have the names that they have on the host.
pub(super) fn env(spec: &Spec<'_>) -> Vec<(OsString, OsString)> {
    let own =
        spec.own_env(&spec.package.to_string_lossy()).into_iter().map(|(name, value)| (name.into(), value));
    let path = spec.env.iter().filter(|(name, _)| name == "PATH").cloned();
    let socket = ("BURSA_ZYGOTE_SOCKET".into(), spec.control.join("zygote").into());
    spec.allowed.iter().cloned().chain(path).chain(own).chain([socket]).collect()
}
