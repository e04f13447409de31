//! What of its node an executor may use: what the scheduler gave, or the system's limits, or what is configured.

use crate::config::Config;
use bursa_core::resources::{self, Resources};
use std::fs;
use std::path::{Path, PathBuf};

/// What an executor that is started here has in total.
#[must_use]
pub fn of_this_node(config: &Config) -> Resources {
    let env = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok().filter(|value| *value > 0);
    let cores = if config.cores > 0 { config.cores } else { cores(env) };
    let memory_mb = if config.memory_mb > 0 { config.memory_mb } else { memory_mb(env) };
    Resources {
        cores,
        memory_mb,
        gpus: accelerators(config).unwrap_or_else(gpus),
        nodes: 1,
        ranks_per_node: 0,
    }
}

/// What an executor of a block to come has, as far as that is known before: what is configured, or this node's.
#[must_use]
pub fn to_come(config: &Config) -> Resources {
    if !config.blocks.is_remote() {
        return of_this_node(config);
    }
    let blocks = &config.blocks;
    let mut known = Resources { nodes: blocks.nodes_each(), ..Resources::UNKNOWN };
    if let Some(gpus) = accelerators(config) {
        known.gpus = gpus;
    }
    if let Some(cores) = [config.cores, blocks.cores].into_iter().find(|cores| *cores > 0) {
        known.cores = cores;
    }
    let asked = resources::memory_mb(&blocks.mem);
    if let Some(memory_mb) = Some(config.memory_mb).filter(|mb| *mb > 0).or(asked) {
        known.memory_mb = memory_mb;
    }
    known
}

/// Cores: by the affinity of this process and its control group, and no more than the scheduler gave.
pub(crate) fn cores(env: impl Fn(&str) -> Option<u64>) -> u32 {
    let here = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let here = u32::try_from(here).unwrap_or(u32::MAX);
    let given = ["SLURM_CPUS_ON_NODE", "NCPUS", "LSB_DJOB_NUMPROC"].into_iter().find_map(env);
    given.and_then(|given| u32::try_from(given).ok()).map_or(here, |given| given.min(here))
}

/// Memory in MB: the node's, and no more than the scheduler or a control group allows.
fn memory_mb(env: impl Fn(&str) -> Option<u64>) -> u64 {
    let per_core = |mb: u64| Some(mb * env("SLURM_CPUS_ON_NODE")?);
    let given = env("SLURM_MEM_PER_NODE").or_else(|| per_core(env("SLURM_MEM_PER_CPU")?));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    [given, group_mb(Path::new("/sys/fs/cgroup"), &own)].into_iter().flatten().fold(node_mb(), u64::min)
}

fn node_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// The least limit of the control groups that this process is in, of version 2 or 1.
fn group_mb(root: &Path, own: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group: PathBuf = base.join(path.trim_start_matches('/'));
        let groups = group.ancestors().take_while(|dir| dir.starts_with(&base));
        limits.extend(
            groups.filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()),
        );
    }
    limits.into_iter().min().map(|bytes| bytes >> 20)
}

/// Accelerators that are configured, which workers are given.
fn accelerators(config: &Config) -> Option<u32> {
    Some(u32::try_from(config.accelerators.len()).unwrap_or(u32::MAX)).filter(|count| *count > 0)
}

/// Cards with an NVIDIA device.
fn gpus() -> u32 {
    let names = fs::read_dir("/dev").into_iter().flatten().flatten();
    let card = |name: &str| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let count = names.filter(|entry| entry.file_name().to_str().is_some_and(card)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_and_control_groups_say_what_is_ours() {
        let slurm = |name: &str| match name {
            "SLURM_CPUS_ON_NODE" => Some(1),
            "SLURM_MEM_PER_NODE" => Some(100),
            _ => None,
        };
        assert_eq!((cores(slurm), memory_mb(slurm)), (1, 100));
        let per_core = |name: &str| match name {
            "SLURM_CPUS_ON_NODE" => Some(2),
            "SLURM_MEM_PER_CPU" => Some(60),
            _ => None,
        };
        assert_eq!(memory_mb(per_core), 120);
        let none = |_: &str| None;
        assert!(cores(none) >= 1 && memory_mb(none) > 100);
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("job/step");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("job/memory.max"), "1073741824\n").unwrap();
        assert_eq!(group_mb(root.path(), "0::/job/step\n"), Some(1_024));
        assert_eq!(group_mb(root.path(), "0::/other\n"), None);
        let old = root.path().join("memory/job");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("memory.limit_in_bytes"), "2097152\n").unwrap();
        assert_eq!(group_mb(root.path(), "5:cpu,memory:/job\n1:name=x:/\n"), Some(2));
    }
}
