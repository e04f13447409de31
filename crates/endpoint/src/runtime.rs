//! How a zygote is started: its program, arguments and environment, by pure functions.

mod apptainer;
pub(crate) mod bwrap;
mod charliecloud;
mod check;
mod choose;
mod custom;
mod found;
#[cfg(test)]
mod goldens;
mod image;
mod oci;
mod rootfs;
mod runtimes;
mod shifter;
mod tree;

pub use check::check;
pub(crate) use found::Found;
pub(crate) use image::{Image, local};
pub use runtimes::Runtimes;

use crate::config::{Containers, Program, Sandbox};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where containers have the worker's package, as far as their programs can mount it there. Programs that cannot make
/// a directory in an image can make one in the container's own `/tmp`.
const INSIDE: &str = "/tmp/.bursa";
/// What runs there: says which Python it is if that is too old, in words that an old one understands.
const BOOT: &str = "import sys; del sys.path[0]; v = sys.version_info[:2]; \
    sys.exit('its Python is %d.%d, and workers need 3.8 or newer' % v) if v < (3, 8) else \
    __import__('bursa.worker.__main__').worker.__main__.main()";
/// The directory in which workers begin: everything in `/tmp` is the container's own.
pub(crate) const TASK: &str = "/tmp";
/// Descriptors are inherited from this number on.
pub(crate) const CONTROL_FD: i32 = 3;

/// A zygote to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The program and its arguments; never empty.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory of the program; it is made.
    pub(crate) cwd: PathBuf,
    /// How the zygote finds its control socket.
    pub(crate) control: Control,
    /// The program goes on beside what it started, and cleans up behind it: it is not to be killed first.
    pub(crate) is_client: bool,
}

/// How a zygote finds its control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// As descriptor 3.
    Inherited,
    /// By this name: it connects.
    Socket(PathBuf),
}

/// A container to start, for one worker at a time. All that depends on the host was looked up before.
#[derive(Debug, Clone)]
pub(crate) struct Spec<'a> {
    /// What starts it, and where that is.
    pub(crate) program: Program,
    pub(crate) path: PathBuf,
    /// A name, or a path that exists and may be used.
    pub(crate) image: Image,
    /// The entries of the image, where its root is made of them.
    pub(crate) tree: Vec<tree::Entry>,
    /// The container's name.
    pub(crate) name: String,
    /// Containers of this endpoint have this label.
    pub(crate) label: String,
    /// The directory with the worker's package.
    pub(crate) package: &'a Path,
    /// A directory for the control socket, for those that inherit no descriptor.
    pub(crate) control: PathBuf,
    /// An empty directory, which hides what is not to be seen.
    pub(crate) empty: PathBuf,
    /// What is hidden in the directories that are granted.
    pub(crate) hidden: &'a [PathBuf],
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) containers: &'a Containers,
    /// The environment of the program.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What of it functions may have.
    pub(crate) allowed: Vec<(OsString, OsString)>,
    /// User and group of this process.
    pub(crate) user: (u32, u32),
    /// What a zygote in the sandbox is told, if its workers are to have one.
    pub(crate) confine: Option<String>,
}

impl Spec<'_> {
    /// How to start it.
    ///
    /// # Errors
    /// In one sentence, when its program cannot do what the configuration asks for.
    pub(crate) fn launch(&self, cwd: PathBuf) -> Result<Launch, String> {
        let (argv, env, control, is_client) = match self.program {
            Program::Podman => (oci::podman(self)?, self.env.clone(), Control::Inherited, true),
            Program::Docker => (oci::docker(self)?, self.env.clone(), self.by_name(), true),
            Program::Apptainer | Program::Singularity => {
                (apptainer::argv(self)?, apptainer::env(self), Control::Inherited, true)
            }
            Program::Shifter => (shifter::argv(self)?, self.env.clone(), Control::Inherited, false),
            Program::Charliecloud => {
                (charliecloud::argv(self)?, charliecloud::env(self), Control::Inherited, false)
            }
            Program::Bwrap => (rootfs::argv(self)?, rootfs::env(self), Control::Inherited, false),
            Program::Custom => (custom::argv(self), custom::env(self), self.by_name(), true),
        };
        Ok(Launch { argv, env, cwd, control, is_client })
    }

    /// The control socket's name on the host.
    fn by_name(&self) -> Control {
        Control::Socket(self.control.join("zygote"))
    }

    /// What runs in the container.
    fn command(&self) -> [OsString; 3] {
        [self.containers.python.as_str(), "-c", BOOT].map(Into::into)
    }

    /// The zygote's own variables, with its package at `package`.
    fn own_env(&self, package: &str) -> Vec<(&'static str, OsString)> {
        vec![
            ("HOME", "/tmp".into()),
            ("PYTHONPATH", package.into()),
            ("BURSA_ZYGOTE_FD", CONTROL_FD.to_string().into()),
        ]
    }

    /// Directories of the host that it sees by their own names: whether they can be written, where they are, and
    /// where they are seen.
    fn binds(&self) -> Result<Vec<(bool, &Path, &Path)>, String> {
        let granted: BTreeSet<&Path> =
            self.sandbox.read.iter().chain(&self.sandbox.write).map(PathBuf::as_path).collect();
        let is_written = |path: &Path| self.sandbox.write.iter().any(|other| other == path);
        let mut binds: Vec<_> = granted.into_iter().map(|path| (is_written(path), path, path)).collect();
        binds.extend(self.hidden.iter().map(|path| (false, self.empty.as_path(), path.as_path())));
        match binds.iter().find(|(_, from, to)| [from, to].iter().any(|path| is_ambiguous(path))) {
            Some((_, path, _)) => Err(ambiguous(path)),
            None => Ok(binds),
        }
    }

    /// Whether the owner granted `/tmp`, which then is the host's.
    fn shares_tmp(&self) -> bool {
        self.sandbox.read.iter().chain(&self.sandbox.write).any(|path| path == Path::new("/tmp"))
    }
}

/// Whether a program would read a path as several.
fn is_ambiguous(path: &Path) -> bool {
    path.to_str().is_none_or(|text| text.contains([':', ',']))
}

fn ambiguous(path: &Path) -> String {
    format!(
        "{} cannot be mounted into a container, since its name has ':' or ',' in it; name it by another path",
        path.display()
    )
}

/// `FROM:TO` with `:ro` unless it can be written.
fn volume(writable: bool, from: &Path, to: &Path) -> OsString {
    let mut text = from.as_os_str().to_owned();
    text.push(":");
    text.push(to);
    text.push(if writable { "" } else { ":ro" });
    text
}

/// `NAME=VALUE`.
fn assign(name: &OsStr, value: &OsStr) -> OsString {
    let mut text = name.to_owned();
    text.push("=");
    text.push(value);
    text
}
