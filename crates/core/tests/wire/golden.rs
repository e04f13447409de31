//! `tests/wire/*.json`: frames of each item kind and what they mean, read by Rust and by Python. `BURSA_REGENERATE=1`
//! writes them anew: a change of a committed file is a change of the contract between processes.

use crate::samples;
use bursa_core::wire::{self, Item, Message};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Golden {
    name: String,
    frames: Vec<String>,
    fields: Value,
}

/// What is on the wire as JSON, without Rust's types: bytes are `{"bin": hex}`.
struct Plain(Value);

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(json!(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain(json!(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain(json!(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain(json!(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Plain, E> {
        Ok(Plain(json!({ "bin": hex(value) })))
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
        let mut values = Vec::new();
        while let Some(Plain(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Plain(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Plain(value))) = map.next_entry::<String, Plain>()? {
            assert!(fields.insert(name, value).is_none(), "a field twice");
        }
        Ok(Plain(Value::Object(fields)))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire")
}

fn golden(name: &str, message: Message) -> Golden {
    let frames = wire::encode(message).unwrap();
    let plain = |frame: &Bytes| rmp_serde::from_slice::<Plain>(frame).unwrap().0;
    let payloads: Vec<String> = frames[2..].iter().map(|frame| hex(frame)).collect();
    let fields = json!({ "envelope": plain(&frames[0]), "items": plain(&frames[1]), "payloads": payloads });
    Golden { name: name.to_owned(), frames: frames.iter().map(|frame| hex(frame)).collect(), fields }
}

fn kind(item: &Item) -> String {
    format!("{item:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

#[test]
fn every_item_kind_has_a_golden_file_that_reads_and_writes_the_same() {
    for (name, message) in samples::all() {
        let path = folder().join(format!("{name}.json"));
        let written = golden(name, message.clone());
        let text = serde_json::to_string_pretty(&written).unwrap() + "\n";
        if std::env::var_os("BURSA_REGENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let read: Golden = serde_json::from_str(&found).unwrap();
        let frames: Vec<Bytes> = read.frames.iter().map(|frame| unhex(frame)).collect();
        assert_eq!(
            wire::decode(&frames).as_ref(),
            Ok(&message),
            "{name}: old frames must still be understood"
        );
        assert!(
            found == text,
            "{name}: other bytes than before. If that is meant: raise the version, BURSA_REGENERATE=1"
        );
    }
}

#[test]
fn no_kind_is_left_out() {
    let kinds: BTreeSet<String> =
        samples::all().iter().flat_map(|(_, message)| message.items.iter().map(kind)).collect();
    assert_eq!(kinds.len(), 19, "{kinds:?}");
}
