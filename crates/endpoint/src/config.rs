//! What an endpoint's processes are configured with: the keys, and their values with types.
//!
//! Finding the values (flag, environment, file) is the command's business.

pub mod blocks;
mod containers;
pub mod kubernetes;
mod sandbox;
mod share;

pub(crate) use containers::{COMMAND, PLACEHOLDERS};
pub use containers::{Choice, Containers, Gpus, KEYS as CONTAINER_KEYS, Program};
pub use sandbox::{KEYS as SANDBOX_KEYS, Network, Runtime, Sandbox};
pub use share::{Affinity, MpiLauncher};

use blocks::Blocks;
use bursa_core::config::{ConfigError, Key, Values};
use bursa_core::id::Hash;
use bursa_core::limits;
use bursa_core::manager::route::Routing;
use bursa_core::resources::memory_mb;
use kubernetes::Kubernetes;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("endpoint.", $name), env: $env, default: $default, about: $about };
    };
}

key!(WORKERS, "workers", "BURSA_WORKERS", "0", "calls that run at once in each executor; 0: one per core");
key!(
    CORES,
    "cores",
    "BURSA_ENDPOINT_CORES",
    "0",
    "cores that calls of one executor may ask for together; 0: those that it may use of its node"
);
key!(
    MEMORY,
    "memory",
    "BURSA_ENDPOINT_MEMORY",
    "",
    "memory that calls of one executor may ask for together, such as 64GB; empty: what it may use of its node"
);
key!(EXECUTORS, "executors", "BURSA_EXECUTORS", "1", "executors that are kept running on this node");
key!(
    PYTHON,
    "python",
    "BURSA_PYTHON",
    "",
    "the Python of the workers; empty: $VIRTUAL_ENV/bin/python, else python3 on PATH"
);
key!(
    LISTEN,
    "listen",
    "BURSA_ENDPOINT_LISTEN",
    "",
    "where the manager listens for its executors, as host:port (port 0: any free one); empty: any free port, of 127.0.0.1 or, where executors run on other nodes, of blocks.interface"
);
key!(
    PUBLIC_LISTEN,
    "public_listen",
    "BURSA_ENDPOINT_PUBLIC_LISTEN",
    "",
    "the address of `listen` as executors reach it, as host:port; empty: the one it listens on"
);
key!(
    BULK,
    "bulk",
    "BURSA_ENDPOINT_BULK",
    "0",
    "the port beside `listen` to which executors move once they are known (0: any free one; none: all stays on `listen`, which is slower)"
);
key!(
    HEARTBEAT,
    "heartbeat_ms",
    "BURSA_ENDPOINT_HEARTBEAT_MS",
    "2000",
    "manager and executors say something at least this often"
);
key!(
    THRESHOLD,
    "threshold_ms",
    "BURSA_ENDPOINT_THRESHOLD_MS",
    "6000",
    "an executor that is silent for this long counts as lost"
);
key!(
    ADOPT,
    "adopt_ms",
    "BURSA_ENDPOINT_ADOPT_MS",
    "12000",
    "how long a restarted manager waits for the executors of the one before"
);
key!(
    ROUTING,
    "routing",
    "BURSA_ENDPOINT_ROUTING",
    "soft",
    "which executor a call goes to: soft, one with warm workers of its container; hard, the same, and an executor takes \
     calls of one container at a time; random, any, for comparison"
);
key!(
    ALLOWED_FUNCTIONS,
    "allowed_functions",
    "BURSA_ENDPOINT_ALLOWED_FUNCTIONS",
    "",
    "the only functions that run here, whoever asks, by the hashes of their bodies as `bursa function show` prints them (a \
     list; with ',' between them in the environment; empty: any)"
);
key!(
    IDLE,
    "idle_ms",
    "BURSA_ENDPOINT_IDLE_MS",
    "600000",
    "a worker without calls ends after this, if more are left than `min_warm`"
);
key!(
    MIN_WARM,
    "min_warm",
    "BURSA_ENDPOINT_MIN_WARM",
    "1",
    "workers of each executor that are started before the first call, and stay"
);
key!(
    PREFETCH,
    "prefetch",
    "BURSA_ENDPOINT_PREFETCH",
    "512",
    "calls taken from the service for each worker beyond the one that it runs: they cover the way there and back"
);
key!(
    ORPHAN_START,
    "orphan_start_ms",
    "BURSA_ENDPOINT_ORPHAN_START_MS",
    "60000",
    "an executor without a manager starts no further call after this"
);
key!(
    ORPHAN,
    "orphan_ms",
    "BURSA_ENDPOINT_ORPHAN_MS",
    "1800000",
    "an executor without a manager ends after this"
);
key!(
    STOP_GRACE,
    "stop_grace_ms",
    "BURSA_ENDPOINT_STOP_GRACE_MS",
    "2000",
    "on stop, running calls may go on for this long; then they end and are handed back"
);
key!(
    LINK_HEARTBEAT,
    "link_heartbeat_ms",
    "BURSA_ENDPOINT_LINK_HEARTBEAT_MS",
    "10000",
    "heartbeat of the connection to the service"
);
key!(
    LINK_THRESHOLD,
    "link_threshold_ms",
    "BURSA_ENDPOINT_LINK_THRESHOLD_MS",
    "30000",
    "a connection to the service that is silent for this long is closed"
);
key!(
    LEASE,
    "lease_ms",
    "BURSA_ENDPOINT_LEASE_MS",
    "30000",
    "a start on another node takes the endpoint over if its manager shows no sign of life for this long"
);

