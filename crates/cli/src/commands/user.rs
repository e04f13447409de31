//! `bursa user`: users, as administrators see them.

use super::task::escaped;
use crate::args::User;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &User) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    let at = |user: &str, what: &str| format!("/users/{}{what}", escaped(user));
    match command {
        User::Add { name, admin, service } => {
            let made = client.post("/users", &json!({"name": name, "admin": admin, "service": service}))?;
            if as_json { output::print_json(&made) } else { say!("{}", field(&made, "token")) }
        }
        User::List => list(as_json, &client.get("/users")?),
        User::Show { user } => {
            let shown = client.get(&at(user, ""))?;
            if as_json { output::print_json(&shown) } else { output::print_fields(&shown) }
        }
        User::Disable { user } => {
            client.post(&at(user, "/disable"), &json!({}))?;
            done(as_json, "disabled", user, "is disabled: no token of his is valid; his tasks go on");
        }
        User::Enable { user } => {
            client.post(&at(user, "/enable"), &json!({}))?;
            done(as_json, "enabled", user, "is enabled: his tokens are valid again");
        }
        User::Link { user, issuer, subject } => {
            client.post(&at(user, "/identities"), &json!({"issuer": issuer, "subject": subject}))?;
            done(as_json, "linked", user, &format!("is who logs in at {issuer} as {subject}"));
        }
        User::Unlink { user, issuer, subject } => {
            let query = format!("/identities?issuer={}&subject={}", escaped(issuer), escaped(subject));
            client.delete(&at(user, &query))?;
            done(as_json, "unlinked", user, &format!("is not who logs in at {issuer} as {subject}"));
        }
        User::Admin { user, no: false } => {
            client.post(&at(user, "/admin"), &json!({}))?;
            done(as_json, "admin", user, "is an administrator");
        }
        User::Admin { user, no: true } => {
            client.delete(&at(user, "/admin"))?;
            done(as_json, "not_admin", user, "is no administrator");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn done(as_json: bool, what: &str, user: &str, sentence: &str) {
    if as_json {
        output::print_json(&json!({ what: user }));
    } else {
        say!("user {user} {sentence}");
    }
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let users = page["users"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row =
        |user| ["user_id", "name", "kind", "admin", "active", "created_at"].map(|n| field(user, n)).into();
    let headings = ["USER", "NAME", "KIND", "ADMIN", "ACTIVE", "CREATED"];
    output::print_table(&headings, users.iter().map(row).collect(), "no users");
}
