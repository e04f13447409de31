//! A result as a message of Globus Compute's: one byte for the version, then JSON.

use crate::dialect;
use crate::store::{RESULT_GONE, ResultRow};
use bursa_core::task::{FailureCode, TaskState};
use serde_json::json;

const VERSION: u8 = 1;

/// The message of one result with these payload bytes; `None`: their file is gone.
pub(super) fn of(row: &ResultRow, payload: Option<&[u8]>) -> Vec<u8> {
    let (data, error) = match (row.state, payload) {
        (TaskState::Success, Some(payload)) => (dialect::result(payload), None),
        (TaskState::Success, None) => (RESULT_GONE.to_owned(), Some("RESULT_GONE")),
        _ => (dialect::failure_text(row.failure.as_ref()), Some(code(row))),
    };
    let error = error.map(
        |code| json!({ "code": code, "user_message": "An error occurred during the execution of this task" }),
    );
    let message = json!({
        "message_type": "result",
        "data": {
            "task_id": row.task.to_string(),
            "data": data,
            "details": null,
            "error_details": error,
            "task_statuses": null,
        },
    });
    let mut bytes = vec![VERSION];
    // A map of texts can always be written.
    let _ = serde_json::to_writer(&mut bytes, &message);
    bytes
}

fn code(row: &ResultRow) -> &'static str {
    match row.failure.as_ref().map(|failure| failure.code) {
        Some(FailureCode::ResultTooLarge) => "MaxResultSizeExceeded",
        _ => "RemoteExecutionError",
    }
}