/// Every key of the section `endpoint`.
pub const KEYS: &[Key] = &[
    WORKERS,
    CORES,
    MEMORY,
    EXECUTORS,
    PYTHON,
    LISTEN,
    PUBLIC_LISTEN,
    BULK,
    HEARTBEAT,
    THRESHOLD,
    ADOPT,
    ROUTING,
    share::ACCELERATORS,
    share::AFFINITY,
    share::MPI_LAUNCHER,
    ALLOWED_FUNCTIONS,
    IDLE,
    MIN_WARM,
    PREFETCH,
    ORPHAN_START,
    ORPHAN,
    STOP_GRACE,
    LINK_HEARTBEAT,
    LINK_THRESHOLD,
    LEASE,
];

/// Says that there is to be none.
const NO_PORT: &str = "none";

/// The values, with types, and where the endpoint lives.
#[derive(Debug, Clone)]
pub struct Config {
    /// The home directory, `~/.bursa` by default.
    pub home: PathBuf,
    /// The endpoint's name: its directory under `endpoints/`.
    pub name: String,
    /// Calls that run at once in each executor.
    pub workers: u32,
    /// Cores that calls of one executor may ask for together; 0: what there are.
    pub cores: u32,
    /// The same of memory, in MB.
    pub memory_mb: u64,
    /// Executors that are kept running.
    pub executors: u32,
    /// The workers' Python; `None`: none was configured, and none is on `PATH` or it is one of another host.
    pub python: Option<PathBuf>,
    /// Whether that is one per core of whatever node it is.
    pub one_per_core: bool,
    /// Where nodes come from, and how many.
    pub blocks: Blocks,
    /// What pods are like.
    pub kubernetes: Kubernetes,
    /// Where the manager listens for executors; `None`: it finds a port where they reach it.
    pub listen: Option<String>,
    /// What executors are told instead, if anything.
    pub public_listen: Option<String>,
    /// The port of bulk connections, if any.
    pub bulk: Option<u16>,
    /// Manager and executors: say something at least this often.
    pub heartbeat_ms: u64,
    /// Manager and executors: silence beyond this is loss.
    pub threshold_ms: u64,
    /// Longest adoption window (F8).
    pub adopt_ms: u64,
    /// How calls find their executor.
    pub routing: Routing,
    /// Accelerators of a node, by the names that its libraries know; none: workers see what the endpoint sees.
    pub accelerators: Vec<String>,
    /// The processors of each worker.
    pub cpu_affinity: Affinity,
    /// What starts the ranks of a call on its nodes.
    pub mpi_launcher: MpiLauncher,
    /// The only functions that run here, by the hashes of their bodies; none: any.
    pub allowed_functions: BTreeSet<Hash>,
    /// An idle worker ends after this.
    pub idle_ms: u64,
    /// Workers that are started before the first call, and stay.
    pub min_warm: u32,
    /// Attempts taken per worker beyond the running one.
    pub prefetch: u32,
    /// Without a manager, nothing new starts after this (F13).
    pub orphan_start_ms: u64,
    /// Without a manager, the executor ends after this (F13).
    pub orphan_ms: u64,
    /// On stop, running calls may go on for this long.
    pub stop_grace_ms: u64,
    /// Heartbeat of the connection to the service.
    pub link_heartbeat_ms: u64,
    /// Silence that closes the connection to the service.
    pub link_threshold_ms: u64,
    /// A lease whose holder shows no sign of life for so long may be taken over from another node (F6).
    pub lease_ms: u64,
    /// What isolates functions.
    pub sandbox: Sandbox,
    /// What starts containers.
    pub containers: Containers,
    /// The program that is run as `PROGRAM --home H executor --endpoint NAME --id ID`: this one, but for tests.
    pub program: PathBuf,
}

