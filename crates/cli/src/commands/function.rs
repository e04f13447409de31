//! `bursa function`: registered functions.

use super::share;
use crate::args::Function;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, json: bool, command: &Function) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    match command {
        Function::List { shared, search, limit } => {
            let search = search.as_deref().map(super::task::escaped).unwrap_or_default();
            let page = client.get(&format!("/functions?limit={limit}&search={search}&shared={shared}"))?;
            list(json, &page);
        }
        Function::Show { function } => {
            let shown = client.get(&format!("/functions/{function}"))?;
            if json { output::print_json(&shown) } else { output::print_fields(&shown) }
        }
        Function::Share(share) => share::share(&client, json, "functions", &share.id, share)?,
        Function::Unshare(unshare) => share::unshare(&client, json, "functions", &unshare.id, unshare)?,
        Function::Shares { id } => share::list(&client, json, "functions", id)?,
        Function::Delete { function } => {
            client.delete(&format!("/functions/{function}"))?;
            if json {
                output::print_json(&serde_json::json!({"deleted": function}));
            } else {
                say!("function {function} is deleted; tasks already accepted still run");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, page: &Value) {
    if json {
        return output::print_json(page);
    }
    let functions = page["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = functions
        .iter()
        .map(|f| {
            ["function_id", "name", "python", "registered_at", "description"].map(|n| field(f, n)).into()
        })
        .collect();
    let headings = ["FUNCTION", "NAME", "PYTHON", "REGISTERED", "DESCRIPTION"];
    output::print_table(&headings, rows, "no functions; register one with the Python SDK");
}
