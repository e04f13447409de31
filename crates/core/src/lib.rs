//! Bursa's pure core.
//!
//! Ids, states, limits, the messages between processes, and the three machines that take all decisions: [`hub`] in the
//! service, [`manager`] and [`executor`] at an endpoint. A machine is driven by `handle(now, event, &mut out)`: it does
//! no IO, reads no clock, starts no thread and draws no randomness that was not given to it, so that [`sim`] can run a
//! whole world of them in one thread.

mod by_user;
pub mod config;
pub mod container;
pub mod executor;
pub mod function;
pub mod hub;
pub mod id;
pub mod limits;
pub mod manager;
mod map;
mod patience;
pub mod resources;
pub mod rng;
pub mod secrets;
mod shelf;
pub mod sim;
pub mod task;
pub mod time;
pub mod timings;
pub mod wire;
