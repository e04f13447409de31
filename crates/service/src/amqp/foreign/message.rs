//! What goes through the queues: one byte for the version, then JSON (`globus_compute_common.messagepack`), or JSON alone for
//! a command.

use super::call::Call;
use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::{AMQPValue, FieldTable};
use bursa_core::id::TaskId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

const VERSION: u8 = 1;

/// What an endpoint publishes.
#[derive(Debug, Deserialize)]
#[serde(tag = "message_type", content = "data")]
pub(super) enum Word {
    #[serde(rename = "result")]
    Ended(Ended),
    #[serde(rename = "ep_status_report")]
    Report {
        #[serde(alias = "ep_status_report", default)]
        global_state: Map<String, Value>,
    },
}

/// How a task ended: `data` is its serialized value, or the text of a traceback if there is an `error_details`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Ended {
    pub(super) task_id: TaskId,
    pub(super) data: String,
    pub(super) error_details: Option<ErrorDetails>,
    #[serde(default)]
    task_statuses: Option<Vec<Passed>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ErrorDetails {
    pub(super) code: String,
    #[serde(default)]
    pub(super) user_message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Passed {
    timestamp: u64,
    state: String,
}

impl Ended {
    pub(super) fn new(task_id: TaskId, data: String, error: Option<ErrorDetails>) -> Self {
        Self { task_id, data, error_details: error, task_statuses: None }
    }

    /// How long it ran, in ns; 0 where nobody says.
    pub(super) fn run_ns(&self) -> u64 {
        let at = |state: &str| {
            let passed = self.task_statuses.iter().flatten().find(|passed| passed.state == state);
            passed.map(|passed| passed.timestamp)
        };
        match (at("execution-start"), at("execution-end")) {
            (Some(start), Some(end)) => end.saturating_sub(start),
            _ => 0,
        }
    }
}

/// The body of a published message; `None`: it is none that is known here.
pub(super) fn read(body: &[u8]) -> Option<Word> {
    serde_json::from_slice(body.strip_prefix(&[VERSION])?).ok()
}

/// The task that a result is of which is too large to be read, by its first bytes.
pub(super) fn task_of(head: &[u8]) -> Option<TaskId> {
    const FIELD: &[u8] = b"\"task_id\":";
    let place = head.windows(FIELD.len()).position(|bytes| bytes == FIELD)? + FIELD.len();
    let id = head[place..].trim_ascii_start().strip_prefix(b"\"")?.get(..36)?;
    std::str::from_utf8(id).ok()?.parse().ok()
}

/// What a user endpoint, or a core endpoint, says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// It goes: nothing more is to be given to it.
    pub(super) leaves: bool,
    /// It could not start: why, for the user.
    pub(super) error: Option<String>,
    pub(super) workers: u32,
    pub(super) idle: u32,
    /// Workers that it may come to have.
    pub(super) most: u32,
}

impl Report {
    pub(super) fn of(state: &Map<String, Value>) -> Self {
        let number = |key: &str| state.get(key).and_then(Value::as_f64).filter(|n| *n >= 0.0);
        let whole = |key: &str| number(key).map_or(0, to_u32);
        let workers = whole("total_workers");
        let scales = state.get("scaling_enabled").and_then(Value::as_bool) == Some(true);
        let per_node = match (whole("max_workers_per_node"), whole("active_managers")) {
            (0, 0) => workers,
            (0, nodes) => workers / nodes,
            (most, _) => most,
        };
        let blocks = whole("max_blocks").saturating_mul(whole("nodes_per_block").max(1));
        let most = if scales { blocks.saturating_mul(per_node.max(1)).max(workers) } else { workers };
        Self {
            leaves: number("heartbeat_period") == Some(0.0)
                || state.get("active").and_then(Value::as_bool) == Some(false),
            error: state.get("error").and_then(Value::as_str).map(str::to_owned),
            workers,
            idle: whole("idle_workers"),
            most,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are checked first")]
fn to_u32(number: f64) -> u32 {
    if number < f64::from(u32::MAX) { number as u32 } else { u32::MAX }
}

/// A task as a user endpoint takes it.
pub(super) fn task(call: &Call) -> (BasicProperties, Vec<u8>) {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut headers = FieldTable::default();
    headers.insert("task_uuid".into(), text(&call.task.to_string()));
    headers.insert("function_uuid".into(), text(&call.abroad.function));
    if let Some(resources) = &call.abroad.resource_specification {
        headers.insert("resource_specification".into(), text(&resources.to_string()));
    }
    if !call.serializers.is_empty() {
        let paths = call.serializers.iter().map(|path| text(path)).collect::<Vec<_>>();
        headers.insert("result_serializers".into(), AMQPValue::FieldArray(paths.into()));
    }
    let message = json!({
        "message_type": "task",
        "data": {
            "task_id": call.task.to_string(),
            "container_id": null,
            "container": null,
            "task_buffer": call.buffer(),
        },
    });
    let mut body = vec![VERSION];
    // A map of texts can always be written.
    let _ = serde_json::to_writer(&mut body, &message);
    (BasicProperties::default().with_headers(headers).with_delivery_mode(2), body)
}

/// The properties of a command sent now (seconds since the Unix epoch): a core endpoint takes none that is minutes old.
pub(super) fn of_command(now_s: u64) -> BasicProperties {
    BasicProperties::default().with_content_type("application/json".into()).with_timestamp(now_s)
}
