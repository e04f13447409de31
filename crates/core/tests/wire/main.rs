//! The wire from outside: sessions, frames, and the golden files that Python reads too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

#[path = "../fuzz/change.rs"]
mod change;
mod codec;
mod fuzzed;
mod golden;
mod samples;
mod session;
#[path = "../fuzz/tape.rs"]
mod tape;
#[path = "../fuzz/words.rs"]
mod words;
