//! The pool of workers: what it takes to start them, talk to them, and see them end.
//!
//! Moves bytes only: which worker runs what, and what an end means for a task, is decided by the executor's machine.
//! Everything a worker does, also garbage, ends that worker at most.

pub(crate) mod env;
pub mod frames;
pub mod masks;
mod oom;
pub mod output;
mod poll;
mod pool;
mod process;
mod share;
mod zygote;

use crate::sandbox::Enclosure;
pub use pool::{Pool, PoolSetup};
pub use share::Shares;
use std::ffi::OsString;
use std::path::Path;

/// The environment of a zygote.
pub(crate) fn environment(package: &Path, enclosure: Option<&Enclosure>) -> Vec<(OsString, OsString)> {
    let open = env::of_zygote(std::env::vars_os(), package);
    match enclosure {
        Some(enclosure) => env::of_sandbox(open, &enclosure.told),
        None => open,
    }
}
