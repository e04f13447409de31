//! `bursa task`: tasks and how they ended.

use super::share;
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
        Task::Share(share) => share::share(&client, as_json, "task-groups", &share.id, share)?,
        Task::Unshare(unshare) => share::unshare(&client, as_json, "task-groups", &unshare.id, unshare)?,
        Task::Shares { id } => share::list(&client, as_json, "task-groups", id)?,
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
    let timings = task.as_object_mut().and_then(|task| task.remove("timings"));
    output::print_fields(&task);
    if let Some(timings) = timings {
        say!("");
        print_timings(&timings);
    }
}

/// Where the time went: seconds by part in the order in which they came, each with its share of the whole.
fn print_timings(timings: &Value) {
    let seconds = |name: &str| timings[name].as_f64().unwrap_or(0.0);
    let total = seconds("total");
    let mut rows = Vec::new();
    for (name, about) in PARTS {
        let about = match seconds("worker_start") {
            start if name == "worker_wait" && start > 0.0 => format!("{about}; cold start {}", shown(start)),
            _ => about.to_owned(),
        };
        let share = if total > 0.0 { 100.0 * seconds(name) / total } else { 0.0 };
        rows.push(vec![name.to_owned(), shown(seconds(name)), format!("{share:.1} %"), about]);
    }
    output::print_table(&["WHERE", "TIME", "SHARE", ""], rows, "");
}

/// The parts of `timings` that add up to its `total`.
const PARTS: [(&str, &str); 11] = [
    ("store", "the service stored the task"),
    ("queue", "it waited in the service for its endpoint"),
    ("network", "between service and manager, both ways"),
    ("manager", "it waited at the manager for an executor"),
    ("node_network", "between manager and executor, both ways"),
    ("worker_wait", "it waited at the executor for a worker"),
    ("pipe", "between executor and worker, both ways, and behind other calls"),
    ("load", "function and arguments were loaded"),
    ("run", "the function ran"),
    ("dump", "the result was serialized"),
    ("total", "from submit to result"),
];

fn shown(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.3} ms", 1e3 * seconds) } else { format!("{seconds:.3} s") }
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
