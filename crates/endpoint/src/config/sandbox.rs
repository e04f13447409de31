//! The section `sandbox`: what isolates functions from the host and from each other.

use super::absolute;
use bursa_core::config::{ConfigError, Key, Values};
use std::path::{Path, PathBuf};

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("sandbox.", $name), env: $env, default: $default, about: $about };
    };
}

key!(
    RUNTIME,
    "runtime",
    "BURSA_SANDBOX_RUNTIME",
    "auto",
    "what isolates functions: bwrap; none; auto: bwrap where it runs, else none, which `up` and `endpoint check` tell"
);
key!(
    READ,
    "read",
    "BURSA_SANDBOX_READ",
    "",
    "directories and files of the host that functions may read (a list; with ':' between them in the environment)"
);
key!(
    WRITE,
    "write",
    "BURSA_SANDBOX_WRITE",
    "",
    "directories and files of the host that functions may read and write (a list, as for `read`)"
);
key!(
    DEVICES,
    "devices",
    "BURSA_SANDBOX_DEVICES",
    "",
    "devices below /dev that functions may use, those of GPUs for example (a list, as for `read`)"
);
key!(
    NETWORK,
    "network",
    "BURSA_SANDBOX_NETWORK",
    "host",
    "the network of functions: host, or none (each worker then has not even the host's loopback)"
);
key!(
    SCRATCH,
    "scratch_mb",
    "BURSA_SANDBOX_SCRATCH_MB",
    "1024",
    "what the functions of one worker can write to their working directory, /tmp and /dev/shm together: it is memory"
);
key!(
    MEMORY,
    "memory_mb",
    "BURSA_SANDBOX_MEMORY_MB",
    "0",
    "memory of one worker with all that it starts and its scratch (0: no limit but the node's)"
);
key!(PIDS, "pids", "BURSA_SANDBOX_PIDS", "4096", "processes and threads of one worker (0: no limit)");
key!(
    CPUS,
    "cpus",
    "BURSA_SANDBOX_CPUS",
    "0",
    "cores' worth of time of one worker, as 0.5 or 4 (0: no limit)"
);

/// Every key of the section `sandbox`.
pub const KEYS: &[Key] = &[RUNTIME, READ, WRITE, DEVICES, NETWORK, SCRATCH, MEMORY, PIDS, CPUS];

/// 16 TiB: more than a node has.
const MOST_MB: u32 = 1 << 24;
/// What the kernel can number.
const MOST_PIDS: u32 = 1 << 22;

/// What isolates functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// bubblewrap where it runs.
    Auto,
    /// bubblewrap, or no function runs.
    Bwrap,
    /// Nothing.
    None,
}

/// The network of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// None.
    None,
}

/// The values, with types.
#[derive(Debug, Clone, PartialEq)]
pub struct Sandbox {
    /// What isolates functions.
    pub runtime: Runtime,
    /// Granted for reading.
    pub read: Vec<PathBuf>,
    /// Granted for reading and writing.
    pub write: Vec<PathBuf>,
    /// Devices.
    pub devices: Vec<PathBuf>,
    /// The network.
    pub network: Network,
    /// Most that one worker can write into files of its own, in MiB.
    pub scratch_mb: u32,
    /// Memory of one worker, in MiB; 0: no limit.
    pub memory_mb: u32,
    /// Processes and threads of one worker; 0: no limit.
    pub pids: u32,
    /// Cores' worth of time of one worker; 0: no limit.
    pub cpus: f64,
}

impl Sandbox {
    pub(super) fn from_values(values: &Values, home: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            runtime: runtime(values)?,
            read: granted(values, &READ, home)?,
            write: granted(values, &WRITE, home)?,
            devices: devices(values)?,
            network: network(values)?,
            scratch_mb: values.whole(&SCRATCH, 1..=MOST_MB)?,
            memory_mb: values.whole(&MEMORY, 0..=MOST_MB)?,
            pids: values.whole(&PIDS, 0..=MOST_PIDS)?,
            cpus: cpus(values)?,
        })
    }

    pub(super) fn to_env(&self) -> Vec<(&'static str, String)> {
        let runtime = match self.runtime {
            Runtime::Auto => "auto",
            Runtime::Bwrap => "bwrap",
            Runtime::None => "none",
        };
        let network = if self.network == Network::Host { "host" } else { "none" };
        vec![
            (RUNTIME.env, runtime.into()),
            (READ.env, joined(&self.read)),
            (WRITE.env, joined(&self.write)),
            (DEVICES.env, joined(&self.devices)),
            (NETWORK.env, network.into()),
            (SCRATCH.env, self.scratch_mb.to_string()),
            (MEMORY.env, self.memory_mb.to_string()),
            (PIDS.env, self.pids.to_string()),
            (CPUS.env, self.cpus.to_string()),
        ]
    }
}