impl Config {
    /// The configuration of endpoint `name` in `home`.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that is not what its key must be.
    pub fn from_values(values: &Values, home: &Path, name: &str) -> Result<Self, ConfigError> {
        let executors = values.whole(&EXECUTORS, 1..=most(limits::EXECUTORS))?;
        let blocks = Blocks::from_values(values, executors)?;
        let one_per_core = values.get(&WORKERS).0 == "0";
        let (accelerators, workers) = share::accelerators(values, workers(values)?, one_per_core, executors)?;
        Ok(Self {
            home: absolute(home.to_owned()),
            name: name.to_owned(),
            workers,
            cores: values.whole(&CORES, 0..=limits::RESOURCE_COUNT)?,
            mpi_launcher: share::mpi_launcher(values, blocks.provider)?,
            memory_mb: memory(values)?,
            executors,
            python: python(values.get(&PYTHON).0, &blocks),
            one_per_core,
            listen: listen(values, &blocks)?,
            kubernetes: Kubernetes::from_values(values, !blocks.reach_home())?,
            blocks,
            public_listen: public_listen(values)?,
            bulk: bulk(values)?,
            heartbeat_ms: values.whole(&HEARTBEAT, 1..=u64::MAX)?,
            threshold_ms: threshold(values, &THRESHOLD, &HEARTBEAT)?,
            adopt_ms: values.whole(&ADOPT, 0..=u64::MAX)?,
            routing: values.parse(&ROUTING)?,
            accelerators,
            cpu_affinity: values.parse(&share::AFFINITY)?,
            allowed_functions: allowed_functions(values)?,
            idle_ms: values.whole(&IDLE, 1..=u64::MAX)?,
            min_warm: values.whole(&MIN_WARM, 0..=most(limits::WORKERS))?,
            prefetch: values.whole(&PREFETCH, 0..=most(limits::PREFETCH_TASKS))?,
            orphan_start_ms: values.whole(&ORPHAN_START, 0..=u64::MAX)?,
            orphan_ms: values.whole(&ORPHAN, 1..=u64::MAX)?,
            stop_grace_ms: values.whole(&STOP_GRACE, 0..=u64::MAX)?,
            link_heartbeat_ms: values.whole(&LINK_HEARTBEAT, 1..=u64::MAX)?,
            link_threshold_ms: threshold(values, &LINK_THRESHOLD, &LINK_HEARTBEAT)?,
            lease_ms: values.whole(&LEASE, 1..=u64::MAX)?,
            sandbox: Sandbox::from_values(values, home)?,
            containers: Containers::from_values(values)?,
            program: this_program(),
        })
    }
}

impl Config {
    /// Longest stop of the manager: the grace of running calls, what is then reported, and what its provider needs.
    #[must_use]
    pub fn stops_within(&self) -> Duration {
        let told_ms = self.stop_grace_ms.saturating_add(limits::STOP_SLACK_MS);
        Duration::from_millis(told_ms).saturating_add(crate::provider::ends_within(self.blocks.provider))
    }

