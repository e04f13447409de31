//! What each worker has for itself: accelerators and processors of its node, or whole nodes. The next one gets it when it
//! has ended.

use crate::config::{Affinity, Config};
use crate::nodes::Nodes;
use bursa_core::resources::{Resources, Share as Counted};
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

/// All of one node, in places: the first worker's, the second's…
#[derive(Debug, Default)]
pub struct Shares {
    accelerators: Vec<String>,
    cpus: Vec<Vec<usize>>,
    /// `None`: workers with nodes are told nothing.
    nodes: Option<Nodes>,
    taken: BTreeMap<u32, Taken>,
}

/// What one worker has of it.
#[derive(Debug, Default)]
struct Taken {
    accelerators: Vec<usize>,
    cpus: Vec<usize>,
    share: Share,
}

impl Shares {
    /// Of this node, for as many workers as it may run, and of these nodes.
    #[must_use]
    pub fn of(config: &Config, nodes: Nodes) -> Self {
        let workers = config.workers as usize;
        let cpus = match config.cpu_affinity {
            Affinity::None => Vec::new(),
            affinity => {
                let ours = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
                let ours: Vec<usize> =
                    (0..CpuSet::count()).filter(|cpu| ours.is_set(*cpu).unwrap_or(false)).collect();
                (0..workers).map(|n| processors(affinity, &ours, n, workers)).collect()
            }
        };
        let accelerators = config.accelerators.clone();
        Self { accelerators, cpus, nodes: Some(nodes), taken: BTreeMap::new() }
    }

    /// Gives `worker`, whose calls ask for `asks`, what none of those who live has: of this node what `share` counts, or
    /// the nodes that are `lent`.
    pub(super) fn take(
        &mut self,
        worker: u32,
        asks: &Resources,
        share: &Counted,
        lent: &[u32],
        lives: impl Fn(u32) -> bool,
    ) {
        self.taken.retain(|other, _| lives(*other));
        if !lent.is_empty() {
            let env = self.nodes.as_ref().map(|nodes| nodes.environment(lent, asks)).unwrap_or_default();
            let share = Share { env, cpus: Vec::new() };
            self.taken.insert(worker, Taken { share, ..Taken::default() });
            return;
        }
        let is_free =
            |of: fn(&Taken) -> &Vec<usize>, n: usize| !self.taken.values().any(|one| of(one).contains(&n));
        let cpus: Vec<usize> = (0..self.cpus.len())
            .filter(|n| is_free(|one| &one.cpus, *n))
            .take(share.slots as usize)
            .collect();
        // Those at the same places first: a node's are often near each other.
        let places = cpus.iter().copied().chain((0..self.accelerators.len()).filter(|n| !cpus.contains(n)));
        let accelerators: Vec<usize> = places
            .filter(|n| *n < self.accelerators.len() && is_free(|one| &one.accelerators, *n))
            .take(share.gpus as usize)
            .collect();
        let share = self.share(&accelerators, &cpus);
        self.taken.insert(worker, Taken { accelerators, cpus, share });
    }

    fn share(&self, accelerators: &[usize], cpus: &[usize]) -> Share {
        let names: Vec<&str> = accelerators.iter().map(|n| self.accelerators[*n].as_str()).collect();
        let visible = VISIBLE.iter().filter(|_| !names.is_empty());
        Share {
            env: visible.map(|variable| (*variable, names.join(","))).collect(),
            cpus: cpus.iter().flat_map(|n| self.cpus[*n].clone()).collect(),
        }
    }

    /// What a worker has.
    pub(super) fn get(&self, worker: u32) -> Share {
        self.taken.get(&worker).map(|taken| taken.share.clone()).unwrap_or_default()
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

    fn take(shares: &mut Shares, worker: u32, slots: u32, gpus: u32, gone: u32) -> (String, Vec<usize>) {
        let counted = Counted { slots, gpus, ..Counted::default() };
        shares.take(worker, &Resources::NONE, &counted, &[], |other| other != gone);
        let share = shares.get(worker);
        (share.env.get("CUDA_VISIBLE_DEVICES").cloned().unwrap_or_default(), share.cpus)
    }

    #[test]
    fn a_share_goes_to_the_next_worker_when_its_own_has_ended() {
        let accelerators = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let cpus = (0..4).map(|n| vec![n]).collect();
        let mut shares = Shares { accelerators, cpus, ..Shares::default() };
        let is = |name: &str, cpus: &[usize]| (name.to_owned(), cpus.to_vec());
        assert_eq!(take(&mut shares, 1, 1, 1, 0), is("a", &[0]));
        assert_eq!(take(&mut shares, 2, 1, 2, 0), is("b,c", &[1]));
        assert_eq!(take(&mut shares, 3, 1, 1, 0), is("d", &[2]));
        assert_eq!(take(&mut shares, 4, 1, 1, 2), is("b", &[1]));
        assert_eq!(take(&mut shares, 5, 2, 2, 3), is("c,d", &[2, 3]));
        assert_eq!((shares.get(1).cpus, shares.get(9)), (vec![0], Share::default()));
    }

    #[test]
    fn who_has_nodes_is_told_them_and_keeps_no_accelerator() {
        let config = crate::config::Config::from_values(
            &bursa_core::config::Values::default(),
            std::path::Path::new("/h"),
            "e",
        );
        let config = config.unwrap();
        let mut shares = Shares::of(&config, Nodes::of_this_executor(&config, 1));
        let asks = Resources { nodes: 1, ranks_per_node: 3, ..Resources::NONE };
        shares.take(1, &asks, &Counted { nodes: 1, ..Counted::default() }, &[0], |_| true);
        assert_eq!(shares.get(1).env["BURSA_MPI_PREFIX"], "mpiexec -n 3");
    }
}
