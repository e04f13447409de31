//! Which programs that start containers are on this host.

use crate::config::{Containers, Program};
use std::path::{Path, PathBuf};

/// The file of a program; the custom one has the name that the configuration gives it.
pub(super) const fn file(program: Program) -> Option<&'static str> {
    match program {
        Program::Charliecloud => Some("ch-run"),
        Program::Custom => None,
        other => Some(other.as_str()),
    }
}

/// What is there, and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found(Vec<(Program, PathBuf)>);

impl Found {
    /// Looks on `PATH`.
    pub(crate) fn look(containers: &Containers) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
        let find = |name: &str| dirs.iter().map(|dir| dir.join(name)).find(|file| file.is_file());
        let place = |program: Program| match file(program) {
            Some(name) => find(name),
            None => containers.custom.first().and_then(|name| find(name)),
        };
        Self(Program::ALL.into_iter().filter_map(|program| Some((program, place(program)?))).collect())
    }

    #[cfg(test)]
    pub(super) fn of<const N: usize>(found: [(Program, &str); N]) -> Self {
        Self(found.into_iter().map(|(program, path)| (program, path.into())).collect())
    }

    pub(crate) fn path(&self, program: Program) -> Option<&Path> {
        self.0.iter().find(|(other, _)| *other == program).map(|(_, path)| path.as_path())
    }
}
