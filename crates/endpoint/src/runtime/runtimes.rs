//! The containers of one executor: what the host and the configuration say of them.

use super::{Found, Image, Launch, Spec, local, tree};
use crate::config::{Config, Containers, Program, Sandbox};
use crate::sandbox::Enclosure;
use crate::worker::env;
use bursa_core::container::Container;
use bursa_core::id::ExecutorId;
use serde_json::json;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stopped containers that are older than this were left by executors that are gone.
const LEFT: &str = "until=10m";

/// What starts containers here.
#[derive(Debug, Clone)]
pub struct Runtimes {
    found: Found,
    containers: Containers,
    sandbox: Sandbox,
    /// Of this endpoint's containers.
    label: String,
    /// What the names of this executor's containers begin with.
    prefix: String,
    /// Where this endpoint's home shows in what is granted.
    hidden: Vec<PathBuf>,
}

/// How to start one container, and what that gives.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) launch: Launch,
    pub(crate) program: Program,
}

impl Runtimes {
    /// Looks for them.
    #[must_use]
    pub fn look(config: &Config, executor: ExecutorId) -> Self {
        let own = config.home.canonicalize().unwrap_or_else(|_| config.home.clone());
        let granted = config.sandbox.read.iter().chain(&config.sandbox.write);
        let hidden = granted.filter_map(|path| crate::sandbox::shown_in(path, &own)).collect();
        Self {
            found: Found::look(&config.containers),
            containers: config.containers.clone(),
            sandbox: config.sandbox.clone(),
            label: format!("{}@{}", config.name, own.display()),
            prefix: format!("bursa-{executor}"),
            hidden,
        }
    }

    /// How to start `container` as nest `nest`, with its directories in `work`.
    ///
    /// # Errors
    /// In one sentence, when it cannot be started here.
    pub(crate) fn start(
        &self,
        container: &Container,
        (nest, work): (u32, &Path),
        package: &Path,
        enclosure: Option<&Enclosure>,
    ) -> Result<Start, String> {
        let Container { kind, location, .. } = container;
        let (program, path) = self.found.choose(*kind, &self.containers, enclosure.is_some())?;
        let image = match Image::of(program, location)? {
            Image::Path(path) => Image::Path(local(&path, &self.containers.images)?),
            name @ Image::Name(_) => name,
        };
        let granted: Vec<&Path> =
            self.sandbox.read.iter().chain(&self.sandbox.write).map(PathBuf::as_path).collect();
        let tree = match &image {
            Image::Path(root) if program == Program::Bwrap => tree::entries(root, &granted)?,
            _ => Vec::new(),
        };
        let (control, empty) = (work.join("control"), work.join("empty"));
        for dir in [&control, &empty] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        }
        let confine = enclosure.filter(|_| program == Program::Bwrap).map(|it| self.confinement(it));
        let env = env::of_program(std::env::vars_os());
        let spec = Spec {
            program,
            path,
            image,
            tree,
            name: format!("{}-{nest}", self.prefix),
            label: self.label.clone(),
            package,
            control,
            empty,
            hidden: &self.hidden,
            sandbox: &self.sandbox,
            containers: &self.containers,
            allowed: env::of_container(&env),
            env,
            user: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            confine,
        };
        Ok(Start { launch: spec.launch(work.join("cwd"))?, program })
    }

    /// What the zygote in bubblewrap is told of its workers' sandboxes.
    fn confinement(&self, enclosure: &Enclosure) -> String {
        let own = ["/run/task", "/tmp", "/dev/shm"];
        let granted = || self.sandbox.read.iter().chain(&self.sandbox.write);
        let again: Vec<_> = granted().filter(|path| own.iter().any(|own| path.starts_with(own))).collect();
        let mut told = enclosure.inside.clone();
        told["again"] = json!(again);
        // All that the image has.
        told["read"] = json!(["/"]);
        told["write"] = json!(self.sandbox.write);
        told.to_string()
    }

    /// A command that removes what dead executors of this endpoint left, for programs that keep stopped containers.
    pub(crate) fn cleaner(&self, program: Program) -> Option<Vec<OsString>> {
        let path = self.found.path(program)?;
        let words = [
            "container".into(),
            "prune".into(),
            "--force".into(),
            format!("--filter=label=bursa.endpoint={}", self.label),
        ];
        matches!(program, Program::Podman | Program::Docker).then(|| {
            let words = words.into_iter().chain([format!("--filter={LEFT}")]).map(OsString::from);
            std::iter::once(path.into()).chain(words).collect()
        })
    }

    /// A container must be up within this.
    pub(crate) const fn start_timeout(&self) -> Duration {
        Duration::from_millis(self.containers.start_timeout_ms)
    }

    /// Most memory of a worker in a container; `None`: no limit.
    pub(crate) fn memory_limit_kb(&self) -> Option<u64> {
        (self.sandbox.memory_mb > 0).then(|| u64::from(self.sandbox.memory_mb) << 10)
    }
}
