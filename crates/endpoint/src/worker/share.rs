//! What each worker has for itself of its node: an accelerator, and processors. The next one gets it when it has ended.

use crate::config::{Affinity, Config};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde::Serialize;
use std::collections::BTreeMap;

/// By which NVIDIA's, AMD's and Intel's libraries are told what they may see.
const VISIBLE: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"];

/// What one worker has: variables of its environment, and processors; none: any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    env: BTreeMap<&'static str, String>,
    cpus: Vec<usize>,
}

/// All of one node.
#[derive(Debug, Default)]
pub struct Shares {
    all: Vec<Share>,
    taken: BTreeMap<u32, usize>,
}

impl Shares {
    /// Of this node, for as many workers as it may run.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        if config.accelerators.is_empty() && config.cpu_affinity == Affinity::None {
            return Self::default();
        }
        let workers = config.workers as usize;
        let mut all = vec![Share::default(); workers];
        for (share, name) in all.iter_mut().zip(&config.accelerators) {
            share.env = VISIBLE.iter().map(|variable| (*variable, name.clone())).collect();
        }
        let ours = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
        let cpus: Vec<usize> =
            (0..CpuSet::count()).filter(|cpu| ours.is_set(*cpu).unwrap_or(false)).collect();
        for (n, share) in all.iter_mut().enumerate() {
            share.cpus = processors(config.cpu_affinity, &cpus, n, workers);
        }
        Self { all, taken: BTreeMap::new() }
    }

    /// Gives `worker` a share that none of those who live has.
    pub(super) fn take(&mut self, worker: u32, lives: impl Fn(u32) -> bool) {
        self.taken.retain(|other, _| lives(*other));
        let free = (0..self.all.len()).find(|n| !self.taken.values().any(|taken| taken == n));
        self.taken.extend(free.map(|n| (worker, n)));
    }

    /// What a worker has.
    pub(super) fn get(&self, worker: u32) -> Share {
        self.taken.get(&worker).and_then(|n| self.all.get(*n)).cloned().unwrap_or_default()
    }
}

/// The processors of worker `n` of `workers`: each has at least one, and shares it where there are fewer than workers.
fn processors(affinity: Affinity, cpus: &[usize], n: usize, workers: usize) -> Vec<usize> {
    let at = match affinity {
        _ if cpus.is_empty() => return Vec::new(),
        Affinity::None => return Vec::new(),
        Affinity::Alternating if n < cpus.len() => {
            return cpus.iter().skip(n).step_by(workers).copied().collect();
        }
        Affinity::Alternating => return vec![cpus[n % cpus.len()]],
        Affinity::Block => n,
        Affinity::BlockReverse => workers - 1 - n,
    };
    let from = at * cpus.len() / workers;
    let to = ((at + 1) * cpus.len() / workers).max(from + 1);
    cpus[from..to].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_its_processors() {
        use Affinity::{Alternating, Block, BlockReverse, None};
        type Case = (Affinity, &'static [usize], usize, &'static [&'static [usize]]);
        let table: [Case; 8] = [
            (None, &[0, 1], 2, &[&[], &[]]),
            (Block, &[0, 1, 2, 3, 4, 5], 3, &[&[0, 1], &[2, 3], &[4, 5]]),
            (Block, &[2, 3, 7], 2, &[&[2], &[3, 7]]),
            (Block, &[4, 5], 4, &[&[4], &[4], &[5], &[5]]),
            (BlockReverse, &[0, 1, 2, 3], 2, &[&[2, 3], &[0, 1]]),
            (Alternating, &[0, 1, 2, 3, 4], 2, &[&[0, 2, 4], &[1, 3]]),
            (Alternating, &[8, 9], 3, &[&[8], &[9], &[8]]),
            (Block, &[], 1, &[&[]]),
        ];
        for (affinity, cpus, workers, expected) in table {
            let got: Vec<_> = (0..workers).map(|n| processors(affinity, cpus, n, workers)).collect();
            assert_eq!(got, expected, "{affinity} {cpus:?}");
        }
    }

    #[test]
    fn a_share_goes_to_the_next_worker_when_its_own_has_ended() {
        let named = |name: &str| Share { env: BTreeMap::from([("X", name.to_owned())]), cpus: Vec::new() };
        let mut shares = Shares { all: vec![named("a"), named("b")], taken: BTreeMap::new() };
        shares.take(1, |_| true);
        shares.take(2, |_| true);
        assert_eq!((shares.get(1), shares.get(2)), (named("a"), named("b")));
        shares.take(3, |worker| worker != 1);
        assert_eq!((shares.get(3), shares.get(2)), (named("a"), named("b")));
    }
}
