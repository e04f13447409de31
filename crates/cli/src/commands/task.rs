//! `bursa task`: tasks and how they ended.

use crate::args::Task;
use crate::client::Client;
use crate::output::{self, field};
use crate::settings::Settings;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(settings: &Settings, as_json: bool, command: &Task) -> anyhow::Result<ExitCode> {
    let client = Client::from_settings(settings)?;
    match command {
        Task::List { state, group, endpoint, function, limit } => {
            let filters =
                [("state", state), ("group_id", group), ("endpoint_id", endpoint), ("function_id", function)];
            let mut path = format!("/tasks?limit={limit}");
            for (name, value) in filters {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", escaped(value)));
                }
            }
            list(as_json, &client.get(&path)?);
        }
        Task::Show { task } => show(as_json, client.get(&format!("/tasks/{task}"))?),
        Task::Explain { task } => explain(as_json, client.get(&format!("/tasks/{task}/explain"))?),
        Task::Cancel { tasks, group } => {
            let asked = match group {
                Some(group) => json!({"group_id": group}),
                None => json!({"task_ids": tasks}),
            };
            cancelled(as_json, &client.post("/tasks/cancel", &asked)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `text` as part of a query string.
pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn list(as_json: bool, page: &Value) {
    if as_json {
        return output::print_json(page);
    }
    let tasks = page["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = tasks
        .iter()
        .map(|task| {
            ["task_id", "state", "submitted_at", "ended_at", "function_id"].map(|n| field(task, n)).into()
        })
        .collect();
    let headings = ["TASK", "STATE", "SUBMITTED", "ENDED", "FUNCTION"];
    output::print_table(&headings, rows, "no such tasks");
}

/// Payloads are for programs: people see their size.
fn show(as_json: bool, mut task: Value) {
    if as_json {
        return output::print_json(&task);
    }
    for name in ["result", "exception"] {
        if let Some(payload) = task.get_mut(name) {
            let bytes = payload.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
            *payload = json!(format!("{bytes} bytes; read it with `bursa.Client().result(TASK)` in Python"));
        }
    }
    output::print_fields(&task);
}

/// The sentence and what to do next; then the facts.
fn explain(as_json: bool, mut task: Value) {
    if as_json {
        return output::print_json(&task);
    }
    say!("{}", field(&task, "message"));
    say!("next: {}\n", field(&task, "next"));
    if let Value::Object(facts) = &mut task {
        facts.retain(|name, _| !["message", "next"].contains(&name.as_str()));
    }
    output::print_fields(&task);
}

fn cancelled(as_json: bool, answer: &Value) {
    if as_json {
        return output::print_json(answer);
    }
    for task in answer["tasks"].as_array().map(Vec::as_slice).unwrap_or_default() {
        say!("{}  {}", field(task, "task_id"), field(task, "state"));
    }
}
