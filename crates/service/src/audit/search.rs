//! Finding lines of the log.

use super::log::files;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

/// Which lines are wanted; what is `None` does not matter.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wanted {
    /// A user's id or name.
    pub(crate) user: Option<String>,
    /// A part of the action, as `DELETE` or `/tokens`.
    pub(crate) action: Option<String>,
    /// The object's id.
    pub(crate) object: Option<String>,
    /// Not before this time, as RFC 3339 in UTC.
    pub(crate) since: Option<String>,
    /// Only lines with larger numbers.
    pub(crate) after: u64,
    /// So many at most.
    pub(crate) limit: usize,
}

impl Wanted {
    /// Whether the line may be wanted, before it is parsed.
    fn may_be(&self, line: &str) -> bool {
        [&self.user, &self.object, &self.action]
            .into_iter()
            .flatten()
            .all(|word| line.contains(word.as_str()))
    }

    fn is(&self, line: &Value) -> bool {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| names.iter().any(|name| text(name) == wanted))
        };
        line["n"].as_u64().unwrap_or_default() > self.after
            && is(&self.user, &["user", "name"])
            && is(&self.object, &["object"])
            && self.action.as_ref().is_none_or(|part| text("action").contains(part.as_str()))
            && self.since.as_ref().is_none_or(|since| text("at") >= since.as_str())
    }
}

/// The lines that are wanted, oldest first.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn search(directory: &Path, wanted: &Wanted) -> io::Result<Vec<Value>> {
    let mut found = Vec::new();
    for path in files(directory)? {
        for line in BufReader::new(File::open(path)?).lines() {
            let line = line?;
            if !wanted.may_be(&line) {
                continue;
            }
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if wanted.is(&value) {
                found.push(value);
            }
            if found.len() >= wanted.limit {
                return Ok(found);
            }
        }
    }
    Ok(found)
}
