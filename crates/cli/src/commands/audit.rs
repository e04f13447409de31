//! `bursa audit`: whether the audit log is what was written, and what is in it.

use crate::args::Audit;
use crate::client::Client;
use crate::exit::{Coded, FAILED};
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Audit) -> anyhow::Result<ExitCode> {
    match command {
        Audit::Verify => verify(settings, as_json),
        Audit::Search { user, action, object, since, limit } => {
            let client = Client::from_settings(settings)?;
            let limit = Some(limit.to_string());
            let query =
                [("user", user), ("action", action), ("object", object), ("since", since), ("limit", &limit)];
            let page = client.get_with("/audit", &query)?;
            if as_json {
                output::print_json(&page)
            } else {
                show(&page)
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let verified = bursa_service::audit::verify(settings.home())
        .map_err(|error| Coded { code: FAILED, text: error.to_string() })?;
    if as_json {
        let (lines, first, last) = (verified.lines, verified.first, verified.last);
        output::print_json(&json!({"lines": lines, "first": first, "last": last, "hash": verified.hash}));
    } else {
        say!("the audit log holds: {} lines, {} to {}", verified.lines, verified.first, verified.last);
        say!("the last has the hash {}", verified.hash);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(page: &Value) {
    let entries = page["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns = ["n", "at", "name", "from", "action", "object", "status"];
    let rows = entries.iter().map(|line| columns.map(|name| field(line, name)).into()).collect();
    let heads = ["LINE", "AT", "USER", "FROM", "ACTION", "OBJECT", "STATUS"];
    output::print_table(&heads, rows, "no such lines");
}
