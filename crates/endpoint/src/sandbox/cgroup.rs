//! Limits of each worker, by control groups of version 1 or 2, where this process may make them.

use crate::config::Sandbox;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// Microseconds in which a worker may use its share of the cores.
const PERIOD: u32 = 100_000;
/// Groups of executors have names that begin so; the executor's pid and the worker's number follow.
const NAME: &str = "bursa";

/// Where groups are made: one place for each controller that is asked for, or a single one for all (version 2).
#[derive(Debug, Default)]
pub(super) struct Groups {
    places: Vec<Place>,
    missing: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Place {
    dir: PathBuf,
    limits: Vec<(&'static str, &'static str, String)>,
}

impl Groups {
    /// Tries each controller that is asked for; that of processes with `pids`.
    pub(super) fn of(sandbox: &Sandbox, pids: bool) -> Self {
        let mut groups = Self::default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let unified = unified(&own);
        for (controller, key, asked) in [
            ("memory", "memory_mb", sandbox.memory_mb > 0),
            ("pids", "pids", pids && sandbox.pids > 0),
            ("cpu", "cpus", sandbox.cpus > 0.0),
        ] {
            if !asked {
                continue;
            }
            let place = match (of_version_1(&own, controller), &unified) {
                (Some(dir), _) => Ok(Place { dir, limits: version_1(controller, sandbox) }),
                (None, Some(dir)) => hand_down(dir, controller)
                    .map(|dir| Place { dir, limits: version_2(controller, sandbox) }),
                (None, None) => Err(io::Error::other("no control groups are mounted at /sys/fs/cgroup")),
            };
            match place.and_then(Place::tried) {
                Ok(place) => groups.add(place),
                Err(error) => groups.missing.push((key, error.to_string())),
            }
        }
        groups
    }

    /// Limits in one directory are one place.
    fn add(&mut self, place: Place) {
        match self.places.iter_mut().find(|known| known.dir == place.dir) {
            Some(known) => known.limits.extend(place.limits),
            None => self.places.push(place),
        }
    }

    /// What is asked for and cannot be had, by key, and why.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.missing.iter().map(|(key, why)| (*key, why.as_str()))
    }

    /// Where what is had is made: controller by controller.
    pub(super) fn had(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.places.iter().flat_map(|place| place.limits.iter().map(|(key, ..)| (*key, place.dir.as_path())))
    }

    pub(super) fn limits_pids(&self) -> bool {
        self.had().any(|(key, _)| key == "pids")
    }

    /// The group of one worker. What cannot be made now limits nothing, and is told in the log.
    pub(super) fn make(&self, worker: u32) -> Group {
        let mut group = Group::default();
        for place in &self.places {
            let dir = place.dir.join(format!("{NAME}-{}-{worker}", std::process::id()));
            match place.fill(&dir) {
                Ok(()) => group.dirs.push(dir),
                Err(error) => {
                    tracing::warn!(%error, dir = %dir.display(), "a worker's control group cannot be made")
                }
            }
        }
        group
    }
}

impl Place {
    /// Makes one and removes it; also those of executors that are dead.
    fn tried(self) -> io::Result<Self> {
        sweep(&self.dir);
        let dir = self.dir.join(format!("{NAME}-{}-try", std::process::id()));
        let filled = self.fill(&dir);
        let _ = fs::remove_dir(&dir);
        filled.map(|()| self).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be made: {error}", dir.display()))
        })
    }

    fn fill(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.limits.iter().try_for_each(|(_, file, value)| fs::write(dir.join(file), value))
    }
}

/// Removes groups that executors left; those that hold processes stay.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("bursa-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The group of this process that has this controller.
fn of_version_1(own: &str, controller: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    let mount = Path::new(ROOT).join(controller);
    let dir = mount.join(path.trim_start_matches('/'));
    // Within a container the mount shows the container's own group as its root.
    Some(if dir.is_dir() { dir } else { mount })
}

fn unified(own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let dir = Path::new(ROOT).join(path.trim_start_matches('/'));
    dir.join("cgroup.controllers").is_file().then_some(dir)
}

fn version_1(controller: &str, sandbox: &Sandbox) -> Vec<(&'static str, &'static str, String)> {
    match controller {
        "memory" => {
            vec![("memory", "memory.limit_in_bytes", (u64::from(sandbox.memory_mb) << 20).to_string())]
        }
        "pids" => vec![("pids", "pids.max", sandbox.pids.to_string())],
        _ => vec![
            ("cpus", "cpu.cfs_period_us", PERIOD.to_string()),
            ("cpus", "cpu.cfs_quota_us", quota(sandbox.cpus).to_string()),
        ],
    }
}

fn version_2(controller: &str, sandbox: &Sandbox) -> Vec<(&'static str, &'static str, String)> {
    match controller {
        "memory" => vec![("memory", "memory.max", (u64::from(sandbox.memory_mb) << 20).to_string())],
        "pids" => vec![("pids", "pids.max", sandbox.pids.to_string())],
        _ => vec![("cpus", "cpu.max", format!("{} {PERIOD}", quota(sandbox.cpus)))],
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0.01 and 4096 cores")]
fn quota(cpus: f64) -> u64 {
    (cpus * f64::from(PERIOD)) as u64
}

/// Version 2: lets groups in `dir` have a controller. A group with processes of its own may not, so this process, if
/// it is alone there, moves to a group below first.
fn hand_down(dir: &Path, controller: &str) -> io::Result<PathBuf> {
    let enable = || fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    if enable().is_err() {
        let me = std::process::id().to_string();
        let others = fs::read_to_string(dir.join("cgroup.procs"))?.lines().any(|pid| pid != me);
        if others {
            return Err(io::Error::other(format!("{} has other processes in it", dir.display())));
        }
        let own = dir.join(format!("{NAME}-{me}-executor"));
        fs::create_dir(&own)?;
        fs::write(own.join("cgroup.procs"), me)?;
        enable()?;
    }
    Ok(dir.to_owned())
}

/// The groups of one worker; removed with it.
#[derive(Debug, Default)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
}

impl Group {
    /// Puts a process and what it will start into it.
    pub(crate) fn take(&self, pid: i32) {
        for dir in &self.dirs {
            if let Err(error) = fs::write(dir.join("cgroup.procs"), pid.to_string()) {
                tracing::warn!(%error, dir = %dir.display(), "a worker cannot be put into its control group");
            }
        }
    }

    /// Its limit in KiB, if the system killed something in it for its use of memory.
    pub(crate) fn killed_for_memory(&self) -> Option<u64> {
        self.dirs.iter().find_map(|dir| {
            let text = ["memory.oom_control", "memory.events"].map(|file| fs::read_to_string(dir.join(file)));
            let killed = text.into_iter().flatten().any(|text| {
                text.lines()
                    .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
            });
            let limit =
                ["memory.limit_in_bytes", "memory.max"].map(|file| fs::read_to_string(dir.join(file)));
            let bytes = limit.into_iter().flatten().find_map(|text| text.trim().parse::<u64>().ok())?;
            killed.then_some(bytes / 1024)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            // One that still holds a process that ends goes with the next executor.
            let _ = fs::remove_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_controller_is_found_in_either_version() {
        let hybrid = "4:memory:/job/7\n3:cpu,cpuacct:/\n0::/\n";
        assert_eq!(of_version_1(hybrid, "cpu"), Some("/sys/fs/cgroup/cpu/".into()));
        assert_eq!(of_version_1("0::/user.slice\n", "cpu"), None);
    }
}
