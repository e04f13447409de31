//! The command line.

mod people;

use crate::exit;
use clap::{Args as ClapArgs, Parser, Subcommand};
pub(crate) use people::{Group, Secret, Share, Unshare, User};
use std::path::PathBuf;

/// `bursa --help`, its commands by what they are for.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Host:
  up        Start a service and a local endpoint, and keep both running
  serve     Start a service alone
  endpoint  Make, start and look after endpoints
  backup    Write all that the service has to one file, while it runs
  restore   Put a backup into a home whose service does not run
  audit     Look at the audit log, and check that nobody changed it

Use:
  run       Call a function of a Python file and print its result
  task      Look at and cancel tasks
  function  Look at registered functions
  container Register containers, and look at them
  memo      Look at memoized results, and forget them

Settings:
  login     Log in at a provider of identity that the service knows
  logout    Forget that login, here and there
  token     Show, make and revoke API tokens
  secret    Set secrets, and grant them to functions
  user      Add users, and end their access
  group     Make groups of users, with whom things are shared
  env       Show what other clients need in their environment
  config    Show the configuration
  version   Print the version

Options:
{options}{after-help}";

/// Functions as a service for science: register Python functions, run them anywhere, lose nothing.
#[derive(Debug, Parser)]
#[command(name = "bursa", version, help_template = HELP, after_help = exit::HELP, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// Directory for everything Bursa keeps [default: ~/.bursa]
    #[arg(long, global = true, env = "BURSA_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a service and a local endpoint, and keep both running
    Up(Up),
    /// Start a service alone
    Serve(Service),
    /// Make, start and look after endpoints
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// Write all that the service has to one file, while it runs
    Backup(Backup),
    /// Put a backup into a home whose service does not run
    Restore(Restore),
    /// Look at the audit log, and check that nobody changed it
    #[command(subcommand)]
    Audit(Audit),
    /// Call a function of a Python file and print its result
    Run(Run),
    /// Look at and cancel tasks
    #[command(subcommand)]
    Task(Task),
    /// Look at registered functions
    #[command(subcommand)]
    Function(Function),
    /// Register containers, and look at them
    #[command(subcommand)]
    Container(Container),
    /// Look at memoized results, and forget them
    #[command(subcommand)]
    Memo(Memo),
    /// Log in at a provider of identity that the service knows
    Login(Login),
    /// Forget that login, here and there
    Logout,
    /// Show, make and revoke API tokens
    #[command(subcommand)]
    Token(Token),
    /// Set secrets, and grant them to functions
    #[command(subcommand)]
    Secret(Secret),
    /// Add users, and end their access
    #[command(subcommand)]
    User(User),
    /// Make groups of users, with whom things are shared
    #[command(subcommand)]
    Group(Group),
    /// Show what other clients need in their environment
    #[command(subcommand)]
    Env(Env),
    /// Show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Print the version
    Version,
    /// The process that keeps others running
    #[command(hide = true, subcommand)]
    Watchdog(Watchdog),
    /// The service process
    #[command(hide = true)]
    Service(Service),
    /// The manager process of an endpoint
    #[command(hide = true)]
    Manager(Process),
    /// The executor process of a node
    #[command(hide = true)]
    Executor(ExecutorProcess),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) service: Service,
    #[command(flatten)]
    pub(crate) workers: Workers,
    /// Give the local endpoint the id that funcX's tutorials use
    #[arg(long)]
    pub(crate) tutorial: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Service {
    /// Where to serve HTTP [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<String>,
    /// Where endpoints connect [default: 127.0.0.1:55001; port 0 if --http has port 0]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) zmq: Option<String>,
    /// Serve HTTP without TLS also where others can reach it, as behind a proxy that has TLS
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Serve HTTPS with a certificate made here, which clients know by its hash in the url
    #[arg(long)]
    pub(crate) tls_self_signed: bool,
}

