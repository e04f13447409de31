//! Bursa's endpoint: everything that runs where functions run.
//!
//! The watchdog keeps the other processes alive; the manager and executor drivers do the IO that their machines in
//! `bursa-core` ask for; the provider starts executors; the worker pool starts Python and talks to it. All decisions
//! about tasks are taken in `bursa-core`. This crate knows no SQL and no HTTP.

mod alarm;
pub mod check;
mod clock;
pub mod config;
pub mod control;
pub mod error;
pub mod executor_driver;
pub mod exit;
pub mod has;
pub mod home;
pub mod host;
pub mod interpreter;
pub mod manager_driver;
pub mod nodes;
pub mod package;
mod proc;
pub mod provider;
pub mod rlimit;
pub mod runtime;
pub mod sandbox;
mod scratch;
mod seal;
mod uplink;
pub mod watchdog;
pub mod worker;

pub use config::{Config, KEYS};
pub use error::Error;
pub use executor_driver::run_executor;
pub use home::{EndpointDir, Registration};
pub use manager_driver::{ManagerExit, run_manager};
pub use runtime::Runtimes;
pub use watchdog::{Child, Ended, Report, Role, watch};
