//! How a zygote is started: its program, arguments and environment, by pure functions.

pub(crate) mod bwrap;

use std::ffi::OsString;
use std::path::PathBuf;

/// A zygote to start. It finds its control socket as descriptor 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The program and its arguments; never empty.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory of the program; it is made.
    pub(crate) cwd: PathBuf,
}
