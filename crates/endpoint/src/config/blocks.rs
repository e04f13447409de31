//! What blocks an endpoint asks for, and of which provider: the section `blocks`.

use bursa_core::config::{ConfigError, Key, Values};
use bursa_core::limits;
use bursa_core::manager::Scale;
use bursa_core::resources::Resources;
use std::time::Duration;

macro_rules! key {
    ($const:ident, $name:literal, $env:literal, $default:literal, $about:literal) => {
        const $const: Key =
            Key { name: concat!("blocks.", $name), env: $env, default: $default, about: $about };
    };
}

key!(
    PROVIDER,
    "provider",
    "BURSA_PROVIDER",
    "local",
    "where nodes come from: local (this node), slurm, pbs, lsf or kubernetes"
);
key!(
    INIT,
    "init",
    "BURSA_BLOCKS_INIT",
    "",
    "blocks asked for at the start; empty: endpoint.executors with the local provider, else 0"
);
key!(
    MIN,
    "min",
    "BURSA_BLOCKS_MIN",
    "",
    "blocks kept without any calls; empty: endpoint.executors with the local provider, else 0"
);
key!(
    MAX,
    "max",
    "BURSA_BLOCKS_MAX",
    "",
    "most blocks at once; empty: endpoint.executors with the local provider, else 1"
);
key!(
    PARALLELISM,
    "parallelism",
    "BURSA_BLOCKS_PARALLELISM",
    "1",
    "workers wanted for each call that waits or runs, above 0 and at most 1"
);
key!(
    IDLE,
    "idle_ms",
    "BURSA_BLOCKS_IDLE_MS",
    "60000",
    "a block without calls ends after this, if more than `min` are there"
);
key!(
    NODES,
    "nodes_per_block",
    "BURSA_BLOCKS_NODES",
    "1",
    "nodes of one block: an executor starts on each, or with the launcher single one that lends them to calls"
);
key!(
    WALLTIME,
    "walltime",
    "BURSA_BLOCKS_WALLTIME",
    "01:00:00",
    "time for which the scheduler gives a block, as [DAYS-]HH:MM:SS"
);
key!(
    PARTITION,
    "partition",
    "BURSA_BLOCKS_PARTITION",
    "",
    "the scheduler's partition or queue; empty: its default"
);
key!(ACCOUNT, "account", "BURSA_BLOCKS_ACCOUNT", "", "the account or project that pays; empty: your default");
key!(QOS, "qos", "BURSA_BLOCKS_QOS", "", "Slurm's quality of service; empty: its default");
key!(CONSTRAINT, "constraint", "BURSA_BLOCKS_CONSTRAINT", "", "features that nodes must have");
key!(
    GRES,
    "gres",
    "BURSA_BLOCKS_GRES",
    "",
    "generic resources of each node, such as gpu:2; with kubernetes: as nvidia.com/gpu=2"
);
key!(
    CORES,
    "cores_per_node",
    "BURSA_BLOCKS_CORES",
    "0",
    "cores of each node that are asked for; 0: what the scheduler gives"
);
key!(MEM, "mem_per_node", "BURSA_BLOCKS_MEM", "", "memory of each node that is asked for, such as 16G");
key!(
    OPTIONS,
    "scheduler_options",
    "BURSA_BLOCKS_OPTIONS",
    "",
    "further lines for the head of the batch script, such as #SBATCH --exclusive"
);
key!(
    WORKER_INIT,
    "worker_init",
    "BURSA_BLOCKS_WORKER_INIT",
    "",
    "shell lines that are run on a block's first node before its executors start"
);
key!(
    LAUNCHER,
    "launcher",
    "BURSA_BLOCKS_LAUNCHER",
    "",
    "what starts the executors of a block: srun (slurm only), mpiexec, or single: one executor, on the first node, which lends whole nodes to calls that ask for them; empty: srun with slurm, else single or, for several nodes, mpiexec"
);
key!(
    INTERFACE,
    "interface",
    "BURSA_BLOCKS_INTERFACE",
    "",
    "the network interface under which nodes reach the manager, such as ib0; empty: the first that is not loopback; lo: all nodes are this host"
);

/// Every key of the section `blocks`.
pub const KEYS: &[Key] = &[
    PROVIDER,
    INIT,
    MIN,
    MAX,
    PARALLELISM,
    IDLE,
    NODES,
    WALLTIME,
    PARTITION,
    ACCOUNT,
    QOS,
    CONSTRAINT,
    GRES,
    CORES,
    MEM,
    OPTIONS,
    WORKER_INIT,
    LAUNCHER,
    INTERFACE,
];

