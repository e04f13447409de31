//! `bursa secret`: secrets that calls have in their environment. Values come from a hidden prompt or standard input.

use super::task::escaped;
use crate::args::Secret;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

/// More than any value has: the rest of what is no secret is not read.
const MOST: u64 = 1 << 20;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Secret) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    let done = |what: &str, name: &str, sentence: String| {
        if as_json { output::print_json(&json!({ what: name })) } else { say!("{sentence}") }
    };
    match command {
        Secret::Set { name, functions } => {
            client.put(&at(name), &json!({"value": value(name)?}))?;
            for function in functions {
                client.put(&granted(name, function), &json!({}))?;
            }
            done("set", name, format!("secret {name} is set"));
        }
        Secret::List => list(as_json, &client.get("/secrets")?),
        Secret::Grant { name, function, endpoints } => {
            client.put(&granted(name, function), &json!({"endpoints": endpoints}))?;
            done("granted", name, format!("your calls of function {function} have the secret {name}"));
        }
        Secret::Revoke { name, function } => {
            client.delete(&granted(name, function))?;
            done("revoked", name, format!("calls of function {function} have the secret {name} no longer"));
        }
        Secret::Delete { name } => {
            client.delete(&at(name))?;
            done("deleted", name, format!("secret {name} is deleted"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn at(name: &str) -> String {
    format!("/secrets/{}", escaped(name))
}

fn granted(name: &str, function: &str) -> String {
    format!("{}/functions/{}", at(name), escaped(function))
}

/// From a terminal one line that nobody sees, else all of standard input without the end of its last line.
fn value(name: &str) -> anyhow::Result<String> {
    let input = std::io::stdin();
    let mut value = String::new();
    if input.is_terminal() {
        let before = tcgetattr(&input)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        let mut prompt = std::io::stderr();
        write!(prompt, "Value of {name}: ")?;
        tcsetattr(&input, SetArg::TCSAFLUSH, &hidden)?;
        let read = input.read_line(&mut value);
        tcsetattr(&input, SetArg::TCSAFLUSH, &before)?;
        writeln!(prompt)?;
        read?;
    } else {
        input.take(MOST).read_to_string(&mut value)?;
    }
    let line = value.strip_suffix('\n').unwrap_or(&value);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let secrets = page["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let functions = |secret: &Value| {
        let grants = secret["functions"].as_array().map(Vec::as_slice).unwrap_or_default();
        grants.iter().map(|grant| field(grant, "function_id")).collect::<Vec<_>>().join("\n")
    };
    let row = |secret: &Value| {
        vec![
            field(secret, "name"),
            field(secret, "created_at"),
            field(secret, "updated_at"),
            functions(secret),
        ]
    };
    let headings = ["SECRET", "CREATED", "CHANGED", "FUNCTIONS"];
    let none = "no secrets; set one with `bursa secret set NAME`";
    output::print_table(&headings, secrets.iter().map(row).collect(), none);
}
