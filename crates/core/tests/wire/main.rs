//! The wire from outside: sessions, frames, and the golden files that Python reads too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod codec;
mod golden;
mod samples;
mod session;
