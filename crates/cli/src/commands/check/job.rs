//! One call, as a user would make it: on the endpoint if it is online, else on one of the same settings that lives for
//! this call only.

use super::service::Reached;
use crate::settings::{Settings, keys};
use bursa_core::config::Source;
use bursa_endpoint::config::blocks::Provider;
use bursa_endpoint::{Config, control, interpreter, package};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// For the call, with whatever has to be started for it.
const SECONDS: u32 = 60;
/// An endpoint of one block that is asked for when the call comes: its start does not wait for it.
const ONE_BLOCK: [(&str, &str); 3] =
    [("BURSA_BLOCKS_INIT", "0"), ("BURSA_BLOCKS_MIN", "0"), ("BURSA_BLOCKS_MAX", "1")];
/// Settings that an endpoint of its own shares with the one that is checked.
const SECTIONS: [&str; 5] = ["endpoint.", "sandbox.", "blocks.", "containers.", "kubernetes."];

/// Calls the endpoint.
///
/// # Errors
/// In one sentence, when the call does not work.
pub(super) fn there(config: &Config, reached: &Reached) -> Result<String, String> {
    let (python, _) = interpreter::check(config).map_err(|error| format!("not tried: {error}"))?;
    let package = package::unpack(&config.home).map_err(|error| error.to_string())?;
    let mut command = Command::new(&python);
    command
        .args(["-m", "bursa.probe", &reached.endpoint_id, &SECONDS.to_string()])
        .current_dir(&package)
        .env("PYTHONPATH", &package)
        .env("BURSA_HOME", &config.home)
        .env("BURSA_URL", &reached.url)
        .env("BURSA_TOKEN", &reached.token)
        .stdin(Stdio::null());
    let output =
        command.output().map_err(|error| format!("{} cannot be started: {error}", python.display()))?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let found = said["found"].as_str().map(str::to_owned).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&output.stderr);
        format!("the call could not be made: {}", text.lines().last().unwrap_or("its program said nothing"))
    });
    if said["ok"] == true { Ok(found) } else { Err(found) }
}

/// Starts a service and an endpoint of the same settings in a directory of the home, and calls that.
///
/// # Errors
/// In one sentence, when it does not start or the call does not work.
pub(super) fn here(settings: &Settings, config: &Config) -> Result<String, String> {
    interpreter::check(config).map_err(|error| format!("not tried: {error}"))?;
    let home = Scratch::new(settings.home())?;
    let mut command = Command::new(&config.program);
    command.arg("--json").arg("--home").arg(&home.0).args([
        "up",
        "--http",
        "127.0.0.1:0",
        "--zmq",
        "127.0.0.1:0",
    ]);
    for name in ["BURSA_URL", "BURSA_TOKEN", "BURSA_HOME"] {
        command.env_remove(name);
    }
    for key in keys().filter(|key| SECTIONS.iter().any(|section| key.name.starts_with(section))) {
        let (value, source) = settings.values().get(key);
        if source != Source::Default {
            command.env(key.env, value);
        }
    }
    command.envs(ONE_BLOCK);
    if config.blocks.provider == Provider::Local {
        command.args(["--workers", "1"]);
    }
    let (_running, line) =
        control::start_for_now(command, &home.0.join("up.log")).map_err(|error| error.to_string())?;
    let ready: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
    let [url, token, endpoint_id] =
        ["url", "token", "endpoint_id"].map(|name| crate::output::field(&ready, name));
    let found = there(config, &Reached { url, token, endpoint_id })?;
    Ok(format!("{found}, with a service and an endpoint of these settings for this check only"))
}

/// A directory that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(home: &Path) -> Result<Self, String> {
        let path = home.join(format!("check-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is named after this process, and no one's.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
