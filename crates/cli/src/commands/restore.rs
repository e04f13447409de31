//! `bursa restore`: a backup takes the place of what the service had.

use crate::args::Restore;
use crate::exit::{Coded, HELD};
use crate::output;
use crate::settings::Settings;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Restore) -> anyhow::Result<ExitCode> {
    let restored = match bursa_service::restore(settings.home(), &command.file, command.force) {
        Err(error @ bursa_service::Error::Locked { .. }) => {
            return Err(Coded { code: HELD, text: error.to_string() }.into());
        }
        restored => restored?,
    };
    if as_json {
        let shown = json!({
            "home": settings.home(), "payload_files": restored.payload_files,
            "epoch": restored.epoch, "aside": restored.aside
        });
        output::print_json(&shown);
    } else {
        say!("{} is restored from {}; start it as before", settings.home().display(), command.file.display());
        if let Some(aside) = restored.aside {
            say!("what was there is in {}; remove it when it is not needed", aside.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
