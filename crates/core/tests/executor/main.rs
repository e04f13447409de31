//! The executor machine from outside: an event goes in, exact actions come out. One module per part of its life.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod calls;
mod cancel;
mod death;
mod fuzzed;
mod link;
mod nodes;
mod patience;
mod pool;
mod recall;
mod resources;
mod rig;
mod spawning;
mod stop;
mod stress;
#[path = "../fuzz/tape.rs"]
mod tape;
mod timing;
mod timings;
mod turn;
mod warm;
#[path = "../fuzz/words.rs"]
mod words;