/// Flags of the service without a value, and the keys that they set.
pub(crate) const SWITCHES: [(&str, &str); 2] =
    [("--plain-http", "service.plain_http"), ("--tls-self-signed", "service.tls_self_signed")];

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Read all of this home's log: no line edited, removed or moved, and its end not cut
    Verify,
    /// Show lines of the service's log, oldest first; for administrators
    Search {
        /// Of this user: name or id
        #[arg(long)]
        user: Option<String>,
        /// Whose action has this in it, as DELETE or /tokens
        #[arg(long, value_name = "TEXT")]
        action: Option<String>,
        /// About the object with this id
        #[arg(long, value_name = "ID")]
        object: Option<String>,
        /// Not before this time, as 2026-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// So many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Workers {
    /// Workers to run at once [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,
    /// Python interpreter of the workers [default: that of the active environment, else python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Let functions read this directory or file of the host; may be given again
    #[arg(long, value_name = "DIR")]
    read: Vec<PathBuf>,
    /// Let functions read and write this directory or file of the host; may be given again
    #[arg(long, value_name = "DIR")]
    write: Vec<PathBuf>,
    /// What isolates functions: auto, bwrap or none [default: auto, which is bwrap where it runs]
    #[arg(long, value_name = "RUNTIME")]
    sandbox: Option<String>,
}

impl Workers {
    /// Flags, the keys that they set, and what was given.
    pub(crate) fn flags(&self) -> [(&'static str, &'static str, Option<String>); 5] {
        [
            ("--workers", "endpoint.workers", self.workers.clone()),
            ("--python", "endpoint.python", self.python.clone()),
            ("--read", "sandbox.read", joined(&self.read)),
            ("--write", "sandbox.write", joined(&self.write)),
            ("--sandbox", "sandbox.runtime", self.sandbox.clone()),
        ]
    }
}