/// Where nodes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// This node.
    Local,
    /// Slurm.
    Slurm,
    /// OpenPBS, PBS Professional.
    Pbs,
    /// LSF.
    Lsf,
    /// Kubernetes.
    Kubernetes,
}

impl Provider {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::Local),
            "slurm" => Some(Self::Slurm),
            "pbs" => Some(Self::Pbs),
            "lsf" => Some(Self::Lsf),
            "kubernetes" => Some(Self::Kubernetes),
            _ => None,
        }
    }
}

/// What starts the executors of a block on its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// Slurm's own.
    Srun,
    /// An MPI's.
    Mpiexec,
    /// None: the script becomes the one executor, which commands all nodes.
    Single,
}

/// The values of the section, with types. Texts may be empty.
#[derive(Debug, Clone)]
pub struct Blocks {
    /// Where nodes come from.
    pub provider: Provider,
    /// Blocks at the start, always, and at most.
    pub init: u32,
    /// Blocks kept without any calls.
    pub min: u32,
    /// Most blocks at once.
    pub max: u32,
    /// Workers wanted for 1,000 calls.
    pub parallelism: u32,
    /// A block without calls ends after this.
    pub idle_ms: u64,
    /// Nodes of one block.
    pub nodes: u32,
    /// Time for which the scheduler gives a block.
    pub walltime: Duration,
    /// Partition or queue.
    pub partition: String,
    /// Who pays.
    pub account: String,
    /// Quality of service.
    pub qos: String,
    /// Features of nodes.
    pub constraint: String,
    /// Generic resources of each node.
    pub gres: String,
    /// Cores of each node; 0: what there are.
    pub cores: u32,
    /// Memory of each node.
    pub mem: String,
    /// Lines for the head of the script.
    pub options: String,
    /// Lines before the executors start.
    pub worker_init: String,
    /// What starts executors.
    pub launcher: Launcher,
    /// Under which interface nodes reach the manager.
    pub interface: String,
}

impl Blocks {
    /// The section; an endpoint of this node keeps so many `executors` unless it says otherwise.
    pub(super) fn from_values(values: &Values, executors: u32) -> Result<Self, ConfigError> {
        let provider = provider(values)?;
        let local = provider == Provider::Local;
        let most = u32::try_from(limits::EXECUTORS).unwrap_or(u32::MAX);
        let count = |key: &Key, least: u32, else_: u32| match values.get(key).0 {
            "" => Ok(if local { executors } else { else_ }),
            _ => values.whole(key, least..=most),
        };
        let max = count(&MAX, 1, 1)?;
        let min = count(&MIN, 0, 0)?.min(if values.get(&MIN).0.is_empty() { max } else { most });
        let init = count(&INIT, 0, min)?.min(if values.get(&INIT).0.is_empty() { max } else { most });
        let nodes = values.whole(&NODES, 1..=if local { 1 } else { most / max })?;
        for (key, value) in [(&MIN, min), (&INIT, init)] {
            if value > max {
                return Err(values.wrong(key, format!("it must be at most {} ({max})", MAX.name)));
            }
        }
        let text = |key: &Key| line(values, key);
        let launcher = launcher(values, provider, nodes)?;
        foreign(values, provider)?;
        Ok(Self {
            provider,
            init,
            min,
            max,
            parallelism: parallelism(values)?,
            idle_ms: values.whole(&IDLE, 0..=u64::MAX)?,
            nodes,
            walltime: walltime(values)?,
            partition: text(&PARTITION)?,
            account: text(&ACCOUNT)?,
            qos: text(&QOS)?,
            constraint: text(&CONSTRAINT)?,
            gres: text(&GRES)?,
            cores: values.whole(&CORES, 0..=most)?,
            mem: text(&MEM)?,
            options: values.get(&OPTIONS).0.trim_end().to_owned(),
            worker_init: values.get(&WORKER_INIT).0.trim_end().to_owned(),
            launcher,
            interface: text(&INTERFACE)?,
        })
    }

    /// Executors of one block.
    #[must_use]
    pub fn executors(&self) -> u32 {
        if self.launcher == Launcher::Single { 1 } else { self.nodes }
    }

