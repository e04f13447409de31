//! What is worth knowing of a host before an endpoint on it is configured, and the file that says so.

use crate::config::blocks::Provider;
use crate::config::on_path;
use bursa_core::config::Key;
use nix::ifaddrs::getifaddrs;
use std::fmt::Write as _;
use std::process::Command;

/// Most lines that are kept of what a scheduler says of its queues.
const QUEUES: usize = 20;
/// Where the manager of pods listens, which keep the address that they were given.
const LISTEN_OF_PODS: &str = "0.0.0.0:7411";
/// Seconds for a scheduler to answer.
const ANSWER_S: &str = "10";

/// A host, in words.
#[derive(Debug)]
pub struct Host {
    /// Cores of this process.
    pub cores: usize,
    /// Graphics cards with an NVIDIA device.
    pub gpus: usize,
    /// Programs here that start containers.
    pub runtimes: Vec<&'static str>,
    /// `name address` of each network interface.
    pub interfaces: Vec<String>,
    /// What the scheduler says of its queues, line by line; or why nothing.
    pub queues: Result<Vec<String>, String>,
}

impl Host {
    /// Looks around, and asks the scheduler of this provider.
    #[must_use]
    pub fn probe(provider: Provider) -> Self {
        let names = std::fs::read_dir("/dev").into_iter().flatten().flatten();
        let gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let all = ["bwrap", "podman", "docker", "apptainer", "singularity", "shifter", "ch-run"];
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            gpus: names.filter(|entry| entry.file_name().to_str().is_some_and(gpu)).count(),
            runtimes: all.into_iter().filter(|name| on_path(name).is_some()).collect(),
            interfaces: interfaces(),
            queues: queues(provider),
        }
    }

    /// A commented `endpoint.toml`: every key with its default, and what was found here.
    #[must_use]
    pub fn settings_file<'a>(
        &self,
        name: &str,
        provider: &str,
        keys: impl Iterator<Item = &'a Key>,
    ) -> String {
        let mut text = format!(
            "# The endpoint {name}. Every key there is: what begins with '#' shows its default. Flags and the environment win over\n\
             # this file, and this file over config.toml. What is wrong in it is told with its line when the endpoint starts.\n#\n"
        );
        for (what, found) in [
            ("cores here", self.cores.to_string()),
            ("NVIDIA cards here", self.gpus.to_string()),
            ("container runtimes here", listed(&self.runtimes)),
            ("network interfaces here", listed(&self.interfaces)),
        ] {
            let _ = writeln!(text, "# {what}: {found}");
        }
        let queues = match &self.queues {
            Ok(lines) => lines.iter().map(|line| format!("#   {line}\n")).collect(),
            Err(why) => format!("#   none are known: {why}\n"),
        };
        if !queues.is_empty() {
            let _ = write!(text, "# queues here:\n{queues}");
        }
        let mut section = "";
        for key in keys {
            let Some((of, short)) = key.name.split_once('.') else { continue };
            if of != section {
                let _ = writeln!(text, "\n[{of}]");
                section = of;
            }
            let _ = writeln!(text, "# {}", key.about);
            let _ = match key.name {
                "blocks.provider" => writeln!(text, "{short} = {}", written(provider)),
                "endpoint.listen" if provider == "kubernetes" => {
                    writeln!(text, "{short} = {}", written(LISTEN_OF_PODS))
                }
                _ => writeln!(text, "# {short} = {}", written(key.default)),
            };
        }
        text
    }
}

/// A value as TOML has it: JSON's strings are TOML's.
fn written(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => serde_json::Value::from(value).to_string(),
    }
}

fn listed<T: AsRef<str>>(all: &[T]) -> String {
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

fn interfaces() -> Vec<String> {
    let all = getifaddrs().into_iter().flatten();
    let address = |one: nix::ifaddrs::InterfaceAddress| {
        let address = one.address.and_then(|address| address.as_sockaddr_in().map(|it| it.ip()))?;
        Some(format!("{} {address}", one.interface_name))
    };
    all.filter_map(address).collect()
}

fn queues(provider: Provider) -> Result<Vec<String>, String> {
    let words: &[&str] = match provider {
        Provider::Local => return Ok(Vec::new()),
        Provider::Slurm => &["sinfo", "--format=%P %a, at most %l, %D nodes of %c cores and %m MB, %G"],
        Provider::Pbs => &["qstat", "-Q"],
        Provider::Lsf => &["bqueues", "-w"],
        Provider::Kubernetes => &["kubectl", "config", "get-contexts"],
    };
    let text = asked(words)?;
    let line = |line: &str| line.trim_end().chars().filter(|c| !c.is_control()).take(160).collect();
    Ok(text.lines().map(line).take(QUEUES).collect())
}

/// What a program answers, within a time.
///
/// # Errors
/// In one sentence, when it is not there, takes too long or fails.
pub(crate) fn asked(words: &[&str]) -> Result<String, String> {
    let name = words.first().copied().unwrap_or_default();
    if on_path(name).is_none() {
        return Err(format!("{name} is not on the PATH of this host; start the endpoint where it is"));
    }
    let output = Command::new("timeout").arg(ANSWER_S).args(words).output();
    let output = output.map_err(|error| format!("{name} cannot be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{name} failed ({}): {}",
            output.status,
            said.lines().next().unwrap_or_default()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KEYS, blocks};

    #[test]
    fn the_file_has_every_key_with_its_default_and_what_was_found() {
        let host = Host {
            cores: 8,
            gpus: 2,
            runtimes: vec!["podman"],
            interfaces: vec!["ib0 10.0.0.1".into()],
            queues: Ok(vec!["debug up".into()]),
        };
        let text = host.settings_file("lab", "slurm", KEYS.iter().chain(blocks::KEYS));
        for line in [
            "# NVIDIA cards here: 2",
            "# container runtimes here: podman",
            "#   debug up",
            "[endpoint]",
            "# workers = 0",
            "# python = \"\"",
            "[blocks]",
            "provider = \"slurm\"",
            "# walltime = \"01:00:00\"",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
        for key in KEYS.iter().chain(blocks::KEYS) {
            assert!(text.contains(&format!("# {}\n", key.about)), "{}", key.name);
        }
    }
}
