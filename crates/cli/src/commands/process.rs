//! The processes that the command becomes: watchdog, service, manager, executor.

use crate::args::{ExecutorProcess, Process, Workers};
use crate::exit::{CONFIG, Coded, FAILED, HELD};
use crate::output;
use crate::settings::Settings;
use anyhow::Context;
use bursa_core::config::ConfigError;
use bursa_endpoint::control::{self, Way};
use bursa_endpoint::home::{self, Owner};
use bursa_endpoint::watchdog::{self, Child, Report, Role, Rules, WhenReady};
use serde_json::json;
use std::fs::{DirBuilder, OpenOptions};
use std::future::Future;
use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use tracing_subscriber::EnvFilter;

/// Turns this process into the watchdog of the same command line, so that its role shows in process listings.
pub(super) fn become_watchdog() -> anyhow::Result<ExitCode> {
    let error = this_program()?.arg("watchdog").args(std::env::args_os().skip(1)).exec();
    Err(error).context("cannot start the watchdog")
}

/// Turns this process into the watchdog of an endpoint.
pub(super) fn become_endpoint_watchdog(settings: &Settings, json: bool, process: &Process) -> anyhow::Error {
    match endpoint_watchdog(settings, json, process) {
        Ok(mut command) => anyhow::Error::new(command.exec()).context("cannot start the watchdog"),
        Err(error) => error,
    }
}

/// The command of an endpoint's watchdog.
pub(super) fn endpoint_watchdog(
    settings: &Settings,
    json: bool,
    process: &Process,
) -> anyhow::Result<Command> {
    let mut command = this_program()?;
    command.arg("watchdog").arg("--home").arg(settings.home());
    command.args(json.then_some("--json")).args(["endpoint", &process.name]);
    push_workers(&mut command, &process.workers);
    Ok(command)
}

fn push_workers(command: &mut Command, workers: &Workers) {
    for (flag, _, value) in workers.flags() {
        if let Some(value) = value {
            command.args([flag, &value]);
        }
    }
}

fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot find this program")?))
}

/// The child that is the service.
pub(super) fn service_child(
    settings: &Settings,
    mut addresses: impl FnMut() -> Option<(String, String)> + 'static,
    when_ready: WhenReady,
) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let home = settings.home().to_owned();
    let first = ["service.http", "service.zmq"].map(|name| set_value(settings, name));
    let switches: Vec<_> = crate::args::SWITCHES
        .into_iter()
        .filter(|(_, key)| set_value(settings, key).is_some_and(|value| value == "true"))
        .map(|(flag, _)| flag)
        .collect();
    // What endpoints are told is then not where it listens.
    let is_behind = set_value(settings, "service.public_zmq").is_some_and(|value| !value.is_empty());
    let command = move || {
        let mut command = Command::new(&program);
        command.arg("--home").arg(&home).arg("service");
        let [http, zmq] = match addresses() {
            Some((http, zmq)) => [Some(http), if is_behind { first[1].clone() } else { Some(zmq) }],
            None => first.clone(),
        };
        for (flag, value) in [("--http", http), ("--zmq", zmq)] {
            if let Some(value) = value {
                command.args([flag, &value]);
            }
        }
        command.args(&switches);
        command
    };
    let (command, log) = (Box::new(command), settings.home().join("logs/service.log"));
    let stops_within = watchdog::SERVICE_STOPS_WITHIN;
    Ok(Child { role: Role::Service, command, log, stops_within, when_ready: Some(when_ready) })
}

fn set_value(settings: &Settings, name: &str) -> Option<String> {
    let key = crate::settings::keys().find(|key| key.name == name)?;
    let (value, source) = settings.values().get(key);
    (source != bursa_core::config::Source::Default).then(|| value.to_owned())
}

/// The child that is the manager of an endpoint.
pub(super) fn manager_child(settings: &Settings, name: &str, workers: &Workers) -> anyhow::Result<Child> {
    let log = settings.home().join(format!("logs/{name}.manager.log"));
    let stops_within = endpoint_config(settings, name)?.stops_within();
    let (program, home, name, workers) =
        (std::env::current_exe()?, settings.home().to_owned(), name.to_owned(), workers.clone());
    let command = move || {
        let mut command = Command::new(&program);
        command.arg("--home").arg(&home).args(["manager", &name]);
        push_workers(&mut command, &workers);
        command
    };
    Ok(Child { role: Role::Manager, command: Box::new(command), log, stops_within, when_ready: None })
}