/// As the keys' values are written.
fn joined(paths: &[PathBuf]) -> Option<String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let texts: Vec<String> = paths.iter().map(|path| absolute(path).display().to_string()).collect();
    (!texts.is_empty()).then(|| texts.join(":"))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Endpoint {
    /// Register an endpoint with the service, and write a file for its settings
    New {
        /// A name for it, unique in this home
        name: String,
        /// What it is, for people
        #[arg(long, default_value = "")]
        description: String,
        /// Where its nodes come from
        #[arg(long, default_value = "local", value_parser = ["local", "slurm", "pbs", "lsf", "kubernetes"])]
        provider: String,
    },
    /// Start an endpoint and keep it running, in the foreground
    Start {
        #[command(flatten)]
        process: Process,
        /// Run in the background
        #[arg(long)]
        detach: bool,
    },
    /// Try all that an endpoint needs on this host, and one call
    Check {
        /// Name of the endpoint
        #[arg(default_value = "local")]
        name: String,
        /// Leave out the call, which may take a minute and asks a scheduler for a block
        #[arg(long)]
        no_call: bool,
        #[command(flatten)]
        workers: Workers,
    },
    /// Stop an endpoint of this home
    Stop {
        /// Its name
        name: String,
    },
    /// List your endpoints
    List {
        /// Those that others share with you
        #[arg(long)]
        shared: bool,
    },
    /// Say which functions an endpoint runs, whoever asks
    Allow {
        /// Its name or id
        endpoint: String,
        /// Ids of functions
        #[arg(required_unless_present = "any")]
        functions: Vec<String>,
        /// It runs any
        #[arg(long, conflicts_with = "functions")]
        any: bool,
    },
    /// Show an endpoint
    Status {
        /// Its name or id
        endpoint: String,
    },
    /// Show what an endpoint would ask its scheduler for
    Plan {
        /// Its name
        name: String,
    },
    /// Revoke an endpoint's key; in its own home it gets a new one
    Revoke {
        /// Its name or id
        endpoint: String,
    },
    /// Delete an endpoint; its waiting tasks end as `endpoint-deleted`
    Delete {
        /// Its name or id
        endpoint: String,
    },
    /// Share an endpoint
    Share(Share),
    /// Share an endpoint with somebody no longer
    Unshare(Unshare),
    /// Show with whom an endpoint is shared
    Shares {
        /// Its name or id
        id: String,
    },
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Process {
    /// Name of the endpoint
    #[arg(default_value = "local")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) workers: Workers,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ExecutorProcess {
    /// Name of the endpoint
    #[arg(long)]
    pub(crate) endpoint: String,
    /// Id of the executor
    #[arg(long)]
    pub(crate) id: String,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Watchdog {
    /// Of a service and its local endpoint
    Up(Up),
    /// Of an endpoint
    Endpoint(Process),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Backup {
    /// The file to write; one of that name is replaced
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Restore {
    /// A file that `bursa backup` wrote
    pub(crate) file: PathBuf,
    /// Put it in the place of the database that is there, which is kept aside
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
#[command(trailing_var_arg = true)]
pub(crate) struct Run {
    /// Endpoint to run on [default: your only one]
    #[arg(long, value_name = "ID")]
    pub(crate) endpoint: Option<String>,
    /// Container to run in, or `raw` for the endpoint's own environment
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<String>,
    /// Cores that it needs of a node
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<u32>,
    /// Memory that it needs of a node, such as 4GB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// GPUs that it needs of a node
    #[arg(long, value_name = "N")]
    pub(crate) gpus: Option<u32>,
    /// Whole nodes that it needs
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// Processes that it starts on each of its nodes
    #[arg(long, value_name = "N")]
    pub(crate) ranks_per_node: Option<u32>,
    /// Take the result of an equal call if there is one, and keep this one's for later calls
    #[arg(long)]
    pub(crate) memoize: bool,
    /// FILE.py[::function], then the function's arguments: positional, or as --name value
    #[arg(required = true, allow_hyphen_values = true, value_name = "FILE.py[::function] [ARGS]")]
    pub(crate) call: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List your tasks, newest first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those of this group
        #[arg(long)]
        group: Option<String>,
        /// Only those of this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// Only those of this function
        #[arg(long)]
        function: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a task: its state, and how it ended
    Show {
        /// Its id
        task: String,
    },
    /// Say why a task waits, or how it ended, and what to do next
    Explain {
        /// Its id
        task: String,
    },
    /// Cancel tasks
    Cancel {
        /// Their ids
        #[arg(required_unless_present = "group")]
        tasks: Vec<String>,
        /// All tasks of this group that have not ended
        #[arg(long, conflicts_with = "tasks")]
        group: Option<String>,
    },
    /// Share the results of a group of tasks
    Share(Share),
    /// Share the results of a group of tasks with somebody no longer
    Unshare(Unshare),
    /// Show with whom the results of a group of tasks is shared
    Shares {
        /// Id of the group
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// List your functions
    List {
        /// Those that others share with you
        #[arg(long)]
        shared: bool,
        /// Only those with this text in name or description
        #[arg(long)]
        search: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a function
    Show {
        /// Its id
        function: String,
    },
    /// Delete a function; tasks already accepted still run
    Delete {
        /// Its id
        function: String,
    },
    /// Share a function
    Share(Share),
    /// Share a function with somebody no longer
    Unshare(Unshare),
    /// Show with whom a function is shared
    Shares {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Container {
    /// Register a container
    Register {
        /// docker, podman, apptainer, singularity, shifter, charliecloud, bwrap or custom
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Where the image is: a name in a registry, or a path at the endpoint
        location: String,
        /// A name, for people
        #[arg(long, default_value = "")]
        name: String,
        /// What is in it, for people
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List your containers
    List {
        /// Only those with this text in name, location or description
        #[arg(long)]
        search: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a container
    Show {
        /// Its id
        container: String,
    },
    /// Delete a container; tasks already accepted still run in it
    Delete {
        /// Its id
        container: String,
    },
    /// Share a container
    Share(Share),
    /// Share a container with somebody no longer
    Unshare(Unshare),
    /// Show with whom a container is shared
    Shares {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Memo {
    /// Show how many there are, how large, and how many calls had one
    Show,
    /// Forget memoized results: equal calls run again
    Clear {
        /// Only those of this function's code
        #[arg(long, value_name = "ID")]
        function: Option<String>,
        /// Only those of this endpoint
        #[arg(long, value_name = "NAME or ID")]
        endpoint: Option<String>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Login {
    /// The provider, where the service has several
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// Log in at Globus
    #[arg(long)]
    pub(crate) globus: bool,
    /// Log in with a browser on this machine, which comes back by itself, instead of by a code
    #[arg(long)]
    pub(crate) browser: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Print the token that SDK and CLI use here
    Show,
    /// Make a token; it is shown this once
    New {
        /// What it is for
        name: String,
        /// What it may be used for, such as tasks:submit; may be given again [default: all but admin]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Time until it ends, such as 12h or 30d [default: never]
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// List your tokens, without their secrets
    List,
    /// Revoke a token
    Revoke {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// Print the variables with which programs for Globus Compute come to this service; they hold its token
    GlobusCompute {
        /// Put the token where these programs keep what logging in gave them, and not into a variable
        #[arg(long)]
        store: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every key, its value, where the value comes from, and what it does
    Show {
        /// As this endpoint of the home has it, whose endpoint.toml comes before config.toml
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_names_every_command_with_its_own_words() {
        Args::command().debug_assert();
        for command in Args::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let about = command.get_about().unwrap_or_default();
            let line = format!("\n  {:10}{about}\n", command.get_name());
            assert!(HELP.contains(&line), "{line}");
        }
    }
}
