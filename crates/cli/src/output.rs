//! What people and scripts see: tables and sentences, or with `--json` one JSON document.

use crate::client::ApiError;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use std::io::Write as _;

/// Prints a line. `println!` would panic where nobody reads any more, as after `| head`: the exit code says it too.
macro_rules! say {
    ($($arg:tt)*) => {
        $crate::output::line(format_args!($($arg)*))
    };
}

/// See `say!`.
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a JSON document on one line.
pub(crate) fn print_json(value: &Value) {
    say!("{value}");
}

/// Prints rows under headings; `nothing` where there are none.
pub(crate) fn print_table(headings: &[&str], rows: Vec<Vec<String>>, nothing: &str) {
    if rows.is_empty() {
        say!("{nothing}");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table.add_rows(rows);
    say!("{}", table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"));
}

/// Prints the fields of an object, one a line.
pub(crate) fn print_fields(value: &Value) {
    let Value::Object(fields) = value else {
        say!("{value}");
        return;
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in fields {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                say!("{name}:");
                for (name, value) in inner {
                    say!("  {name}: {}", text(value).replace('\n', "\n    "));
                }
            }
            value => say!("{name:width$}  {}", text(value)),
        }
    }
}

/// A value as people read it: strings without quotes, nothing for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A field of an object as people read it.
pub(crate) fn field(value: &Value, name: &str) -> String {
    value.get(name).map(text).unwrap_or_default()
}

/// Prints an error on stderr: a sentence, or the service's own error document.
pub(crate) fn print_error(json: bool, error: &anyhow::Error) {
    let text = match error.downcast_ref::<ApiError>() {
        _ if !json => format!("bursa: {error:#}"),
        Some(ApiError::Answer { body, .. }) if body.is_object() => body.to_string(),
        _ => json!({"error": {"message": format!("{error:#}")}}).to_string(),
    };
    // `eprintln!` would panic where nobody reads: the exit code says it too.
    let _ = writeln!(std::io::stderr(), "{text}");
}