/// Watches until told to stop; the exit code says how it ended.
pub(super) fn watch(
    settings: &Settings,
    children: Vec<Child>,
    report: impl FnMut(Report<'_>) -> Result<(), String>,
) -> anyhow::Result<ExitCode> {
    let rules = Rules::from_values(settings.values()).map_err(configuration)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(watchdog::watch(children, rules, report));
    // A registration that waits for its answer does not hold the end up.
    runtime.shutdown_background();
    match ended {
        Ok(watchdog::Ended::Stopped) => Ok(ExitCode::SUCCESS),
        Err(error @ watchdog::Error::Refused { .. }) => Ok(code(error.code())),
        Err(error) => Err(Coded { code: FAILED, text: error.to_string() }.into()),
    }
}

/// Says on stderr that a child is in trouble: the watchdog's caller sees it without looking into a log.
pub(super) fn tell_trouble(report: &Report<'_>) {
    let line = match report {
        Report::Silent { role, how } => format!("bursa: the {role} is killed: {how}"),
        Report::Died { role, how, again_in: Some(pause) } => {
            format!("bursa: the {role} died ({how}); it is started again in {} ms", pause.as_millis())
        }
        Report::Died { role, how, again_in: None } => {
            format!("bursa: the {role} ended ({how}) and is not started again")
        }
        Report::Started { .. } | Report::Ready { .. } | Report::AllReady => return,
    };
    // `eprintln!` would end the watch when stderr is a file on a full disk.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Refuses what the endpoint's processes would refuse, before they are started.
pub(super) fn check_endpoint(settings: &Settings, name: &str) -> anyhow::Result<()> {
    let config = endpoint_config(settings, name)?;
    if !config.blocks.reach_home() {
        // Their Python is in their image.
        return Ok(());
    }
    match bursa_endpoint::interpreter::check(&config) {
        Ok(_) => Ok(()),
        Err(error) => Err(Coded { code: CONFIG, text: error.to_string() }.into()),
    }
}

/// Waits for what a watchdog that was killed left of itself, and refuses where one runs.
pub(super) fn make_way(settings: &Settings, name: &str, with_service: bool) -> anyhow::Result<()> {
    let (root, refuse) = (settings.home().display(), |text| Err(Coded { code: HELD, text }.into()));
    let wait = |what, pid| {
        move || {
            let text = format!("bursa: waiting for a {what} (process {pid}) whose watchdog is gone to end");
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    };
    if with_service && let Some(holder) = bursa_service::Holder::of(settings.home())? {
        let way = match holder.is_here() {
            true => {
                let within = watchdog::SERVICE_STOPS_WITHIN;
                control::make_way(holder.pid, within, wait("service", holder.pid))?
            }
            false => Way::HeldBy(holder.pid),
        };
        if let Way::HeldBy(pid) = way {
            let node = holder.node;
            return refuse(format!(
                "{root} is already run by process {pid} on node {node}; stop that one there (`kill {pid}`), or choose \
                 another home with --home"
            ));
        }
    }
    let Ok(directory) = home::load(settings.home(), name) else { return Ok(()) };
    // Whether one of another node lives is for the manager to find out.
    let Some(owner) = directory.owner()?.filter(Owner::is_here) else { return Ok(()) };
    let within = endpoint_config(settings, name)?.stops_within();
    match control::make_way(owner.pid(), within, wait("manager", owner.pid()))? {
        Way::Free => Ok(()),
        Way::HeldBy(_) => {
            refuse(home::Error::Locked { name: name.to_owned(), owner: Some(Box::new(owner)) }.to_string())
        }
    }
}

/// The watchdog of one endpoint.
pub(super) fn watch_endpoint(settings: &Settings, json: bool, process: &Process) -> anyhow::Result<ExitCode> {
    let directory = home::load(settings.home(), &process.name)?;
    check_endpoint(settings, &process.name)?;
    make_way(settings, &process.name, false)?;
    let id = directory.registration()?.endpoint_id;
    let child = manager_child(settings, &process.name, &process.workers)?;
    let name = process.name.clone();
    watch(settings, vec![child], move |report| {
        match report {
            Report::AllReady if json => {
                output::print_json(&json!({"endpoint_id": id, "name": name, "pid": std::process::id()}));
            }
            Report::AllReady => say!("endpoint {name} ({id}) is ready; Ctrl-C stops it"),
            trouble => tell_trouble(&trouble),
        }
        Ok(())
    })
}

/// The service process; under `serve` its log goes to stderr.
pub(super) fn service(settings: &Settings, json: bool, in_foreground: bool) -> anyhow::Result<ExitCode> {
    let config =
        bursa_service::Config::from_values(settings.values(), settings.home()).map_err(configuration)?;
    start_log(settings, (!in_foreground).then_some("service.log"))?;
    bursa_endpoint::rlimit::raise();
    let ready = move |ready: bursa_service::Ready| {
        if in_foreground && !json {
            say!("service is ready at {}; endpoints connect to {}", ready.url, ready.zmq);
        } else {
            let key = ready.service_key;
            let (url, http, zmq) = (ready.url, ready.http, ready.zmq);
            output::print_json(&json!({"url": url, "http": http, "zmq": zmq, "service_key": key}));
        }
    };
    let runtime = runtime()?;
    let stopped = runtime.block_on(async { terminated() })?;
    // Only the child of a watchdog takes its stdin for one.
    let pings = async { if in_foreground { tokio::sync::mpsc::channel(1).1 } else { watchdog::pings() } };
    match runtime.block_on(async { bursa_service::run(config, ready, stopped, pings.await).await }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error @ bursa_service::Error::Locked { .. }) => held(error),
        Err(error) => Err(error.into()),
    }
}

/// The manager process.
pub(super) fn manager(settings: &Settings, process: &Process) -> anyhow::Result<ExitCode> {
    let config = endpoint_config(settings, &process.name)?;
    start_log(settings, Some(&format!("{}.manager.log", process.name)))?;
    let ready = || output::print_json(&json!({"ready": true}));
    match runtime()?.block_on(async { bursa_endpoint::run_manager(config, ready, watchdog::pings()).await }) {
        Ok(exit) => {
            if exit.code() != bursa_endpoint::exit::STOPPED {
                // Its watchdog, which reads this, may be gone.
                let _ = writeln!(std::io::stderr(), "bursa: {}", exit.text);
            }
            Ok(code(exit.code()))
        }
        Err(error) if error.code() == bursa_endpoint::exit::LOCKED => held(error),
        Err(error) => Err(error.into()),
    }
}

/// The executor process.
pub(super) fn executor(settings: &Settings, executor: &ExecutorProcess) -> anyhow::Result<ExitCode> {
    let config = endpoint_config(settings, &executor.endpoint)?;
    start_log(settings, None)?;
    runtime()?.block_on(bursa_endpoint::run_executor(config, executor.id.parse()?))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn endpoint_config(settings: &Settings, name: &str) -> anyhow::Result<bursa_endpoint::Config> {
    bursa_endpoint::Config::from_values(settings.values(), settings.home(), name).map_err(configuration)
}

pub(super) fn configuration(error: ConfigError) -> anyhow::Error {
    Coded { code: CONFIG, text: error.to_string() }.into()
}

fn held(error: impl std::fmt::Display) -> anyhow::Result<ExitCode> {
    Err(Coded { code: HELD, text: error.to_string() }.into())
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(FAILED))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Ends with SIGTERM or SIGINT.
fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Log lines go to stderr, or to a file below `logs/`. `BURSA_LOG` chooses them.
fn start_log(settings: &Settings, file: Option<&str>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("BURSA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A line that a full disk does not take is dropped; told of on stderr, the same disk would end the process.
    let format = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    match file {
        None => format.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init(),
        Some(name) => {
            let logs = settings.home().join("logs");
            let path = logs.join(name);
            let mut options = OpenOptions::new();
            let file = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&logs)
                .and_then(|()| options.create(true).append(true).mode(0o600).open(&path))
                .with_context(|| format!("cannot write {}", path.display()))?;
            format.with_ansi(false).with_writer(file).init();
        }
    }
    Ok(())
}