    /// Nodes that one executor commands.
    #[must_use]
    pub fn nodes_each(&self) -> u32 {
        self.nodes / self.executors()
    }

    /// Whether executors find the home directory on their nodes.
    #[must_use]
    pub fn reach_home(&self) -> bool {
        self.provider != Provider::Kubernetes
    }

    /// Whether nodes come from a scheduler.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.provider != Provider::Local
    }

    /// What the machine must know, with executors of `slots` workers that have `has`.
    #[must_use]
    pub fn scale(&self, slots: u32, has: Resources) -> Scale {
        let walltime_ms = u64::try_from(self.walltime.as_millis()).unwrap_or(u64::MAX);
        Scale {
            init: self.init,
            min: self.min,
            max: self.max,
            nodes: self.executors(),
            slots,
            has,
            parallelism: self.parallelism,
            idle_ms: self.idle_ms,
            walltime_ms: self.is_remote().then_some(walltime_ms),
            scheduler: self.is_remote(),
        }
    }
}

fn provider(values: &Values) -> Result<Provider, ConfigError> {
    let named = Provider::named(values.get(&PROVIDER).0);
    named.ok_or_else(|| values.wrong(&PROVIDER, "expected local, slurm, pbs, lsf or kubernetes".into()))
}

/// Refuses what this provider does not have.
fn foreign(values: &Values, provider: Provider) -> Result<(), ConfigError> {
    let (keys, instead): (&[&Key], _) = match provider {
        Provider::Pbs | Provider::Lsf => (&[&QOS], OPTIONS.name),
        Provider::Kubernetes => {
            (&[&PARTITION, &ACCOUNT, &QOS, &CONSTRAINT, &OPTIONS, &LAUNCHER], "the section [kubernetes]")
        }
        Provider::Local | Provider::Slurm => return Ok(()),
    };
    match keys.iter().find(|key| !values.get(key).0.is_empty()) {
        Some(key) => {
            let why = format!("this provider has none; leave it empty, and say what you need in {instead}");
            Err(values.wrong(key, why))
        }
        None => Ok(()),
    }
}

fn launcher(values: &Values, provider: Provider, nodes: u32) -> Result<Launcher, ConfigError> {
    match values.get(&LAUNCHER).0 {
        "" if provider == Provider::Slurm => Ok(Launcher::Srun),
        "" if nodes > 1 => Ok(Launcher::Mpiexec),
        "" => Ok(Launcher::Single),
        "srun" if matches!(provider, Provider::Pbs | Provider::Lsf) => {
            Err(values.wrong(&LAUNCHER, format!("it is Slurm's, and {} is another", PROVIDER.name)))
        }
        "srun" => Ok(Launcher::Srun),
        "mpiexec" => Ok(Launcher::Mpiexec),
        "single" => Ok(Launcher::Single),
        _ => Err(values.wrong(&LAUNCHER, "expected srun, mpiexec or single".into())),
    }
}

fn parallelism(values: &Values) -> Result<u32, ConfigError> {
    let thousandths = values.get(&PARALLELISM).0.parse::<f64>().ok().map(|value| (value * 1_000.0).round());
    match thousandths {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 1,000")]
        Some(value) if (1.0..=1_000.0).contains(&value) => Ok(value as u32),
        _ => Err(values.wrong(&PARALLELISM, "it must be a number from 0.001 to 1".into())),
    }
}

/// A value that stands on a line of a script: it must not begin another.
fn line(values: &Values, key: &Key) -> Result<String, ConfigError> {
    let text = values.get(key).0;
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(values.wrong(key, "it must be one word".into()));
    }
    Ok(text.to_owned())
}

fn walltime(values: &Values) -> Result<Duration, ConfigError> {
    let text = values.get(&WALLTIME).0;
    let (days, time) = text.split_once('-').unwrap_or(("0", text));
    let numbers = std::iter::once(days).chain(time.split(':')).map(|part| part.parse::<u32>().ok());
    let seconds = match numbers.collect::<Option<Vec<u32>>>().as_deref() {
        Some([days, hours, minutes, seconds]) => {
            u64::from(*days) * 86_400
                + u64::from(*hours) * 3_600
                + u64::from(*minutes) * 60
                + u64::from(*seconds)
        }
        _ => 0,
    };
    if seconds < 60 {
        return Err(values.wrong(&WALLTIME, "expected [DAYS-]HH:MM:SS of at least a minute".into()));
    }
    Ok(Duration::from_secs(seconds))
}
