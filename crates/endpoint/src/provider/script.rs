//! What the batch scripts of all schedulers have in common: the environment, and how executors start.

use super::scheduler::{Request, quoted};
use crate::config::blocks::Launcher;
use crate::nodes::NODES;
use std::fmt::Write as _;

/// The first lines of a script.
pub fn head(request: &Request<'_>) -> String {
    let executors = if commands_all(request) { "one executor for all" } else { "one executor on each" };
    format!("#!/bin/sh\n# A block of the endpoint {}: {executors} of its nodes.\n", request.config.name)
}

/// Whether one executor commands several nodes.
fn commands_all(request: &Request<'_>) -> bool {
    request.config.blocks.nodes_each() > 1
}

/// Exports what an executor is configured with; the scheduler names a node's cores in the variable `cores`.
pub fn environment(request: &Request<'_>, cores: &str) -> String {
    let mut lines = String::new();
    for (name, value) in request.config.to_env() {
        let _ = match (name, request.config.one_per_core) {
            ("BURSA_WORKERS", true) => writeln!(lines, "export BURSA_WORKERS=\"${{{cores}:-0}}\""),
            _ => writeln!(lines, "export {name}={}", quoted(&value)),
        };
    }
    lines
}

/// The last lines: each node's executor takes its id out of the list by its rank. The shell's word `nodes` names all
/// nodes, to the one executor that commands them.
pub fn start(request: &Request<'_>, nodes: &str) -> String {
    let config = request.config;
    let program = quoted(&config.program.display().to_string());
    let home = quoted(&config.home.display().to_string());
    let run = format!("exec {program} --home {home} executor --endpoint {}", quoted(&config.name));
    let ids: Vec<String> = request.executors.iter().map(ToString::to_string).collect();
    let ids = ids.join(" ");
    let count = request.executors.len();
    let (launch, rank) = match config.blocks.launcher {
        Launcher::Single => {
            let told =
                if commands_all(request) { format!("export {NODES}=\"{nodes}\"\n") } else { String::new() };
            return format!("{told}{run} --id {ids}\n");
        }
        Launcher::Srun => (
            format!(
                "srun --nodes={count} --ntasks={count} --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=0"
            ),
            "$SLURM_PROCID",
        ),
        Launcher::Mpiexec => {
            (format!("mpiexec -n {count}"), "${PMIX_RANK:-${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}}")
        }
    };
    let each = quoted(&format!("shift \"{rank}\"; {run} --id \"$1\""));
    format!("{launch} sh -c {each} sh {ids}\n")
}

/// Scripts of a made-up endpoint, for the tests of each scheduler.
#[cfg(test)]
pub(super) mod sample {
    use super::super::scheduler::{Request, Scheduler};
    use crate::config::{Config, KEYS, blocks, kubernetes};
    use bursa_core::config::{ConfigError, Source, Values};
    use bursa_core::id::{BlockId, ExecutorId};
    use std::path::Path;

    pub(in super::super) const BLOCK: BlockId = BlockId::from_bytes([0xb1; 16]);

    pub(in super::super) fn try_config(provider: &str, set: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut values = Values::default();
        for (name, value) in [("provider", provider)].iter().chain(set) {
            let mut keys = blocks::KEYS.iter().chain(KEYS).chain(kubernetes::KEYS);
            let key = keys.find(|key| key.name.split('.').nth(1) == Some(name)).unwrap();
            values.offer(key, *value, Source::Env);
        }
        Config::from_values(&values, Path::new("/home/ada/.bursa"), "hpc")
    }

    /// Without what is of no interest here: times, addresses and the sandbox.
    pub(in super::super) fn script(
        scheduler: &dyn Scheduler,
        provider: &str,
        set: &[(&str, &str)],
        log: &str,
    ) -> String {
        let mut config = try_config(provider, set).unwrap();
        (config.program, config.python) = ("/opt/bursa".into(), Some("/opt/py thon".into()));
        let ids = 1..=u8::try_from(config.blocks.executors()).unwrap();
        let executors: Vec<_> = ids.map(|n| ExecutorId::from_bytes([n; 16])).collect();
        let request = Request {
            block: BLOCK,
            executors: &executors,
            config: &config,
            log: log.into(),
            handed: Vec::new(),
        };
        let script = scheduler.script(&request);
        let others = ["export BURSA_ENDPOINT_", "export BURSA_SANDBOX_", "export BURSA_CONTAINERS_"];
        let of_interest = |line: &&str| !others.iter().any(|other| line.starts_with(other));
        script.lines().filter(of_interest).map(|line| format!("{line}\n")).collect()
    }
}
