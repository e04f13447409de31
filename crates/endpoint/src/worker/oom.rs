//! Whether a killed worker was killed for its use of memory: a best guess from what the system counts.

use std::fs;
use std::path::PathBuf;

/// Part of the memory limit, in percent, at which a killed worker's own use explains its end.
const NEAR_PERCENT: u64 = 90;

/// The counters, as they were last seen.
#[derive(Debug)]
pub(super) struct Oom {
    files: Vec<PathBuf>,
    seen: u64,
    limit_kb: Option<u64>,
}

impl Oom {
    /// Looks for the memory cgroup of this process (version 2 or 1), else for the system's own counter.
    pub(super) fn new() -> Self {
        let mut files = Vec::new();
        let mut limits = vec![total_kb()];
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                let dir = PathBuf::from("/sys/fs/cgroup").join(path);
                files.push(dir.join("memory.events"));
                limits.push(number_kb(&dir.join("memory.max")));
            } else if controllers.split(',').any(|name| name == "memory") {
                let dir = PathBuf::from("/sys/fs/cgroup/memory").join(path);
                files.push(dir.join("memory.oom_control"));
                limits.push(number_kb(&dir.join("memory.limit_in_bytes")));
            }
        }
        files.retain(|file| fs::read_to_string(file).is_ok_and(|text| field(&text, "oom_kill").is_some()));
        if files.is_empty() {
            files.push("/proc/vmstat".into());
        }
        let mut oom = Self { files, seen: 0, limit_kb: limits.into_iter().flatten().min() };
        oom.seen = oom.count();
        oom
    }

    /// Whether a worker that was killed, and not by us, with this much memory, was killed for it.
    pub(super) fn explains(&mut self, maxrss_kb: u64) -> bool {
        let count = self.count();
        let risen = count > self.seen;
        self.seen = count;
        risen || self.limit_kb.is_some_and(|limit| maxrss_kb >= limit / 100 * NEAR_PERCENT)
    }

    /// Most memory that all workers of this node can have: the limit of their cgroup, or the node's memory.
    pub(super) const fn limit_kb(&self) -> Option<u64> {
        self.limit_kb
    }

    /// What happened before now explains nothing that comes.
    pub(super) fn look(&mut self) {
        self.seen = self.count();
    }

    fn count(&self) -> u64 {
        let texts = self.files.iter().filter_map(|file| fs::read_to_string(file).ok());
        texts.filter_map(|text| field(&text, "oom_kill")).sum()
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn number_kb(file: &std::path::Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse::<u64>().ok().map(|bytes| bytes / 1024)
}

fn total_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happened_and_little_memory_is_no_explanation() {
        assert_eq!(field("oom 1\noom_kill 7\noom_group_kill 0\n", "oom_kill"), Some(7));
        let mut oom = Oom::new();
        assert!(!oom.explains(1_000));
        assert!(oom.explains(u64::MAX));
    }
}
