//! Request bodies and stream messages of any bytes: read or refused with the field's name, never a panic.

use super::body::{Format, decode};
use super::stream_types::ClientMessage;
use super::types::{NewEndpoint, NewFunction, NewTasks};
use change::mutate;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tape::Tape;

#[path = "../../../core/tests/fuzz/change.rs"]
mod change;
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../../../core/tests/fuzz/tape.rs"]
mod tape;

const ID: &str = "00000000-0000-4000-8000-000000000001";

/// A real body, in the format asked for, with a few bytes changed.
fn changed(tape: &mut Tape<'_>, body: &Value, format: Format) -> Vec<u8> {
    let mut bytes = match format {
        Format::Json => serde_json::to_vec(body).unwrap(),
        Format::Msgpack => rmp_serde::to_vec_named(body).unwrap(),
    };
    mutate(tape, &mut bytes);
    bytes
}

fn read<T: DeserializeOwned>(tape: &mut Tape<'_>, body: &Value) {
    let format = tape.pick(&[Format::Json, Format::Msgpack]);
    let bytes = changed(tape, body, format);
    if let Err(error) = decode::<T>(format, &bytes) {
        assert!(error.why.len() < 2_000, "an error that repeats what it was sent: {}", error.why);
    }
}

#[test]
fn changed_bodies() {
    let number = json!(1.5);
    let tasks = json!({"group_id": ID, "tasks": [
        {"function_id": ID, "endpoint_id": ID, "args": "cAAA", "task_id": ID, "retries": 1, "timeout": number},
        {"function_id": ID, "endpoint_id": ID, "args": "cAAA", "retry_on_error": 1, "deadline": number},
    ]});
    let function = json!({"name": "f", "body": "YwML", "description": "d", "python": "3.11"});
    let endpoint = json!({"name": "e", "public_key": "k", "endpoint_id": ID, "description": "d"});
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            match tape.below(4) {
                0 => read::<NewFunction>(&mut tape, &function),
                1 => read::<NewEndpoint>(&mut tape, &endpoint),
                _ => read::<NewTasks>(&mut tape, &tasks),
            }
        }
    });
}

#[test]
fn changed_stream_messages() {
    let id = serde_bytes::ByteBuf::from(vec![1; 16]);
    let text = |text: &str| rmp_serde::to_vec_named(text).unwrap();
    let bytes = rmp_serde::to_vec_named(&id).unwrap();
    let mut message = vec![0x84];
    for (name, value) in [("type", text("submit")), ("id", vec![1]), ("group", bytes.clone())] {
        message.extend(text(name));
        message.extend(value);
    }
    message.extend(text("calls"));
    message.extend([0x91, 0x85]);
    for (name, value) in [("function", bytes.clone()), ("endpoint", bytes.clone()), ("tasks", bytes.clone())]
    {
        message.extend(text(name));
        message.extend(value);
    }
    message.extend(text("args"));
    message.push(0x91);
    message.extend(&bytes);
    message.extend(text("retries"));
    message.push(2);
    assert!(rmp_serde::from_slice::<ClientMessage<'_>>(&message).is_ok(), "the sample is one");
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            let mut changed = message.clone();
            mutate(&mut tape, &mut changed);
            let _ = rmp_serde::from_slice::<ClientMessage<'_>>(&changed);
        }
    });
}
