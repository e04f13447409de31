//! The manager's machine: tables of events in and what is said out, one test per rule of FABRIC.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are not seen as tests")]

mod allows;
mod blocks;
mod fit;
mod fuzzed;
mod link;
mod long;
mod patience;
mod rig;
mod route;
mod rules;
mod silent;
mod stop;
mod stress;
#[path = "../fuzz/tape.rs"]
mod tape;
mod timing;
mod turns;
mod whereabouts;
#[path = "../fuzz/words.rs"]
mod words;