fn runtime(values: &Values) -> Result<Runtime, ConfigError> {
    match values.get(&RUNTIME).0 {
        "auto" => Ok(Runtime::Auto),
        "bwrap" => Ok(Runtime::Bwrap),
        "none" => Ok(Runtime::None),
        _ => Err(values.wrong(&RUNTIME, "expected auto, bwrap or none".into())),
    }
}

fn network(values: &Values) -> Result<Network, ConfigError> {
    match values.get(&NETWORK).0 {
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err(values.wrong(&NETWORK, "expected host or none".into())),
    }
}

fn list<'a>(values: &'a Values, key: &Key) -> impl Iterator<Item = &'a str> {
    values.get(key).0.split(':').filter(|path| !path.is_empty())
}

fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

/// What is granted is there, and is not what the sandbox is for.
fn granted(values: &Values, key: &Key, home: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let own = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    let mut paths = Vec::new();
    for text in list(values, key) {
        let path: PathBuf = absolute(text.into()).components().collect();
        let real = path.canonicalize().map_err(|error| values.wrong(key, format!("{text}: {error}")))?;
        if real == Path::new("/")
            || real.starts_with(&own)
            || real.starts_with("/proc")
            || real.starts_with("/sys")
        {
            let why = format!("{text} would open the sandbox: name a directory of data");
            return Err(values.wrong(key, why));
        }
        paths.push(path);
    }
    Ok(paths)
}

fn devices(values: &Values) -> Result<Vec<PathBuf>, ConfigError> {
    let paths: Vec<PathBuf> = list(values, &DEVICES).map(PathBuf::from).collect();
    match paths
        .iter()
        .find(|path| !path.starts_with("/dev/") || path.components().any(|part| part.as_os_str() == ".."))
    {
        Some(other) => Err(values.wrong(&DEVICES, format!("{} is not below /dev", other.display()))),
        None => Ok(paths),
    }
}

fn cpus(values: &Values) -> Result<f64, ConfigError> {
    match values.get(&CPUS).0.parse::<f64>() {
        Ok(cpus) if cpus == 0.0 || (0.01..=4096.0).contains(&cpus) => Ok(cpus),
        _ => Err(values.wrong(&CPUS, "it must be 0, or 0.01 to 4096".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Source;

    fn refused(key: &Key, value: &str, home: &Path) -> String {
        let mut values = Values::default();
        values.offer(key, value, Source::Env);
        Sandbox::from_values(&values, home).unwrap_err().to_string()
    }

    #[test]
    fn a_grant_is_a_place_that_exists_and_holds_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir_all(home.join("endpoints")).unwrap();
        for bad in ["/", "/proc/self", home.join("endpoints").to_str().unwrap()] {
            assert!(refused(&READ, bad, &home).contains("would open the sandbox"), "{bad}");
        }
        assert!(refused(&WRITE, "/no/such/place", &home).contains("No such file"));
        assert!(refused(&DEVICES, "/dev/../etc", &home).contains("not below /dev"));
        for (key, value) in [(&RUNTIME, "docker"), (&NETWORK, "some"), (&SCRATCH, "0"), (&CPUS, "-1")] {
            assert!(refused(key, value, &home).starts_with(key.name));
        }
        let mut values = Values::default();
        let both = format!("{}:/usr", dir.path().display());
        values.offer(&READ, both, Source::Env);
        let sandbox = Sandbox::from_values(&values, &home).unwrap();
        assert_eq!(sandbox.read, [dir.path(), Path::new("/usr")]);
    }
}
