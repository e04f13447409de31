//! One attempt of the hub's, from its `Assign` to the hub's acknowledgement of how it ended.

use super::driver::LinkId;
use super::message::Ended;
use crate::dialect;
use bursa_core::id::{TaskId, UserId};
use bursa_core::limits;
use bursa_core::task::{Begun, Failure, FailureCode, Outcome};
use bursa_core::wire::{Assign, Attempt, Blob, Done, Holding, Stage};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

/// What comes beside the arguments of a call for such an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Abroad {
    pub(super) function: String,
    pub(super) username: String,
    #[serde(default)]
    pub(super) user_endpoint_config: Value,
    #[serde(default)]
    pub(super) user_runtime: Value,
    pub(super) resource_specification: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Beside {
    #[serde(default)]
    result_serializers: Vec<String>,
    abroad: Abroad,
}

/// A call as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) task: TaskId,
    pub(super) user: UserId,
    pub(super) abroad: Abroad,
    pub(super) serializers: Vec<String>,
    args: Bytes,
    body: Bytes,
}

impl Call {
    /// The call of an assignment, or why it cannot be made at such an endpoint.
    pub(super) fn new(assign: &Assign, body: Bytes) -> Result<Self, Box<Failure>> {
        let why = |what: &str, next: &str| {
            let text = format!("an endpoint of Globus Compute takes no {what}: {next}");
            Box::new(Failure::new(FailureCode::Unsatisfiable, text))
        };
        if assign.container.is_some() {
            return Err(why(
                "container of a task's",
                "its own configuration says where its workers run; call without one",
            ));
        }
        let next = "call it with a client of Globus Compute, or call another endpoint";
        let args = Bytes::copy_from_slice(assign.args.bytes());
        let beside = dialect::beside(&args).and_then(|json| serde_json::from_slice::<Beside>(json).ok());
        let Some(Beside { result_serializers, abroad }) = beside else {
            return Err(why("call of another client", next));
        };
        if dialect::code(&body).is_none() {
            return Err(why("function that a client of Bursa registered", next));
        }
        let (task, user) = (assign.task, assign.user);
        Ok(Self { task, user, abroad, serializers: result_serializers, args, body })
    }

    /// Code, arguments and keyword arguments, as a worker unpacks them.
    pub(super) fn buffer(&self) -> String {
        [dialect::code(&self.body).unwrap_or_default(), dialect::packed(&self.args).unwrap_or_default()]
            .concat()
    }
}

/// Where an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Its function's body is not here yet.
    Bodiless(Box<Assign>),
    /// Here, until its user endpoint takes more.
    Waiting,
    /// On its way: it was not acknowledged.
    Sent,
    /// With the engine of the user endpoint.
    Taken,
    /// It ended; the store does not have it yet.
    Finished(Box<Done>),
}

/// A number of a message on a channel of a connection, which waits to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) link: LinkId,
    pub(super) channel: u16,
    pub(super) number: u64,
}

/// An attempt that the hub believes to be here.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) attempt: Attempt,
    pub(super) place: Place,
    pub(super) call: Option<Arc<Call>>,
    /// The user endpoint that it is for.
    pub(super) end: Uuid,
    /// How often it was sent.
    pub(super) sent: u32,
    /// Messages with its result that wait until the store has it.
    pub(super) tickets: Vec<Ticket>,
}

impl Held {
    pub(super) const fn is_away(&self) -> bool {
        matches!(self.place, Place::Sent | Place::Taken)
    }

    pub(super) fn holding(&self, task: TaskId) -> Holding {
        let (stage, begun) = match &self.place {
            Place::Bodiless(_) | Place::Waiting => (Stage::Waiting, Begun::No),
            Place::Sent | Place::Taken => (Stage::Running, Begun::Unknown),
            Place::Finished(done) => (Stage::Finished, done.begun),
        };
        Holding { task, attempt: self.attempt, stage, begun }
    }
}

/// What an endpoint said of a task, as the hub's peers say it.
pub(super) fn done(ended_so: Ended, attempt: Attempt) -> Done {
    let (task, run_ns) = (ended_so.task_id, ended_so.run_ns());
    let Some(error) = ended_so.error_details else {
        if ended_so.data.len() + 3 > limits::RESULT_BYTES {
            return too_large(task, attempt);
        }
        let payload = Blob::Here(dialect::answered(&ended_so.data));
        return Done {
            payload,
            run_ns,
            ..Done::without_result(task, attempt, Outcome::Success, Begun::Yes, None)
        };
    };
    let code = match error.code.as_str() {
        "MaxResultSizeExceeded" => FailureCode::ResultTooLarge,
        "FUNCTION_NOT_ALLOWED" => FailureCode::Unsatisfiable,
        _ => FailureCode::UserError,
    };
    let last =
        ended_so.data.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&error.user_message);
    let mut failure = Failure::new(code, last.trim());
    failure.traceback = Some(ended_so.data).filter(|text| !text.is_empty());
    Done { run_ns, ..Done::without_result(task, attempt, Outcome::Error, Begun::Yes, Some(failure)) }
}

fn too_large(task: TaskId, attempt: Attempt) -> Done {
    let text = format!(
        "the result is larger than the limit of {} bytes; return less, or write it to a file and return its path",
        limits::RESULT_BYTES
    );
    let failure = Failure::new(FailureCode::ResultTooLarge, text);
    Done::without_result(task, attempt, Outcome::Error, Begun::Yes, Some(failure))
}
