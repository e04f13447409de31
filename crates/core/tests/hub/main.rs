//! The hub's machine: tables of events in and actions out, one test per rule of FABRIC, restarts, and a stress run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are not seen as tests")]

mod cancel;
mod credit;
mod explain;
mod failures;
mod fuzzed;
mod guest;
mod holdings;
mod hostile;
mod memo;
mod offline;
mod restart;
mod results;
mod rig;
mod secrets;
mod sessions;
mod stress;
mod submit;
#[path = "../fuzz/tape.rs"]
mod tape;
mod timing;
mod turns;
#[path = "../fuzz/words.rs"]
mod words;