    /// The same values as environment variables, for a process that reads its configuration itself.
    pub(crate) fn to_env(&self) -> Vec<(&'static str, String)> {
        let python = self.python.as_deref().unwrap_or_else(|| Path::new("")).display().to_string();
        let mut env = vec![
            (WORKERS.env, if self.one_per_core { 0 } else { self.workers }.to_string()),
            (CORES.env, self.cores.to_string()),
            (MEMORY.env, if self.memory_mb > 0 { format!("{}MB", self.memory_mb) } else { String::new() }),
            (EXECUTORS.env, self.executors.to_string()),
            (PYTHON.env, python),
            (LISTEN.env, self.listen.clone().unwrap_or_default()),
            (PUBLIC_LISTEN.env, self.public_listen.clone().unwrap_or_default()),
            (BULK.env, self.bulk.map_or_else(|| NO_PORT.into(), |port| port.to_string())),
            (HEARTBEAT.env, self.heartbeat_ms.to_string()),
            (THRESHOLD.env, self.threshold_ms.to_string()),
            (ADOPT.env, self.adopt_ms.to_string()),
            (ROUTING.env, self.routing.to_string()),
            // A single name is no number.
            (share::ACCELERATORS.env, self.accelerators.iter().map(|name| format!("{name},")).collect()),
            (share::AFFINITY.env, self.cpu_affinity.to_string()),
            (share::MPI_LAUNCHER.env, self.mpi_launcher.to_string()),
            (IDLE.env, self.idle_ms.to_string()),
            (MIN_WARM.env, self.min_warm.to_string()),
            (PREFETCH.env, self.prefetch.to_string()),
            (ORPHAN_START.env, self.orphan_start_ms.to_string()),
            (ORPHAN.env, self.orphan_ms.to_string()),
            (STOP_GRACE.env, self.stop_grace_ms.to_string()),
            (LINK_HEARTBEAT.env, self.link_heartbeat_ms.to_string()),
            (LINK_THRESHOLD.env, self.link_threshold_ms.to_string()),
            (LEASE.env, self.lease_ms.to_string()),
            (ALLOWED_FUNCTIONS.env, self.allowed_functions.iter().map(|hash| format!("{hash},")).collect()),
        ];
        env.extend(self.sandbox.to_env());
        env.extend(self.containers.to_env());
        env
    }
}

fn workers(values: &Values) -> Result<u32, ConfigError> {
    let most = most(limits::WORKERS);
    match values.whole(&WORKERS, 0..=most)? {
        0 => match values.whole(&CORES, 0..=limits::RESOURCE_COUNT)? {
            0 => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                Ok(u32::try_from(cores).unwrap_or(most).min(most))
            }
            cores => Ok(cores.min(most)),
        },
        count => Ok(count),
    }
}

fn memory(values: &Values) -> Result<u64, ConfigError> {
    let text = values.get(&MEMORY).0;
    if text.is_empty() {
        return Ok(0);
    }
    let mb = memory_mb(text).filter(|mb| *mb <= limits::RESOURCE_MEMORY_MB);
    mb.ok_or_else(|| values.wrong(&MEMORY, "expected an amount such as 512MB or 64GB".into()))
}

fn listen(values: &Values, blocks: &Blocks) -> Result<Option<String>, ConfigError> {
    let text = values.get(&LISTEN).0;
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if loopback && blocks.is_remote() && blocks.interface != "lo" {
        let why = "executors on other nodes cannot reach it; leave it empty, or set blocks.interface = \"lo\" if all nodes \
                   are this host";
        return Err(values.wrong(&LISTEN, why.into()));
    }
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if !blocks.reach_home() && matches!(port, None | Some(0)) {
        let why = "executors that cannot read this home keep the address that they were given, also when the manager starts \
                   again: name a port, as in 0.0.0.0:7411";
        return Err(values.wrong(&LISTEN, why.into()));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn bulk(values: &Values) -> Result<Option<u16>, ConfigError> {
    match values.get(&BULK).0 {
        NO_PORT => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| values.wrong(&BULK, format!("it must be a port, 0 to 65535, or {NO_PORT}"))),
    }
}

fn allowed_functions(values: &Values) -> Result<BTreeSet<Hash>, ConfigError> {
    let words = values.get(&ALLOWED_FUNCTIONS).0.split([',', ':']).map(str::trim);
    let hash = |word: &str| {
        let why = || {
            format!(
                "'{word}' is no hash of 64 hexadecimal digits; `bursa function show ID` prints a function's"
            )
        };
        word.parse().map_err(|_| values.wrong(&ALLOWED_FUNCTIONS, why()))
    };
    words.filter(|word| !word.is_empty()).map(hash).collect()
}

fn public_listen(values: &Values) -> Result<Option<String>, ConfigError> {
    let text = values.get(&PUBLIC_LISTEN).0;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port {
        _ if text.is_empty() => Ok(None),
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(Some(text.to_owned())),
        _ => Err(values.wrong(&PUBLIC_LISTEN, "expected host:port".into())),
    }
}

/// A bound of `limits`, all of which fit.
fn most(bound: usize) -> u32 {
    u32::try_from(bound).unwrap_or(u32::MAX)
}

fn threshold(values: &Values, key: &Key, heartbeat: &Key) -> Result<u64, ConfigError> {
    let (threshold, beat) = (values.whole(key, 1..=u64::MAX)?, values.whole(heartbeat, 1..=u64::MAX)?);
    if threshold / 2 < beat {
        return Err(values.wrong(key, format!("it must be at least twice {} ({beat})", heartbeat.name)));
    }
    Ok(threshold)
}

fn python(configured: &str, blocks: &Blocks) -> Option<PathBuf> {
    if !blocks.reach_home() {
        // What is here is not what is there.
        return Some(configured.into()).filter(|_| !configured.is_empty());
    }
    if configured.contains('/') {
        return Some(absolute(configured.into()));
    }
    if !configured.is_empty() {
        return Some(on_path(configured).unwrap_or_else(|| configured.into()));
    }
    let venv = std::env::var_os("VIRTUAL_ENV").map(|dir| Path::new(&dir).join("bin/python"));
    venv.filter(|path| path.is_file()).map(absolute).or_else(|| on_path("python3"))
}

/// The file of the program `name`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| absolute(dir.join(name))).find(|file| file.is_file())
}

