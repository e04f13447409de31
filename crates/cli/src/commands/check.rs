//! `bursa endpoint check`: what the endpoint needs is tried item by item, and then one call.

mod job;
mod service;

use super::process;
use crate::exit::FAILED;
use crate::output;
use crate::settings::Settings;
use bursa_endpoint::check::{self, Item};
use bursa_endpoint::config::Runtime;
use bursa_endpoint::{home, runtime, sandbox};
use serde_json::json;
use std::process::ExitCode;

/// Each item in one line, as soon as it is known. The exit code says whether the endpoint has what it needs: programs
/// that start containers are not among that.
pub(super) fn run(
    settings: &Settings,
    as_json: bool,
    name: &str,
    with_job: bool,
) -> anyhow::Result<ExitCode> {
    let config = process::endpoint_config(settings, name)?;
    let directory = home::load(settings.home(), name).ok();
    let runs =
        directory.as_ref().is_some_and(|directory| directory.owner().is_ok_and(|owner| owner.is_some()));
    let mut told = Told { as_json, items: Vec::new() };
    let mut is_isolated = true;
    // What isolates functions, and what starts containers, is that of a pod and not of this host.
    if config.blocks.reach_home() {
        is_isolated = told.all(sandbox::check(&config)) || config.sandbox.runtime == Runtime::None;
        told.all(runtime::check(&config));
    }
    let mut is_well = told.all(check::check(&config, runs));
    let (items, reached) = service::check(settings, directory.as_ref());
    is_well &= told.all(items);
    if with_job {
        let found = match reached {
            _ if !config.blocks.reach_home() => Ok("not tried: the first call of anybody tries a pod".into()),
            Some(reached) => job::there(&config, &reached),
            None if runs => Err("not tried: the endpoint runs, and its service cannot be asked".into()),
            None => job::here(settings, &config),
        };
        is_well &= told.all([check::item("call", found)]);
    }
    if as_json {
        output::print_json(&json!({"checks": told.items}));
    }
    Ok(if is_isolated && is_well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// What was found so far.
struct Told {
    as_json: bool,
    items: Vec<Item>,
}

impl Told {
    /// Prints them; whether all are as they should be.
    fn all(&mut self, items: impl IntoIterator<Item = Item>) -> bool {
        let before = self.items.len();
        for item in items {
            if !self.as_json {
                say!("{}  {:<13} {}", if item.ok { "ok" } else { "NO" }, item.what, item.found);
            }
            self.items.push(item);
        }
        self.items[before..].iter().all(|item| item.ok)
    }
}
