//! `bursa backup`: all that the service has, in one file.

use crate::args::Backup;
use crate::output;
use crate::settings::Settings;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Backup) -> anyhow::Result<ExitCode> {
    let saved = bursa_service::backup(settings.home(), &command.file)?;
    let file = command.file.display();
    if as_json {
        let shown = json!({
            "file": command.file, "bytes": saved.bytes, "payload_files": saved.payload_files
        });
        output::print_json(&shown);
    } else {
        say!("{file} holds the service of {}: {} bytes", settings.home().display(), saved.bytes);
        say!("it holds secrets: keep it as you keep keys; `bursa restore {file}` brings it back");
    }
    Ok(ExitCode::SUCCESS)
}
