//! Ends that the manager itself reports: it never ran anything, so they carry no payload.
//!
//! Owns their shape only; when they are due is the book's business.

use super::attempt::Key;
use crate::task::{Begun, Failure, FailureCode, Outcome};
use crate::wire::Done;

/// An end that the manager itself reports.
pub(super) fn ended(key: Key, outcome: Outcome, begun: Begun, failure: Option<Failure>) -> Box<Done> {
    Box::new(Done::without_result(key.0, key.1, outcome, begun, failure))
}

/// The end of a cancelled attempt.
pub(super) fn cancelled(key: Key, begun: Begun) -> Box<Done> {
    let failure = Failure::new(FailureCode::Cancelled, "cancelled before it ran");
    ended(key, Outcome::Cancelled, begun, Some(failure))
}
