//! A `config.toml` of any bytes: a configuration, or an error that names file and line or the key; never a panic.

use super::{Values, keys, offer_file};
use change::mutate;
use std::path::Path;
use tape::Tape;

#[path = "../../core/tests/fuzz/change.rs"]
mod change;
#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../../core/tests/fuzz/tape.rs"]
mod tape;

/// A file that sets some keys to something.
fn file(tape: &mut Tape<'_>) -> Vec<u8> {
    let mut text = String::new();
    for key in keys() {
        // A key without a section is a list of tables.
        let (head, name) = match key.name.split_once('.') {
            Some((section, name)) => (format!("[{section}]"), name),
            None => (format!("[[{}]]", key.name), if tape.one_in(2) { "issuer" } else { "kind" }),
        };
        let value = match tape.below(8) {
            0 => tape.wild().to_string(),
            1 => format!("\"{}\"", tape.wild()),
            2 => "\"\"".to_owned(),
            3 => "[1]".to_owned(),
            4 => format!("\"{}\"", key.default),
            _ => continue,
        };
        text.push_str(&format!("{head}\n{name} = {value}\n"));
        if tape.one_in(2) {
            break;
        }
    }
    let mut bytes = text.into_bytes();
    mutate(tape, &mut bytes);
    bytes
}

#[test]
fn any_configuration() {
    let (home, path) = (Path::new("/home"), Path::new("/home/config.toml"));
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut tape = Tape::new(bytes);
        while !tape.is_over() {
            let Ok(text) = String::from_utf8(file(&mut tape)) else { continue };
            let mut values = Values::default();
            match offer_file(&mut values, path, &text) {
                Ok(()) => {
                    if let Ok(config) = bursa_service::Config::from_values(&values, home) {
                        assert!(config.threshold_ms / 2 >= config.heartbeat_ms);
                    }
                    let _ = bursa_endpoint::Config::from_values(&values, home, "name");
                }
                Err(error) => assert!(error.to_string().starts_with("/home/config.toml:"), "{error}"),
            }
        }
    });
}
