//! `bursa config`: what is set, and by whom.

use crate::args::Config;
use crate::output;
use crate::settings::{Settings, keys};
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Config) -> anyhow::Result<ExitCode> {
    let Config::Show { .. } = command;
    let shown = keys().map(|key| (key, settings.values().get(key)));
    if as_json {
        let entries: serde_json::Map<_, _> = shown
            .map(|(key, (value, source))| {
                let entry =
                    json!({"value": value, "source": source.to_string(), "env": key.env, "about": key.about});
                (key.name.to_owned(), entry)
            })
            .collect();
        output::print_json(&json!({"home": settings.home(), "keys": entries}));
    } else {
        say!("home {}\n", settings.home().display());
        let rows = shown.map(|(key, (value, source))| {
            vec![key.name.into(), value.into(), source.to_string(), key.env.into(), key.about.into()]
        });
        output::print_table(&["KEY", "VALUE", "FROM", "ENVIRONMENT", "ABOUT"], rows.collect(), "");
    }
    Ok(ExitCode::SUCCESS)
}
