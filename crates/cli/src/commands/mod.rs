//! One file for each command.

mod audit;
mod backup;
mod check;
mod config;
mod container;
mod endpoint;
mod env;
mod function;
mod group;
mod login;
mod memo;
mod process;
mod restore;
mod run;
mod secret;
mod share;
mod task;
mod token;
mod up;
mod user;

use crate::args::{Args, Command, Config, Endpoint, SWITCHES, Watchdog};
use crate::output;
use crate::settings::Settings;
use std::process::ExitCode;

/// Runs the command that `args` names.
pub(crate) fn dispatch(args: Args) -> anyhow::Result<ExitCode> {
    let load = |endpoint| Settings::load(&args, &flags(&args.command), endpoint);
    let settings = match &args.command {
        // It stops also when its settings cannot be read any more.
        Command::Endpoint(Endpoint::Stop { name }) => load(Some(name.as_str())).or_else(|_| load(None))?,
        command => load(endpoint_of(command))?,
    };
    let json = args.json;
    match args.command {
        Command::Up(_) => process::become_watchdog(),
        Command::Endpoint(command) => endpoint::run(&settings, json, command),
        Command::Backup(command) => backup::run(&settings, json, &command),
        Command::Restore(command) => restore::run(&settings, json, &command),
        Command::Audit(command) => audit::run(&settings, json, &command),
        Command::Run(command) => run::run(&settings, json, &command),
        Command::Task(command) => task::run(&settings, json, &command),
        Command::Function(command) => function::run(&settings, json, &command),
        Command::Container(command) => container::run(&settings, json, &command),
        Command::Memo(command) => memo::run(&settings, json, &command),
        Command::Login(command) => login::run(&settings, json, &command),
        Command::Logout => login::log_out(&settings, json),
        Command::Token(command) => token::run(&settings, json, &command),
        Command::Secret(command) => secret::run(&settings, json, &command),
        Command::User(command) => user::run(&settings, json, &command),
        Command::Group(command) => group::run(&settings, json, &command),
        Command::Env(command) => env::run(&settings, json, &command),
        Command::Config(command) => config::run(&settings, json, &command),
        Command::Version => {
            print_version(json);
            Ok(ExitCode::SUCCESS)
        }
        Command::Watchdog(Watchdog::Up(command)) => up::run(&settings, json, &command),
        Command::Watchdog(Watchdog::Endpoint(command)) => process::watch_endpoint(&settings, json, &command),
        Command::Serve(_) => process::service(&settings, json, true),
        Command::Service(_) => process::service(&settings, json, false),
        Command::Manager(command) => process::manager(&settings, &command),
        Command::Executor(command) => process::executor(&settings, &command),
    }
}

/// The endpoint of this home that `command` is about, if its settings matter.
fn endpoint_of(command: &Command) -> Option<&str> {
    match command {
        Command::Up(_) | Command::Watchdog(Watchdog::Up(_)) => Some(up::LOCAL),
        Command::Manager(process) | Command::Watchdog(Watchdog::Endpoint(process)) => Some(&process.name),
        Command::Endpoint(Endpoint::Start { process, .. }) => Some(&process.name),
        Command::Endpoint(Endpoint::Plan { name } | Endpoint::Check { name, .. }) => Some(name),
        Command::Executor(executor) => Some(&executor.endpoint),
        Command::Config(Config::Show { endpoint }) => endpoint.as_deref(),
        _ => None,
    }
}

/// What the flags of `command` say of configuration keys.
fn flags(command: &Command) -> Vec<(&'static str, Option<String>)> {
    let (service, workers) = match command {
        Command::Up(up) | Command::Watchdog(Watchdog::Up(up)) => (Some(&up.service), Some(&up.workers)),
        Command::Serve(service) | Command::Service(service) => (Some(service), None),
        Command::Manager(process) | Command::Watchdog(Watchdog::Endpoint(process)) => {
            (None, Some(&process.workers))
        }
        Command::Endpoint(Endpoint::Start { process, .. }) => (None, Some(&process.workers)),
        Command::Endpoint(Endpoint::Check { workers, .. }) => (None, Some(workers)),
        _ => (None, None),
    };
    let mut flags = Vec::new();
    if let Some(service) = service {
        flags.push(("service.http", service.http.clone()));
        flags.push(("service.zmq", service.zmq.clone()));
        for ((_, key), given) in SWITCHES.into_iter().zip([service.plain_http, service.tls_self_signed]) {
            flags.push((key, given.then(|| "true".to_owned())));
        }
    }
    if let Some(workers) = workers {
        flags.extend(workers.flags().map(|(_, key, value)| (key, value)));
    }
    flags
}

fn print_version(json: bool) {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        output::print_json(&serde_json::json!({"version": version, "api": "v1"}));
    } else {
        say!("bursa {version}");
    }
}
