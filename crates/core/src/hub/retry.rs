//! What consumes a retry: the table of FABRIC §6 as one pure function.
//!
//! Owns the arithmetic of losses, free losses and user errors. Who asks, and what is then written, is elsewhere.

use crate::limits;
use crate::task::{Begun, Outcome};

/// What a task has been charged so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Charges {
    /// Losses that count against `retries`.
    pub(super) losses: u32,
    /// Losses whose start is unknown, free of charge so far.
    pub(super) maybes: u32,
    /// User exceptions.
    pub(super) errors: u32,
}

/// What the user allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) retries: u32,
    pub(super) retry_on_error: u32,
}

/// How an attempt of a live task ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its `Result` said so. `begun` joins what the result says with what the hub saw.
    Ended {
        outcome: Outcome,
        begun: Begun,
        /// A user exception: the only error that `retry_on_error` speaks of.
        raised: bool,
        /// The block ended as announced.
        preempted: bool,
    },
    /// A `complete` did not list it (F9).
    NotHeld {
        /// A worker had begun it, as far as the hub saw.
        begun: bool,
        /// It provably had not: the same manager process does not list it, or all its executors are accounted for.
        proven: bool,
    },
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Queue it again; nothing is written.
    Free,
    /// Write these charges, then queue it again.
    Charge(Charges),
    /// It ends in a failure.
    Fail,
}

/// The judgement of one ended attempt.
pub(super) fn judge(cause: Cause, charges: Charges, allowed: Allowance) -> Verdict {
    match cause {
        Cause::NotHeld { begun: true, .. } => loss(charges, allowed),
        Cause::NotHeld { begun: false, proven: true } => Verdict::Free,
        Cause::NotHeld { begun: false, proven: false } => maybe(charges, allowed),
        Cause::Ended { outcome, begun, raised, preempted } => match outcome {
            Outcome::Returned | Outcome::Cancelled => Verdict::Free,
            Outcome::Lost if preempted => maybe(charges, allowed),
            // A worker that died may have had calls in its pipe of which nobody knows whether they had begun (F19).
            Outcome::Died | Outcome::Lost => match begun {
                Begun::Yes => loss(charges, allowed),
                Begun::No => Verdict::Free,
                Begun::Unknown => maybe(charges, allowed),
            },
            Outcome::Environment => maybe(charges, allowed),
            Outcome::Error if raised && charges.errors < allowed.retry_on_error => {
                Verdict::Charge(Charges { errors: charges.errors + 1, ..charges })
            }
            // A success is never judged; were it, failing the task would be wrong and running it again harmless.
            Outcome::Success => Verdict::Free,
            Outcome::Error | Outcome::Timeout | Outcome::Expired => Verdict::Fail,
        },
    }
}

/// One of `retries`.
const fn loss(charges: Charges, allowed: Allowance) -> Verdict {
    if charges.losses >= allowed.retries {
        return Verdict::Fail;
    }
    Verdict::Charge(Charges { losses: charges.losses + 1, ..charges })
}

/// Nothing the first times, then one of `retries`.
const fn maybe(charges: Charges, allowed: Allowance) -> Verdict {
    if charges.maybes >= limits::MAYBE_STARTED {
        return loss(charges, allowed);
    }
    Verdict::Charge(Charges { maybes: charges.maybes + 1, ..charges })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowance = Allowance { retries: 1, retry_on_error: 1 };

    fn ended(outcome: Outcome, begun: Begun) -> Cause {
        Cause::Ended { outcome, begun, raised: outcome == Outcome::Error, preempted: false }
    }

    fn charges(losses: u32, maybes: u32, errors: u32) -> Charges {
        Charges { losses, maybes, errors }
    }

    #[test]
    fn f17_the_table_of_charges() {
        use Begun::{No, Unknown, Yes};
        use Outcome::{Cancelled, Died, Environment, Error, Expired, Lost, Returned, Timeout};
        let zero = Charges::default();
        let loss = Verdict::Charge(charges(1, 0, 0));
        let maybe = Verdict::Charge(charges(0, 1, 0));
        let not_held = |begun, proven| Cause::NotHeld { begun, proven };
        let preempted = Cause::Ended { outcome: Lost, begun: Yes, raised: false, preempted: true };
        let mismatch = Cause::Ended { outcome: Error, begun: Yes, raised: false, preempted: false };
        let table = [
            ("returned", ended(Returned, No), Verdict::Free),
            ("not held, proven unstarted", not_held(false, true), Verdict::Free),
            ("not held, start unknown", not_held(false, false), maybe),
            ("not held, begun", not_held(true, false), loss),
            ("not held, begun, same manager", not_held(true, true), loss),
            ("worker died", ended(Died, Yes), loss),
            ("worker died, start unknown", ended(Died, Unknown), maybe),
            ("executor lost, begun", ended(Lost, Yes), loss),
            ("executor lost, start unknown", ended(Lost, Unknown), maybe),
            ("executor lost, not begun", ended(Lost, No), Verdict::Free),
            ("environment", ended(Environment, No), maybe),
            ("announced preemption", preempted, maybe),
            ("user exception", ended(Error, Yes), Verdict::Charge(charges(0, 0, 1))),
            ("deserialize mismatch", mismatch, Verdict::Fail),
            ("cancelled by an earlier service life", ended(Cancelled, Yes), Verdict::Free),
            ("timeout", ended(Timeout, Yes), Verdict::Fail),
            ("expired", ended(Expired, No), Verdict::Fail),
        ];
        for (name, cause, verdict) in table {
            assert_eq!(judge(cause, zero, ALLOWED), verdict, "{name}");
        }
    }

    #[test]
    fn f17_a_task_fails_when_its_losses_exceed_its_retries() {
        assert_eq!(judge(ended(Outcome::Died, Begun::Yes), charges(1, 0, 0), ALLOWED), Verdict::Fail);
        assert_eq!(judge(ended(Outcome::Error, Begun::Yes), charges(0, 0, 1), ALLOWED), Verdict::Fail);
        let unknown = ended(Outcome::Lost, Begun::Unknown);
        assert_eq!(judge(unknown, charges(0, 3, 0), ALLOWED), Verdict::Charge(charges(1, 3, 0)));
        assert_eq!(judge(unknown, charges(1, 3, 0), ALLOWED), Verdict::Fail);
    }
}
