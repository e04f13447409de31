//! `bursa run`: one call of a function in a Python file. Python reads Python: this hands over to `python -m bursa.run`.

use crate::args::Run;
use crate::settings::Settings;
use anyhow::Context;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

pub(super) fn run(settings: &Settings, json: bool, command: &Run) -> anyhow::Result<ExitCode> {
    let config = bursa_endpoint::Config::from_values(settings.values(), settings.home(), "local");
    let python = config.map_err(super::process::configuration)?.python;
    let python =
        python.context("there is no python3 on PATH; set BURSA_PYTHON to a Python that has `bursa`")?;
    let mut python_command = Command::new(&python);
    python_command.args(["-m", "bursa.run"]).env("BURSA_HOME", settings.home());
    if json {
        python_command.arg("--json");
    }
    if let Some(endpoint) = &command.endpoint {
        python_command.args(["--endpoint", endpoint]);
    }
    if let Some(container) = &command.container {
        python_command.args(["--container", container]);
    }
    let count = |count: &Option<u32>| count.map(|count| count.to_string());
    for (option, value) in [
        ("--cores", count(&command.cores)),
        ("--memory", command.memory.clone()),
        ("--gpus", count(&command.gpus)),
        ("--nodes", count(&command.nodes)),
        ("--ranks-per-node", count(&command.ranks_per_node)),
    ] {
        python_command.args(value.into_iter().flat_map(|value| [option.to_owned(), value]));
    }
    if command.memoize {
        python_command.arg("--memoize");
    }
    let error = python_command.args(&command.call).exec();
    Err(error).with_context(|| {
        format!("cannot start {}; set BURSA_PYTHON to a Python that has `bursa` installed", python.display())
    })
}