/// Workers have other working directories than the process that starts them.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// This program, also when its file was replaced since it started.
fn this_program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursa_core::config::Source;

    #[test]
    fn defaults_are_valid_and_zero_workers_means_one_per_core() {
        let config = Config::from_values(&Values::default(), Path::new("/h"), "lab").unwrap();
        assert!(config.workers >= 1);
        assert_eq!((config.heartbeat_ms, config.threshold_ms), (2000, 6000));
    }

    #[test]
    fn the_environment_of_a_child_gives_the_same_configuration() {
        let config = Config::from_values(&Values::default(), Path::new("/h"), "lab").unwrap();
        let env = config.to_env();
        assert_eq!(env.len(), KEYS.len() + SANDBOX_KEYS.len() + CONTAINER_KEYS.len());
        let mut values = Values::default();
        for key in KEYS.iter().chain(SANDBOX_KEYS).chain(CONTAINER_KEYS) {
            let (_, value) = env.iter().find(|(name, _)| *name == key.env).unwrap();
            values.offer(key, value, Source::Env);
        }
        let again = Config::from_values(&values, Path::new("/h"), "lab").unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }

    #[test]
    fn each_worker_has_an_accelerator_of_its_own() {
        let with = |text: &str, workers: &str, executors: &str| {
            let mut values = Values::default();
            values.offer(&share::ACCELERATORS, text, Source::Env);
            values.offer(&WORKERS, workers, Source::Env);
            values.offer(&EXECUTORS, executors, Source::Env);
            Config::from_values(&values, Path::new("/h"), "lab")
                .map(|config| (config.accelerators, config.workers))
        };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(with("2", "2", "1").unwrap(), (names(&["0", "1"]), 2));
        assert_eq!(with("3,", "1", "1").unwrap(), (names(&["3"]), 1));
        assert_eq!(with("GPU-a,GPU-b", "1", "1").unwrap(), (names(&["GPU-a", "GPU-b"]), 1));
        assert_eq!(with("1", "0", "1").unwrap().1, 1, "as many workers as have one");
        assert_eq!(with("0", "7", "3").unwrap(), (Vec::new(), 7));
        let text = with("2", "4", "1").unwrap_err().to_string();
        assert!(text.contains("endpoint.workers = 2 or less"), "{text}");
        assert!(with("4", "2", "2").unwrap_err().to_string().contains("endpoint.executors = 1"));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (key, value) in [
            (&WORKERS, "9999999"),
            (&EXECUTORS, "0"),
            (&CORES, "many"),
            (&MEMORY, "64"),
            (&PUBLIC_LISTEN, "login1"),
            (&THRESHOLD, "3000"),
            (&IDLE, "0"),
            (&MIN_WARM, "1025"),
            (&PREFETCH, "-1"),
            (&HEARTBEAT, "soon"),
            (&ROUTING, "warm"),
            (&share::AFFINITY, "socket"),
            (&share::MPI_LAUNCHER, "mpirun"),
            (&share::ACCELERATORS, "99999"),
        ] {
            let mut values = Values::default();
            values.offer(key, value, Source::Env);
            let error = Config::from_values(&values, Path::new("/h"), "lab").unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} = '{value}' (from environment)", key.name)), "{error}");
        }
    }

    #[test]
    fn a_number_says_its_range() {
        for value in ["-1", "65537", "99999999999999999999", "1.5", "many"] {
            let mut values = Values::default();
            values.offer(&PREFETCH, value, Source::Env);
            let error = Config::from_values(&values, Path::new("/h"), "lab").unwrap_err();
            assert_eq!(error.why, "it must be a whole number from 0 to 65536");
        }
    }
}
