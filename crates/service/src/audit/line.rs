//! An entry, and its line: JSON whose last field is the hash of all before it, and whose last but one is the hash of the
//! line before.

use crate::clock;
use crate::store::UserRow;
use bursa_core::time::Wall;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A hash in hexadecimal.
pub(super) const HASH: usize = 64;
/// What is between a line and its hash.
const MARK: &str = ",\"hash\":\"";

/// What somebody did.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Wall,
    /// Who, if he is known, and the id of his token, if it is one of ours.
    pub(crate) user: Option<(Arc<UserRow>, Option<[u8; 16]>)>,
    /// From where.
    pub(crate) from: Option<IpAddr>,
    /// Method and route, or a word for what is no request.
    pub(crate) action: String,
    /// The id that it is about.
    pub(crate) object: Option<String>,
    /// Tasks of a submit.
    pub(crate) tasks: Option<usize>,
    /// So many more of the kind have no line.
    pub(crate) left_out: Option<u64>,
    /// As HTTP has it.
    pub(crate) status: u16,
    /// The word for the refusal.
    pub(crate) code: Option<&'static str>,
    /// The request's name in the log.
    pub(crate) request: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    prev: &'a str,
}

impl Entry {
    /// So many entries could not be kept.
    pub(super) fn lost(count: u64) -> Self {
        Self { tasks: None, object: Some(count.to_string()), ..Self::now("entries lost") }
    }

    /// Something that is no request.
    pub(crate) fn now(action: &str) -> Self {
        Self {
            at: clock::wall(),
            user: None,
            from: None,
            action: action.to_owned(),
            object: None,
            tasks: None,
            left_out: None,
            status: 500,
            code: None,
            request: None,
        }
    }

    /// Its line as number `n` behind the line with the hash `prev`, and its own hash.
    pub(super) fn line(&self, n: u64, prev: &str) -> (String, String) {
        let at = jiff::Timestamp::from_millisecond(self.at.0.cast_signed()).unwrap_or_default();
        let line = Line {
            n,
            at: format!("{at:.3}"),
            user: self.user.as_ref().map(|(row, _)| row.user.to_string()),
            name: self.user.as_ref().map(|(row, _)| row.name.as_str()),
            token: self.user.as_ref().and_then(|(_, token)| Some(Uuid::from_bytes((*token)?).to_string())),
            from: self.from,
            action: &self.action,
            object: self.object.as_deref(),
            tasks: self.tasks,
            left_out: self.left_out,
            status: self.status,
            code: self.code,
            request: self.request.as_deref(),
            prev,
        };
        // Plain text and numbers: this does not fail.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.pop();
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        text.push_str(MARK);
        text.push_str(&hash);
        text.push_str("\"}\n");
        (text, hash)
    }
}

/// The hash that a line, without its end, carries; `None`: it is not the hash of what is before it.
pub(super) fn hash_of(line: &str) -> Option<&str> {
    let at = line.len().checked_sub(MARK.len() + HASH + 2)?;
    let (text, rest) = line.split_at_checked(at)?;
    let hash = rest.strip_prefix(MARK)?.strip_suffix("\"}")?;
    (blake3::hash(text.as_bytes()).to_hex().as_str() == hash).then_some(hash)
}

/// Number of a line, and the hash of the one before it.
pub(super) fn place_of(line: &str) -> Option<(u64, String)> {
    #[derive(serde::Deserialize)]
    struct Place {
        n: u64,
        prev: String,
    }
    let Place { n, prev } = serde_json::from_str(line).ok()?;
    Some((n, prev))
}
