//! How many calls of a function may wait in a worker's pipe: bounded by time, not by count (SPIKE §5).
//!
//! `clamp(ceil(4 ms / mean run time), 1, 64)` behind the running call. An unknown function gets 1; one long run brings
//! the depth back to 1 at once, short runs raise it again slowly.

use crate::id::Hash;
use crate::limits;
use std::collections::BTreeMap;

/// Functions whose run times are remembered; above it all are learned anew (a few runs each).
const FUNCTIONS: usize = 4_096;
/// Nothing is put behind a call that lasts longer than this: what is behind it is taken back, and one round trip to the
/// worker costs such a call under 1 %.
pub(super) const QUICK_NS: u64 = 20_000_000;

/// Mean run times by function.
#[derive(Debug, Default)]
pub(super) struct Depths(BTreeMap<Hash, u64>);

/// What is expected of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expectation {
    /// Its share of the pipe's time.
    pub(super) cost_ns: u64,
    /// What was finished before it should be sent before it starts: it may take long.
    pub(super) flush: bool,
    /// Others may be put behind it.
    pub(super) quick: bool,
}

impl Depths {
    /// Learns that a call of this function ran so long.
    pub(super) fn record(&mut self, hash: Hash, run_ns: u64) {
        if self.0.len() >= FUNCTIONS && !self.0.contains_key(&hash) {
            self.0.clear();
        }
        let mean = self.0.entry(hash).or_insert(run_ns);
        *mean = if run_ns > limits::WORKER_PIPE_NS {
            (*mean).max(run_ns)
        } else {
            *mean - *mean / 8 + run_ns / 8
        };
    }

    /// How long calls of this function ran, in ns, on average.
    pub(super) fn mean(&self, hash: Hash) -> Option<u64> {
        self.0.get(&hash).copied()
    }

    /// Calls that may wait behind a running one.
    pub(super) fn depth(&self, hash: Hash) -> u64 {
        match self.mean(hash) {
            None => 1,
            Some(mean) => limits::WORKER_PIPE_NS.div_ceil(mean.max(1)).clamp(1, limits::WORKER_DEPTH as u64),
        }
    }

    pub(super) fn expect(&self, hash: Hash) -> Expectation {
        let mean = self.mean(hash);
        Expectation {
            cost_ns: limits::WORKER_PIPE_NS / self.depth(hash),
            flush: mean.is_none_or(|mean| mean > limits::WORKER_PIPE_NS),
            quick: mean.is_some_and(|mean| mean <= QUICK_NS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_follows_the_run_time() {
        let hash = Hash([1; 32]);
        for (run_ns, depth, flush, quick) in [
            (0, 64, false, true),
            (10_000, 64, false, true),
            (62_500, 64, false, true),
            (80_000, 50, false, true),
            (1_080_000, 4, false, true),
            (3_999_999, 2, false, true),
            (4_000_000, 1, false, true),
            (4_000_001, 1, true, true),
            (20_000_000, 1, true, true),
            (20_000_001, 1, true, false),
            (u64::MAX, 1, true, false),
        ] {
            let mut depths = Depths::default();
            assert_eq!((depths.depth(hash), depths.expect(hash).flush), (1, true), "unknown");
            assert!(!depths.expect(hash).quick, "nothing goes behind an unknown call");
            depths.record(hash, run_ns);
            let expected = depths.expect(hash);
            assert_eq!(
                (depths.depth(hash), expected.flush, expected.quick),
                (depth, flush, quick),
                "{run_ns}"
            );
            assert_eq!(expected.cost_ns, limits::WORKER_PIPE_NS / depth, "{run_ns}");
        }
    }

    #[test]
    fn one_long_run_brings_it_back_at_once_and_short_ones_raise_it_again() {
        let (hash, mut depths) = (Hash([1; 32]), Depths::default());
        depths.record(hash, 10_000);
        assert_eq!(depths.depth(hash), 64);
        depths.record(hash, 5_000_000);
        assert_eq!(depths.depth(hash), 1);
        let runs = (1..1_000).find(|_| {
            depths.record(hash, 10_000);
            depths.depth(hash) >= 60
        });
        assert!((20..100).contains(&runs.unwrap()), "{runs:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut depths = Depths::default();
        for n in 0..3 * FUNCTIONS as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            depths.record(Hash(hash), 1);
            assert!(depths.0.len() <= FUNCTIONS);
        }
    }
}
