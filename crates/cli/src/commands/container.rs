//! `bursa container`: registered containers.

use super::share;
use crate::args::Container;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Container) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    match command {
        Container::Register { kind, location, name, description } => {
            let new = json!({"type": kind, "location": location, "name": name, "description": description});
            let made = client.post("/containers", &new)?;
            if as_json { output::print_json(&made) } else { say!("{}", field(&made, "container_id")) }
        }
        Container::List { search, limit } => {
            let search = search.as_deref().map(super::task::escaped).unwrap_or_default();
            list(as_json, &client.get(&format!("/containers?limit={limit}&search={search}"))?);
        }
        Container::Show { container } => {
            let shown = client.get(&format!("/containers/{container}"))?;
            if as_json { output::print_json(&shown) } else { output::print_fields(&shown) }
        }
        Container::Share(share) => share::share(&client, as_json, "containers", &share.id, share)?,
        Container::Unshare(unshare) => share::unshare(&client, as_json, "containers", &unshare.id, unshare)?,
        Container::Shares { id } => share::list(&client, as_json, "containers", id)?,
        Container::Delete { container } => {
            client.delete(&format!("/containers/{container}"))?;
            if as_json {
                output::print_json(&json!({"deleted": container}));
            } else {
                say!("container {container} is deleted; tasks already accepted still run in it");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let containers = page["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row =
        |one| ["container_id", "name", "type", "location", "registered_at"].map(|n| field(one, n)).into();
    let headings = ["CONTAINER", "NAME", "TYPE", "LOCATION", "REGISTERED"];
    let none = "no containers; register one with `bursa container register TYPE LOCATION`";
    output::print_table(&headings, containers.iter().map(row).collect(), none);
}
