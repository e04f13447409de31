//! The calls of one case: when each comes, and in which container.

use bursa_core::rng::Rng;
use std::time::Duration;

/// Calls of each case.
const CALLS: u64 = 3_000;
/// Kinds of containers.
pub(crate) const CONTAINERS: u64 = 10;
/// How busy calls that come one by one keep the slots, in percent.
const BUSY: u64 = 70;
/// Such calls come over at least this.
const LEAST_MS: u64 = 60_000;

/// How many calls each container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// As many as any other.
    Uniform,
    /// The n-th one nth of the first.
    Skewed,
}

impl Mix {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "even",
            Self::Skewed => "skewed",
        }
    }
}

/// When calls come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// All at the start.
    AtOnce,
    /// One by one, at random.
    Poisson,
}

impl Arrival {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "at-once",
            Self::Poisson => "one-by-one",
        }
    }
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) run_ms: u64,
    pub(crate) mix: Mix,
    pub(crate) arrival: Arrival,
    /// Slots of all executors.
    pub(crate) slots: u64,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) at_ms: u64,
    pub(crate) container: u64,
    pub(crate) run_ms: u64,
}

impl Load {
    /// In the order in which they come.
    pub(crate) fn calls(self, seed: u64) -> Vec<Call> {
        let mut rng = Rng::new(seed);
        let span_ms = (CALLS * self.run_ms * 100 / (BUSY * self.slots)).max(LEAST_MS);
        let mut at_ms = 0.0;
        let call = |_| {
            if self.arrival == Arrival::Poisson {
                at_ms += -(1.0 - unit(&mut rng)).ln() * span_ms as f64 / CALLS as f64;
            }
            let at = Duration::from_secs_f64(at_ms / 1e3).as_millis();
            Call {
                at_ms: u64::try_from(at).unwrap_or(u64::MAX),
                container: self.container(&mut rng),
                run_ms: self.run_ms,
            }
        };
        (0..CALLS).map(call).collect()
    }

    fn container(self, rng: &mut Rng) -> u64 {
        if self.mix == Mix::Uniform {
            return rng.below(CONTAINERS);
        }
        let weight = |n: u64| 1.0 / (n + 1) as f64;
        let mut left = unit(rng) * (0..CONTAINERS).map(weight).sum::<f64>();
        for n in 0..CONTAINERS {
            left -= weight(n);
            if left < 0.0 {
                return n;
            }
        }
        0
    }
}

/// At least 0, below 1.
fn unit(rng: &mut Rng) -> f64 {
    (rng.next() >> 11) as f64 / (1_u64 << 53) as f64
}
