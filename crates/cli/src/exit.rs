//! Exit codes: what a script may rely on.

use crate::client::ApiError;
use std::process::ExitCode;

/// What `bursa --help` says of them.
pub(crate) const HELP: &str = "\
Exit codes:
  0   it worked (for `run`: the task succeeded)
  1   it failed (for `run`: the task failed)
  2   the command line is wrong, or holds what the service cannot read
  3   no such function, endpoint, task or token, or it is not yours
  4   no token, or the service does not accept it
  5   the service cannot be reached or cannot answer now
  75  another process holds this home or endpoint
  78  the configuration is wrong

Environment:
  BURSA_HOME, BURSA_URL, BURSA_TOKEN, and one variable for each key of `bursa config show`.";

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// There is no token, or it is not accepted.
pub(crate) const NOT_ACCEPTED: u8 = 4;
/// Who is asked cannot be reached or cannot answer.
pub(crate) const UNREACHABLE: u8 = 5;
/// Another process holds what this one needs ([`bursa_endpoint::exit::LOCKED`]).
pub(crate) const HELD: u8 = 75;
/// The configuration is wrong ([`bursa_endpoint::exit::REFUSED`]).
pub(crate) const CONFIG: u8 = 78;

/// An error with an exit code of its own.
#[derive(Debug)]
pub(crate) struct Coded {
    /// The exit code.
    pub(crate) code: u8,
    /// One sentence.
    pub(crate) text: String,
}

impl std::fmt::Display for Coded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Coded {}

/// The exit code that goes with `error`.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    if let Some(coded) = error.downcast_ref::<Coded>() {
        return ExitCode::from(coded.code);
    }
    match error.downcast_ref::<ApiError>() {
        Some(ApiError::Unreachable { .. }) => ExitCode::from(UNREACHABLE),
        Some(ApiError::NoToken { .. }) => ExitCode::from(NOT_ACCEPTED),
        Some(ApiError::Answer { status, .. }) => match status {
            400 | 422 => ExitCode::from(2),
            404 => ExitCode::from(3),
            401 | 403 => ExitCode::from(NOT_ACCEPTED),
            429 | 503 => ExitCode::from(UNREACHABLE),
            _ => ExitCode::FAILURE,
        },
        None => ExitCode::FAILURE,
    }
}
