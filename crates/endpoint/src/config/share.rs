//! What each worker gets for itself of its node: an accelerator, and processors; or of its block: nodes.

use super::blocks::Provider;
use bursa_core::config::{ConfigError, Key, Values};
use bursa_core::limits;
use std::fmt;
use std::str::FromStr;

pub(super) const ACCELERATORS: Key = Key {
    name: "endpoint.accelerators",
    env: "BURSA_ENDPOINT_ACCELERATORS",
    default: "",
    about: "accelerators of a node, one for each worker: how many, or their names as CUDA_VISIBLE_DEVICES takes them (with \
            commas; a single one as in `3,`); empty: workers see what the endpoint sees",
};
pub(super) const AFFINITY: Key = Key {
    name: "endpoint.cpu_affinity",
    env: "BURSA_ENDPOINT_CPU_AFFINITY",
    default: "none",
    about: "the processors of each worker: none, it takes any; block, neighbours; block-reverse, the same from the last one; \
            alternating, every n-th",
};
pub(super) const MPI_LAUNCHER: Key = Key {
    name: "endpoint.mpi_launcher",
    env: "BURSA_ENDPOINT_MPI_LAUNCHER",
    default: "",
    about: "what starts the ranks of a call on the nodes that it asked for: srun, mpiexec; empty: srun with slurm, else \
            mpiexec",
};

/// What starts the ranks of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MpiLauncher {
    /// Slurm's own.
    Srun,
    /// An MPI's.
    Mpiexec,
}

impl fmt::Display for MpiLauncher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Srun { "srun" } else { "mpiexec" })
    }
}

/// What starts ranks where nodes come from `provider`.
pub(super) fn mpi_launcher(values: &Values, provider: Provider) -> Result<MpiLauncher, ConfigError> {
    match values.get(&MPI_LAUNCHER).0 {
        "" if provider == Provider::Slurm => Ok(MpiLauncher::Srun),
        "" | "mpiexec" => Ok(MpiLauncher::Mpiexec),
        "srun" => Ok(MpiLauncher::Srun),
        _ => Err(values.wrong(&MPI_LAUNCHER, "expected srun or mpiexec".into())),
    }
}

/// Which processors each worker gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Affinity {
    /// All.
    #[default]
    None,
    /// The first worker gets the first ones.
    Block,
    /// The first worker gets the last ones.
    BlockReverse,
    /// Every n-th one, of n workers.
    Alternating,
}

impl Affinity {
    const ALL: [Self; 4] = [Self::None, Self::Block, Self::BlockReverse, Self::Alternating];

    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Block => "block",
            Self::BlockReverse => "block-reverse",
            Self::Alternating => "alternating",
        }
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Affinity {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|affinity| affinity.as_str() == word);
        known.ok_or("it must be none, block, block-reverse or alternating")
    }
}

/// The accelerators, and how many of `workers` have one; `all`: as many workers as there are cores.
pub(super) fn accelerators(
    values: &Values,
    workers: u32,
    all: bool,
    executors: u32,
) -> Result<(Vec<String>, u32), ConfigError> {
    let text = values.get(&ACCELERATORS).0;
    let names: Vec<String> = match text.parse::<usize>() {
        Ok(0) | Err(_) if text.is_empty() || text == "0" => return Ok((Vec::new(), workers)),
        Ok(count) if count <= limits::WORKERS => (0..count).map(|n| n.to_string()).collect(),
        Ok(_) => {
            let why = format!("a node has at most {} workers, and so accelerators", limits::WORKERS);
            return Err(values.wrong(&ACCELERATORS, why));
        }
        Err(_) => {
            let words = text.split([',', ':']).map(str::trim);
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
    };
    if executors > 1 {
        let why = format!("the {executors} executors of a node would share them; set endpoint.executors = 1");
        return Err(values.wrong(&ACCELERATORS, why));
    }
    let most = u32::try_from(names.len()).unwrap_or(u32::MAX);
    if workers > most && !all {
        let why = format!(
            "each of the {workers} workers of a node needs one and there are {most}; set endpoint.workers = {most} or less"
        );
        return Err(values.wrong(&ACCELERATORS, why));
    }
    Ok((names, workers.min(most)))
}
