//! `bursa group`: groups of users.

use super::task::escaped;
use crate::args::Group;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Group) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    let at = |group: &str| format!("/groups/{}", escaped(group));
    let done = |what: &str, name: &str, sentence: String| {
        if as_json { output::print_json(&json!({ what: name })) } else { say!("{sentence}") }
    };
    match command {
        Group::New { name, issuer, claim } => {
            let made = client.post("/groups", &json!({"name": name, "issuer": issuer, "claim": claim}))?;
            if as_json { output::print_json(&made) } else { say!("{}", field(&made, "group_id")) }
        }
        Group::Add { group, user } => {
            client.post(&format!("{}/members", at(group)), &json!({"user": user}))?;
            done("added", user, format!("{user} is in group {group}"));
        }
        Group::Remove { group, user } => {
            client.delete(&format!("{}/members?user={}", at(group), escaped(user)))?;
            done("removed", user, format!("{user} is in group {group} no longer"));
        }
        Group::List => list(as_json, &client.get("/groups")?),
        Group::Show { group } => {
            let shown = client.get(&at(group))?;
            if as_json { output::print_json(&shown) } else { output::print_fields(&shown) }
        }
        Group::Delete { group } => {
            client.delete(&at(group))?;
            done("deleted", group, format!("group {group} is deleted: nothing is shared with it any more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let groups = page["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |group| ["group_id", "name", "owner", "claim", "created_at"].map(|n| field(group, n)).into();
    let headings = ["GROUP", "NAME", "OWNER", "CLAIM", "CREATED"];
    output::print_table(
        &headings,
        groups.iter().map(row).collect(),
        "no groups; make one with `bursa group new NAME`",
    );
}
