//! The nodes that an executor commands, and how programs are started on those that a call was lent.

use crate::config::{Config, MpiLauncher};
use bursa_core::resources::Resources;
use std::collections::BTreeMap;

/// The nodes of the block, with blanks between them, where one executor commands them all: its script finds them out.
pub const NODES: &str = "BURSA_BLOCK_NODES";

/// All of them, this node first.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// Empty: this node alone, whose name does not matter.
    names: Vec<String>,
    launcher: MpiLauncher,
    /// Cores of each.
    cores: u32,
}

impl Nodes {
    /// Of an executor that is started here.
    #[must_use]
    pub fn of_this_executor(config: &Config, cores: u32) -> Self {
        let env = |name: &str| std::env::var(name).unwrap_or_default();
        Self::new(&env(NODES), &env("SLURMD_NODENAME"), config.mpi_launcher, cores)
    }

    fn new(block: &str, own: &str, launcher: MpiLauncher, cores: u32) -> Self {
        let given = if block.trim().is_empty() { own } else { block };
        let mut names: Vec<String> = Vec::new();
        for name in given.split_whitespace() {
            // Some schedulers name a node once for each of its cores.
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Self { names, launcher, cores }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX).max(1)
    }

    /// What a worker's calls find in their environment, which ask for `asks` and have `lent`, by their places.
    pub(crate) fn environment(&self, lent: &[u32], asks: &Resources) -> BTreeMap<&'static str, String> {
        let places = lent.iter().rev().filter_map(|place| self.names.get(*place as usize));
        let names: Vec<&str> = places.map(String::as_str).collect();
        let each = asks.ranks_per_node.max(1);
        let prefix = self.prefix(&names, lent.len(), each);
        BTreeMap::from([
            ("BURSA_NODES", names.join(",")),
            ("BURSA_RANKS_PER_NODE", each.to_string()),
            // By which functions of Globus Compute find it.
            ("PARSL_MPI_PREFIX", prefix.clone()),
            ("BURSA_MPI_PREFIX", prefix),
        ])
    }

    fn prefix(&self, names: &[&str], nodes: usize, each: u32) -> String {
        let ranks = nodes * each as usize;
        match self.launcher {
            MpiLauncher::Srun => {
                // Each rank gets its part of the node's cores: all of them are this call's.
                let cores = match self.cores / each {
                    0 => "--overcommit".to_owned(),
                    cores => format!("--cpus-per-task={cores}"),
                };
                let list =
                    if names.is_empty() { String::new() } else { format!(" --nodelist={}", names.join(",")) };
                format!(
                    "srun --overlap --nodes={nodes} --ntasks={ranks} --ntasks-per-node={each} {cores}{list}"
                )
            }
            MpiLauncher::Mpiexec if names.is_empty() => format!("mpiexec -n {ranks}"),
            MpiLauncher::Mpiexec => {
                let hosts: Vec<String> = names.iter().map(|name| format!("{name}:{each}")).collect();
                format!("mpiexec -n {ranks} -host {}", hosts.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(block: &str, launcher: MpiLauncher, lent: &[u32], ranks_per_node: u32) -> String {
        let asks = Resources { ranks_per_node, ..Resources::NONE };
        Nodes::new(block, "", launcher, 4).environment(lent, &asks)["BURSA_MPI_PREFIX"].clone()
    }

    #[test]
    fn programs_are_started_on_the_nodes_that_are_lent() {
        assert_eq!(
            prefix("n1 n2 n3", MpiLauncher::Srun, &[2, 1], 2),
            "srun --overlap --nodes=2 --ntasks=4 --ntasks-per-node=2 --cpus-per-task=2 --nodelist=n2,n3"
        );
        let many = prefix("n1 n2", MpiLauncher::Srun, &[1], 8);
        assert!(many.contains(" --ntasks=8 ") && many.contains(" --overcommit "), "{many}");
        assert_eq!(prefix("a a b b", MpiLauncher::Mpiexec, &[1, 0], 3), "mpiexec -n 6 -host a:3,b:3");
        assert_eq!(prefix("", MpiLauncher::Mpiexec, &[0], 0), "mpiexec -n 1");
    }

    #[test]
    fn nodes_are_counted_once() {
        let count = |block, own| Nodes::new(block, own, MpiLauncher::Srun, 1).count();
        assert_eq!((count("a b a\nc", "x"), count("", "x"), count("", "")), (3, 1, 1));
    }
}
