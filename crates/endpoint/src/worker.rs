//! The pool of workers: what it takes to start them, talk to them, and see them end.
//!
//! Moves bytes only: which worker runs what, and what an end means for a task, is decided by the executor's machine.
//! Everything a worker does, also garbage, ends that worker at most.

mod env;
pub mod frames;
mod oom;
pub mod output;
mod poll;
mod pool;
mod process;
mod zygote;

pub use pool::{Pool, PoolSetup};
