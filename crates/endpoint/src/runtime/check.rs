//! Which programs that start containers are here, whether they run, and which kinds of containers that gives.

use super::Found;
use crate::config::{Config, Program};
use crate::sandbox::{Item, isolates};
use bursa_core::container::ContainerKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// One item for each program that is installed, and one for what can be started.
#[must_use]
pub fn check(config: &Config) -> Vec<Item> {
    let found = Found::look(&config.containers);
    let mut items: Vec<Item> = Program::ALL
        .into_iter()
        .filter(|program| *program != Program::Custom)
        .filter_map(|program| Some(installed(program, found.path(program)?)))
        .collect();
    let isolate = isolates(config);
    let kinds = ContainerKind::ALL.into_iter().filter_map(|kind| {
        let (program, _) = found.choose(kind, &config.containers, isolate).ok()?;
        Some(format!("{kind} (by {})", program.as_str()))
    });
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let (ok, text) = match kinds.as_str() {
        "" => (false, "none can be started: no program for them is installed".into()),
        _ => (true, format!("of kind {kinds}")),
    };
    items.push(Item { what: "containers".into(), ok, found: text });
    items
}

fn installed(program: Program, path: &Path) -> Item {
    let mut command = Command::new(path);
    if std::env::var_os("USER").is_none() {
        // Charliecloud wants one, and gets it too when it starts a container.
        command.env("USER", nix::unistd::geteuid().to_string());
    }
    let output = command.arg("--version").stdin(Stdio::null()).output();
    let (ok, said) = match output {
        Ok(output) => {
            let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
            let text = String::from_utf8_lossy(text);
            (output.status.success(), text.lines().next().unwrap_or_default().trim().to_owned())
        }
        Err(error) => (false, error.to_string()),
    };
    let verb = if ok { "says" } else { "does not run" };
    Item { what: program.as_str().into(), ok, found: format!("{} {verb}: {said}", path.display()) }
}
